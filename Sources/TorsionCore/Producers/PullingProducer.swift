// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Lets a push producer be asked piece by piece.
///
/// To the push producer it is the consumer; to the real consumer it is a pull producer, asked once
/// each time everything has left. Between two requests the push producer is paused, so that only
/// the bytes are held that it writes before it heeds that:
///
///     let pulling = PullingProducer(into: transport)
///     source.pipe(to: pulling)
///
/// - SeeAlso: ``PushingProducer``, the other way round.
public final class PullingProducer: PullProducer, Consumer {
    private let consumer: any Consumer
    private var producer: (any PushProducer)?
    private var held = PieceQueue<Bytes>()
    /// The consumer asked, and has got nothing yet.
    private var isAsked = false
    private var isPaused = false
    private var end = End.none

    /// What is told behind what is held.
    private enum End { case none, finished, abandoned(any Error), told }

    /// Stands between a push producer and this consumer, at which it registers with its producer.
    ///
    /// - Parameter consumer: Asks for the pieces.
    public init(into consumer: any Consumer) { self.consumer = consumer }

    // MARK: Towards the push producer

    /// Writes to the consumer if that has asked, else keeps it until it does.
    ///
    /// - Parameter bytes: Any number; copied if they are kept.
    public func write(_ bytes: RawSpan) {
        if isAsked {
            isAsked = false
            consumer.write(bytes)
        } else {
            held.append(Bytes(bytes))
        }
        pause()
    }

    /// The same without a copy.
    ///
    /// - Parameter bytes: Any number; shared, without a copy.
    public func write(_ bytes: Bytes) {
        if isAsked {
            isAsked = false
            consumer.write(bytes)
        } else {
            held.append(bytes)
        }
        pause()
    }

    /// Registers with the consumer, which asks at once.
    ///
    /// - Parameter producer: Paused whenever a piece is held. A second one traps.
    public func registerProducer(_ producer: any PushProducer) {
        require(self.producer == nil, "Consumer: a producer is registered already")
        self.producer = producer
        consumer.registerProducer(self)
    }

    /// Passes the pull producer on as it is.
    ///
    /// - Parameter producer: Registered with the consumer itself.
    public func registerProducer(_ producer: any PullProducer) {
        consumer.registerProducer(producer)
    }

    /// The producer has finished; what is held is still asked for.
    public func unregisterProducer() {
        producer = nil
        if held.isEmpty { consumer.unregisterProducer() }
    }

    /// Passes the end on, behind what is held.
    public func finishConsuming() {
        end = .finished
        tellEnd()
    }

    /// Passes the error on, behind what is held.
    ///
    /// - Parameter error: Given to the consumer after the last piece.
    public func abandonConsuming(because error: any Error) {
        end = .abandoned(error)
        tellEnd()
    }

    private func tellEnd() {
        guard held.isEmpty else { return }
        switch end {
        case .none, .told: return
        case .finished: consumer.finishConsuming()
        case .abandoned(let error): consumer.abandonConsuming(because: error)
        }
        end = .told
    }

    private func pause() {
        guard !isPaused, let producer else { return }
        isPaused = true
        producer.pauseProducing()
    }

    // MARK: Towards the consumer

    /// Gives what is held, or lets the producer go on.
    public func produceMore() {
        if let next = held.popFirst() {
            consumer.write(next)
            guard held.isEmpty, producer == nil else { return }
            consumer.unregisterProducer()
            return tellEnd()
        }
        isAsked = true
        guard isPaused, let producer else { return }
        isPaused = false
        producer.resumeProducing()
    }

    /// Stops the producer.
    public func stopProducing() {
        held = PieceQueue()
        let stopped = producer.take()
        stopped?.stopProducing()
    }
}
