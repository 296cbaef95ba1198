// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The one producer of a consumer that holds bytes, paused and resumed by how many there are.
///
/// A class, since a producer may write inside each of the calls that it gets here.
final class RegisteredProducer {
    private let reactor: Reactor
    private var gate: BackpressureGate
    private var producer: (any PushProducer)?

    /// Nobody, until somebody registers.
    init(watermarks: Watermarks, on reactor: Reactor) {
        self.reactor = reactor
        gate = BackpressureGate(watermarks: watermarks)
    }

    /// The producer does not heed the marks.
    var isOverLimit: Bool { gate.isOverLimit }

    /// The consumer holds so many bytes more.
    func didQueue(byteCount: Int) {
        if gate.didQueue(byteCount: byteCount) == .pauseProducer { producer?.pauseForConsumer() }
    }

    /// The consumer holds so many bytes less.
    func didSend(byteCount: Int) {
        if gate.didSend(byteCount: byteCount) == .resumeProducer { producer?.resumeProducing() }
    }

    /// Registers one, which is told at once if the consumer is full, or takes no more.
    func register(_ next: any PushProducer, isOver: Bool) {
        reactor.checkThread()
        require(
            producer == nil, "Consumer: a producer is registered already; unregister it first")
        guard !isOver else { return next.stopProducing() }
        producer = next
        if gate.isPaused { next.pauseForConsumer() }
    }

    /// Registers one that is asked for a piece a turn, as long as there is room.
    func register(_ next: any PullProducer, isOver: Bool) {
        let pushing = PushingProducer(next, on: reactor)
        register(pushing, isOver: isOver)
        pushing.start()
    }

    /// It has finished.
    func unregister() {
        (producer as? PushingProducer)?.end()
        producer = nil
    }

    /// The consumer takes no more.
    func stop() {
        let stopped = producer.take()
        stopped?.stopProducing()
    }
}
