// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A stage between a connection and its socket that changes bytes, or agrees on terms with the peer
/// before the connection is made: TLS, a proxy's handshake, compression, a throttle.
///
///     /// Sends a line first, and waits for one.
///     final class Greeting: StreamFilter {
///         private var line = Bytes()
///         override func begin() { send("hello\n") }
///         override func receive(_ bytes: RawSpan) throws {
///             guard !hasAgreed else { return deliver(bytes) }
///             line += Bytes(bytes)
///             guard let end = line.firstIndex(of: 10) else { return }
///             agree()
///             deliver(line[(end + 1)...].span)
///         }
///     }
///     try endpoint.filtered { Greeting() }.listen(on: reactor) { Echo() }
///
/// A filter has the stream below and the connection, or another filter, above. Input comes to
/// ``receive(_:)``, which passes it up by ``deliver(_:)``; output of the connection comes to
/// ``transmit(_:)``, which passes it down by ``send(_:)-(RawSpan)``. One that overrides neither
/// passes every byte.
///
/// The connection is made, and its protocol exists, when the filter has called ``agree(_:)``. If
/// that does not happen within ``StreamOptions/handshakeTimeout``, or the peer closes before, the
/// connect fails, or the client is given up, with the reason. A filter whose work is done then
/// calls ``withdraw(unread:_:)`` instead, and leaves the path.
///
/// Make one for each connection. It belongs to its connection's reactor: every member is called
/// there, and may be called there only.
///
/// - Complexity: A filter that passes bytes costs two calls each way.
/// - SeeAlso: Twisted `ProtocolWrapper`, SwiftNIO `ChannelHandler`.
@safe
open class StreamFilter {
    /// Where it is in its life.
    enum Stage: UInt8 {
        /// Over no stream yet.
        case unattached
        /// Agreeing on its terms: nothing is delivered, nothing is written but its own bytes.
        case handshaking
        /// Bytes pass.
        case open
        /// It has taken itself out of the path.
        case withdrawn
        case closed
    }

    /// Which call is in progress, the innermost.
    enum Call: UInt8 {
        case none
        /// ``start()``, whose caller looks at the stage when it returns.
        case starting
        /// One from the stream below, in which the receiver above may be called.
        case receiving
        /// One of the connection's, whose result says that sending failed: nobody above is called.
        case transmitting
    }

    /// How far the outgoing direction has come.
    enum WriteEnd: UInt8 {
        case open
        /// The connection has ended it; the stream below is told when output has left.
        case behindOutput
        /// The stream below was told, or the connection was answered that it could not be.
        case ended
    }

    /// What is so or not whatever else is: what the two sides want, and what has come.
    struct Flags: OptionSet {
        let rawValue: UInt16
        /// It passes everything as it is, also the other side's queue.
        static let isTransparent = Flags(rawValue: 1)
        /// The connection wants what arrives.
        static let wantsInput = Flags(rawValue: 2)
        /// The stream below was asked to read.
        static let readsBelow = Flags(rawValue: 4)
        /// The filter itself wants nothing for now.
        static let isReceivingPaused = Flags(rawValue: 8)
        /// The peer has ended, and the connection does not know yet.
        static let holdsEnd = Flags(rawValue: 16)
        /// The stream below will deliver nothing more.
        static let inputHasEnded = Flags(rawValue: 32)
        /// On the reactor's list of filters that have something to deliver.
        static let isListed = Flags(rawValue: 64)
        /// The stream below has failed.
        static let hasFailed = Flags(rawValue: 128)
        /// It has broken the connection behind last bytes, which the peer is to get.
        static let endsGracefully = Flags(rawValue: 256)
        /// Cached fast-path test: agreed, nothing waits to be sent, and ``extra`` has nothing.
        ///
        /// Whoever may change one of these takes it away; ``updatePlainness()`` gives it back.
        static let isPlain = Flags(rawValue: 512)
    }

    /// What few filters have, and none for long.
    final class Extra {
        /// What was agreed on, until the connection has it.
        var details: ConnectionDetails?
        /// What the connection is to be told in the reactor's next turn.
        var failure: (any Error)?
        /// What the stream below did not take of a send inside ``tryWrite(_:_:)``.
        var sendFailure: ErrorCode?
        /// What arrived before the filter, or what it has left to its successor.
        var input = Bytes()
        /// What was delivered while the connection did not want it.
        var held: KeptBytes?
        /// What the filter has given back of what arrived, until it reads on.
        var unread: KeptBytes?
        /// The peer has ended behind ``unread``, and the filter does not know yet.
        var endsBehindUnread = false

        /// Whether it is of no use for now, and need not wait beside an idle connection.
        var isIdle: Bool {
            details == nil && failure == nil && sendFailure == nil && input.isEmpty
                && held == nil && unread == nil && !endsBehindUnread
        }
    }

    @exclusivity(unchecked) final var below: (any BackendStream)!
    @exclusivity(unchecked) final var above: (any StreamReceiver)?
    @exclusivity(unchecked) final unowned(unsafe) var owner: Reactor!
    /// What was sent and the stream below has not taken.
    ///
    /// Made at the first refusal, and kept.
    @exclusivity(unchecked) final var output: WriteQueue?
    /// The connection's, which goes on when ``output`` is empty.
    @exclusivity(unchecked) final var upper: WriteQueue?
    @exclusivity(unchecked) final var extra: Extra?
    @exclusivity(unchecked) final var stage = Stage.unattached
    @exclusivity(unchecked) final var call = Call.none
    @exclusivity(unchecked) final var writeEnd = WriteEnd.open
    @exclusivity(unchecked) final var flags: Flags = []
    /// Since when it does not read; meaningless while ``isReceivingPaused`` is false.
    @exclusivity(unchecked) final var pauseStart = MonotonicInstant(nanoseconds: 0)

    /// A filter that waits for its stream.
    public init() {}

    /// One that passes everything as it is, without looking at it.
    package init(isTransparent: Bool) { if isTransparent { flags.insert(.isTransparent) } }

    // MARK: To override

    /// The stream below is connected: begins to agree.
    ///
    /// May call ``send(_:)-(RawSpan)`` and ``agree(_:)``. By default agrees at once.
    ///
    /// - Throws: What the connect fails with, or the client is given up with.
    open func begin() throws { agree() }

    /// Bytes arrived.
    ///
    /// By default passes them up by ``deliver(_:)``.
    ///
    /// - Parameter bytes: At least one. Borrowed until the call returns.
    /// - Throws: What breaks the connection, as ``fail(_:)`` does.
    open func receive(_ bytes: RawSpan) throws { deliver(bytes) }

    /// EOF: the peer has ended its direction.
    ///
    /// By default passes the end up by ``deliverEnd()``; before ``agree(_:)`` throws, since the
    /// handshake cannot end any more. A filter whose peer has to say goodbye first throws where it
    /// did not.
    ///
    /// - Throws: What breaks the connection, or what the attempt fails with.
    open func receiveEnd() throws {
        guard hasAgreed else {
            throw IOError(
                .handshake, function: "", code: .connectionReset, subject: peerAddress)
        }
        deliverEnd()
    }

    /// The connection writes.
    ///
    /// Called when everything that was sent before has been taken by the stream below, so that a
    /// filter holds at most what it makes of one call. By default sends the bytes as they are.
    ///
    /// - Parameter bytes: At least one, at most ``transmitLimitBytes``. Borrowed until the call returns.
    /// - Returns: How many were used, from the first; fewer if the rest is to come again when what was
    ///   sent has left, or, for 0, when ``resumeTransmitting()`` is called.
    /// - Throws: What breaks the connection.
    open func transmit(_ bytes: RawSpan) throws -> Int {
        send(bytes)
        return bytes.byteCount
    }

    /// How many bytes ``transmit(_:)`` is offered at a time, which bounds what the filter holds.
    ///
    /// By default 16 KiB; less than 4 KiB counts as that.
    open var transmitLimitBytes: Int { 16 * 1024 }

    /// The connection has written its last byte: sends what comes behind it, if anything.
    ///
    /// The outgoing direction ends when that has left. The default is empty.
    ///
    /// - Throws: What breaks the connection.
    open func endTransmission() throws {}

    /// The connection is over, whatever the reason, also an attempt that was given up.
    ///
    /// The last call. The default is empty.
    open func closed() {}

    /// Asserts what must hold between events, for filters with a state of their own.
    ///
    /// `Reactor.checkInvariants()`, which the simulator calls after each step, asks the filters of
    /// each connection. The default is empty.
    open func checkInvariants() {}

    // MARK: What it may call

    /// The reactor that it belongs to.
    ///
    /// From ``begin()`` on.
    public final var reactor: Reactor { owner }

    /// The other end of the stream below.
    ///
    /// From ``begin()`` on.
    public final var peerAddress: SocketAddress { below.peerAddress }

    /// This end of the stream below.
    ///
    /// From ``begin()`` on.
    public final var localAddress: SocketAddress { below.localAddress }

    /// Whether ``agree(_:)`` was called, and the connection goes on.
    public final var hasAgreed: Bool { stage == .open }

    /// Whether the connection takes what is delivered now; else ``deliver(_:)`` holds it.
    ///
    /// A filter that makes many bytes of few, or has more than one message in a read, may give back
    /// the rest by ``unread(_:)`` instead.
    public final var isDelivering: Bool {
        stage == .open && held == nil && flags.contains(.wantsInput)
    }

    /// Whether ``pauseReceiving()`` was called last.
    public final var isReceivingPaused: Bool { flags.contains(.isReceivingPaused) }

    /// Whether ``transmit(_:)`` has left something that waits in the connection's queue.
    public final var hasWaitingWrites: Bool { !(upper?.isEmpty ?? true) }

    /// Whether something that was sent has not been taken by the stream below yet.
    public final var isSending: Bool { !(output?.isEmpty ?? true) }

    /// The terms are agreed on: the connection is made, and bytes pass from now on.
    ///
    /// Once, before anything is delivered; never inside a call that the connection makes.
    ///
    /// - Parameter details: The facts of the handshake.
    public final func agree(_ details: ConnectionDetails = ConnectionDetails()) {
        guard stage == .handshaking else { return agreedTwice() }
        stage = .open
        updatePlainness()
        if !details.isEmpty { extras.details = details }
        reportAgreement()
    }

    /// The terms are agreed on, and the filter is done: the connection goes on over the stream below.
    ///
    /// The filter's output leaves before the connection's.
    ///
    /// - Parameters:
    ///   - unread: Input of the connection that the filter has received. Copied.
    ///   - details: The facts of the handshake.
    public final func withdraw(
        unread: RawSpan = RawSpan(), _ details: ConnectionDetails = ConnectionDetails()
    ) {
        guard stage == .handshaking else { return agreedTwice() }
        stage = .withdrawn
        if !details.isEmpty { extras.details = details }
        leaveInput(unread)
        // What arrives until what was sent has left is the connection's, which has not come yet.
        stopReadingBelow()
        if !isSending { reportAgreement() }
    }

    /// Passes bytes up: at once, or when the connection reads again.
    ///
    /// - Parameter bytes: Borrowed for the call; copied if the connection does not read now.
    public final func deliver(_ bytes: RawSpan) {
        guard flags.isSuperset(of: [.isPlain, .wantsInput]), call == .receiving,
            bytes.byteCount > 0
        else { return deliverOtherwise(bytes) }
        passUp(bytes)
    }

    /// Passes the peer's end up, behind what was delivered.
    public final func deliverEnd() {
        guard stage == .open else { return }
        flags.insert(.holdsEnd)
        if held == nil, call == .receiving, flags.contains(.wantsInput) {
            passEndUp()
        } else {
            deliverLater()
        }
    }

    /// Gives back the rest of what arrived, which ``receive(_:)`` is called with again when the
    /// connection reads on, or before ``agree(_:)`` in a later turn; not while
    /// ``isReceivingPaused``.
    ///
    /// Inside ``receive(_:)``, whose remaining bytes these are. Reading from the stream below stops
    /// meanwhile, and its end comes behind them.
    ///
    /// - Parameter bytes: Copied.
    public final func unread(_ bytes: RawSpan) {
        guard bytes.byteCount > 0, stage == .open || stage == .handshaking else { return }
        let unread = extras.unread ?? KeptBytes(countedIn: owner.queues)
        extras.unread = unread
        unread.append(bytes)
        updateReading()
        if mayReceiveUnread { deliverLater() }
    }

    /// Sends bytes to the peer, behind what was sent before.
    ///
    /// - Parameter bytes: Any number of bytes. Borrowed for the call; what the stream below does not
    ///   take is copied.
    public final func send(_ bytes: RawSpan) {
        unsafe sendBytes(bytes.withUnsafeBytes { unsafe $0 })
    }

    @inline(__always)
    final func sendBytes(_ bytes: UnsafeRawBufferPointer) {
        guard flags.contains(.isPlain), bytes.count > 0 else { return unsafe sendOtherwise(bytes) }
        let result = withBelow { unsafe $0.tryWrite(bytes) }
        if case .wrote(let count) = result, count == bytes.count { return }
        unsafe finishSending(bytes, result)
    }

    /// Sends bytes to the peer, behind what was sent before.
    ///
    /// - Parameter bytes: Any number.
    public final func send(_ bytes: Bytes) { send(bytes.span) }

    /// Breaks the connection, or the attempt to make it, with this reason.
    ///
    /// Earlier deliveries come to the protocol first, if it reads.
    ///
    /// - Parameter error: The reason of the loss: an ``IOError`` or a ``ConnectionLoss`` as it is,
    ///   anything else as ``ConnectionLoss/protocolFailed(_:)``.
    public final func fail(_ error: any Error) {
        guard stage == .open || stage == .handshaking, extra?.failure == nil else { return }
        guard call == .receiving else {
            extras.failure = error
            if call != .starting { deliverLater() }
            return
        }
        flags.insert(.hasFailed)
        above?.streamDidFail(error)
    }

    /// Breaks the connection, or the attempt to make it, with this reason, behind last bytes that tell
    /// the peer.
    ///
    /// As ``fail(_:)``; but the stream below is closed as by
    /// ``StreamTransport/loseConnection()``: writing is shut down, and what the peer still sends is
    /// discarded for a while, since a reset would overtake the bytes.
    ///
    /// - Parameters:
    ///   - error: The reason of the loss.
    ///   - lastBytes: Sent to the peer first; copied.
    public final func fail(_ error: any Error, behind lastBytes: RawSpan) {
        send(lastBytes)
        if extra?.sendFailure == nil { flags.insert(.endsGracefully) }
        fail(error)
    }

    /// Stops reading from the stream below, so that the peer feels it, until ``resumeReceiving()``.
    public final func pauseReceiving() {
        if !isReceivingPaused { pauseStart = owner.presentTime }
        flags.insert(.isReceivingPaused)
        updateReading()
    }

    /// Reads on, if the connection does.
    public final func resumeReceiving() {
        flags.remove(.isReceivingPaused)
        if hasUnread { deliverLater() } else { updateReading() }
    }

    /// Calls ``transmit(_:)`` again with what it has not used.
    public final func resumeTransmitting() { pump() }

    private func agreedTwice() {
        if stage == .open || stage == .withdrawn { mistake("StreamFilter: agreed twice") }
    }
}

/// Passes everything as it is: for measuring, and for tests of what is above it.
package func makeTransparentFilter() -> StreamFilter { StreamFilter(isTransparent: true) }
