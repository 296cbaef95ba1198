// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension StreamConnection {
    // MARK: Calling it

    /// Calls the protocol; what it throws ends the connection.
    ///
    /// The protocol is taken out for the call, which moves it: calling a stored reference would
    /// retain it first. So a second call inside the first finds none.
    @inline(__always)
    func attempt(_ body: (any StreamProtocol) throws -> Void) {
        guard let current = proto.take() else { return protocolIsBusy() }
        do { try body(current) } catch { threw(error) }
        // Put back into what is nil, so that there is nothing to release.
        unsafe withUnsafeMutablePointer(to: &proto) { unsafe $0.initialize(to: consume current) }
    }

    @inline(never)
    func threw(_ error: any Error) {
        // A loss that is on its way already does not carry this.
        guard !machine.isClosed else {
            return reactor.report(.protocolFailed(error), of: self)
        }
        reportsLoss = true
        fail(error)
    }

    @inline(never)
    func protocolIsBusy() {
        if !machine.isClosed {
            mistake("StreamTransport: an event was delivered inside another")
        }
    }

    // MARK: Reading

    /// Asks the backend for what is wanted now.
    func updateReading() {
        // Where nobody is registered to be paused, a transport that cannot send pauses its own
        // reading: so an echo whose client never reads holds little more than the high watermark.
        // Not behind `loseWriteConnection`, where reading cannot add to the queue: a client that
        // sent much and its end to an echo would wait for it, and it for the client, for ever.
        let isThrottled = gate.isPaused && producer.isNone && machine.acceptsWrites
        let wanted =
            machine.deliversReads ? !isPaused && !isThrottled : machine.discardsReads
        guard wanted != isReading, !machine.isClosed else { return }
        isReading = wanted
        withStream { if wanted { $0.startReading() } else { $0.stopReading() } }
    }
}

// MARK: - What the backend reports

extension StreamConnection: StreamReceiver {
    func streamDidConnect() { filterAgreed() }

    func streamDidRead(_ bytes: RawSpan) {
        // Not on the flush list, where older writes wait for the end of an event around this one.
        guard isPlain, unsafe cork.pointee.owner == 0, !isOnFlushList else {
            return readOtherwise(bytes)
        }
        unsafe cork.pointee.owner = address
        client.hasReceived = true
        // Plain, so that nothing is measured.
        reactor.eventDepth &+= 1
        attempt { try $0.dataReceived(bytes, from: self) }
        if !reactor.flushList.isEmpty { reactor.flushInside() }
        let count = unsafe cork.pointee.count
        if count > 0 { uncork(count) }
        unsafe cork.pointee.owner = 0
        reactor.eventDepth &-= 1
    }

    func streamDidRead(_ bytes: RawSpan, carrying descriptors: PassedDescriptors) {
        guard machine.deliversReads else { return }
        if reactor.meter != nil { nameRead(bytes.byteCount) }
        reactor.performEvent {
            extras?.observer?.willDeliver(bytes, of: self)
            attempt {
                try ($0 as? any DescriptorReceiver)?.descriptorsReceived(descriptors, from: self)
            }
            if isDelivering {
                attempt { try $0.dataReceived(bytes, from: self) }
            } else {
                unread(bytes)
            }
            extras?.observer?.didDeliver(byteCount: bytes.byteCount, of: self)
        }
        noteFirstBytes()
    }

    /// While the connection closes, is full, is observed, or is fed inside another event, as
    /// transports in memory do it: then the cork is taken, or what it has written in that event comes
    /// first.
    @inline(never)
    func readOtherwise(_ bytes: RawSpan) {
        // They came behind the command that lets a filter in, and are the filter's.
        if awaitsFilter { return keep { $0.append(bytes) } }
        // While closing, what still arrives is read only so that the close is no reset.
        guard machine.deliversReads else { return progress.hasDiscardedInput = true }
        if reactor.meter != nil { nameRead(bytes.byteCount) }
        if let extras, !extras.isPlain {
            readObserved(bytes, extras)
        } else {
            reactor.performEvent { attempt { try $0.dataReceived(bytes, from: self) } }
        }
        noteFirstBytes()
        guard machine.isBroken else { return }
        progress.hasProgressed = true
        endIfRestIsDelivered()
    }

    @inline(never)
    private func nameRead(_ byteCount: Int) {
        nameEvent(.dataReceived)
        countRead(byteCount)
    }

    private func readObserved(_ bytes: RawSpan, _ extras: Extras) {
        reactor.performEvent {
            extras.observer?.willDeliver(bytes, of: self)
            guard machine.deliversReads else { return }
            attempt { try $0.dataReceived(bytes, from: self) }
            extras.observer?.didDeliver(byteCount: bytes.byteCount, of: self)
        }
    }

    var spliceTarget: (any BackendStream)? {
        guard machine.deliversReads, extras?.observer == nil, !awaitsFilter else { return nil }
        return (proto as? PipeProtocol)?.spliceTarget
    }

    func streamDidSplice(byteCount: Int, rest: RawSpan, failure: ErrorCode?) {
        if reactor.meter != nil { nameRead(byteCount + rest.byteCount) }
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
        if let observer = extras?.observer {
            reactor.performEvent { observer.stateDidChange(.readClosed, of: self) }
            if machine.isClosed { return }
        }
        perform(machine.readEnded(isHalfCloseable: isHalfCloseable))
    }

    var isHalfCloseable: Bool {
        guard let proto else { return false }
        return reactor.asHalfCloseable(proto)?.keepsHalfOpen ?? false
    }

    func streamHasRoom() {
        if machine.awaitsFlush { flushLater() }
        guard case .push(let producer, _) = producer else { return }
        reactor.performEvent { (producer as? any FileSource)?.roomAppeared() }
    }

    func streamDidFail(_ error: any Error) {
        guard !machine.isClosed else { return inputEndedBehindLoss() }
        if loss == nil { loss = ConnectionLoss(streamFailed: withSubject(error)) }
        perform(machine.broke(hasInput: hasUnreadInput))
    }

    /// What a stream fails with says of which stream it is.
    private func withSubject(_ error: any Error) -> any Error {
        guard var named = error as? IOError, named.subject == nil else { return error }
        named.subject = stream.subject(of: named.operation) ?? "\(peerAddress)"
        return named
    }

    /// In the turn of a loss, before the stream was handed over: it need not linger.
    @inline(never)
    func inputEndedBehindLoss() {
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
        if seat.pendingSwitch != nil { performSwitch() }
        if seat.unread != nil { deliverUnread() }
        if seat.owesReadClosed { reportReadClosed() }
        if seat.reportsClosing { reportClosing() }
        // What was called above may have written, and closed behind it: that is flushed first.
        guard !isOnFlushList else { return }
        if queue?.isEmpty ?? true { takeNextStep() }
        switch machine.state {
        case .finishing, .abandoning: if progress.deadline == nil { startCloseDeadline() }
        case .broken: endIfRestIsDelivered()
        case .opening, .open, .readClosed, .writeClosing, .writeClosed, .closed: break
        }
    }

    /// Whether something that is not queued here is still to leave: what a filter holds, or what waits
    /// for one.
    var holdsOutput: Bool {
        if let extras, extras.waitingByteCount > 0 { return true }
        return withStream { $0.isHoldingOutput }
    }

    /// Everything has left.
    func takeNextStep() {
        switch producer {
        case .none: if machine.awaitsFlush, !holdsOutput { perform(machine.flushed()) }
        case .pull(let puller, .draining):
            producer = .pull(puller, .ready)
            guard !isOnReadyList else { return }
            isOnReadyList = true
            reactor.readyPullConnections.append(self)
        case .push, .pull: break
        }
    }

    @inline(never)
    func performSwitch() {
        guard let next = seat.pendingSwitch.take(), !machine.isClosed else { return }
        proto = next
        seat.owesReadClosed = machine.state == .readClosed
        seat.reportsClosing = !machine.deliversUnread
        updatePlainness()
        stream.spliceInput(next is PipeProtocol)
        updateDescriptorReceiving()
        attempt { try $0.connectionMade(self) }
    }

    @inline(never)
    func reportReadClosed() {
        guard isDelivering, seat.unread == nil else { return }
        seat.owesReadClosed = false
        guard isHalfCloseable else {
            stopProducer()
            return perform(machine.loseWriteConnection())
        }
        attempt { try reactor.asHalfCloseable($0)?.readConnectionLost(from: self) }
    }

    /// At the end of the event, since inside a callback of its own a protocol cannot be told.
    @inline(never)
    func reportClosing() {
        seat.reportsClosing = false
        guard !machine.isClosed, let proto, let observer = reactor.asHalfCloseable(proto) else {
            return
        }
        (observer as? any ClosingObserver)?.connectionIsClosing()
    }

    @inline(never)
    func deliverUnread() {
        guard isDelivering, let kept = seat.unread else { return }
        if let extras, extras.hasFreshInput {
            deliverFresh(kept, extras)
        } else {
            kept.deliver { bytes in attempt { try $0.dataReceived(bytes, from: self) } }
        }
        if kept.isEmpty { seat.unread = nil }
    }

    /// What a filter has left to the connection: it arrived, and nobody has seen it.
    private func deliverFresh(_ kept: KeptBytes, _ extras: Extras) {
        extras.hasFreshInput = false
        kept.deliver { bytes in
            extras.observer?.willDeliver(bytes, of: self)
            guard machine.deliversUnread else { return }
            attempt { try $0.dataReceived(bytes, from: self) }
            extras.observer?.didDeliver(byteCount: bytes.byteCount, of: self)
        }
        noteFirstBytes()
    }
}
