// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A connection for async code: bytes are read when they are asked for, and writing waits for room.
///
///     let connection = try await endpoint.connect(on: reactor).value
///     try await connection.write("hello\r\n")
///     for try await bytes in connection.inbound { print(bytes) }
///
/// It belongs to its reactor: use it in tasks of that reactor, on whose thread they stay. One task
/// reads at a time, any number write. The connection is closed by ``close()``, or when the last
/// reference to it goes.
///
/// Bytes are read as they come, by count, or as lines, frames and messages: `TorsionProtocols` has
/// `lines()`, `frames(_:)` and `messages(_:)`. Bytes that one call does not use are left for the
/// next.
///
/// A peer that ends its direction is an end of reading only; what is written still leaves.
///
/// When the reactor stops, or the server that accepted the connection ends, reading throws
/// ``ShutdownRequested``: so an end is always the peer's, and what was read to the end is all that
/// the peer sent. Writing goes on until the grace period is over. Let the error pass if the task is
/// done; catch it to send some last bytes:
///
///     do {
///         for try await bytes in connection.inbound { try await connection.write(bytes) }
///     } catch is ShutdownRequested {
///         try await connection.write("the server is going down\r\n")
///     }
public final class AsyncConnection {
    let mailbox: ConnectionMailbox

    /// The transport below, for calls that do not wait: `write` on it never suspends, and a peer
    /// that does not read is aborted at ``Watermarks/limit``.
    public let transport: any StreamTransport

    init(_ mailbox: ConnectionMailbox) {
        self.mailbox = mailbox
        transport = mailbox.transport
    }

    deinit { mailbox.close() }

    /// The reactor that this connection belongs to.
    public var reactor: Reactor { transport.reactor }

    /// A name for logs and dictionaries.
    public var id: ConnectionID { transport.id }

    /// The other end.
    public var peerAddress: SocketAddress { transport.peerAddress }

    /// This end.
    public var localAddress: SocketAddress { transport.localAddress }

    /// Ends reading, sends what was written, and closes: ``StreamTransport/loseConnection()``.
    ///
    /// Returns at once; a reader sees the end.
    public func close() { mailbox.close() }

    // MARK: Reading

    /// The received bytes, cut anywhere, each piece with its own storage; ends at EOF or with
    /// ``close()``.
    ///
    /// Throws as ``read(_:)`` does.
    ///
    /// Reads only when asked: a loop that is busy leaves the peer waiting, and at most one read is
    /// held here. If you leave the loop, every byte stays for the next one.
    public var inbound: Inbound { Inbound(mailbox: mailbox) }

    /// Waits for bytes and lends them to `body`, without an allocation or a copy.
    ///
    ///     while try await connection.read({ parser.feed($0) }) != nil {}
    ///
    /// `body` gets at least one byte, borrowed until it returns, and is to use all: what it leaves
    /// is gone. It runs on the reactor, and may write to ``transport``.
    ///
    /// - Parameter body: Called once, on the reactor, with bytes that are borrowed until it
    ///   returns.
    /// - Returns: What `body` returns; nil at the peer's end, without calling it.
    /// - Throws: What `body` throws; ``ConnectionLoss`` if the connection breaks,
    ///   ``ShutdownRequested`` if the reactor or the server stops, `CancellationError` if the task
    ///   is cancelled; the bytes stay.
    public nonisolated(nonsending) func read<Result>(
        _ body: (RawSpan) throws -> Result
    ) async throws -> Result? {
        guard try await mailbox.waitForBytes() else { return nil }
        return try mailbox.take(body)
    }

    /// Reads everything up to the peer's end, at most `limitBytes`.
    ///
    /// - Parameter limitBytes: The most that is kept, in bytes.
    /// - Returns: All bytes up to EOF; empty if the peer sent only EOF.
    /// - Throws: ``ReadLimitExceeded`` when more arrives; ``ConnectionLoss``,
    ///   ``ShutdownRequested``, `CancellationError`.
    public nonisolated(nonsending) func readToEnd(limitBytes: Int) async throws -> Bytes {
        var whole: [UInt8] = []
        while try await mailbox.waitForBytes() {
            let fits = mailbox.take { bytes in
                guard bytes.byteCount <= limitBytes - whole.count else { return false }
                whole += bytes
                return true
            }
            guard fits else { throw ReadLimitExceeded(limitBytes: limitBytes) }
        }
        return Bytes(whole)
    }

    /// Waits for some bytes, at most so many; the others stay.
    ///
    /// - Parameter limitBytes: The most to take, at least 1.
    /// - Returns: At least one byte; nil at the peer's end.
    /// - Throws: As ``read(_:)`` does.
    public nonisolated(nonsending) func read(upTo limitBytes: Int) async throws -> Bytes? {
        require(limitBytes > 0, "read(upTo:): need at least 1, got \(limitBytes)")
        return try await mailbox.readMessage(limitBytes: .max) { reader in
            try reader.readBytes(min(limitBytes, reader.remainingByteCount))
        }
    }

    /// Waits for exactly so many bytes; those behind them stay.
    ///
    ///     let header = try await connection.read(exactly: 4)
    ///     let length = header.span.integer(at: 0, as: UInt32.self)!
    ///
    /// - Parameter byteCount: 0 or more. That many may be held for the peer: check a number that it
    ///   has sent.
    /// - Returns: That many bytes.
    /// - Throws: ``UnexpectedEnd`` if the peer ends before, and what has arrived stays; else as
    ///   ``read(_:)`` does. If the task is cancelled, the bytes stay for the next call.
    public nonisolated(nonsending) func read(exactly byteCount: Int) async throws -> Bytes {
        require(byteCount >= 0, "read(exactly:): need 0 or more, got \(byteCount)")
        guard byteCount > 0 else { return Bytes() }
        let bytes = try await mailbox.readMessage(limitBytes: byteCount) { reader in
            try reader.readBytes(byteCount)
        }
        guard let bytes else { throw UnexpectedEnd(byteCount: 0) }
        return bytes
    }

    /// Waits for one message, which `decode` takes from the beginning of what has arrived.
    ///
    /// - Returns: Nil if the peer ends before the message's first byte.
    package nonisolated(nonsending) func readMessage<Message>(
        limitBytes: Int, _ decode: (inout ByteReader) throws -> Message
    ) async throws -> Message? {
        try await mailbox.readMessage(limitBytes: limitBytes, decode)
    }

    // MARK: Writing

    /// Queues a copy of `bytes`, and waits while more than the high mark is queued.
    ///
    /// It returns as soon as there is room for more, not when the peer has the bytes. Writes
    /// between two waits leave together, at the task's next wait.
    ///
    /// - Parameter bytes: Any number; copied before the call first waits.
    /// - Throws: ``ConnectionLoss`` if the connection is closed or broken, `CancellationError`; in
    ///   the latter case the bytes are queued all the same.
    public nonisolated(nonsending) func write(_ bytes: RawSpan) async throws {
        transport.write(bytes)
        if !mailbox.mayGoOn(afterWriting: bytes.byteCount) { try await mailbox.waitForRoom() }
    }

    /// Queues `bytes` without a copy where that pays; see ``write(_:)-(RawSpan)``.
    ///
    /// - Parameter bytes: Any number; shared with the caller, whose value does not change.
    /// - Throws: As ``write(_:)-(RawSpan)``.
    public nonisolated(nonsending) func write(_ bytes: Bytes) async throws {
        transport.write(bytes)
        if !mailbox.mayGoOn(afterWriting: bytes.count) { try await mailbox.waitForRoom() }
    }

    /// Queues a copy of `bytes`; see ``write(_:)-(RawSpan)``.
    ///
    /// - Parameter bytes: Any number; copied before the call first waits.
    /// - Throws: As ``write(_:)-(RawSpan)``.
    public nonisolated(nonsending) func write(_ bytes: [UInt8]) async throws {
        transport.write(bytes)
        if !mailbox.mayGoOn(afterWriting: bytes.count) { try await mailbox.waitForRoom() }
    }

    /// Queues the UTF-8 of `text`; see ``write(_:)-(RawSpan)``.
    ///
    /// - Parameter text: Of any length, sent without a terminating zero.
    /// - Throws: As ``write(_:)-(RawSpan)``.
    public nonisolated(nonsending) func write(_ text: String) async throws {
        transport.write(text)
        if !mailbox.mayGoOn(afterWriting: text.utf8.count) { try await mailbox.waitForRoom() }
    }

    // MARK: Filters

    /// Puts a filter below the connection, as STARTTLS does, and waits until it has agreed.
    ///
    /// Earlier writes leave unfiltered; bytes that have arrived and were not read go through the
    /// filter. Call it from the task that reads, and not while another waits for bytes.
    ///
    /// - Parameter filter: One that this connection alone uses.
    /// - Throws: ``ConnectionLoss`` if it does not agree, which ends the connection;
    ///   `CancellationError`, which ends it as well.
    public nonisolated(nonsending) func startFilter(_ filter: StreamFilter) async throws {
        let remaining = mailbox.takeForFilter()
        try await transport.startFilter(filter, remaining: remaining.span).value
    }

    /// Sends what is queued, then ends the outgoing direction; reading goes on.
    public func finishWriting() { mailbox.finishWriting() }
}

extension AsyncConnection {
    /// The bytes of a connection as a sequence.
    public struct Inbound: AsyncSequence {
        /// Bytes as they were read, at least one.
        public typealias Element = Bytes

        let mailbox: ConnectionMailbox

        /// Begins where reading stands.
        public func makeAsyncIterator() -> Iterator { Iterator(mailbox: mailbox) }

        /// Reads when it is asked.
        public struct Iterator: AsyncIteratorProtocol {
            let mailbox: ConnectionMailbox

            /// Waits for the next bytes; nil at the end.
            public mutating func next() async throws -> Bytes? {
                guard try await mailbox.waitForBytes() else { return nil }
                return mailbox.takeBytes()
            }

            /// Waits for the next bytes; nil at the end.
            ///
            /// - Parameter actor: The caller's; leave it out.
            /// - Returns: At least one byte; nil after EOF.
            /// - Throws: As ``AsyncConnection/read(_:)``.
            public mutating func next(
                isolation actor: isolated (any Actor)?
            ) async throws(any Error) -> Bytes? {
                guard try await mailbox.waitForBytes() else { return nil }
                return mailbox.takeBytes()
            }
        }
    }
}

/// A connection is to end because something here stops: its reactor, or the server that accepted
/// it.
///
/// Thrown to tasks that read from an ``AsyncConnection``, so that they do not take it for the
/// peer's end; a client that sees it does not connect again. Bytes that were written still leave,
/// and so do those written until the grace period is over. A task that lets it pass has ended as it
/// should: it is neither reported nor a program's failure.
///
/// A protocol with callbacks is called by ``StreamProtocol/shutdownRequested(_:)``.
public struct ShutdownRequested: Error, Hashable, Sendable, CustomStringConvertible {
    /// A sentence.
    public var description: String { "the connection's reactor or its server is stopping" }

    /// Makes one.
    public init() {}
}

/// A peer sent more than was allowed.
public struct ReadLimitExceeded: Error, Hashable, Sendable, CustomStringConvertible {
    /// The most that would have been taken.
    public let limitBytes: Int

    /// A sentence.
    public var description: String { "the peer sent more than \(limitBytes) bytes" }

    package init(limitBytes: Int) { self.limitBytes = limitBytes }
}

extension StreamClientEndpoint {
    /// Connects, for async code.
    ///
    ///     let connection = try await endpoint.connect(on: reactor).value
    ///
    /// - Parameter reactor: Where the connection belongs; call this on its thread.
    /// - Returns: The connection, which closes when it is released. It fails with an ``IOError``
    ///   that names the address and the cause.
    public func connect(on reactor: Reactor) -> Deferred<AsyncConnection> {
        connect(on: reactor) { ConnectionMailbox() }.addCallback { AsyncConnection($0) }
    }
}
