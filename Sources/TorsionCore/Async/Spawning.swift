// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Reactor {
    /// Starts async code on this reactor's thread, in a later phase of its turn, never inline.
    ///
    ///     transport.reactor.spawn {
    ///         transport.write(try await database.query(question))
    ///     }
    ///
    /// The closure may capture what belongs to the reactor, and comes back to its thread after each
    /// `await`. So it must be nonisolated, or isolated to an actor on this reactor's
    /// ``Reactor/executor``. At the top level of `main.swift`, in a `main` function and in whatever
    /// else is main-actor code it is isolated to the main actor, whose thread the reactor keeps: it
    /// would never run, so `spawn` traps. The closure that you give to `Reactor.main` is
    /// nonisolated, and so are closures inside it.
    ///
    /// A module's own `async` functions are called on such objects only if it is
    /// built with the upcoming feature `NonisolatedNonsendingByDefault`.
    ///
    /// Cancelling the Deferred cancels the task, and the result is what the task makes of that; it
    /// may catch the `CancellationError` and return a value. Being cancelled is for good, as it is
    /// everywhere in Swift: a later wait fails as well. At the end of the reactor's run tasks are
    /// cancelled, and their waits fail with ``ReactorStopped``.
    ///
    /// - Parameters:
    ///   - isolation: The actor that `body` belongs to; leave it out.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Run once, as a task. An unhandled error of the Deferred is reported.
    /// - Returns: What `body` returns or throws; need not be kept.
    @discardableResult
    public func spawn<Value>(
        isolation: (any Actor)? = #isolation,
        file: StaticString = #fileID, line: UInt = #line,
        _ body: nonisolated(nonsending) @escaping () async throws -> Value
    ) -> Deferred<Value> {
        Deferred(on: self, isolation: isolation, file: file, line: line, awaiting: body)
    }

    /// Traps if a closure that was written in `isolation` would not run on this reactor.
    ///
    /// The compiler isolates such a closure to that actor, silently, though the parameter is
    /// `nonisolated(nonsending)`. Its task then waits for the actor, and if that is the main actor,
    /// whose thread turns the reactor, for as long as the reactor runs.
    package func requireTasksRun(in isolation: (any Actor)?, _ function: StaticString) {
        guard let isolation, !executor.runs(isolation) else { return }
        mistake(
            isolation is MainActor
                ? "\(function): the closure belongs to the main actor and would never run, since its"
                    + " thread turns the reactor; start the program by Reactor.main"
                    + " (or ReactorGroup.main), or call this from a function that is not main-actor"
                    + " code"
                : "\(function): the closure belongs to \(isolation), which does not run on this"
                    + " reactor; call this from code that is isolated to no actor")
    }

    /// Cancels every task, fails every wait, and runs what is ready then.
    func endTasks() {
        for task in tasks.elements { task.cancel() }
        failWaits()
        executor.queue.renewBudget()
        runJobs()
    }
}

extension Deferred {
    /// Starts async code, as ``Reactor/spawn(isolation:file:line:_:)`` does, for its result.
    ///
    /// - Parameters:
    ///   - reactor: Where `body` runs.
    ///   - isolation: The actor that `body` belongs to; leave it out. See
    ///     ``Reactor/spawn(isolation:file:line:_:)``.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Run once, in a later phase of the turn.
    public convenience init(
        on reactor: Reactor, isolation: (any Actor)? = #isolation,
        file: StaticString = #fileID, line: UInt = #line,
        awaiting body: nonisolated(nonsending) @escaping () async throws -> Value
    ) {
        reactor.requireTasksRun(in: isolation, "spawn")
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
    ///
    /// - Parameters:
    ///   - task: Cancelled when the Deferred is.
    ///   - reactor: Where the Deferred fires.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    public convenience init<Failure: Error>(
        awaiting task: Task<Value, Failure>, on reactor: Reactor, file: StaticString = #fileID,
        line: UInt = #line
    ) where Value: Sendable {
        self.init(on: reactor, isolation: nil, file: file, line: line) {
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
