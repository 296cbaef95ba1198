// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// An asynchronous sequence of bytes as a source for ``ByteSource/pipe(to:)``.
///
///     SequenceSource(rows.map { Bytes($0.csv) }, on: reactor).pipe(to: transport)
///
/// The next element is only asked for while the consumer has room. An error of the sequence breaks
/// the pipe. If the consumer goes away, the iterating task is cancelled.
///
/// - SeeAlso: ``ConsumedBytes``, the other way round.
public final class SequenceSource<Elements: AsyncSequence>: ByteSource
where Elements.Element == Bytes {
    private let elements: Elements
    private let reactor: Reactor
    private let file: StaticString
    private let line: UInt

    /// A sequence that a task of this reactor iterates.
    ///
    /// - Parameters:
    ///   - elements: Iterated once, by one task.
    ///   - reactor: Where the task and the consumer belong.
    ///   - file: The place that ``Reactor/inspect()`` names for the task.
    ///   - line: The place that ``Reactor/inspect()`` names for the task.
    public init(
        _ elements: Elements, on reactor: Reactor, file: StaticString = #fileID, line: UInt = #line
    ) {
        self.elements = elements
        self.reactor = reactor
        self.file = file
        self.line = line
    }

    /// Starts the task.
    ///
    /// - Parameter consumer: Written to on the reactor; the next element is asked for while it has
    ///   room.
    /// - Returns: A Deferred for the number of bytes that were written. Cancelling it cancels the
    ///   task.
    @discardableResult
    public func pipe(to consumer: any Consumer) -> Deferred<Int> {
        let feed = SequenceFeed(to: consumer, on: reactor)
        return feed.start(file: file, line: line) { [elements] in
            for try await bytes in elements { try await feed.write(bytes) }
        }
    }
}

/// Stands between the task and the consumer.
private final class SequenceFeed: PushProducer {
    private let consumer: any Consumer
    private let reactor: Reactor
    private var result: Deferred<Int>?
    private var task: Deferred<Void>?
    private var byteCount = 0
    private var isPaused = false
    private var writer: WaitKey?

    init(to consumer: any Consumer, on reactor: Reactor) {
        self.consumer = consumer
        self.reactor = reactor
    }

    func start(
        file: StaticString, line: UInt,
        _ body: nonisolated(nonsending) @escaping () async throws -> Void
    ) -> Deferred<Int> {
        let result = Deferred<Int>(on: reactor, file: file, line: line) { [weak self] _ in
            self?.cancel()
        }
        self.result = result
        consumer.registerProducer(self)
        guard self.result != nil else { return result }
        let task = reactor.spawn(file: file, line: line, body)
        self.task = task
        task.addBoth { [self] outcome in
            self.task = nil
            switch outcome {
            case .success: end(with: nil)
            case .failure(let error): end(with: error)
            }
        }
        return result
    }

    nonisolated(nonsending) func write(_ bytes: Bytes) async throws {
        byteCount += bytes.count
        consumer.write(bytes)
        // A sequence that never waits must not keep the reactor from its other work.
        if !reactor.executor.queue.mayGoOn(afterWriting: bytes.count) { await reactor.yield() }
        while isPaused {
            defer { writer = nil }
            try await reactor.suspend { writer = $0 }
        }
        try Task.checkCancellation()
    }

    private func end(with error: (any Error)?) {
        guard let result = result.take() else { return }
        consumer.unregisterProducer()
        if let error {
            consumer.abandonConsuming(because: error)
            result.fail(error)
        } else {
            consumer.finishConsuming()
            result.succeed(byteCount)
        }
    }

    private func cancel() {
        guard result.take() != nil else { return }
        consumer.unregisterProducer()
        consumer.abandonConsuming(because: CancellationError())
        task?.cancel()
    }

    func pauseProducing() { isPaused = true }

    func resumeProducing() {
        isPaused = false
        if let waiting = writer.take() { reactor.resume(waiting) }
    }

    func stopProducing() {
        result.take()?.fail(PipeBroken(byteCount: byteCount, to: consumer))
        task?.cancel()
    }
}

extension SequenceFeed: InvariantChecking {
    func checkInvariants() {
        require(result != nil, "SequenceSource: produces after its end")
        require(task != nil, "SequenceSource: nothing iterates the sequence")
        require(
            isPaused || !(writer.map(reactor.waits.isWaiting) ?? false),
            "SequenceSource: its task waits for room, and there is")
    }
}
