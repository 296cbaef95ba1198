// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension StreamConnection {
    /// Writes of this size leave at once from where they lie, instead of being coalesced.
    static let directWriteByteCount = 4 * 1024

    // MARK: Writing

    @inline(__always)
    var acceptsWrites: Bool { machine.acceptsWrites || acceptsLastWrites }

    /// While a connection that is being closed waits for its producer, that producer writes.
    var acceptsLastWrites: Bool {
        switch machine.state {
        case .finishing, .writeClosing: !producer.isNone
        case .opening, .open, .readClosed, .writeClosed, .abandoning, .broken, .closed: false
        }
    }

    /// Called whenever what it is made of has changed.
    func updatePlainness() {
        let isPulled = if case .pull = producer { true } else { false }
        isPlain =
            machine.state == .open && !isPulled && seat.pendingSwitch == nil
            && queue?.isEmpty ?? true
            && client.request != .behindFirstBytes && (extras?.isPlain ?? true)
            && reactor.meter == nil
    }

    @inline(__always)
    func coalesce(_ bytes: UnsafeRawBufferPointer) {
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
    func coalesceOtherwise(_ bytes: UnsafeRawBufferPointer) {
        unsafe placeInBuffer(bytes)
        callProducer()
    }

    func placeInBuffer(_ bytes: UnsafeRawBufferPointer) {
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

    /// While a program puts bytes in place nothing else may be written, nor the connection be closed.
    func checkNotLending() {
        require(!isLending, "StreamTransport: called inside write(capacity:); return first")
    }

    /// What was coalesced, in whichever buffer; it counts as sent.
    func takeCoalesced() -> UnsafeRawBufferPointer {
        if unsafe cork.pointee.owner == address {
            checkNotLending()
            defer { unsafe cork.pointee.count = 0 }
            return unsafe UnsafeRawBufferPointer(
                start: cork.pointee.base, count: cork.pointee.count)
        }
        defer { coalescedCount = 0 }
        return unsafe UnsafeRawBufferPointer(start: coalesced, count: coalescedCount)
    }

    func sendCoalesced() {
        unsafe place(UnsafeRawBufferPointer(start: nil, count: 0), owner: nil)
    }

    /// Sends a large piece at once, behind what was coalesced, and pauses a producer that has
    /// passed the high watermark by it.
    @inline(never)
    func send(_ bytes: UnsafeRawBufferPointer, owner: Bytes?) {
        unsafe place(bytes, owner: owner)
        callProducer()
    }

    /// Offers the kernel what was coalesced and `bytes` behind it; queues what it refuses.
    func place(_ bytes: UnsafeRawBufferPointer, owner: Bytes?) {
        let first = unsafe takeCoalesced()
        guard first.count + bytes.count > 0, !machine.isBroken else { return }
        if let upgrade = extras?.upgrade, !upgrade.hasBegun {
            unsafe append(first, bytes, owner: owner, to: upgrade.waiting)
            return note(gate.didQueue(byteCount: first.count + bytes.count))
        }
        var taken = 0
        if queue?.isEmpty ?? true {
            switch unsafe tryWrite(first, bytes) {
            case .wrote(let count): taken = count
            case .failed(let code): return failed(code, "send", .write)
            }
            // Of a close that waits for its producer, too.
            if taken > 0 { progress.hasProgressed = true }
            if reactor.meter != nil { countWritten(taken) }
            if taken == first.count + bytes.count { return }
        }
        unsafe enqueue(first, bytes, owner: owner, taken: taken)
    }

    func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        if first.isEmpty { return unsafe stream.tryWrite(second) }
        if second.isEmpty { return unsafe stream.tryWrite(first) }
        return unsafe stream.tryWrite(first, second)
    }

    @inline(never)
    func enqueue(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, owner: Bytes?,
        taken: Int,
        passing descriptors: PassedDescriptors? = nil
    ) {
        let queue = queue ?? WriteQueue(countedIn: reactor.queues)
        self.queue = queue
        let wasEmpty = queue.isEmpty
        let before = queue.byteCount
        if let descriptors {
            unsafe queue.append(copying: second, passing: descriptors)
        } else {
            unsafe append(first, second, owner: owner, taken: taken, to: queue)
        }
        isPlain = false
        if wasEmpty { stream.startWriting(from: queue) }
        // It may have failed to.
        if isOver { return }
        note(gate.didQueue(byteCount: queue.byteCount - before))
    }

    /// Appends what was not taken; what has an owner is not copied.
    private func append(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, owner: Bytes?,
        taken: Int = 0, to queue: WriteQueue
    ) {
        if taken < first.count {
            unsafe queue.append(copying: UnsafeRawBufferPointer(rebasing: first[taken...]))
        }
        let skip = max(0, taken - first.count)
        if let owner {
            queue.append(owner[skip...])
        } else {
            unsafe queue.append(copying: UnsafeRawBufferPointer(rebasing: second[skip...]))
        }
    }

    @inline(__always)
    func giveBackCoalesced() {
        guard let buffer = unsafe coalesced else { return }
        unsafe coalesced = nil
        coalescedCount = 0
        unsafe reactor.coalescingPool.give(buffer)
    }

    @inline(__always)
    func flushLater() {
        guard !isOnFlushList else { return }
        // Nobody else has anything to flush then: most ends of peers come so.
        if reactor.eventDepth == 0 { return reactor.performEvent { flush() } }
        isOnFlushList = true
        reactor.flushList.append(self)
    }

    @inline(never)
    func exceedLimit() {
        loss = .writeLimitExceeded
        reportsLoss = true
        perform(machine.abort())
    }

    /// Sends what the event wrote, behind what was flushed before it.
    @inline(__always)
    func uncork(_ count: Int) {
        unsafe cork.pointee.count = 0
        let bytes = unsafe UnsafeRawBufferPointer(start: cork.pointee.base, count: count)
        var taken = 0
        if isPlain {
            switch unsafe firstStream.tryWrite(bytes) {
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
    func sendLate(_ bytes: UnsafeRawBufferPointer) {
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

    func streamDidWrite(byteCount: Int) {
        guard let queue else { return }
        queue.remove(byteCount: byteCount)
        updatePlainness()
        progress.hasProgressed = true
        if reactor.meter != nil { countWritten(byteCount) }
        note(gate.didSend(byteCount: byteCount))
        reactor.performEvent {
            if queue.isEmpty { flushLater() }
            callProducer()
        }
    }

    // MARK: Producers

    /// What the gate says concerns a producer in ``callProducer()``, and where there is none the
    /// connection's own reading.
    func note(_ action: BackpressureGate.Action) {
        switch action {
        case .none: return
        case .pauseProducer:
            reactor.counters.fullConnections += 1
            fullStart = reactor.presentTime
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
    func callProducer() {
        guard case .push(let called, let isPaused) = producer else { return }
        guard !isOver else { return stopProducer() }
        guard isPaused != gate.isPaused else { return }
        producer = .push(called, isPaused: !isPaused)
        if isPaused { called.resumeProducing() } else { called.pauseForConsumer() }
    }

    func stopProducer() {
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
    func noteWriteForPuller() {
        if case .pull(let puller, .awaitingData) = producer { producer = .pull(puller, .draining) }
    }
}
