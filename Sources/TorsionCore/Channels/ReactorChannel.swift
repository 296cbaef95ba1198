// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Carries values from some reactors to another one, and slows the senders down when that is behind.
///
///     let jobs = ReactorChannel<Job>(limit: 64)
///     // On the reactor that works:
///     jobs.receive(on: worker) { job in store(job) }
///     // On a reactor that has work, each with a sender of its own:
///     let sender = jobs.sender(on: reactor)
///     sender.send(job).addCallback { transport.write("taken\n") }
///
/// At most `limit` values wait in it. Each is delivered once, those of one sender in their order,
/// as an event of the receiving reactor. The channel is for any thread; its ends belong to their
/// reactors. If you do not need backpressure, `Remote.callFromThread(_:)` is enough.
///
/// - SeeAlso: ``Reactor/siblings``, the reactors of a group.
public final class ReactorChannel<Element: Sendable>: Sendable {
    struct State {
        var queue = WaitingLine<Element>()
        var receiver: Remote<ChannelReceiver<Element>>?
        var isReceived = false
        /// Whether the receiver has been told to look.
        var isScheduled = false
        /// Nobody receives any more.
        var isClosed = false
        var senderCount = 0
        /// Whether there was one, so that none is the end.
        var hadSender = false
        /// Those who wait for room.
        var waiting: [Remote<ChannelSender<Element>>] = []

        /// Whether nothing will come any more.
        var hasEnded: Bool { hadSender && senderCount == 0 && queue.isEmpty }

        mutating func takeWaiting() -> [Remote<ChannelSender<Element>>] {
            defer { waiting = [] }
            return waiting
        }

        /// - Returns: The receiver, if it has to be told that there is something.
        mutating func schedule() -> Remote<ChannelReceiver<Element>>? {
            guard !isScheduled, let receiver else { return nil }
            isScheduled = true
            return receiver
        }
    }

    /// How many values may wait.
    public let limit: Int

    let state: Lock<State>

    /// Makes a channel without ends.
    ///
    /// - Parameter limit: How many values may wait, at least 1.
    public init(limit: Int) {
        require(limit >= 1, "ReactorChannel: limit \(limit); need at least 1")
        self.limit = limit
        state = Lock(State())
    }

    /// How many values wait.
    ///
    /// On any thread; another one may change it at once.
    public var count: Int { state.withLock { $0.queue.count } }

    /// An end that sends.
    ///
    /// Called on the reactor. When the last sender is closed or released, the receiver gets what is
    /// left, and then the end.
    ///
    /// - Parameter reactor: The reactor that it belongs to.
    /// - Returns: The end.
    public func sender(on reactor: Reactor) -> ChannelSender<Element> {
        ChannelSender(self, on: reactor)
    }

    /// Receives: calls `body` with each value.
    ///
    /// Called on the reactor. The receiver lives until it is closed or its reactor's run ends, whether
    /// it is kept or not.
    ///
    /// - Parameters:
    ///   - reactor: Where `body` is called.
    ///   - whenEnded: Called once, when every sender is closed and all values were delivered.
    ///   - body: Called for each value. An error that it throws is reported, and the next value
    ///     follows.
    /// - Returns: The end, which pauses and closes.
    /// - Precondition: The channel is received from once.
    @discardableResult
    public func receive(
        on reactor: Reactor, whenEnded: @escaping () -> Void = {},
        _ body: @escaping (Element) throws -> Void
    ) -> ChannelReceiver<Element> {
        reactor.checkThread()
        let isFirst = state.withLock { state in
            defer { state.isReceived = true }
            return !state.isReceived
        }
        require(isFirst, "ReactorChannel: receive was called twice; a channel has one receiver")
        let receiver = ChannelReceiver(self, on: reactor, whenEnded, body)
        let remote = reactor.remote(to: receiver)
        let first = state.withLock { state in
            state.receiver = remote
            return state.queue.isEmpty && !state.hasEnded ? nil : state.schedule()
        }
        first?.callFromThread { $0.deliver() }
        return receiver
    }

    /// Nobody receives any more: what waits is dropped, and who sends is told.
    func close() {
        let (dropped, waiting, receiver) = state.withLock { state in
            state.isClosed = true
            defer {
                state.queue = WaitingLine()
                state.receiver = nil
            }
            return (state.queue, state.takeWaiting(), state.receiver)
        }
        // Released outside of the lock: what they hold may come back here.
        withExtendedLifetime((dropped, receiver)) {}
        for sender in waiting { sender.callFromThread { $0.lookAgain() } }
    }

    /// One sender less.
    func senderWasClosed() {
        let receiver = state.withLock { state in
            state.senderCount -= 1
            return state.hasEnded ? state.schedule() : nil
        }
        receiver?.callFromThread { $0.deliver() }
    }
}

/// The receiver was closed, or its reactor has stopped.
public struct ChannelClosed: Error, Hashable, Sendable, CustomStringConvertible {
    /// A sentence.
    public var description: String { "nobody receives from the channel any more" }

    /// Makes one.
    public init() {}
}
