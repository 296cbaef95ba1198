// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension StreamConnection: StreamTransport {
    var peerAddress: SocketAddress { extras?.details.peerAddress ?? stream.peerAddress }

    var localAddress: SocketAddress { extras?.details.localAddress ?? stream.localAddress }

    var details: ConnectionDetails { extras?.details ?? ConnectionDetails() }

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
            // What most writes are, and small enough to be inlined.
            if isPlain, bytes.count < Self.directWriteByteCount {
                unsafe coalesce(bytes)
            } else {
                unsafe put(bytes, owner: nil)
            }
        }
    }

    func write(_ bytes: Bytes) {
        guard bytes.count >= Self.directWriteByteCount else { return write(bytes.span) }
        reactor.checkThread()
        unsafe bytes.withUnsafeBytes { unsafe put($0, owner: bytes) }
    }

    /// A large piece, or one while the connection closes, is full, has a pull producer or a new protocol
    /// to come: then in an event of its own, so that a flush comes behind the bytes.
    @inline(never)
    private func put(_ bytes: UnsafeRawBufferPointer, owner: Bytes?) {
        if isPlain { return unsafe send(bytes, owner: owner) }
        guard mayWrite() else { return callProducer() }
        reactor.performEvent {
            flushLater()
            if bytes.count < Self.directWriteByteCount {
                unsafe coalesce(bytes)
            } else {
                unsafe send(bytes, owner: owner)
            }
            if let observer = extras?.observer { observer.didWrite(unsafe bytes.bytes, of: self) }
        }
    }

    func write(capacity: Int, _ body: (inout OutputRawSpan) -> Void) {
        reactor.checkThread()
        require(
            capacity >= 0,
            "StreamTransport: write(capacity:) needs 0 bytes or more, got \(capacity)")
        let count = unsafe cork.pointee.count
        guard isPlain, unsafe cork.pointee.owner == address,
            capacity < CoalescingPool.bufferCapacity - count
        else { return writeElsewhere(capacity: capacity, body) }
        let room = unsafe UnsafeMutableRawBufferPointer(
            start: cork.pointee.base + count, count: capacity)
        // Full as long as `body` runs: whatever else would write comes to `takeCoalesced()`.
        unsafe cork.pointee.count = CoalescingPool.bufferCapacity
        isLending = true
        var output = unsafe OutputRawSpan(buffer: room, initializedCount: 0)
        body(&output)
        let written = unsafe output.finalize(for: room)
        isLending = false
        unsafe cork.pointee.count = count + written
    }

    /// Outside of the connection's own event, or where its buffer has no room.
    @inline(never)
    private func writeElsewhere(capacity: Int, _ body: (inout OutputRawSpan) -> Void) {
        checkNotLending()
        isLending = true
        // So that a write looks.
        isPlain = false
        let bytes = Bytes(capacity: capacity, initializingWith: body)
        isLending = false
        updatePlainness()
        write(bytes)
    }

    /// Whether a write is to go on; it may end the connection.
    func mayWrite() -> Bool {
        checkNotLending()
        guard acceptsWrites else { return false }
        guard !gate.isOverLimit else {
            exceedLimit()
            return false
        }
        noteWriteForPuller()
        return true
    }

    func loseConnection() {
        reactor.checkThread()
        perform(machine.loseConnection())
    }

    func loseConnection(because reason: any Error) {
        reactor.checkThread()
        if machine.acceptsWrites { makeExtras().closeReason = ConnectionLoss(streamFailed: reason) }
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
        require(seat.pendingSwitch == nil, "StreamTransport: switchProtocol twice in one event")
        seat.pendingSwitch = newProtocol
        updatePlainness()
        if machine.deliversUnread, remaining.byteCount > 0 { keep { $0.prepend(remaining) } }
        flushLater()
    }

    var isDelivering: Bool {
        machine.deliversUnread && !isPaused && seat.pendingSwitch == nil
            && !awaitsFilter
    }

    func unread(_ bytes: RawSpan) {
        reactor.checkThread()
        guard machine.deliversUnread, bytes.byteCount > 0 else { return }
        if isDelivering {
            mistake("StreamTransport: unread needs a pause or a switch before it")
        }
        keep { $0.append(bytes) }
        flushLater()
    }

    func keep(_ body: (KeptBytes) -> Void) {
        let kept = seat.unread ?? KeptBytes(countedIn: reactor.queues)
        seat.unread = kept
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

    func pauseProducing() { pause(by: .program) }

    func pause(by cause: ReactorSnapshot.Pause.Cause) {
        reactor.checkThread()
        if !isPaused {
            pauseStart = reactor.presentTime
            pauseCause = cause
        }
        isPaused = true
        updateReading()
        extras?.observer?.stateDidChange(.paused, of: self)
    }

    func resumeProducing() {
        reactor.checkThread()
        isPaused = false
        if seat.unread != nil || seat.owesReadClosed { flushLater() }
        updateReading()
        extras?.observer?.stateDidChange(.resumed, of: self)
    }

    func stopProducing() { loseConnection() }

    /// Closes behind what was written, so that the peer sees that it is not the whole.
    func abandonConnection() {
        reactor.checkThread()
        perform(machine.abandon())
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
