// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

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
