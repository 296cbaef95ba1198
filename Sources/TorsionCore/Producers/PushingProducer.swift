// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Lets a pull producer feed a consumer that only knows how to pause and resume.
///
/// It asks for one piece a turn until it is paused, so a consumer needs the code for one kind of
/// producer only:
///
///     func registerProducer(_ producer: any PullProducer) {
///         let pushing = PushingProducer(producer, on: reactor)
///         registerProducer(pushing)
///         pushing.start()
///     }
///
/// - SeeAlso: Twisted `_PullToPush`; ``PullingProducer`` is the other way round.
public final class PushingProducer: PushProducer {
    private let producer: any PullProducer
    private let reactor: Reactor
    private var isPaused = false
    private var isOver = false
    private var nextCall: DelayedCall?

    /// Stands for `producer`, which is asked from ``start()`` on.
    ///
    /// - Parameters:
    ///   - producer: Stopped when this is.
    ///   - reactor: Where it is asked, once a turn.
    public init(_ producer: any PullProducer, on reactor: Reactor) {
        self.producer = producer
        self.reactor = reactor
    }

    /// Asks for the first piece, unless it was paused or stopped meanwhile.
    ///
    /// Called when it is registered.
    public func start() { ask() }

    /// The producer has unregistered: it is not asked again.
    ///
    /// Harmless when repeated.
    public func end() {
        isOver = true
        nextCall?.cancel()
        nextCall = nil
    }

    /// Stops asking for now.
    public func pauseProducing() {
        isPaused = true
        nextCall?.cancel()
        nextCall = nil
    }

    /// Goes on asking.
    public func resumeProducing() {
        isPaused = false
        ask()
    }

    /// Stops the producer, once.
    public func stopProducing() {
        guard !isOver else { return }
        end()
        producer.stopProducing()
    }

    private func ask() {
        guard !isPaused, !isOver, nextCall == nil else { return }
        // One a turn: a producer that never tires must not keep the reactor from the others.
        nextCall = reactor.callLater(.zero) { [self] in
            nextCall = nil
            ask()
        }
        producer.produceMore()
    }
}
