// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// A filter that comes into a live connection, as TLS does behind STARTTLS. The connection stays what
// it is: its ID, its protocol, its statistics. What was written before leaves as it is; what arrives
// behind the command that led here is the filter's, and is never delivered as it is.

/// A filter that is to come into a connection, or is agreeing on its terms.
final class FilterUpgrade {
    let filter: StreamFilter
    let result: Deferred<Void>
    /// Whether it stands below the connection.
    var hasBegun = false
    var timeout: DelayedCall?
    /// What was written behind the call and before the filter stands below: never sent as it is.
    ///
    /// It becomes the connection's queue then.
    let waiting: WriteQueue

    init(_ filter: StreamFilter, _ result: Deferred<Void>, countedIn account: QueueAccount) {
        self.filter = filter
        self.result = result
        waiting = WriteQueue(countedIn: account)
    }
}

extension StreamConnection.Extras {
    /// Whether reads and writes need not look here.
    var isPlain: Bool { observer == nil && upgraded == nil && !awaitsFilter }

    /// Whether a filter comes before anything else is delivered.
    var awaitsFilter: Bool { upgrade.map { !$0.hasBegun } ?? false }

    /// What waits for the filter.
    var waitingByteCount: Int { upgrade.map { $0.hasBegun ? 0 : $0.waiting.byteCount } ?? 0 }
}

extension StreamConnection {
    /// Whether a filter comes before anything else is delivered or leaves.
    var awaitsFilter: Bool { extras?.awaitsFilter ?? false }

    func startFilter(_ filter: StreamFilter, remaining: RawSpan) -> Deferred<Void> {
        reactor.checkThread()
        checkNotLending()
        let result = Deferred<Void>(on: reactor) { [weak self] _ in self?.abortConnection() }
        guard machine.state == .open else {
            result.fail(
                IOError(.handshake, function: "", code: .notConnected, subject: peerAddress))
            return result
        }
        // What was written before leaves as it is; what is written from now on is the filter's.
        sendCoalesced()
        let extras = makeExtras()
        require(extras.upgrade == nil, "StreamTransport: startFilter twice in one handshake")
        extras.upgrade = FilterUpgrade(filter, result, countedIn: reactor.queues)
        updatePlainness()
        if remaining.byteCount > 0 { keep { $0.prepend(remaining) } }
        // In a turn of its own, since the stream's present callback still counts on its receiver.
        reactor.callLater(.zero) { [self] in beginUpgrade() }
        return result
    }

    private func beginUpgrade() {
        guard !machine.isClosed, let upgrade = extras?.upgrade else { return }
        sendCoalesced()
        upgrade.hasBegun = true
        guard !isOver else { return }
        let leaving = queue.flatMap { $0.isEmpty ? nil : $0 }
        if let leaving {
            queue = nil
            note(gate.didSend(byteCount: leaving.byteCount))
        }
        var input = Bytes()
        if let kept = seat.unread.take() { kept.deliver { input = Bytes($0) } }
        let filter = upgrade.filter
        let below = stream
        stream = filter
        filter.attach(
            over: below, on: reactor, input: input, leaving: leaving, isReading: isReading)
        filter.deliver(to: self)
        if !upgrade.waiting.isEmpty {
            queue = upgrade.waiting
            filter.startWriting(from: upgrade.waiting)
        }
        updatePlainness()
        upgrade.timeout = reactor.callLater(options.value.handshakeTimeout) { [self] in
            streamDidFail(ConnectionLoss.deadlinePassed(.handshaking))
        }
        do { try filter.start() } catch { return streamDidFail(error) }
        if filter.stage == .open || filter.stage == .withdrawn && !filter.isSending {
            filterAgreed()
        }
        // It ended between the call and this turn, and the stream tells it once.
        if machine.inputHasEnded { filter.streamDidReadEnd() }
        callProducer()
    }

    /// The filter has agreed: the connection goes on above it, or over the stream that it leaves.
    func filterAgreed() {
        guard let upgrade = extras?.upgrade, upgrade.hasBegun else {
            mistake("StreamConnection: connected twice")
        }
        extras?.upgrade = nil
        upgrade.timeout?.cancel()
        let filter = upgrade.filter
        if let details = filter.takeDetails() { extras?.details.merge(details) }
        if filter.stage == .withdrawn {
            stream = filter.below
            let input = filter.takeInput()
            filter.finishWithdrawal()
            stream.deliver(to: self)
            if !input.isEmpty { keepFresh(input) }
            isReading = false
            if let queue, !queue.isEmpty { stream.startWriting(from: queue) }
        }
        updatePlainness()
        reactor.performEvent {
            if seat.unread != nil { flushLater() }
            updateReading()
            // What has waited for the agreement goes on.
            if filter.stage == .open { filter.resumeTransmitting() }
            upgrade.result.succeed(())
        }
    }

    /// The connection is lost while a filter was coming.
    func upgradeFailed() {
        guard let upgrade = extras?.upgrade else { return }
        extras?.upgrade = nil
        upgrade.timeout?.cancel()
        if !upgrade.hasBegun { upgrade.filter.closed() }
        if upgrade.result.isPending { upgrade.result.fail(loss ?? .aborted) }
    }
}
