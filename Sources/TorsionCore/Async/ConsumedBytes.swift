// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A consumer whose bytes are an asynchronous sequence: what any source produces, for a loop.
///
///     let body = ConsumedBytes(on: reactor)
///     FileProducer(path: path, on: reactor).pipe(to: body).whenFailed { _ in }
///     for try await bytes in body { checksum.add(bytes.span) }
///
/// At most the high mark and one write are held: a loop that is busy pauses the producer. It ends
/// with the source, and throws what broke it. One task reads at a time.
///
/// - SeeAlso: ``SequenceSource``, the other way round.
public final class ConsumedBytes: Consumer, AsyncSequence {
    /// Bytes as they were written, at least one.
    public typealias Element = Bytes

    private let reactor: Reactor
    private let producer: RegisteredProducer
    /// In reverse, so that taking the first is taking the last.
    private var leaving: [Bytes] = []
    private var coming: [Bytes] = []
    private var reader: WaitKey?
    private var end = End.none

    private enum End { case none, finished, failed(any Error) }

    private var isOver: Bool { if case .none = end { false } else { true } }

    /// Holds bytes for tasks of this reactor; producers are paused and resumed by the marks.
    ///
    /// - Parameters:
    ///   - watermarks: When a producer is paused and resumed, in bytes that are held.
    ///   - reactor: Where the tasks that read run, and where this is called.
    public init(
        watermarks: Watermarks = Watermarks(), on reactor: Reactor
    ) {
        self.reactor = reactor
        producer = RegisteredProducer(watermarks: watermarks, on: reactor)
    }

    /// Nobody reads any more: the producer is stopped.
    deinit { producer.stop() }

    /// Keeps a copy of `bytes`.
    ///
    /// - Parameter bytes: Any number; copied, borrowed for the call only.
    public func write(_ bytes: RawSpan) { write(Bytes(bytes)) }

    /// Keeps `bytes`.
    ///
    /// - Parameter bytes: Any number; shared, without a copy.
    public func write(_ bytes: Bytes) {
        reactor.checkThread()
        guard !isOver, !bytes.isEmpty else { return }
        if producer.isOverLimit { return fail(ConnectionLoss.writeLimitExceeded) }
        coming.append(bytes)
        producer.didQueue(byteCount: bytes.count)
        resumeReader()
    }

    /// Registers a producer, to be paused and resumed.
    ///
    /// - Parameter producer: Paused above the high mark, resumed below the low one. A second one
    ///   traps.
    public func registerProducer(_ producer: any PushProducer) {
        self.producer.register(producer, isOver: isOver)
    }

    /// Registers a producer, which is asked for one piece a turn as long as there is room.
    ///
    /// - Parameter producer: Asked on the reactor. A second one traps.
    public func registerProducer(_ producer: any PullProducer) {
        self.producer.register(producer, isOver: isOver)
    }

    /// The producer has finished.
    public func unregisterProducer() { producer.unregister() }

    /// The loop ends when it has read what is held.
    public func finishConsuming() {
        if !isOver { end = .finished }
        resumeReader()
    }

    /// The loop throws when it has read what is held.
    ///
    /// - Parameter error: Thrown to the reading loop.
    public func abandonConsuming(because error: any Error) {
        if !isOver { end = .failed(error) }
        resumeReader()
    }

    private func fail(_ error: any Error) {
        end = .failed(error)
        producer.stop()
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
        producer.didSend(byteCount: first.count)
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
            require(reader == nil, "ConsumedBytes: two tasks read at the same time")
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
        ///
        /// - Parameter actor: The caller's; leave it out.
        /// - Returns: At least one byte; nil at the end.
        /// - Throws: The error of ``ConsumedBytes/abandonConsuming(because:)``,
        ///   `CancellationError`.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(any Error) -> Bytes? { try await bytes.next() }
    }
}

extension ConsumedBytes: InvariantChecking {
    package func checkInvariants() {
        guard let reader, reactor.waits.isWaiting(reader) else { return }
        require(
            leaving.isEmpty && coming.isEmpty && !isOver,
            "ConsumedBytes: a task waits for bytes that are there, or after the end")
    }
}
