// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension StreamConnection {
    // MARK: Actions of the state machine

    @inline(never)
    func perform(_ action: ConnectionStateMachine.Action) {
        checkNotLending()
        updatePlainness()
        switch action {
        case .none:
            break
        case .announceReadClosed:
            announceReadClosed()
        case .finish:
            seat.reportsClosing = true
            releaseOwnProducer()
            beginFinishing()
        case .stopProducerAndFinish:
            reactor.performEvent { stopProducer() }
            beginFinishing()
        case .flush:
            releaseOwnProducer()
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
    func linger() {
        terminate(.locally)
        if stream.needsDraining { streamEnd = .lingering } else { closeBehindOutput() }
    }

    func closeBehindOutput() {
        withStream { stream in
            if stream.endsOnlyByShutdown { _ = stream.shutdownWriting() }
            if stream.hasUnsentOutput { streamEnd = .lingeringWithoutInput } else { stream.close() }
        }
    }

    func announceReadClosed() {
        updateReading()
        let isEnding = machine.state == .finishing(peerFinished: true)
        reactor.performEvent {
            attempt { try reactor.asHalfCloseable($0)?.readConnectionLost(from: self) }
        }
        if isEnding { beginFinishing() }
    }

    /// A transport that was registered as its own producer, to pause itself, never comes to an end: a
    /// close must not wait for it.
    func releaseOwnProducer() {
        guard case .push(let registered, let isPausedByGate) = producer, registered === self else {
            return
        }
        producer = .none
        if isPausedByGate { isPaused = false }
    }

    func beginFinishing() {
        updateReading()
        // Most connections have nothing left to send and end in this very event, without a deadline.
        flushLater()
    }

    /// A close waits for the peer to take what is queued, or for its producer.
    func startCloseDeadline() {
        progress.hasProgressed = false
        progress.unsentByteCount = stream.unsentByteCount ?? .max
        awaitProgress(quietQuarters: 0)
    }

    /// Looks four times as often as the deadline is long, so that it is kept to a quarter.
    func awaitProgress(quietQuarters: Int) {
        progress.deadline = reactor.callLater(options.value.closeTimeout / 4) { [self] in
            progress.deadline = nil
            // What the kernel had before it is progress as well: until much of it has left, it takes
            // nothing from the queue.
            let unsent = stream.unsentByteCount ?? .max
            let isQuiet = !progress.hasProgressed && unsent >= progress.unsentByteCount
            progress.hasProgressed = false
            progress.unsentByteCount = unsent
            guard isQuiet else { return awaitProgress(quietQuarters: 0) }
            guard quietQuarters < 3 else { return closeTimedOut() }
            awaitProgress(quietQuarters: quietQuarters + 1)
        }
    }

    func closeTimedOut() {
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
    func loss(of ending: ConnectionStateMachine.Ending) -> ConnectionLoss {
        switch ending {
        case .byPeer: .closedByPeer
        case .locally: extras?.closeReason ?? .closedLocally
        case .aborted, .failed: .aborted
        case .deadlinePassed: .deadlinePassed(.closing)
        }
    }

    /// Ends the connection.
    ///
    /// Its protocol is told in the turn's last phase. The caller closes the stream, or lets it linger.
    @inline(never)
    func terminate(_ ending: ConnectionStateMachine.Ending) {
        if loss == nil { loss = loss(of: ending) }
        progress.deadline?.cancel()
        progress.deadline = nil
        dropOutput()
        seat.clear()
        isReading = false
        if slot >= 0 { unsafe reactor.lostConnections.append(.passUnretained(self)) }
    }

    func dropOutput() {
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
        if let extras { reportLoss(to: extras) }
        if let lost = proto.take(), let loss { lost.connectionLost(loss, from: self) }
        if streamEnd != .now { handOver() }
        if let loss {
            reactor.counters.losses.add(loss)
            if let lost = reactor.connectionObserver.lost { lost(loss, self) }
        }
        if reportsLoss, let loss { reactor.report(loss, of: self) }
        defer { reactor.tellLossWatch(of: id, loss) }
        return reactor.connections.remove(slot)
    }

    @inline(never)
    func reportLoss(to extras: Extras) {
        upgradeFailed()
        if let loss { extras.observer.take()?.didLose(loss, of: self) }
    }

    @inline(never)
    func handOver() {
        let hasInputEnded = streamEnd == .lingeringWithoutInput
        if hasInputEnded, !stream.hasUnsentOutput { return stream.close() }
        var state = LingeringStreams.State()
        state.hasInput = progress.hasDiscardedInput
        state.hasInputEnded = hasInputEnded
        state.endsInReset = streamEnd == .lingeringToReset
        reactor.lingering.take(stream, state)
    }

    /// Ends without a word to the protocol, whose reactor has told it for the last time.
    func drop() {
        perform(machine.abort())
        finishServing()
        if streamEnd != .now { stream.close() }
        producer = .none
        extras = nil
        proto = nil
        reactor.lostConnections.removeAll {
            unsafe $0.toOpaque() == Unmanaged.passUnretained(self).toOpaque()
        }
        reactor.connections.remove(slot)
    }

    // MARK: Errors

    @inline(never)
    func fail(_ error: any Error) {
        guard !machine.isClosed else { return }
        loss = ConnectionLoss(because: error)
        perform(machine.abort())
    }

    /// The stream can send nothing any more.
    @inline(never)
    func failed(_ code: ErrorCode, _ function: String, _ operation: IOError.Operation) {
        guard !machine.isClosed else { return }
        setFailure(code, function, operation)
        perform(machine.broke(hasInput: hasUnreadInput))
    }

    func setFailure(
        _ code: ErrorCode, _ function: String, _ operation: IOError.Operation
    ) {
        guard loss == nil else { return }
        let subject = stream.subject(of: operation) ?? "\(peerAddress)"
        loss = .failed(IOError(operation, function: function, code: code, subject: subject))
    }

    /// Whether something that arrived was not delivered.
    var hasUnreadInput: Bool { seat.unread != nil || stream.hasUnreadInput }

    // MARK: A broken connection

    /// How long a program that is paused may leave the rest of a broken connection unread.
    static let unreadGracePeriod = Duration.seconds(5)

    /// What had arrived before the stream broke is delivered, and then the loss.
    func deliverRest() {
        dropOutput()
        progress.deadline?.cancel()
        progress.hasProgressed = false
        awaitRest(since: reactor.presentTime, limit: reactor.presentTime.advanced(by: .seconds(60)))
        updateReading()
        // The producer is stopped, and what was given back is delivered, when the event ends.
        flushLater()
    }

    /// Looks whether a rest is left, as a completion backend learns a little later that there is none.
    ///
    /// While the rest is read there is time, but not without limit: a peer that has only shut down
    /// its reading may send without end, over a UNIX socket.
    func awaitRest(since start: MonotonicInstant, limit: MonotonicInstant) {
        progress.deadline = reactor.callLater(.milliseconds(20)) { [self] in
            progress.deadline = nil
            let now = reactor.presentTime
            let start = progress.hasProgressed ? now : start
            progress.hasProgressed = false
            guard hasUnreadInput, start.advanced(by: Self.unreadGracePeriod) > now, now < limit
            else {
                return perform(machine.failed())
            }
            awaitRest(since: start, limit: limit)
        }
    }

    func endIfRestIsDelivered() {
        if !hasUnreadInput { perform(machine.failed()) }
    }

    /// Whether nothing can be sent any more.
    var isOver: Bool { machine.isClosed || machine.isBroken }
}
