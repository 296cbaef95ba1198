// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A consumer whose bytes are an asynchronous sequence: what any source produces, for a loop.
///
///     let body = ConsumedBytes(on: reactor)
///     pipe(from: FileProducer(path: path, on: reactor), to: body).whenFailed { _ in }
///     for try await bytes in body { checksum.add(bytes.span) }
///
/// No more than the high mark and one write is held: a loop that is busy pauses the producer. It
/// ends with the source, and throws what broke it. One task reads at a time.
///
/// - SeeAlso: ``SequenceSource``, the other way round.
public final class ConsumedBytes: Consumer, AsyncSequence {
    /// Bytes as they were written, at least one.
    public typealias Element = Bytes

    private let reactor: Reactor
    private var gate: BackpressureGate
    private var producer: (any PushProducer)?
    /// In reverse, so that taking the first is taking the last.
    private var leaving: [Bytes] = []
    private var coming: [Bytes] = []
    private var reader: WaitKey?
    private var end = End.none

    private enum End { case none, finished, failed(any Error) }

    /// Holds bytes for tasks of this reactor; producers are paused and resumed by the marks.
    public init(
        watermarks: Watermarks = Watermarks(), on reactor: Reactor
    ) {
        self.reactor = reactor
        gate = BackpressureGate(watermarks: watermarks)
    }

    /// Nobody reads any more: the producer is stopped.
    deinit { producer?.stopProducing() }

    /// Keeps a copy of `bytes`.
    public func write(_ bytes: RawSpan) { write(Bytes(bytes)) }

    /// Keeps `bytes`.
    public func write(_ bytes: Bytes) {
        reactor.checkThread()
        guard case .none = end, !bytes.isEmpty else { return }
        if gate.isOverLimit { return fail(ConnectionLoss.writeLimitExceeded) }
        coming.append(bytes)
        if gate.didQueue(byteCount: bytes.count) == .pauseProducer { producer?.pauseProducing() }
        resumeReader()
    }

    /// Names who is paused and resumed.
    public func registerProducer(_ producer: any PushProducer) {
        reactor.checkThread()
        require(
            self.producer == nil,
            "Consumer: a producer is registered already; unregister it first")
        guard case .none = end else { return producer.stopProducing() }
        self.producer = producer
        if gate.isPaused { producer.pauseProducing() }
    }

    /// Names who is asked for the next piece, one a turn as long as there is room.
    public func registerProducer(_ producer: any PullProducer) {
        let pushing = PushingProducer(producer, on: reactor)
        registerProducer(pushing)
        pushing.start()
    }

    /// The producer has finished.
    public func unregisterProducer() {
        (producer as? PushingProducer)?.end()
        producer = nil
    }

    /// The loop ends when it has read what is held.
    public func finishConsuming() {
        if case .none = end { end = .finished }
        resumeReader()
    }

    /// The loop throws when it has read what is held.
    public func abandonConsuming(because error: any Error) {
        if case .none = end { end = .failed(error) }
        resumeReader()
    }

    private func fail(_ error: any Error) {
        end = .failed(error)
        let stopped = producer
        unregisterProducer()
        stopped?.stopProducing()
        resumeReader()
    }

    private func resumeReader() {
        if let waiting = reader.take() { reactor.resume(waiting) }
    }

    private func takeFirst() -> Bytes? {
        if leaving.isEmpty {
            swap(&leaving, &coming)
            leaving.reverse()
        }
        guard let first = leaving.popLast() else { return nil }
        if gate.didSend(byteCount: first.count) == .resumeProducer { producer?.resumeProducing() }
        return first
    }

    nonisolated(nonsending) fileprivate func next() async throws -> Bytes? {
        reactor.checkThread()
        while true {
            if let bytes = takeFirst() { return bytes }
            switch end {
            case .none: break
            case .finished: return nil
            case .failed(let error): throw error
            }
            precondition(reader == nil, "ConsumedBytes: two tasks read at the same time")
            defer { reader = nil }
            try await reactor.suspend { reader = $0 }
        }
    }

    /// Begins where reading stands.
    public func makeAsyncIterator() -> Iterator { Iterator(bytes: self) }

    /// Waits for the next bytes.
    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let bytes: ConsumedBytes

        /// Waits for the next bytes; nil at the end.
        public mutating func next() async throws -> Bytes? { try await bytes.next() }

        /// Waits for the next bytes; nil at the end.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(any Error) -> Bytes? { try await bytes.next() }
    }
}
