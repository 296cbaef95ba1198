// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// A task of a reactor may capture what the compiler would not let it send, since it never leaves
// the thread: it starts with the reactor's lane as its preferred executor, is isolated to nothing,
// and so is resumed through the lane each time. The one lie to the compiler is `SpawnedTask` being
// `@unchecked Sendable`, to cross the door of `Task.init`, which leads back to the same thread.

extension Reactor {
    /// Starts async code on this reactor's thread, in a later phase of its turn, never inline.
    ///
    ///     transport.reactor.spawn {
    ///         transport.write(try await database.query(question))
    ///     }
    ///
    /// The closure may capture what belongs to the reactor, and comes back to its thread after
    /// each `await`. A module's own `async` functions are called on such objects only if it is
    /// built with the upcoming feature `NonisolatedNonsendingByDefault`.
    ///
    /// Cancelling the Deferred cancels the task, and the result is what the task makes of that; it
    /// may catch the `CancellationError` and return a value. Being cancelled is for good, as it is
    /// everywhere in Swift: a later wait fails as well. At the end of the reactor's run tasks are
    /// cancelled, and their waits fail with ``ReactorStopped``.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: What is run. An error that nobody takes from the Deferred is reported.
    /// - Returns: What `body` returns or throws; need not be kept.
    @discardableResult
    public func spawn<Value>(
        file: StaticString = #fileID, line: UInt = #line,
        _ body: nonisolated(nonsending) @escaping () async throws -> Value
    ) -> Deferred<Value> {
        Deferred(on: self, file: file, line: line, awaiting: body)
    }

    /// Cancels every task, fails every wait, and runs what is ready then.
    ///
    /// - Returns: Whether there may be more to do.
    func endTasks() -> Bool {
        let before = counters.jobs
        for task in tasks.elements { task.cancel() }
        failWaits()
        executor.queue.renewBudget()
        runJobs()
        life.endRounds += 1
        if counters.jobs > before, life.endRounds < 32 { return true }
        // What still runs waits for something elsewhere, or never ends; nobody waits for it.
        executor.queue.abandonRest()
        for task in tasks.elements { task.abandon() }
        return connections.count > 0
    }
}

extension Deferred {
    /// Starts async code, as ``Reactor/spawn(file:line:_:)`` does, for its result.
    public convenience init(
        on reactor: Reactor, file: StaticString = #fileID, line: UInt = #line,
        awaiting body: nonisolated(nonsending) @escaping () async throws -> Value
    ) {
        let task = BodyTask(body, on: reactor)
        self.init(on: reactor, file: file, line: line) { deferred in
            task.cancel()
            deferred.keepPending()
        }
        task.result = self
        task.start()
    }

    /// Waits for a task that runs anywhere.
    ///
    /// Cancelling the Deferred cancels the task, and waits for what it makes of that.
    public convenience init<Failure: Error>(
        awaiting task: Task<Value, Failure>, on reactor: Reactor, file: StaticString = #fileID,
        line: UInt = #line
    ) where Value: Sendable {
        self.init(on: reactor, file: file, line: line) {
            try await withTaskCancellationHandler {
                try await task.value
            } onCancel: {
                task.cancel()
            }
        }
    }
}

extension AnyDeferred {
    /// Called by a canceller whose result comes later: the Deferred waits for it.
    final func keepPending() {
        guard case .cancelling = phase else { return }
        phase = .unfired
        // There is nothing to cancel a second time.
        canceller = { $0.keepPending() }
    }
}

/// A task that a reactor started.
class SpawnedTask: @unchecked Sendable {
    fileprivate let reactor: Reactor
    private var slot: Int32 = -1
    private var task: Task<Void, Never>?

    fileprivate init(on reactor: Reactor) { self.reactor = reactor }

    fileprivate func start() {
        if reactor.waits.isClosed { return abandon() }
        slot = reactor.tasks.insert(self)
        task = Task(executorPreference: reactor.executor.lane) { await self.main() }
    }

    func cancel() { task?.cancel() }

    /// Whether the reactor still knows of the task; not after it has given it up.
    private var isKnown: Bool { slot >= 0 }

    fileprivate func leave() {
        guard isKnown else { return }
        reactor.tasks.remove(slot)
        slot = -1
        task = nil
    }

    @concurrent fileprivate func main() async {}

    /// The reactor ends, and the task has not: fails its result.
    func abandon() { leave() }
}

private final class BodyTask<Value>: SpawnedTask, @unchecked Sendable {
    private var body: (nonisolated(nonsending) () async throws -> Value)?
    var result: Deferred<Value>?

    init(_ body: nonisolated(nonsending) @escaping () async throws -> Value, on reactor: Reactor) {
        self.body = body
        super.init(on: reactor)
    }

    @concurrent override func main() async {
        // What the closure captures must not live as long as whoever keeps the task.
        guard let body = body.take() else { return }
        let outcome: Result<Value, any Error>
        do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
        leave()
        guard let result = result.take() else { return }
        switch outcome {
        case .success(let value): result.succeed(value)
        case .failure(let error): result.fail(error)
        }
    }

    override func abandon() {
        super.abandon()
        if let result = result.take() { result.fail(ReactorStopped()) }
    }
}
