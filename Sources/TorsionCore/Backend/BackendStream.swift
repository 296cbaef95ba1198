// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// The seam between the portable core and a backend, on one page: what the core calls on a stream,
// and what a stream calls back. Everything above this page is written once; everything below it
// adds no policy.
//
// Three rules hold for every method here. All of it happens on the reactor's thread. A backend
// calls back from inside `ReactorBackend.turn(until:)` only, never from inside a call that the
// core makes, so that no callback can run inside another. After `close()` or `reset()` returns
// nothing more is delivered, not even what the kernel reported in the same batch.

/// An ordered stream of bytes as a backend provides it: TCP, a UNIX socket, a pair of descriptors.
///
/// A stream starts paused. It is used by the core alone, on the reactor's thread.
@_spi(Backend) public protocol BackendStream: AnyObject {
    /// The other end; for a stream that is still connecting, where it connects to.
    var peerAddress: SocketAddress { get }

    /// This end: `getsockname(2)`.
    ///
    /// It stays what it was when the stream is closed, since the core passes a lost transport to
    /// `connectionLost`.
    var localAddress: SocketAddress { get }

    /// The subject of the stream's errors, if it is not the peer's address.
    ///
    /// - Parameter operation: The operation that failed.
    /// - Returns: `nil` if the error is to name the peer's address.
    func subject(of operation: IOError.Operation) -> String?

    /// Names the receiver of what happens on this stream, in place of the former one.
    ///
    /// Called for an accepted stream before its first byte is asked for, and again when another
    /// receiver takes over, also inside a callback of the former one, which is not called again
    /// then. The stream holds the receiver until it is closed.
    ///
    /// - Parameter receiver: Held until the stream is closed or another takes over.
    func deliver(to receiver: any StreamReceiver)

    /// Asks for what arrives, until ``stopReading()``.
    ///
    /// A completion backend delivers first what it held since the stop. Asking twice is harmless.
    func startReading()

    /// Stops deliveries at once; from now on a reset of the connection is noticed and reported
    /// while reading is stopped.
    ///
    /// The core also calls it for a stream that has not read yet and will not read soon.
    func stopReading()

    /// Whether input has arrived that was not delivered, for example while reading was stopped:
    /// `FIONREAD`. Asked when the stream has failed. By default false.
    var hasUnreadInput: Bool { get }

    /// Drops the input that has arrived, without waiting and without a callback: `recv(2)` with
    /// `MSG_TRUNC`. Called before ``close()``, so that the close does not become a reset. The
    /// default is empty.
    func discardInput()

    /// Offers the kernel bytes, without waiting. `send(2)`.
    ///
    /// They are borrowed for the length of the call, and not empty. Called only while the queue of
    /// ``startWriting(from:)`` is empty. The caller keeps the rest. By default two runs are
    /// offered, of which the second is empty.
    ///
    /// - Parameter bytes: At least one, borrowed for the call.
    /// - Returns: How many bytes the kernel took, or what failed.
    func tryWrite(_ bytes: UnsafeRawBufferPointer) -> WriteResult

    /// The same with two runs of bytes, in this order. `writev(2)`.
    ///
    /// - Parameters:
    ///   - first: Borrowed for the call.
    ///   - second: Goes behind `first`; borrowed for the call, and may be empty.
    /// - Returns: How many bytes of both the kernel took, or what failed.
    func tryWrite(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> WriteResult

    /// Sends the queue from its head, each time the kernel has room, until it is empty.
    ///
    /// Progress is reported through ``StreamReceiver/streamDidWrite(byteCount:)``, in which the
    /// core removes the bytes from the queue. The core may append while this is under way.
    /// Descriptors in ``WriteQueue/headDescriptors`` go before the head's first byte. It ends when
    /// the queue is empty after such a call, or at ``close()``.
    ///
    /// - Parameter queue: Kept by the stream until it is empty or the stream is closed.
    func startWriting(from queue: WriteQueue)

    /// Offers the kernel bytes of a regular file, without waiting for room: `sendfile(2)`.
    ///
    /// Called only while the queue of ``startWriting(from:)`` is empty, and for bytes that are in
    /// memory, so that it does not wait for a disk either. By default says that this stream cannot:
    /// then the core reads the file in pieces and writes them.
    ///
    /// - Parameters:
    ///   - file: A descriptor that stays the caller's.
    ///   - offset: Where in the file, in bytes from its start.
    ///   - byteCount: How many bytes to send, at least 1.
    /// - Returns: How many bytes the kernel took, or why it took zero.
    func trySendFile(_ file: Int32, at offset: Int64, byteCount: Int) -> SendFileResult

    /// Asks for a call of ``StreamReceiver/streamHasRoom()`` once, in a later turn, when the queue
    /// of ``startWriting(from:)`` is empty and the kernel has room; at once if it has some.
    ///
    /// Called only for a stream whose ``trySendFile(_:at:byteCount:)`` is its own.
    func awaitRoom()

    /// Says whether what arrives in bulk may go straight to the stream that the receiver names
    /// before each read (``StreamReceiver/spliceTarget``), as `splice(2)` moves it: reported by
    /// ``StreamReceiver/streamDidSplice(byteCount:rest:failure:)`` instead of as a read.
    ///
    /// A stream that cannot, or that finds it not worth while, goes on delivering reads. The
    /// default is empty.
    ///
    /// - Parameter isWanted: False goes back to reads that are reported.
    func spliceInput(_ isWanted: Bool)

    /// Where bytes that are spliced can go, as a stream of the backend's own; nil, the default, if
    /// they have to be written.
    var spliceEntrance: (any BackendStream)? { get }

    /// Whether open descriptors can be sent beside bytes: `unix(7)`. By default false, and the
    /// next three are not called.
    var passesDescriptors: Bool { get }

    /// The process at the other end of a UNIX socket: `SO_PEERCRED`. By default nil.
    var peerCredentials: PeerCredentials? { get }

    /// The descriptor of its socket, pipe or terminal, for calls that the engine does not make: of two
    /// the one that is read. Nil when it is closed, and by default.
    var lentDescriptor: Int32? { get }

    /// The options of its socket now.
    ///
    /// - Throws: ``IOError`` of operation `configure`; by default ``ErrorCode/notSupported``.
    func socketOptions() throws(IOError) -> SocketOptions

    /// Sets those options of its socket that are others now.
    ///
    /// - Parameter options: All of them, changed or not.
    /// - Throws: ``IOError`` of operation `configure`; by default ``ErrorCode/notSupported``.
    func setSocketOptions(_ options: SocketOptions) throws(IOError)

    /// Says whether descriptors that arrive are delivered, by
    /// ``StreamReceiver/streamDidRead(_:carrying:)``. Else, as in the beginning, they are closed.
    ///
    /// - Parameter isWanted: False closes those that arrive.
    func receiveDescriptors(_ isWanted: Bool)

    /// Duplicates descriptors, to be sent later.
    ///
    /// - Parameter descriptors: Stay the caller's.
    /// - Returns: Duplicates, which close themselves when they are released.
    /// - Throws: ``IOError`` of operation `write`.
    func duplicate(_ descriptors: [Int32]) throws(IOError) -> PassedDescriptors

    /// As ``tryWrite(_:)``, with descriptors that go before the first byte. They are taken with the
    /// first byte, or not at all.
    ///
    /// - Parameters:
    ///   - bytes: At least one, borrowed for the call.
    ///   - descriptors: Sent with the first byte, by `SCM_RIGHTS`.
    /// - Returns: How many bytes the kernel took, or what failed.
    func tryWrite(
        _ bytes: UnsafeRawBufferPointer, passing descriptors: PassedDescriptors
    ) -> WriteResult

    /// Ends the outgoing direction: `shutdown(2)` with `SHUT_WR`. The queue is empty.
    ///
    /// - Returns: What went wrong, or nil. It becomes the reason of the loss, so it is the error
    ///   that broke the connection, never just `ENOTCONN`.
    func shutdownWriting() -> ErrorCode?

    /// Whether closing with input unread destroys what was sent, as TCP's reset does; then the
    /// core goes on reading for a while after the last byte was written (`LingeringStreams`).
    var needsDraining: Bool { get }

    /// How many bytes count as written and have not been acknowledged by the peer: `SIOCOUTQ`.
    ///
    /// Zero when the peer's kernel has everything, the FIN included. For a UNIX socket it is the
    /// memory of what the peer's program has not read. Nil, the default, if it is not known.
    var unsentByteCount: Int? { get }

    /// Whether bytes that count as written are still to be handed to the kernel, as a completion
    /// backend may have them. The core asks before it closes, and keeps such a stream open until
    /// they have left. By default false.
    var hasUnsentOutput: Bool { get }

    /// Whether it holds output that it has taken and could not pass on yet, as a filter may. When that
    /// has left it calls ``StreamReceiver/streamHasRoom()``. By default false.
    var isHoldingOutput: Bool { get }

    /// Whether ``close()`` alone would leave out what belongs behind the last byte, so that
    /// ``shutdownWriting()`` has to come before it. By default false.
    var endsOnlyByShutdown: Bool { get }

    /// Closes the stream and releases the receiver. Bytes that the kernel took still leave, unless
    /// input is unread or arrives afterwards. If ``hasUnsentOutput`` is true the peer sees a reset.
    func close()

    /// Closes the stream so that the peer sees a reset: `SO_LINGER` of zero. Releases the receiver.
    func reset()
}

@_spi(Backend) extension BackendStream {
    /// Offers two runs, of which the second is empty.
    ///
    /// - Parameter bytes: At least one, borrowed for the call.
    /// - Returns: As ``tryWrite(_:_:)``.
    public func tryWrite(_ bytes: UnsafeRawBufferPointer) -> WriteResult {
        unsafe tryWrite(bytes, UnsafeRawBufferPointer(start: nil, count: 0))
    }

    /// Nil.
    ///
    /// - Parameter operation: Ignored.
    /// - Returns: `nil`.
    public func subject(of operation: IOError.Operation) -> String? { nil }

    /// False.
    public var hasUnreadInput: Bool { false }

    /// The empty default.
    public func discardInput() {}

    /// Nil.
    public var unsentByteCount: Int? { nil }

    /// False.
    public var hasUnsentOutput: Bool { false }

    /// False.
    public var isHoldingOutput: Bool { false }

    /// False.
    public var endsOnlyByShutdown: Bool { false }

    /// Says that this stream cannot.
    ///
    /// - Parameters:
    ///   - file: Ignored.
    ///   - offset: Ignored.
    ///   - byteCount: Ignored.
    /// - Returns: ``SendFileResult/unsupported``.
    public func trySendFile(_ file: Int32, at offset: Int64, byteCount: Int) -> SendFileResult {
        .unsupported
    }

    /// Empty: it is not called for a stream that cannot send a file.
    public func awaitRoom() {}

    /// Empty: every read is delivered.
    ///
    /// - Parameter isWanted: Ignored.
    public func spliceInput(_ isWanted: Bool) {}

    /// Nil.
    public var spliceEntrance: (any BackendStream)? { nil }

    /// False.
    public var passesDescriptors: Bool { false }

    /// Nil.
    public var peerCredentials: PeerCredentials? { nil }

    /// Nil.
    public var lentDescriptor: Int32? { nil }

    /// Throws.
    public func socketOptions() throws(IOError) -> SocketOptions {
        throw IOError(.configure, function: "", code: .notSupported, subject: peerAddress)
    }

    /// Throws.
    ///
    /// - Parameter options: Ignored.
    /// - Throws: ``IOError`` of code ``ErrorCode/notSupported``.
    public func setSocketOptions(_ options: SocketOptions) throws(IOError) {
        throw IOError(.configure, function: "", code: .notSupported, subject: peerAddress)
    }

    /// The empty default.
    ///
    /// - Parameter isWanted: Ignored.
    public func receiveDescriptors(_ isWanted: Bool) {}

    /// Throws.
    ///
    /// - Parameter descriptors: Ignored.
    /// - Returns: Does not return; it throws.
    /// - Throws: ``IOError`` of code ``ErrorCode/notSupported``.
    public func duplicate(_ descriptors: [Int32]) throws(IOError) -> PassedDescriptors {
        throw IOError(.write, function: "", code: .notSupported, subject: peerAddress)
    }

    /// Fails: this stream cannot pass descriptors.
    ///
    /// - Parameters:
    ///   - bytes: Ignored.
    ///   - descriptors: Ignored.
    /// - Returns: A failure of code ``ErrorCode/notSupported``.
    public func tryWrite(
        _ bytes: UnsafeRawBufferPointer, passing descriptors: PassedDescriptors
    ) -> WriteResult { .failed(.notSupported) }
}

/// The events of a stream, as the core receives them.
///
/// The core's transport is the only conformer outside of tests.
@_spi(Backend) public protocol StreamReceiver: AnyObject {
    /// A stream from ``ReactorBackend/connect(to:options:receiver:)`` is connected. Once, first.
    func streamDidConnect()

    /// Bytes arrived, at least one. Borrowed until the call returns.
    ///
    /// - Parameter bytes: At least one, borrowed until the call returns.
    func streamDidRead(_ bytes: RawSpan)

    /// The same, with descriptors that were sent before the first of these bytes. By default closes
    /// them.
    ///
    /// - Parameters:
    ///   - bytes: At least one, borrowed until the call returns.
    ///   - descriptors: In the order in which they were sent; closed when they are released.
    func streamDidRead(_ bytes: RawSpan, carrying descriptors: PassedDescriptors)

    /// Where bytes that are about to be read may go without coming here, nil if they must come.
    ///
    /// Its queue is empty, and all earlier bytes have left. By default nil.
    var spliceTarget: (any BackendStream)? { get }

    /// Bytes arrived and went to ``spliceTarget``, which did not take `rest`, behind them: borrowed
    /// until the call returns. If the target broke, `failure` is what broke it, and `rest` is
    /// empty. The default is empty, since it is called only after a request.
    ///
    /// - Parameters:
    ///   - byteCount: How many bytes the target took.
    ///   - rest: The bytes behind those, which it did not take; borrowed until the call returns.
    ///   - failure: The error that broke the target; `nil` if it is whole.
    func streamDidSplice(byteCount: Int, rest: RawSpan, failure: ErrorCode?)

    /// EOF: the peer has ended its direction, or everything that had arrived before a failure was
    /// delivered. Once; reading has stopped.
    func streamDidReadEnd()

    /// The kernel took this many bytes from the head of the queue, at least one.
    ///
    /// - Parameter byteCount: At least 1.
    func streamDidWrite(byteCount: Int)

    /// There is room, as ``BackendStream/awaitRoom()`` asked, or a filter's held output has left.
    /// The default is empty.
    func streamHasRoom()

    /// The stream is broken: not connected, or lost. Once. A backend reports an ``IOError``; what
    /// stands over a backend may have reasons of its own.
    ///
    /// If ``BackendStream/hasUnreadInput`` is true, the core may go on reading what had arrived
    /// before; the stream ends that with ``streamDidReadEnd()`` instead of a second error. Else the
    /// core closes it.
    ///
    /// - Parameter error: An ``IOError`` from a backend, anything from a filter.
    func streamDidFail(_ error: any Error)
}

@_spi(Backend) extension StreamReceiver {
    /// Empty: for a receiver that never asks.
    public func streamHasRoom() {}

    /// Nil: all that arrives is to come here.
    public var spliceTarget: (any BackendStream)? { nil }

    /// Empty: for a receiver without a target.
    ///
    /// - Parameters:
    ///   - byteCount: Ignored.
    ///   - rest: Ignored.
    ///   - failure: Ignored.
    public func streamDidSplice(byteCount: Int, rest: RawSpan, failure: ErrorCode?) {}

    /// Closes the descriptors.
    ///
    /// - Parameters:
    ///   - bytes: Ignored.
    ///   - descriptors: Closed.
    public func streamDidRead(_ bytes: RawSpan, carrying descriptors: PassedDescriptors) {
        streamDidRead(bytes)
    }
}

/// How much of an offered write the kernel took.
@_spi(Backend) public enum WriteResult {
    /// So many bytes; zero when it is full now.
    case wrote(Int)
    /// The stream is broken for good.
    case failed(ErrorCode)
}

/// How much of a file the kernel took.
@nonexhaustive
@_spi(Backend) public enum SendFileResult: Hashable, Sendable {
    /// So many bytes, at least one; fewer than offered mostly when it is full now.
    case sent(Int)
    /// It is full now: it took zero bytes.
    case full
    /// The file ends before that offset. It may have been longer.
    case fileEnded
    /// The file cannot be read.
    case fileFailed(ErrorCode)
    /// The stream is broken for good.
    case streamFailed(ErrorCode)
    /// This stream, or this file, does not support it.
    case unsupported
}
