// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// `async let` and task groups refuse to capture what belongs to a reactor. These do the same for
// tasks of one reactor: none outlives the call that started it.

extension Reactor {
    /// Waits for a time to pass, by the reactor's clock.
    ///
    /// Call it from a task of this reactor. A negative time counts as zero; the task goes on in a
    /// later turn at the earliest. Unlike `Task.sleep` it stays on the reactor's thread.
    ///
    /// - Parameters:
    ///   - duration: How long, by the reactor's clock; a negative one counts as zero.
    ///   - file: The place that ``inspect()`` names.
    ///   - line: The place that ``inspect()`` names.
    /// - Throws: `CancellationError` when the task is cancelled, ``ReactorStopped`` at the end of
    ///   the reactor.
    public nonisolated(nonsending) func sleep(
        for duration: Duration, file: StaticString = #fileID, line: UInt = #line
    ) async throws {
        var call: DelayedCall?
        defer { call?.cancel() }
        try await suspend { key in
            call = callLater(duration, file: file, line: line) { [unowned self] in resume(key) }
        }
    }

    /// Runs `body`, and cancels it if it has not ended within `limit`.
    ///
    /// It waits for `body` to end in any case, so one that does not heed being cancelled is waited
    /// for.
    ///
    /// - Parameters:
    ///   - limit: How long `body` may take, by the reactor's clock.
    ///   - file: The place that a report names.
    ///   - line: The place that a report names.
    ///   - body: Run once, as a task of this reactor.
    /// - Returns: What `body` returns, also if that comes after the limit.
    /// - Throws: What `body` throws; ``TimeoutError`` in place of the `CancellationError` that the
    ///   limit brought about.
    public nonisolated(nonsending) func withTimeout<Value>(
        _ limit: Duration, file: StaticString = #fileID, line: UInt = #line,
        _ body: nonisolated(nonsending) @escaping () async throws -> Value
    ) async throws -> Value {
        requireTasksRun(in: #isolation, "withTimeout")
        let task = spawn(isolation: nil, file: file, line: line, body)
        return try await task.addTimeout(limit, file: file, line: line).value
    }

    /// Runs two closures, each as a task of its own, and returns both values.
    ///
    ///     let (name, quota) = try await reactor.concurrently(
    ///         { try await directory.name(of: user) }, { try await ledger.quota(of: user) })
    ///
    /// If one throws the other is cancelled, and waited for. More than two nest, or use
    /// ``withServingGroup(_:)``.
    ///
    /// - Parameters:
    ///   - file: The place that ``inspect()`` names for both tasks.
    ///   - line: The place that ``inspect()`` names for both tasks.
    ///   - first: Run once, as a task of this reactor.
    ///   - second: Run once, as a task of this reactor, side by side with `first`.
    /// - Returns: Both values, when both closures have ended.
    /// - Throws: The first error.
    @discardableResult
    public nonisolated(nonsending) func concurrently<First, Second>(
        file: StaticString = #fileID, line: UInt = #line,
        _ first: nonisolated(nonsending) @escaping () async throws -> First,
        _ second: nonisolated(nonsending) @escaping () async throws -> Second
    ) async throws -> (First, Second) {
        requireTasksRun(in: #isolation, "concurrently")
        var values: (First?, Second?) = (nil, nil)
        try await withServingGroup { group in
            group.spawn(isolation: nil, file: file, line: line) {
                values.0 = try await group.cancellingAll(ifThrown: first)
            }
            group.spawn(isolation: nil, file: file, line: line) {
                values.1 = try await group.cancellingAll(ifThrown: second)
            }
        }
        // A group that returns has ended without an error, so that both have a value.
        return (values.0!, values.1!)
    }

    /// Runs `body`, which may start any number of tasks in the group, and waits for all of them.
    ///
    /// When one throws, or `body` does, or the calling task is cancelled, the others are cancelled.
    /// Not so for ``ShutdownRequested``: at a stop each task finishes its own work.
    ///
    /// - Parameter body: Runs in the calling task; the call returns its value.
    /// - Returns: What `body` returns.
    /// - Throws: The first error, when all tasks have ended. The `CancellationError` of a task that
    ///   ``ServingGroup/cancelAll()`` has cancelled does not count: you have asked for it.
    public nonisolated(nonsending) func withServingGroup<Value>(
        _ body: nonisolated(nonsending) (ServingGroup) async throws -> Value
    ) async throws -> Value {
        checkThread()
        let group = ServingGroup(on: self)
        var value: Value?
        do { value = try await body(group) } catch { group.fail(error) }
        try await group.join()
        if let error = group.failure { throw error }
        // Without an error `body` has returned.
        return value!
    }
}

extension Reactor {
    /// Runs `body`, and beside it a task that ends with it.
    ///
    ///     try await reactor.withBackground {
    ///         while true {
    ///             try await reactor.sleep(for: .seconds(30))
    ///             try await connection.write("PING\r\n")
    ///         }
    ///     } while: {
    ///         for try await line in connection.lines() { try await answer(line) }
    ///     }
    ///
    /// When `body` has ended, the task is cancelled and waited for. A task that ends earlier leaves
    /// `body` alone; one that throws cancels it.
    ///
    /// - Parameters:
    ///   - file: The place that ``inspect()`` names for both tasks.
    ///   - line: The place that ``inspect()`` names for both tasks.
    ///   - background: Run by the task. It is not heard when it throws `CancellationError` because
    ///     it was cancelled.
    ///   - body: Runs as a task of its own, so that it can be cancelled.
    /// - Returns: What `body` returns.
    /// - Throws: The first error of either. If `body` throws `ShutdownRequested`, `background` has not
    ///   failed and is cancelled all the same.
    public nonisolated(nonsending) func withBackground<Value>(
        file: StaticString = #fileID, line: UInt = #line,
        _ background: nonisolated(nonsending) @escaping () async throws -> Void,
        while body: nonisolated(nonsending) @escaping () async throws -> Value
    ) async throws -> Value {
        requireTasksRun(in: #isolation, "withBackground")
        var value: Value?
        try await withServingGroup { group in
            group.spawn(isolation: nil, file: file, line: line, background)
            group.spawn(isolation: nil, file: file, line: line) {
                defer { group.cancelAll() }
                value = try await body()
            }
        }
        // The group has ended without an error, and nothing but its end cancels `body` silently.
        guard let value else { throw CancellationError() }
        return value
    }
}

/// Tasks of a reactor that end together, and whose closures may capture what belongs to it.
///
///     try await reactor.withServingGroup { group in
///         for try await connection in listener {
///             group.spawn { try await answer(connection) }
///         }
///     }
///
/// - SeeAlso: ``Reactor/withServingGroup(_:)``; Swift's `withThrowingDiscardingTaskGroup`.
public final class ServingGroup {
    private let reactor: Reactor
    /// By the order of their start, in which they are cancelled too.
    private var children: [Int: Deferred<Void>] = [:]
    private var startedCount = 0
    private var waiter: WaitKey?
    fileprivate private(set) var failure: (any Error)?
    private var isCancelled = false
    /// Whether the program has cancelled them, so that their being cancelled is no failure.
    private var forgivesCancellation = false

    fileprivate init(on reactor: Reactor) { self.reactor = reactor }

    /// Tasks that have not ended.
    public var count: Int { children.count }

    /// Starts a task, which is cancelled at once if the group is.
    ///
    /// - Parameters:
    ///   - isolation: The actor that `body` belongs to; leave it out. See
    ///     ``Reactor/spawn(isolation:file:line:_:)``.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Run once, as a task. Its error ends the group.
    public func spawn(
        isolation: (any Actor)? = #isolation,
        file: StaticString = #fileID, line: UInt = #line,
        _ body: nonisolated(nonsending) @escaping () async throws -> Void
    ) {
        let child = reactor.spawn(isolation: isolation, file: file, line: line, body)
        let key = startedCount
        startedCount += 1
        children[key] = child
        child.addBoth(file: file, line: line) { [self] result in
            children[key] = nil
            if case .failure(let error) = result { childFailed(with: error) }
            if children.isEmpty, let waiter { reactor.resume(waiter) }
        }
        if isCancelled { child.cancel() }
    }

    /// Cancels every task of the group, and those that it starts from now on.
    ///
    /// The group does not fail because of it: a task that then throws `CancellationError` has ended
    /// as it should. The task that runs the group's body is not cancelled.
    public func cancelAll() {
        forgivesCancellation = true
        cancelChildren()
    }

    private func cancelChildren() {
        isCancelled = true
        for key in children.keys.sorted() { children[key]?.cancel() }
    }

    /// Runs `body`; whatever it throws cancels the others, a stop's error too.
    fileprivate nonisolated(nonsending) func cancellingAll<Value>(
        ifThrown body: nonisolated(nonsending) () async throws -> Value
    ) async throws -> Value {
        do { return try await body() } catch {
            cancelChildren()
            throw error
        }
    }

    private func childFailed(with error: any Error) {
        guard !(error is CancellationError && forgivesCancellation) else { return }
        fail(error)
    }

    fileprivate func fail(_ error: any Error) {
        // A stop reaches them all. What went wrong meanwhile says more than that.
        guard !(error is ShutdownRequested) else {
            if failure == nil { failure = error }
            return
        }
        if failure == nil || failure is ShutdownRequested { failure = error }
        cancelChildren()
    }

    /// Waits for all tasks; cancels them if the calling task is.
    fileprivate nonisolated(nonsending) func join() async throws {
        while !children.isEmpty {
            do {
                try await reactor.suspend(shielded: isCancelled) { waiter = $0 }
            } catch is CancellationError {
                fail(CancellationError())
            }
        }
    }
}
