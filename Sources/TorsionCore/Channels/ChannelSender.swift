// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The sending end of a ``ReactorChannel``, which belongs to one reactor.
///
///     if !sender.trySend(line) {
///         // It is full: the client is slowed down until there is room.
///         transport.pauseProducing()
///         sender.send(line).addCallback { transport.resumeProducing() }
///     }
///
/// Call every member on the reactor's thread. Released, it is closed.
public final class ChannelSender<Element: Sendable> {
    private let channel: ReactorChannel<Element>
    private let reactor: Reactor
    /// What waits for room, in order.
    private var line = WaitingLine<(element: Element, taken: Deferred<Void>)>()
    private var isOpen = true
    /// While something waits.
    private var trigger: Trigger?
    /// Whether the channel knows that this end waits.
    private var isWaiting = false

    init(_ channel: ReactorChannel<Element>, on reactor: Reactor) {
        reactor.checkThread()
        self.channel = channel
        self.reactor = reactor
        channel.state.withLock { state in
            state.senderCount += 1
            state.hadSender = true
        }
    }

    deinit {
        if isOpen { channel.senderWasClosed() }
        // It would find nobody.
        trigger = nil
        failWaiting()
    }

    private enum Outcome: Sendable { case sent, full, closed }

    /// Sends, if there is room.
    ///
    /// - Parameter element: The value to send.
    /// - Returns: Whether it was taken: not, if the channel is full or closed, or an earlier `send`
    ///   waits.
    public func trySend(_ element: Element) -> Bool {
        reactor.checkThread()
        guard isOpen, line.isEmpty else { return false }
        return offer(element) == .sent
    }

    /// Sends, when there is room.
    ///
    /// Values are taken in the order of the calls. Wait for the Deferred before you send more: whatever
    /// is sent without waiting is kept here. Cancelling it takes the value back.
    ///
    /// - Parameters:
    ///   - element: The value to send.
    ///   - file: The place that reports name.
    ///   - number: The place that reports name.
    /// - Returns: Fires when the channel has taken it, which is not when it is delivered; fails with
    ///   ``ChannelClosed`` if the receiver has gone, or this end is closed, or at the end of its
    ///   reactor's run.
    public func send(
        _ element: Element, file: StaticString = #fileID, line number: UInt = #line
    ) -> Deferred<Void> {
        reactor.checkThread()
        guard isOpen else { return .failed(ChannelClosed(), on: reactor, file: file, line: number) }
        if line.isEmpty {
            switch offer(element) {
            case .sent: return .succeeded((), on: reactor, file: file, line: number)
            case .closed: return .failed(ChannelClosed(), on: reactor, file: file, line: number)
            case .full: break
            }
        }
        let place = line.nextNumber
        let taken = Deferred<Void>(on: reactor, file: file, line: number) { [weak self] _ in
            _ = self?.line.remove(place)
        }
        line.append((element, taken))
        // Behind its end nobody could tell this end of room, or that there will be none.
        if trigger == nil {
            trigger = reactor.addTrigger(.after, .shutdown) { [weak self] in self?.close() }
        }
        return taken
    }

    /// Ends sending.
    ///
    /// Sends that wait here fail with ``ChannelClosed``; values that the channel has taken are
    /// delivered. Harmless when repeated.
    public func close() {
        reactor.checkThread()
        guard isOpen else { return }
        isOpen = false
        channel.senderWasClosed()
        failWaiting()
    }

    /// Puts it into the channel; if that is full, this end is told when there is room.
    private func offer(_ element: Element) -> Outcome {
        let (outcome, receiver) = channel.state.withLock { state in
            if state.isClosed { return (Outcome.closed, nil as Remote<ChannelReceiver<Element>>?) }
            guard state.queue.count < channel.limit else { return (.full, nil) }
            state.queue.append(element)
            return (.sent, state.schedule())
        }
        switch outcome {
        case .closed: return .closed
        case .full: return waitForRoom() ? .full : offer(element)
        case .sent:
            guard let receiver else { return .sent }
            if receiver.callFromThread({ $0.deliver() }) { return .sent }
            // Its reactor has stopped.
            channel.close()
            return .closed
        }
    }

    /// - Returns: False if there is room by now, or nobody receives any more.
    private func waitForRoom() -> Bool {
        guard !isWaiting else { return true }
        let own = reactor.remote(to: self)
        isWaiting = channel.state.withLock { state in
            guard !state.isClosed, state.queue.count >= channel.limit else { return false }
            state.waiting.append(own)
            return true
        }
        return isWaiting
    }

    /// There is room, or nobody receives any more.
    func lookAgain() {
        isWaiting = false
        while let first = line.first {
            switch offer(first.element) {
            case .sent:
                _ = line.popFirst()
                first.taken.succeed()
            case .closed: return failWaiting()
            case .full: return
            }
        }
        forgetTrigger()
    }

    private func forgetTrigger() {
        if let trigger = trigger.take() { reactor.removeTrigger(trigger) }
    }

    private func failWaiting() {
        forgetTrigger()
        while let (_, taken) = line.popFirst() { taken.fail(ChannelClosed()) }
    }
}
