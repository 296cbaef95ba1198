// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The engine's transport: one connection over a backend's stream.
///
/// What to do next is decided by two pure types, ``ConnectionStateMachine`` for the connection's
/// life and ``BackpressureGate`` for its flow; this class carries it out. Every call of user code
/// happens inside an event of the reactor, and none inside another callback of this connection.
///
/// User code is called as the last act of a public call, a flush or a report of the backend, when
/// every byte is in its place: it may write, close or register something, and then what the engine
/// had read before is past. So whatever puts bytes in place (``place(_:owner:)`` and below) calls
/// none, and whatever calls some reads nothing afterwards that it had read before.
@safe
final class StreamConnection {
    /// Writes of this size leave at once from where they lie, instead of being coalesced.
    static let directWriteByteCount = 4 * 1024

    let reactor: Reactor
    let id: ConnectionID
    let stream: any BackendStream
    private let options: SharedOptions

    @exclusivity(unchecked) private var machine = ConnectionStateMachine()
    /// Whether the connection is open, under its limit and without a pull producer: then a write
    /// and a flush, which every message pays for, need not ask for anything else.
    @exclusivity(unchecked) private var isPlain = false
    @exclusivity(unchecked) private var proto: (any StreamProtocol)?
    @exclusivity(unchecked) private var gate: BackpressureGate

    /// Small writes made in this connection's own event are coalesced here, see ``Cork``.
    private let cork: UnsafeMutablePointer<Cork>
    /// Those made in another event: borrowed from the reactor's pool from the first until its end.
    @exclusivity(unchecked) private var coalesced: UnsafeMutableRawPointer?
    @exclusivity(unchecked) private var coalescedCount = 0
    @exclusivity(unchecked) private var isOnFlushList = false
    /// On the reactor's list of pull producers to ask, also if the one that was ready has gone.
    @exclusivity(unchecked) private var isOnReadyList = false
    /// What the kernel refused.
    ///
    /// Made at the first refusal.
    @exclusivity(unchecked) private var queue: WriteQueue?

    @exclusivity(unchecked) private var producer = RegisteredProducer.none
    /// Takes over when the present callback has returned.
    @exclusivity(unchecked) private var pendingSwitch: (any StreamProtocol)?
    /// The peer's end was told to the former protocol, and is to be told to the present one.
    @exclusivity(unchecked) private var owesReadClosed = false
    /// This side has begun to close, and its protocol may want to know.
    @exclusivity(unchecked) private var reportsClosing = false
    /// What a protocol gave back, or left to its successor; nil if there is nothing.
    @exclusivity(unchecked) private var unreadBytes: KeptBytes?
    /// What the program asked for; what the kernel is asked for depends on more.
    @exclusivity(unchecked) private var isPaused = false
    @exclusivity(unchecked) private var isReading = false
    @exclusivity(unchecked) private var hasProgressed = false
    /// Of a close, or of a broken connection whose program is paused.
    @exclusivity(unchecked) private var closeDeadline: DelayedCall?
    /// What the kernel still had when the deadline was looked at last; its fall is progress.
    @exclusivity(unchecked) private var unsentByteCount = Int.max
    @exclusivity(unchecked) private var streamEnd = StreamEnd.now
    /// Whether something arrived after the connection began to close.
    @exclusivity(unchecked) private var hasDiscardedInput = false
    /// Why it is lost, or will be when what had arrived was delivered.
    @exclusivity(unchecked) private var loss: ConnectionLoss?
    /// The loss is a mistake of the program's, and nobody but the protocol itself would see it.
    @exclusivity(unchecked) private var reportsLoss = false
    @exclusivity(unchecked) private var slot: Int32 = -1

    /// What becomes of the stream when the connection is over.
    private enum StreamEnd {
        /// It is closed there and then.
        case now
        /// It lingers from the loss on.
        case lingering
        /// The same, but nothing can arrive any more: only until it owes no output.
        case lingeringWithoutInput
        /// The same as the first, until the peer has everything; then it is reset.
        case lingeringToReset
    }

    /// Whether a client of the server is at the other end, for whom a stop waits first: until all that
    /// it is sent has left.
    @exclusivity(unchecked) private(set) var isServed = false
    /// Whether the peer has sent anything, for one that is served.
    @exclusivity(unchecked) private var hasReceived = false
    @exclusivity(unchecked) private var ask = ShutdownAsk.none
    private let madeAt: MonotonicInstant

    /// Whether the protocol was asked to end, for a stop.
    private enum ShutdownAsk {
        case none
        /// When the first bytes have been delivered: the client has just connected.
        case behindFirstBytes
        case done
    }

    private enum RegisteredProducer {
        case none
        /// `isPaused` is what it was called with last, which the gate may have changed since.
        case push(any PushProducer, isPaused: Bool)
        case pull(any PullProducer, PullState)

        var isNone: Bool { if case .none = self { true } else { false } }
    }

    /// Where a pull producer is on its way from one question to the next.
    private enum PullState {
        /// It was asked, and has written nothing since.
        case awaitingData
        /// It has written, and what it wrote has not left.
        case draining
        /// Everything has left: it is on the reactor's list, once, to be asked in a later turn.
        case ready
    }

    init(
        reactor: Reactor, stream: any BackendStream, proto: any StreamProtocol,
        options: SharedOptions
    ) {
        self.reactor = reactor
        self.stream = stream
        self.proto = proto
        self.options = options
        unsafe cork = reactor.coalescingPool.cork
        gate = BackpressureGate(watermarks: options.value.watermarks)
        madeAt = reactor.presentTime
        reactor.nextConnection += 1
        id = ConnectionID(reactorNumber: reactor.number, sequence: reactor.nextConnection)
        reactor.counters.liveTransports += 1
    }

    deinit { reactor.counters.liveTransports -= 1 }

    /// Announces the connection to its protocol, and begins to read.
    ///
    /// Inside an event.
    ///
    /// - Parameter isServed: Whether the other end is a client of the program's, as a server.
    /// - Throws: What `connectionMade` threw, or the loss if it ended the connection; the loss is
    ///   then on its way to the protocol.
    func open(isServed: Bool) throws {
        slot = reactor.connections.insert(self)
        self.isServed = isServed
        if isServed { reactor.servedConnections += 1 }
        reactor.counters.connectionsMade += 1
        stream.deliver(to: self)
        machine.opened()
        updatePlainness()
        updateDescriptorReceiving()
        attempt { try $0.connectionMade(self) }
        if case .protocolFailed(let error) = loss { throw error }
        if let loss { throw loss }
        updateReading()
        // Paused from the start: a reset has to be noticed all the same.
        if !isReading, !machine.isClosed { stream.stopReading() }
    }

    /// Whoever opened the connection has been given its loss.
    func lossWasReported() { reportsLoss = false }

    // MARK: The end of a run

    /// The reactor is stopping: asks the protocol, once.
    ///
    /// - Parameter isPatient: Whether a client that has just connected is asked later, when it was
    ///   served: it could not know that this was too late for its first request.
    func requestShutdown(isPatient: Bool = false) {
        guard !machine.isClosed, ask != .done else { return }
        if isPatient, isNew {
            ask = .behindFirstBytes
            return updatePlainness()
        }
        ask = .done
        updatePlainness()
        reactor.performEvent { proto?.shutdownRequested(self) }
    }

    private var isNew: Bool {
        machine.state == .open && !hasReceived
            && madeAt.advanced(by: Reactor.firstBytesGracePeriod) > reactor.presentTime
    }

    /// Something has just been delivered.
    @inline(never)
    private func noteFirstBytes() {
        hasReceived = true
        if ask == .behindFirstBytes { requestShutdown() }
    }

    /// All that the client is sent has left, or it is lost.
    private func finishServing() {
        guard isServed else { return }
        isServed = false
        reactor.servedConnections -= 1
    }

    // MARK: What must hold

    /// Whether its queue has passed the high mark and not fallen to the low one since.
    var isFull: Bool { gate.isPaused && !machine.isClosed }

    /// Asserts what must hold between events.
    func checkInvariants() {
        require(slot >= 0 && !machine.isClosed, "StreamConnection: kept after its end")
        require(proto != nil && pendingSwitch == nil, "StreamConnection: without a protocol")
        require(
            unsafe coalesced == nil && coalescedCount == 0 && !isOnFlushList,
            "StreamConnection: left unflushed")
        gate.checkInvariants()
        queue?.checkInvariants()
        let queuedByteCount = queue?.byteCount ?? 0
        require(
            gate.pendingByteCount == queuedByteCount,
            "StreamConnection: \(gate.pendingByteCount) bytes are pending of \(queuedByteCount)")
        let wasPlain = isPlain
        updatePlainness()
        require(isPlain == wasPlain, "StreamConnection: does not know whether it is plain")
        checkProgress()
        (proto as? any InvariantChecking)?.checkInvariants()
        if case .push(let producer, let isPaused) = producer {
            require(isPaused == gate.isPaused, "StreamConnection: a producer was not called")
            (producer as? any InvariantChecking)?.checkInvariants()
        }
    }

    /// Asserts that whatever it waits for can come.
    private func checkProgress() {
        let isEmpty = queue?.isEmpty ?? true
        switch machine.state {
        case .finishing, .abandoning, .broken:
            require(closeDeadline?.isActive ?? false, "StreamConnection: closes without a deadline")
        case .opening, .open, .readClosed, .writeClosing, .writeClosed, .closed: break
        }
        switch producer {
        case .none:
            require(!isEmpty || !machine.awaitsFlush, "StreamConnection: waits for no flush")
        case .push: break
        case .pull(_, let appetite):
            require(
                !isEmpty || appetite != .draining, "StreamConnection: a pull producer is forgotten")
            require(
                appetite != .ready || isOnReadyList,
                "StreamConnection: a pull producer is not on the list")
        }
        require(
            reactor.readyPullConnections.count { $0 === self } == (isOnReadyList ? 1 : 0),
            "StreamConnection: it is not on the list of pull producers once")
        require(!(unreadBytes?.isEmpty ?? false), "StreamConnection: keeps nothing for later")
        if unreadBytes == nil, !owesReadClosed { return }
        require(!isDelivering, "StreamConnection: what is owed to its protocol was not told")
    }

    // MARK: Actions of the state machine

    @inline(never)
    private func perform(_ action: ConnectionStateMachine.Action) {
        updatePlainness()
        switch action {
        case .none:
            break
        case .announceReadClosed:
            announceReadClosed()
        case .finish:
            reportsClosing = true
            beginFinishing()
        case .stopProducerAndFinish:
            reactor.performEvent { stopProducer() }
            beginFinishing()
        case .flush:
            updateReading()
            flushLater()
        case .shutdownAndAnnounce:
            if let code = stream.shutdownWriting() { return failed(code, "shutdown", .shutdown) }
            reactor.performEvent {
                attempt { try reactor.asHalfCloseable($0)?.writeConnectionLost(from: self) }
            }
        case .deliverRest:
            deliverRest()
        case .shutdownAndLinger:
            if let code = stream.shutdownWriting() {
                setFailure(code, "shutdown", .shutdown)
                terminate(.failed)
                stream.close()
            } else {
                linger()
            }
        case .linger:
            linger()
        case .lingerAndReset:
            terminate(.aborted)
            if stream.needsDraining { streamEnd = .lingeringToReset } else { stream.reset() }
        case .close(let ending):
            terminate(ending)
            if ending == .failed { stream.close() } else { closeBehindOutput() }
        case .reset(let ending):
            terminate(ending)
            stream.reset()
        }
    }

    /// The kernel has every byte.
    private func linger() {
        terminate(.locally)
        if stream.needsDraining { streamEnd = .lingering } else { closeBehindOutput() }
    }

    private func closeBehindOutput() {
        if stream.hasUnsentOutput { streamEnd = .lingeringWithoutInput } else { stream.close() }
    }

    private func announceReadClosed() {
        updateReading()
        let isEnding = machine.state == .finishing(peerFinished: true)
        reactor.performEvent {
            attempt { try reactor.asHalfCloseable($0)?.readConnectionLost(from: self) }
        }
        if isEnding { beginFinishing() }
    }

    private func beginFinishing() {
        updateReading()
        // Most connections have nothing left to send and end in this very event, without a deadline.
        flushLater()
    }

    /// A close waits for the peer to take what is queued, or for its producer.
    private func startCloseDeadline() {
        hasProgressed = false
        unsentByteCount = stream.unsentByteCount ?? .max
        awaitProgress(quietQuarters: 0)
    }

    /// Looks four times as often as the deadline is long, so that it is kept to a quarter.
    private func awaitProgress(quietQuarters: Int) {
        closeDeadline = reactor.callLater(options.value.closeTimeout / 4) { [self] in
            closeDeadline = nil
            // What the kernel had before it is progress as well: until much of it has left, it takes
            // nothing from the queue.
            let unsent = stream.unsentByteCount ?? .max
            let isQuiet = !hasProgressed && unsent >= unsentByteCount
            hasProgressed = false
            unsentByteCount = unsent
            guard isQuiet else { return awaitProgress(quietQuarters: 0) }
            guard quietQuarters < 3 else { return closeTimedOut() }
            awaitProgress(quietQuarters: quietQuarters + 1)
        }
    }

    private func closeTimedOut() {
        guard machine.awaitsFlush, queue?.isEmpty ?? true, !producer.isNone else {
            return perform(machine.deadlinePassed())
        }
        // The peer has taken everything; it is the producer that does not come to its end.
        reactor.performEvent {
            stopProducer()
            flushLater()
        }
    }

    /// Where no error says more.
    private func loss(of ending: ConnectionStateMachine.Ending) -> ConnectionLoss {
        switch ending {
        case .byPeer: .closedByPeer
        case .locally: .closedLocally
        case .aborted, .failed: .aborted
        case .deadlinePassed: .deadlinePassed(.closing)
        }
    }

    /// Ends the connection.
    ///
    /// Its protocol is told in the turn's last phase. The caller closes the stream, or lets it linger.
    @inline(never)
    private func terminate(_ ending: ConnectionStateMachine.Ending) {
        if loss == nil { loss = loss(of: ending) }
        closeDeadline?.cancel()
        closeDeadline = nil
        dropOutput()
        pendingSwitch = nil
        unreadBytes = nil
        isReading = false
        if slot >= 0 { unsafe reactor.lostConnections.append(.passUnretained(self)) }
    }

    private func dropOutput() {
        _ = unsafe takeCoalesced()
        giveBackCoalesced()
        queue = nil
        if gate.isPaused { reactor.counters.fullConnections -= 1 }
        gate = BackpressureGate(watermarks: gate.watermarks)
    }

    /// The last phase: tells the producer, then the protocol, and lets go of both.
    ///
    /// - Returns: Itself, which may live on by this alone.
    func deliverLoss() -> StreamConnection {
        finishServing()
        stopProducer()
        if let lost = proto.take(), let loss { lost.connectionLost(loss, from: self) }
        if streamEnd != .now { handOver() }
        if reportsLoss, let loss { reactor.report(loss, of: peerAddress) }
        defer { reactor.tellLossWatch(of: id, loss) }
        return reactor.connections.remove(slot)
    }

    @inline(never)
    private func handOver() {
        let hasInputEnded = streamEnd == .lingeringWithoutInput
        if hasInputEnded, !stream.hasUnsentOutput { return stream.close() }
        var state = LingeringStreams.State()
        state.hasInput = hasDiscardedInput
        state.hasInputEnded = hasInputEnded
        state.endsInReset = streamEnd == .lingeringToReset
        reactor.lingering.take(stream, state)
    }

    /// Ends without a word to the protocol, whose reactor has told it for the last time.
    func drop() {
        perform(machine.abort())
        finishServing()
        producer = .none
        proto = nil
        reactor.lostConnections.removeAll {
            unsafe $0.toOpaque() == Unmanaged.passUnretained(self).toOpaque()
        }
        reactor.connections.remove(slot)
    }

    // MARK: Errors

    /// Calls the protocol; what it throws ends the connection.
    ///
    /// The protocol is taken out for the call, which moves it: calling a stored reference would
    /// retain it first. So a second call inside the first finds none.
    @inline(__always)
    private func attempt(_ body: (any StreamProtocol) throws -> Void) {
        guard let current = proto.take() else { return protocolIsBusy() }
        do { try body(current) } catch { threw(error) }
        // Put back into what is nil, so that there is nothing to release.
        unsafe withUnsafeMutablePointer(to: &proto) { unsafe $0.initialize(to: consume current) }
    }

    @inline(never)
    private func threw(_ error: any Error) {
        // A loss that is on its way already does not carry this.
        guard !machine.isClosed else {
            return reactor.report(.protocolFailed(error), of: peerAddress)
        }
        reportsLoss = true
        fail(error)
    }

    @inline(never)
    private func protocolIsBusy() {
        if !machine.isClosed {
            mistake("StreamTransport: an event was delivered inside another")
        }
    }

    @inline(never)
    private func fail(_ error: any Error) {
        guard !machine.isClosed else { return }
        loss = ConnectionLoss(because: error)
        perform(machine.abort())
    }

    /// The stream can send nothing any more.
    @inline(never)
    private func failed(_ code: ErrorCode, _ function: String, _ operation: IOError.Operation) {
        guard !machine.isClosed else { return }
        setFailure(code, function, operation)
        perform(machine.broke(hasInput: hasUnreadInput))
    }

    private func setFailure(
        _ code: ErrorCode, _ function: String, _ operation: IOError.Operation
    ) {
        guard loss == nil else { return }
        let subject = "\(peerAddress)"
        loss = .failed(IOError(operation, function: function, code: code, subject: subject))
    }

    /// Whether something that arrived was not delivered.
    private var hasUnreadInput: Bool { unreadBytes != nil || stream.hasUnreadInput }

    // MARK: A broken connection

    /// How long a program that is paused may leave the rest of a broken connection unread.
    private static let unreadGracePeriod = Duration.seconds(5)

    /// What had arrived before the stream broke is delivered, and then the loss.
    private func deliverRest() {
        dropOutput()
        closeDeadline?.cancel()
        hasProgressed = false
        awaitRest(since: reactor.presentTime, limit: reactor.presentTime.advanced(by: .seconds(60)))
        updateReading()
        // The producer is stopped, and what was given back is delivered, when the event ends.
        flushLater()
    }

    /// Looks whether a rest is left, as a completion backend learns a little later that there is none.
    ///
    /// While the rest is read there is time, but not without limit: a peer that has only shut down
    /// its reading may send without end, over a UNIX socket.
    private func awaitRest(since start: MonotonicInstant, limit: MonotonicInstant) {
        closeDeadline = reactor.callLater(.milliseconds(20)) { [self] in
            closeDeadline = nil
            let now = reactor.presentTime
            let start = hasProgressed ? now : start
            hasProgressed = false
            guard hasUnreadInput, start.advanced(by: Self.unreadGracePeriod) > now, now < limit
            else {
                return perform(machine.failed())
            }
            awaitRest(since: start, limit: limit)
        }
    }

    private func endIfRestIsDelivered() {
        if !hasUnreadInput { perform(machine.failed()) }
    }

    /// Whether nothing can be sent any more.
    private var isOver: Bool { machine.isClosed || machine.isBroken }

    // MARK: Reading

    /// Asks the backend for what is wanted now.
    private func updateReading() {
        // Where nobody is registered to be paused, a transport that cannot send pauses its own
        // reading: so an echo whose client never reads holds little more than the high watermark.
        // Not behind `loseWriteConnection`, where reading cannot add to the queue: a client that
        // sent much and its end to an echo would wait for it, and it for the client, for ever.
        let isThrottled = gate.isPaused && producer.isNone && machine.acceptsWrites
        let wanted =
            machine.deliversReads ? !isPaused && !isThrottled : machine.discardsReads
        guard wanted != isReading, !machine.isClosed else { return }
        isReading = wanted
        if wanted { stream.startReading() } else { stream.stopReading() }
    }

    /// Asked of each protocol; most connections are not over UNIX sockets.
    private func updateDescriptorReceiving() {
        guard stream.passesDescriptors else { return }
        stream.receiveDescriptors(proto is any DescriptorReceiver)
    }

    // MARK: Writing

    @inline(__always)
    private var acceptsWrites: Bool { machine.acceptsWrites || acceptsLastWrites }

    /// While a connection that is being closed waits for its producer, that producer writes.
    private var acceptsLastWrites: Bool {
        switch machine.state {
        case .finishing, .writeClosing: !producer.isNone
        case .opening, .open, .readClosed, .writeClosed, .abandoning, .broken, .closed: false
        }
    }

    /// Called whenever what it is made of has changed.
    private func updatePlainness() {
        let isPulled = if case .pull = producer { true } else { false }
        isPlain =
            machine.state == .open && !isPulled && pendingSwitch == nil && queue?.isEmpty ?? true
            && ask != .behindFirstBytes
    }

    private var address: UInt {
        unsafe UInt(bitPattern: Unmanaged.passUnretained(self).toOpaque())
    }

    @inline(__always)
    private func coalesce(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        let count = unsafe cork.pointee.count
        guard unsafe cork.pointee.owner == address,
            count &+ bytes.count <= CoalescingPool.bufferCapacity
        else { return unsafe coalesceOtherwise(bytes) }
        unsafe (cork.pointee.base + count).copyMemory(from: start, byteCount: bytes.count)
        unsafe cork.pointee.count = count &+ bytes.count
    }

    /// Outside of the connection's own event, or when its buffer is full.
    @inline(never)
    private func coalesceOtherwise(_ bytes: UnsafeRawBufferPointer) {
        unsafe placeInBuffer(bytes)
        callProducer()
    }

    private func placeInBuffer(_ bytes: UnsafeRawBufferPointer) {
        guard unsafe cork.pointee.owner != address else {
            sendCoalesced()
            // Sending may have ended the connection.
            if !isOver { unsafe coalesce(bytes) }
            return
        }
        if coalescedCount &+ bytes.count > CoalescingPool.bufferCapacity { sendCoalesced() }
        guard !isOver, let start = bytes.baseAddress else { return }
        let base = unsafe coalesced ?? reactor.coalescingPool.take()
        unsafe coalesced = base
        unsafe (base + coalescedCount).copyMemory(from: start, byteCount: bytes.count)
        coalescedCount &+= bytes.count
        // Last: outside of an event this flushes at once.
        flushLater()
    }

    /// What was coalesced, in whichever buffer; it counts as sent.
    private func takeCoalesced() -> UnsafeRawBufferPointer {
        if unsafe cork.pointee.owner == address {
            defer { unsafe cork.pointee.count = 0 }
            return unsafe UnsafeRawBufferPointer(
                start: cork.pointee.base, count: cork.pointee.count)
        }
        defer { coalescedCount = 0 }
        return unsafe UnsafeRawBufferPointer(start: coalesced, count: coalescedCount)
    }

    private func sendCoalesced() {
        unsafe place(UnsafeRawBufferPointer(start: nil, count: 0), owner: nil)
    }

    /// Sends a large piece at once, behind what was coalesced, and pauses a producer that has
    /// passed the high watermark by it.
    @inline(never)
    private func send(_ bytes: UnsafeRawBufferPointer, owner: Bytes?) {
        unsafe place(bytes, owner: owner)
        callProducer()
    }

    /// Offers the kernel what was coalesced and `bytes` behind it; queues what it refuses.
    private func place(_ bytes: UnsafeRawBufferPointer, owner: Bytes?) {
        let first = unsafe takeCoalesced()
        guard first.count + bytes.count > 0, !machine.isBroken else { return }
        var taken = 0
        if queue?.isEmpty ?? true {
            switch unsafe tryWrite(first, bytes) {
            case .wrote(let count): taken = count
            case .failed(let code): return failed(code, "send", .write)
            }
            // Of a close that waits for its producer, too.
            if taken > 0 { hasProgressed = true }
            if taken == first.count + bytes.count { return }
        }
        unsafe enqueue(first, bytes, owner: owner, taken: taken)
    }

    private func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        if first.isEmpty { return unsafe stream.tryWrite(second) }
        if second.isEmpty { return unsafe stream.tryWrite(first) }
        return unsafe stream.tryWrite(first, second)
    }

    @inline(never)
    private func enqueue(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, owner: Bytes?,
        taken: Int,
        passing descriptors: PassedDescriptors? = nil
    ) {
        let queue = queue ?? WriteQueue(countedIn: reactor.queues)
        self.queue = queue
        let wasEmpty = queue.isEmpty
        let before = queue.byteCount
        if taken < first.count {
            unsafe queue.append(copying: UnsafeRawBufferPointer(rebasing: first[taken...]))
        }
        let skip = max(0, taken - first.count)
        if let owner {
            queue.append(owner[skip...])
        } else if let descriptors {
            unsafe queue.append(copying: second, passing: descriptors)
        } else {
            unsafe queue.append(copying: UnsafeRawBufferPointer(rebasing: second[skip...]))
        }
        isPlain = false
        if wasEmpty { stream.startWriting(from: queue) }
        // It may have failed to.
        if isOver { return }
        note(gate.didQueue(byteCount: queue.byteCount - before))
    }

    /// Descriptors that the kernel has refused so far.
    var queuedDescriptorCount: Int { queue?.descriptorCount ?? 0 }

    /// Sends bytes with descriptors at once, behind what was coalesced.
    func send(_ bytes: RawSpan, passing descriptors: PassedDescriptors) {
        guard isPlain || mayWrite() else { return }
        reactor.performEvent {
            if !isPlain { flushLater() }
            place(bytes, passing: descriptors)
        }
        callProducer()
    }

    private func place(_ bytes: RawSpan, passing descriptors: PassedDescriptors) {
        sendCoalesced()
        guard !isOver else { return }
        let none = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        unsafe bytes.withUnsafeBytes { bytes in
            var taken = 0
            if queue?.isEmpty ?? true {
                switch unsafe stream.tryWrite(bytes, passing: descriptors) {
                case .wrote(let count): taken = count
                case .failed(let code): return failed(code, "sendmsg", .write)
                }
            }
            guard taken < bytes.count else { return }
            // Behind its first byte nothing is left to pass.
            unsafe enqueue(
                none, bytes, owner: nil, taken: taken, passing: taken == 0 ? descriptors : nil)
        }
    }

    @inline(__always)
    private func giveBackCoalesced() {
        guard let buffer = unsafe coalesced else { return }
        unsafe coalesced = nil
        coalescedCount = 0
        unsafe reactor.coalescingPool.give(buffer)
    }

    @inline(__always)
    private func flushLater() {
        guard !isOnFlushList else { return }
        // Nobody else has anything to flush then: most ends of peers come so.
        if reactor.eventDepth == 0 { return reactor.performEvent { flush() } }
        isOnFlushList = true
        reactor.flushList.append(self)
    }

    private func exceedLimit() {
        loss = .writeLimitExceeded
        reportsLoss = true
        perform(machine.abort())
    }

    @inline(never)
    private func abortIfOverLimit() -> Bool {
        guard gate.isOverLimit else { return false }
        exceedLimit()
        return true
    }

    // MARK: Producers

    /// What the gate says concerns a producer in ``callProducer()``, and where there is none the
    /// connection's own reading.
    private func note(_ action: BackpressureGate.Action) {
        switch action {
        case .none: return
        case .pauseProducer: reactor.counters.fullConnections += 1
        case .resumeProducer: reactor.counters.fullConnections -= 1
        }
        if producer.isNone { updateReading() }
    }

    /// Pauses or resumes a push producer that does not know yet what the gate has decided, or stops
    /// it if the connection has ended meanwhile.
    ///
    /// The last act of whatever put bytes in place or removed some. A producer that writes inside
    /// of its pause finds it noted; one that fills the queue inside of its resumption is paused by
    /// that write, before it returns. So one that writes until it is paused comes to an end, also
    /// if its peer resets the connection meanwhile.
    private func callProducer() {
        guard case .push(let called, let isPaused) = producer else { return }
        guard !isOver else { return stopProducer() }
        guard isPaused != gate.isPaused else { return }
        producer = .push(called, isPaused: !isPaused)
        if isPaused { called.resumeProducing() } else { called.pauseProducing() }
    }

    private func stopProducer() {
        let stopped = producer
        producer = .none
        switch stopped {
        case .none: break
        case .push(let producer, _): producer.stopProducing()
        case .pull(let producer, _): producer.stopProducing()
        }
    }

    /// Asks a pull producer for its next piece.
    ///
    /// Called by the reactor in a turn of its own.
    func feed() {
        isOnReadyList = false
        guard case .pull(let puller, .ready) = producer, !machine.isClosed else { return }
        // Others may have written since it was put on the list.
        guard queue?.isEmpty ?? true else { return producer = .pull(puller, .draining) }
        producer = .pull(puller, .awaitingData)
        puller.produceMore()
    }

    /// Something was written: the pull producer may be asked again when it has left.
    private func noteWriteForPuller() {
        if case .pull(let puller, .awaitingData) = producer { producer = .pull(puller, .draining) }
    }
}

// MARK: - What the backend reports

extension StreamConnection: StreamReceiver {
    func streamDidConnect() { mistake("StreamConnection: connected twice") }

    func streamDidRead(_ bytes: RawSpan) {
        // Not on the flush list, where older writes wait for the end of an event around this one.
        guard isPlain, unsafe cork.pointee.owner == 0, !isOnFlushList else {
            return readOtherwise(bytes)
        }
        unsafe cork.pointee.owner = address
        hasReceived = true
        reactor.beginEvent()
        attempt { try $0.dataReceived(bytes, from: self) }
        if !reactor.flushList.isEmpty { reactor.flushInside() }
        let count = unsafe cork.pointee.count
        if count > 0 { uncork(count) }
        unsafe cork.pointee.owner = 0
        reactor.eventDepth &-= 1
    }

    func streamDidRead(_ bytes: RawSpan, carrying descriptors: PassedDescriptors) {
        guard machine.deliversReads else { return }
        reactor.performEvent {
            attempt {
                try ($0 as? any DescriptorReceiver)?.descriptorsReceived(descriptors, from: self)
            }
            if isDelivering {
                attempt { try $0.dataReceived(bytes, from: self) }
            } else {
                unread(bytes)
            }
        }
        noteFirstBytes()
    }

    /// While the connection closes, is full, or is fed inside another event, as transports in
    /// memory do it: then the cork is taken, or what it has written in that event comes first.
    @inline(never)
    private func readOtherwise(_ bytes: RawSpan) {
        // While closing, what still arrives is read only so that the close is no reset.
        guard machine.deliversReads else { return hasDiscardedInput = true }
        reactor.performEvent { attempt { try $0.dataReceived(bytes, from: self) } }
        noteFirstBytes()
        guard machine.isBroken else { return }
        hasProgressed = true
        endIfRestIsDelivered()
    }

    /// Sends what the event wrote, behind what its layers still held.
    @inline(__always)
    private func uncork(_ count: Int) {
        unsafe cork.pointee.count = 0
        let bytes = unsafe UnsafeRawBufferPointer(start: cork.pointee.base, count: count)
        var taken = 0
        if isPlain {
            switch unsafe stream.tryWrite(bytes) {
            case .wrote(let count): taken = count
            // Told now: the kernel tells an error once, and would say EPIPE the next time.
            case .failed(let code):
                failed(code, "send", .write)
                return reactor.flushInside()
            }
        }
        if taken < count { unsafe sendLate(UnsafeRawBufferPointer(rebasing: bytes[taken...])) }
    }

    /// What the kernel did not take at once.
    ///
    /// A producer that is paused here may write, into the same cork, and so may whoever is called
    /// by the flush that follows.
    @inline(never)
    private func sendLate(_ bytes: UnsafeRawBufferPointer) {
        guard !isOver else { return }
        unsafe send(bytes, owner: nil)
        repeat {
            if unsafe cork.pointee.count > 0 {
                sendCoalesced()
                callProducer()
            }
            reactor.flushInside()
        } while unsafe cork.pointee.count > 0
    }

    var spliceTarget: (any BackendStream)? {
        machine.deliversReads ? (proto as? PipeProtocol)?.spliceTarget : nil
    }

    func streamDidSplice(byteCount: Int, rest: RawSpan, failure: ErrorCode?) {
        reactor.performEvent {
            attempt { proto in
                let pipe = proto as? PipeProtocol
                pipe?.relayed(byteCount: byteCount, rest: rest, failure: failure)
            }
        }
        noteFirstBytes()
    }

    func streamDidReadEnd() {
        isReading = false
        if machine.isClosed { return inputEndedBehindLoss() }
        perform(machine.readEnded(isHalfCloseable: isHalfCloseable))
    }

    private var isHalfCloseable: Bool {
        guard let proto else { return false }
        return reactor.asHalfCloseable(proto)?.keepsHalfOpen ?? false
    }

    func streamDidWrite(byteCount: Int) {
        guard let queue else { return }
        queue.remove(byteCount: byteCount)
        updatePlainness()
        hasProgressed = true
        note(gate.didSend(byteCount: byteCount))
        reactor.performEvent {
            if queue.isEmpty { flushLater() }
            callProducer()
        }
    }

    func streamHasRoom() {
        guard case .push(let producer, _) = producer else { return }
        reactor.performEvent { (producer as? FileTransfer)?.roomAppeared() }
    }

    func streamDidFail(_ error: IOError) {
        guard !machine.isClosed else { return inputEndedBehindLoss() }
        if loss == nil { loss = .failed(error) }
        perform(machine.broke(hasInput: hasUnreadInput))
    }

    /// In the turn of a loss, before the stream was handed over: it need not linger.
    @inline(never)
    private func inputEndedBehindLoss() {
        if streamEnd == .lingering { streamEnd = .lingeringWithoutInput }
    }
}

extension StreamConnection: EndOfEventFlushing {
    /// The event has ended: sends what was coalesced, and takes the next step of a close.
    func flush() {
        isOnFlushList = false
        // Nothing is, where the flush only takes a close further.
        if unsafe coalesced != nil || cork.pointee.owner == address {
            sendCoalesced()
            giveBackCoalesced()
            callProducer()
        }
        if machine.isBroken { stopProducer() }
        if pendingSwitch != nil { performSwitch() }
        if unreadBytes != nil { deliverUnread() }
        if owesReadClosed { reportReadClosed() }
        if reportsClosing { reportClosing() }
        // What was called above may have written, and closed behind it: that is flushed first.
        guard !isOnFlushList else { return }
        if queue?.isEmpty ?? true { takeNextStep() }
        switch machine.state {
        case .finishing, .abandoning: if closeDeadline == nil { startCloseDeadline() }
        case .broken: endIfRestIsDelivered()
        case .opening, .open, .readClosed, .writeClosing, .writeClosed, .closed: break
        }
    }

    /// Everything has left.
    private func takeNextStep() {
        switch producer {
        case .none: if machine.awaitsFlush { perform(machine.flushed()) }
        case .pull(let puller, .draining):
            producer = .pull(puller, .ready)
            guard !isOnReadyList else { return }
            isOnReadyList = true
            reactor.readyPullConnections.append(self)
        case .push, .pull: break
        }
    }

    @inline(never)
    private func performSwitch() {
        guard let next = pendingSwitch.take(), !machine.isClosed else { return }
        proto = next
        owesReadClosed = machine.state == .readClosed
        reportsClosing = !machine.deliversUnread
        updatePlainness()
        stream.spliceInput(next is PipeProtocol)
        updateDescriptorReceiving()
        attempt { try $0.connectionMade(self) }
    }

    @inline(never)
    private func reportReadClosed() {
        guard isDelivering, unreadBytes == nil else { return }
        owesReadClosed = false
        guard isHalfCloseable else {
            stopProducer()
            return perform(machine.loseWriteConnection())
        }
        attempt { try reactor.asHalfCloseable($0)?.readConnectionLost(from: self) }
    }

    /// At the end of the event, since inside a callback of its own a protocol cannot be told.
    @inline(never)
    private func reportClosing() {
        reportsClosing = false
        guard !machine.isClosed, let proto, let observer = reactor.asHalfCloseable(proto) else {
            return
        }
        (observer as? any ClosingObserver)?.connectionIsClosing()
    }

    @inline(never)
    private func deliverUnread() {
        guard isDelivering, let kept = unreadBytes else { return }
        kept.deliver { bytes in attempt { try $0.dataReceived(bytes, from: self) } }
        if kept.isEmpty { unreadBytes = nil }
    }
}

extension StreamConnection: FileSendingConsumer {
    func sendFile(_ descriptor: Int32, at offset: Int64, byteCount: Int) -> SendFileResult {
        reactor.checkThread()
        // What was written before it leaves before it: a header, for example. The caller is the
        // producer, and learns from the result that it has to wait.
        sendCoalesced()
        guard queue?.isEmpty ?? true, acceptsWrites else {
            reactor.performEvent { callProducer() }
            return .full
        }
        let result = stream.trySendFile(descriptor, at: offset, byteCount: byteCount)
        switch result {
        case .sent: hasProgressed = true
        case .streamFailed(let code): failed(code, "sendfile", .write)
        case .full, .fileEnded, .fileFailed, .unsupported: break
        }
        return result
    }

    func awaitRoom() { if !machine.isClosed { stream.awaitRoom() } }
}

// MARK: - At the other end of a pipe

extension StreamConnection {
    /// Where what comes out of a pipe can go by itself: nothing is in hand that must leave before.
    var spliceEntrance: (any BackendStream)? {
        if case .pull = producer { return nil }
        let isEmpty = unsafe coalesced == nil && cork.pointee.owner != address
        guard isEmpty, queue?.isEmpty ?? true, acceptsWrites else { return nil }
        return stream
    }

    /// So many bytes came in by ``spliceEntrance``.
    func tookSpliced(byteCount: Int, failure: ErrorCode?) {
        if byteCount > 0 { hasProgressed = true }
        if let failure { failed(failure, "splice", .write) }
    }
}

extension StreamConnection {
    /// Whether something may still be delivered, now or when it is resumed.
    var mayDeliver: Bool { machine.deliversUnread }
}

extension StreamConnection: LossReporting {
    var isLost: Bool { machine.isClosed }

    var lossReason: ConnectionLoss? { loss }
}

// MARK: - What the program calls

extension StreamConnection: StreamTransport {
    var peerAddress: SocketAddress { stream.peerAddress }

    var localAddress: SocketAddress { stream.localAddress }

    var pendingByteCount: Int { gate.pendingByteCount }

    var watermarks: Watermarks {
        get { gate.watermarks }
        set {
            reactor.checkThread()
            gate.watermarks = newValue
        }
    }

    func write(_ bytes: RawSpan) {
        reactor.checkThread()
        unsafe bytes.withUnsafeBytes { bytes in
            guard isPlain else { return unsafe writeOtherwise(bytes, owner: nil) }
            if bytes.count < Self.directWriteByteCount {
                unsafe coalesce(bytes)
            } else {
                unsafe send(bytes, owner: nil)
            }
        }
    }

    func write(_ bytes: Bytes) {
        guard bytes.count >= Self.directWriteByteCount else { return write(bytes.span) }
        reactor.checkThread()
        unsafe bytes.withUnsafeBytes {
            guard isPlain else { return unsafe writeOtherwise($0, owner: bytes) }
            unsafe send($0, owner: bytes)
        }
    }

    /// While the connection closes, is full, has a pull producer or a new protocol to come.
    ///
    /// An event of its own outside of others, so that a flush comes behind the bytes.
    @inline(never)
    private func writeOtherwise(_ bytes: UnsafeRawBufferPointer, owner: Bytes?) {
        guard mayWrite() else { return callProducer() }
        reactor.performEvent {
            flushLater()
            if bytes.count < Self.directWriteByteCount {
                unsafe coalesce(bytes)
            } else {
                unsafe send(bytes, owner: owner)
            }
        }
    }

    /// Whether a write is to go on; it may end the connection.
    private func mayWrite() -> Bool {
        guard acceptsWrites else { return false }
        if gate.isOverLimit, abortIfOverLimit() { return false }
        noteWriteForPuller()
        return true
    }

    func loseConnection() {
        reactor.checkThread()
        perform(machine.loseConnection())
    }

    func abortConnection() {
        reactor.checkThread()
        perform(machine.abort())
    }

    func abortConnection(because error: any Error) {
        reactor.checkThread()
        if case .writeLimitExceeded? = error as? ConnectionLoss, !machine.isClosed {
            exceedLimit()
        } else {
            fail(error)
        }
    }

    func loseWriteConnection() {
        reactor.checkThread()
        perform(machine.loseWriteConnection())
    }

    func switchProtocol(to newProtocol: any StreamProtocol, remaining: RawSpan) {
        reactor.checkThread()
        guard !machine.isClosed else { return }
        require(pendingSwitch == nil, "StreamTransport: switchProtocol twice in one event")
        pendingSwitch = newProtocol
        updatePlainness()
        if machine.deliversUnread, remaining.byteCount > 0 { keep { $0.prepend(remaining) } }
        flushLater()
    }

    var isDelivering: Bool { machine.deliversUnread && !isPaused && pendingSwitch == nil }

    func unread(_ bytes: RawSpan) {
        reactor.checkThread()
        guard machine.deliversUnread, bytes.byteCount > 0 else { return }
        if isDelivering {
            mistake("StreamTransport: unread needs a pause or a switch before it")
        }
        keep { $0.append(bytes) }
        flushLater()
    }

    private func keep(_ body: (KeptBytes) -> Void) {
        let kept = unreadBytes ?? KeptBytes(countedIn: reactor.queues)
        unreadBytes = kept
        body(kept)
    }

    func registerProducer(_ producer: any PushProducer) {
        reactor.checkThread()
        require(
            self.producer.isNone,
            "Consumer: a producer is registered already for \(peerAddress); unregister it first")
        guard acceptsWrites else { return producer.stopProducing() }
        self.producer = .push(producer, isPaused: false)
        updateReading()
        callProducer()
    }

    func registerProducer(_ producer: any PullProducer) {
        reactor.checkThread()
        require(
            self.producer.isNone,
            "Consumer: a producer is registered already for \(peerAddress); unregister it first")
        guard acceptsWrites else { return producer.stopProducing() }
        self.producer = .pull(producer, .awaitingData)
        updatePlainness()
        updateReading()
        producer.produceMore()
    }

    func unregisterProducer() {
        reactor.checkThread()
        guard !producer.isNone else { return }
        producer = .none
        guard !machine.isClosed else { return }
        updatePlainness()
        updateReading()
        flushLater()
    }

    func pauseProducing() {
        reactor.checkThread()
        isPaused = true
        updateReading()
    }

    func resumeProducing() {
        reactor.checkThread()
        isPaused = false
        if unreadBytes != nil || owesReadClosed { flushLater() }
        updateReading()
    }

    func stopProducing() { loseConnection() }

    /// Closes behind what was written, so that the peer sees that it is not the whole.
    func abandonConnection() {
        reactor.checkThread()
        perform(machine.abandon())
    }
}

/// Options that all connections of one port share, so that each pays for one pointer.
final class SharedOptions {
    let value: StreamOptions

    init(_ value: StreamOptions) { self.value = value }
}

extension Reactor {
    /// Puts a protocol above a stream that was made elsewhere, and calls `connectionMade`.
    ///
    /// For streams that no endpoint makes, for example those in memory. What `connectionMade` throws
    /// is the reason of the loss, and reported.
    @discardableResult
    public func adopt(
        _ stream: any BackendStream, _ proto: any StreamProtocol,
        options: StreamOptions = StreamOptions()
    ) -> any StreamTransport {
        checkThread()
        let connection = StreamConnection(
            reactor: self, stream: stream, proto: proto, options: SharedOptions(options))
        performEvent { try? connection.open(isServed: true) }
        if endsClients { connection.requestShutdown(isPatient: true) }
        if life.isReleasing { connection.drop() }
        return connection
    }

    /// Whether a callback is running.
    package var isInsideEvent: Bool { eventDepth > 0 }
}
