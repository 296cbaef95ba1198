// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The receiving end of a ``ReactorChannel``, which belongs to one reactor.
///
///     let receiver = jobs.receive(on: worker) { job in store(job) }
///     receiver.pause()
///     database.whenReady { receiver.resume() }
///
/// Call every member on the reactor's thread.
public final class ChannelReceiver<Element: Sendable> {
    /// So many values are delivered in one event, that others have their turn.
    private static var batchLimit: Int { 64 }

    private let channel: ReactorChannel<Element>
    private unowned let reactor: Reactor
    private var body: ((Element) throws -> Void)?
    private var whenEnded: (() -> Void)?
    private var trigger: Trigger?
    private var isPaused = false

    init(
        _ channel: ReactorChannel<Element>, on reactor: Reactor, _ whenEnded: @escaping () -> Void,
        _ body: @escaping (Element) throws -> Void
    ) {
        self.channel = channel
        self.reactor = reactor
        self.whenEnded = whenEnded
        self.body = body
        // Those who wait for room are told.
        trigger = reactor.addTrigger(.after, .shutdown) { [weak self] in self?.close() }
    }

    deinit { if body != nil { channel.close() } }

    /// Stops receiving until ``resume()``: values fill the channel, and then senders wait.
    ///
    /// Also inside the call that gets a value: it is the last one then.
    public func pause() {
        reactor.checkThread()
        isPaused = true
    }

    /// Receives again, in a later turn.
    public func resume() {
        reactor.checkThread()
        guard isPaused else { return }
        isPaused = false
        let own = channel.state.withLock { state in
            state.isScheduled = false
            // One that paused with the last value has told nobody of the room that it left.
            let isIdle = state.queue.isEmpty && state.waiting.isEmpty && !state.hasEnded
            return isIdle ? nil : state.schedule()
        }
        own?.callFromThread { $0.deliver() }
    }

    /// Ends receiving: waiting values are dropped, and sending fails with ``ChannelClosed``.
    ///
    /// Harmless when repeated.
    public func close() {
        reactor.checkThread()
        guard body != nil else { return }
        body = nil
        whenEnded = nil
        if let trigger { reactor.removeTrigger(trigger) }
        channel.close()
    }

    /// There is something, or nothing any more.
    func deliver() {
        for _ in 0..<Self.batchLimit {
            guard !isPaused, let body, let element = channel.state.withLock({ $0.queue.popFirst() })
            else { break }
            do { try body(element) } catch { reactor.report(error, in: "a channel's receiver") }
        }
        finishBatch()
    }

    private func finishBatch() {
        // Who sends meanwhile need not tell one that is paused.
        guard body != nil, !isPaused else { return }
        let (waiting, own, hasEnded) = channel.state.withLock { state in
            state.isScheduled = false
            let hasRoom = state.queue.count <= channel.limit / 2
            return (
                hasRoom ? state.takeWaiting() : [], state.queue.isEmpty ? nil : state.schedule(),
                state.hasEnded
            )
        }
        for sender in waiting { sender.callFromThread { $0.lookAgain() } }
        own?.callFromThread { $0.deliver() }
        guard hasEnded, let whenEnded else { return }
        close()
        whenEnded()
    }
}
