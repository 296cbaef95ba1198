// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if IOUring

internal import CTorsionSockets
internal import CTorsionURing
@_spi(Backend) internal import TorsionCore
@_spi(Backend) internal import TorsionSockets

/// A connected or connecting stream socket.
///
/// Its descriptor is closed by the ring as well, behind all that was prepared for it: an entry names
/// a descriptor by its number, which must not be another file's by the time it is handed over.
///
/// Reading is one operation that goes on until it has received a buffer's worth, and is cancelled
/// only if something arrives while reading is stopped: a stream that stops and starts in between
/// costs nothing. What arrives until the cancellation takes effect is copied and held: the rest of
/// that buffer's worth at most, however much the peer has sent. Without that operation nobody would
/// notice a reset; so a poll for errors takes its place.
final class URingStream: RingTarget {
    let peerAddress: SocketAddress
    /// This end, where that is known without asking the kernel, and once it is closed.
    @exclusivity(unchecked) private var ownEnd: SocketAddress?
    let descriptor: Int32

    // The backend and its ring outlive their streams: they are released after the last handle.
    private unowned(unsafe) let backend: URingBackend
    unowned(unsafe) let ring: Ring
    @exclusivity(unchecked) var receiver: (any StreamReceiver)?
    @exclusivity(unchecked) private(set) var phase: Phase

    /// Polls that the kernel has, whatever became of what they were for.
    @exclusivity(unchecked) var polls: Polls = []

    // Reading
    /// Whether the receiver wants what arrives.
    @exclusivity(unchecked) private var isReading = false
    @exclusivity(unchecked) private var reception = Reception.idle
    @exclusivity(unchecked) private var input = Input.open
    @exclusivity(unchecked) private var held: HeldInput?

    // Writing: see URingStream+Writing.swift.
    /// The number of the ring's call that hands over this stream's batched send.
    @exclusivity(unchecked) var sendSubmitCount: UInt64 = 0
    @exclusivity(unchecked) var batchedSend = BatchedSend()
    /// What a send left, and what the core has queued.
    @exclusivity(unchecked) var pendingOutput: PendingOutput?
    @exclusivity(unchecked) var wish = Wish.none

    enum Phase { case connecting, open, closed }

    /// The operation that receives.
    private enum Reception { case idle, armed, cancelling }

    /// How far the incoming direction has come.
    private enum Input {
        case open
        /// The peer's end was met, whether or not it was delivered.
        case ended
        /// The failure was reported, and the core still reads what had arrived before it.
        case failed
        /// The same, and nothing more comes.
        case failedAndEnded

        var hasEnded: Bool { self == .ended || self == .failedAndEnded }

        var hasFailed: Bool { self == .failed || self == .failedAndEnded }
    }

    /// What the core waits for, behind what counts as written.
    enum Wish {
        case none
        /// To be told of room.
        case room
        /// Writing is to be shut down: the last that it asks for.
        case shutdown
    }

    struct Polls: OptionSet {
        let rawValue: UInt8
        static let errors = Polls(rawValue: 1)
        static let room = Polls(rawValue: 2)
        static let connect = Polls(rawValue: 4)
    }

    /// The failure was reported: nothing can be sent any more.
    var hasFailed: Bool { input.hasFailed }

    /// An accepted socket.
    ///
    /// `own`: This end, if all that are accepted at a place have the same.
    init(
        backend: URingBackend, accepted descriptor: Int32, from peer: SocketAddress,
        at own: SocketAddress?
    ) {
        self.backend = backend
        ownEnd = own
        ring = backend.ring
        peerAddress = peer
        self.descriptor = descriptor
        phase = .open
        super.init()
        backend.openStreamCount += 1
    }

    /// Begins to connect.
    init(
        backend: URingBackend, connectingTo address: SocketAddress, options: StreamOptions,
        receiver: any StreamReceiver
    ) throws(IOError) {
        self.backend = backend
        ring = backend.ring
        peerAddress = address
        descriptor = try connectingSocket(to: address, options)
        phase = .connecting
        self.receiver = receiver
        super.init()
        torsion_uring_prepare_poll(
            ring.nextEntry(), descriptor, UInt32(TORSION_URING_WRITABLE), 0,
            userData(TORSION_URING_CONNECT))
        ring.began(self)
        polls.insert(.connect)
        backend.openStreamCount += 1
    }

    override func completed(_ kind: Int, _ result: Int32, _ flags: UInt32) {
        switch kind {
        case TORSION_URING_SEND_TAIL: tailWasSent(result)
        case TORSION_URING_SEND_QUEUE: queueWasSent(result)
        case TORSION_URING_ERRORS: errorsFound(result, flags)
        case TORSION_URING_CONNECT: finishConnecting()
        case TORSION_URING_ROOM: roomFound()
        default: preconditionFailure("URingStream: an operation of kind \(kind)")
        }
    }

    override func cancelFailed() {
        if reception == .cancelling {
            reception = .armed
            updateReception()
        }
        if phase == .closed { cancelAll() }
    }

    private func finishConnecting() {
        ring.ended(self)
        polls.remove(.connect)
        guard phase == .connecting else { return }
        switch connectOutcome(of: descriptor, to: peerAddress, isBound: true) {
        case .failed(let code): return fail(code, "connect", .connect)
        case .connected(let own): ownEnd = own
        }
        phase = .open
        receiver?.streamDidConnect()
    }

    @inline(never)
    func fail(_ code: ErrorCode, _ function: String, _ operation: IOError.Operation) {
        guard phase != .closed, !hasFailed else { return }
        if phase == .open { input = input == .ended ? .failedAndEnded : .failed }
        let error = IOError(operation, function: function, code: code, subject: "\(peerAddress)")
        receiver?.streamDidFail(error)
    }

    // MARK: Reading

    /// Bytes lie in one of the ring's buffers, or the operation has ended.
    @inline(__always)
    func received(_ result: Int32, _ flags: UInt32) {
        guard result > 0, isReading, held == nil, flags & UInt32(TORSION_URING_HAS_MORE) != 0,
            // Taken out and put back, which moves it: see `SocketStream.read`.
            let receiver = receiver.take()
        else { return receivedOtherwise(result, flags) }
        let number = Int(flags >> UInt32(TORSION_URING_BUFFER_SHIFT))
        let start = ring.buffers.address(number)
        receiver.streamDidRead(UnsafeRawBufferPointer(start: start, count: Int(result)).bytes)
        ring.buffers.give(number)
        // Unless another has taken over meanwhile. Consumed either way, or it would be retained.
        guard self.receiver == nil else { return drop(consume receiver) }
        withUnsafeMutablePointer(to: &self.receiver) { $0.initialize(to: consume receiver) }
        if phase == .closed { self.receiver = nil }
    }

    /// Releases the receiver whose place another has taken.
    @inline(never)
    private func drop(_ former: consuming any StreamReceiver) {}

    @inline(never)
    private func receivedOtherwise(_ result: Int32, _ flags: UInt32) {
        if flags & UInt32(TORSION_URING_HAS_MORE) == 0 {
            reception = .idle
            ring.ended(self)
        }
        if flags & UInt32(TORSION_URING_HAS_BUFFER) != 0 {
            let number = Int(flags >> UInt32(TORSION_URING_BUFFER_SHIFT))
            if result > 0, phase == .open { take(ring.buffers.address(number), Int(result)) }
            ring.buffers.give(number)
        }
        guard phase == .open else { return }
        if result == 0 {
            if hasFailed { return endRest() }
            input = .ended
            if isReading, held == nil { deliverEnd() } else { hold { $0.hasEnded = true } }
        } else if result < 0 {
            let code = ErrorCode(errno: -result)
            switch code {
            case .canceled, .wouldBlock, .interrupted: break
            case .noBufferSpace: ring.buffers.noteShortage()
            default:
                if hasFailed { return endRest() }
                return fail(code, "recv", .read)
            }
        }
        updateReception()
    }

    /// Everything that had arrived before the failure has come in.
    private func endRest() {
        input = .failedAndEnded
        if held == nil { deliverEnd() } else { hold { $0.hasEnded = true } }
    }

    private func take(_ start: UnsafeRawPointer, _ count: Int) {
        let bytes = UnsafeRawBufferPointer(start: start, count: count).bytes
        if isReading, held == nil {
            receiver?.streamDidRead(bytes)
        } else {
            hold { $0.append(bytes) }
        }
    }

    private func hold(_ change: (HeldInput) -> Void) {
        let held = held ?? HeldInput(backend)
        self.held = held
        change(held)
        // Reading began again before this turn's completions came.
        if isReading { deliverHeldLater() }
    }

    private func deliverHeldLater() {
        guard let held, !held.isAwaitingDelivery else { return }
        held.isAwaitingDelivery = true
        ring.deliverLater(self)
    }

    override func deliverHeld() {
        guard let held else { return }
        held.isAwaitingDelivery = false
        while isReading, let bytes = held.popFirst() { receiver?.streamDidRead(bytes.span) }
        guard phase == .open, isReading else { return }
        self.held = nil
        if held.hasEnded { deliverEnd() }
        updateReception()
    }

    private func deliverEnd() {
        isReading = false
        receiver?.streamDidReadEnd()
    }

    /// Arms or cancels what the kernel is asked for, after something arrived or was asked for.
    private func updateReception() {
        guard phase == .open else { return }
        switch reception {
        case .armed: if !isReading { cancelReception() }
        case .cancelling: break
        case .idle:
            switch input {
            case .open where isReading, .failed where isReading: arm()
            case .open, .ended: watchErrors()
            case .failed: if !hasUnreadInput { endRest() }
            case .failedAndEnded: break
            }
        }
    }

    private func arm() {
        torsion_uring_prepare_receive(
            ring.nextEntry(), descriptor, ring.receiveLimit, userData(TORSION_URING_RECEIVE))
        ring.began(self)
        reception = .armed
    }

    private func cancelReception() {
        reception = .cancelling
        ring.cancel(self, TORSION_URING_RECEIVE)
    }

    private func watchErrors() {
        guard polls.insert(.errors).inserted else { return }
        torsion_uring_prepare_poll(
            ring.nextEntry(), descriptor, 0, 1, userData(TORSION_URING_ERRORS))
        ring.began(self)
    }

    private func errorsFound(_ result: Int32, _ flags: UInt32) {
        if flags & UInt32(TORSION_URING_HAS_MORE) == 0 {
            polls.remove(.errors)
            ring.ended(self)
        }
        guard phase == .open, !hasFailed, result >= 0, Int(result) & TORSION_URING_ERROR != 0 else {
            return
        }
        if let code = pendingError(of: descriptor) { fail(code, "recv", .read) }
    }

    // MARK: The end

    private func cancelAll() {
        if reception == .armed { cancelReception() }
        if polls.contains(.errors) { ring.cancel(self, TORSION_URING_ERRORS) }
        if polls.contains(.room) { ring.cancel(self, TORSION_URING_ROOM) }
        if polls.contains(.connect) { ring.cancel(self, TORSION_URING_CONNECT) }
        cancelLateOutput()
    }

    private func leave() {
        precondition(phase != .closed, "BackendStream: closed twice")
        // The program may ask until it has heard of the loss, and after.
        if ownEnd == nil, phase == .open { ownEnd = knownAddress(of: descriptor) }
        phase = .closed
        wish = .none
        isReading = false
        held = nil
        receiver = nil
        releaseQueue()
        backend.openStreamCount -= 1
        ring.buffers.streamHasGone(streamCount: backend.openStreamCount)
    }
}

/// What arrived after reading was stopped.
private final class HeldInput {
    private let backend: URingBackend
    private var chunks = PieceQueue<Bytes>()
    private var byteCount = 0
    var hasEnded = false
    var isAwaitingDelivery = false

    init(_ backend: URingBackend) { self.backend = backend }

    deinit { backend.heldByteCount -= byteCount }

    var isEmpty: Bool { byteCount == 0 }

    func append(_ bytes: RawSpan) {
        chunks.append(Bytes(bytes))
        count(bytes.byteCount)
    }

    func popFirst() -> Bytes? {
        guard let first = chunks.popFirst() else { return nil }
        count(-first.count)
        return first
    }

    private func count(_ change: Int) {
        byteCount += change
        backend.heldByteCount += change
    }
}

extension URingStream: BackendStream {
    var localAddress: SocketAddress {
        if let ownEnd { return ownEnd }
        return phase == .closed ? .unix(.unnamed) : ownAddress(of: descriptor)
    }

    func deliver(to receiver: any StreamReceiver) { self.receiver = receiver }

    func startReading() {
        isReading = true
        if held == nil { updateReception() } else { deliverHeldLater() }
    }

    func stopReading() {
        isReading = false
        // While the reception goes on it notices a reset.
        if reception == .idle, !hasFailed { updateReception() }
    }

    /// While the ring has completions that were not delivered they may be this stream's.
    var hasUnreadInput: Bool {
        if let held, !held.isEmpty { return true }
        return reception != .idle && ring.hasCompletions
            || torsion_unread_byte_count(descriptor) > 0
    }

    /// What the ring's buffers have already is dropped by the close.
    func discardInput() { torsion_discard_input(descriptor) }

    var lentDescriptor: Int32? { phase == .closed ? nil : descriptor }

    func socketOptions() throws(IOError) -> SocketOptions {
        try readSocketOptions(of: descriptor, at: peerAddress)
    }

    func setSocketOptions(_ options: SocketOptions) throws(IOError) {
        try changeSocketOptions(of: descriptor, at: peerAddress, to: options)
    }

    var needsDraining: Bool { true }

    var unsentByteCount: Int? {
        let count = torsion_unsent_byte_count(descriptor)
        return count >= 0 ? Int(count) + lateByteCount : nil
    }

    func close() {
        // What is cut cannot leave any more: the peer has to see that.
        if hasUnsentOutput { _ = torsion_set_abortive_close(descriptor) }
        finish()
    }

    func reset() {
        _ = torsion_set_abortive_close(descriptor)
        dropBatchedSend()
        finish()
    }

    private func finish() {
        leave()
        // At once, if the kernel takes no entry any more, or none names the descriptor: a client who is
        // refused must not keep what the next one needs until the turn's end.
        guard !ring.isBroken, operationCount > 0 || isBatching else {
            return torsion_close(descriptor)
        }
        cancelAll()
        torsion_uring_prepare_close(ring.queue, ring.nextEntry(), descriptor)
    }
}

#endif
