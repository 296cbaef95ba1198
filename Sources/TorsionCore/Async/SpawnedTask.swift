// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// A task of a reactor may capture what the compiler would not let it send, since it never leaves
// the thread: it prefers an executor of the reactor, is isolated to nothing, and so is resumed
// through that executor each time. The one lie to the compiler is `SpawnedTask` being
// `@unchecked Sendable`, to cross the boundary of `Task.init`, which leads back to the same thread.

/// A task that a reactor started, and the executor that it prefers: its task executor.
///
/// A wait must end when its task is cancelled. A cancellation handler around each wait takes 1,600
/// instructions, as much as the rest of the wait; so there is one around the whole task, which ends
/// the wait that the task is in. Children of the task run in its task executor too, but are cancelled by
/// themselves: they are told apart by the job, and have a handler for each wait.
class SpawnedTask: TaskExecutor, @unchecked Sendable {
    fileprivate let reactor: Reactor
    private let queue: JobQueue
    private var slot: Int32 = -1
    private var task: Task<Void, Never>?
    /// Where the runtime keeps the task as a job; nil before its first and behind its last one.
    private var address: UnsafeRawPointer?
    /// The wait that being cancelled ends; one that is over matches nothing.
    private var wait: WaitKey?
    private var isCancelled = false

    init(on reactor: Reactor) {
        self.reactor = reactor
        queue = reactor.executor.queue
    }

    // MARK: The task executor

    func enqueue(_ job: consuming ExecutorJob) {
        queue.append(.task(UnownedJob(job), of: Unmanaged.passUnretained(self)))
    }

    func asUnownedTaskExecutor() -> UnownedTaskExecutor { UnownedTaskExecutor(ordinary: self) }

    // MARK: Its life

    func start() {
        if reactor.waits.isClosed {
            // Not inside the call that starts it, where its errback would start the next.
            return reactor.isEnding ? reactor.refuseLater { [self] in abandon() } : abandon()
        }
        slot = reactor.tasks.insert(self)
        task = Task(executorPreference: self) { await self.main() }
    }

    func cancel() { task?.cancel() }

    /// Whether the reactor still knows of the task; not after it has given it up.
    private var isKnown: Bool { slot >= 0 }

    fileprivate func leave() {
        guard isKnown else { return }
        reactor.tasks.remove(slot)
        slot = -1
        task = nil
        unsafe address = nil
    }

    @concurrent fileprivate func main() async {}

    /// Where it was spawned; nil when it has ended.
    var place: ProgramPlace? { nil }

    /// The reactor ends, and the task has not: fails its result.
    func abandon() { leave() }

    // MARK: Cancelling

    /// Whether `job` is this task, and not a child of it that runs in the same task executor.
    final func isItself(_ job: UnownedJob) -> Bool {
        let address = unsafe unsafeBitCast(job, to: UnsafeRawPointer.self)
        // A task is the first in its own task executor.
        if unsafe self.address == nil, isKnown { unsafe self.address = address }
        return unsafe self.address == address
    }

    /// Has the wait of this task end when the task is cancelled.
    ///
    /// - Returns: False if it was cancelled before.
    final func willCancel(_ key: WaitKey) -> Bool {
        wait = key
        return !isCancelled
    }

    /// Runs `body`, and ends the wait that it is in when the task is cancelled.
    fileprivate func runCancellable<Value>(
        _ body: nonisolated(nonsending) () async throws -> Value
    ) async throws -> Value {
        try await withTaskCancellationHandler {
            try await body()
        } onCancel: {
            // On any thread, perhaps this one: so it is only queued, and a wait that begins before
            // its turn is ended as well. A closed inbox means that every wait has failed or is
            // about to.
            _ = reactor.inbox.append(.program { [self] in endWait(on: $0) })
        }
    }

    private func endWait(on reactor: Reactor) {
        isCancelled = true
        if let wait { reactor.cancelWait(wait) }
    }
}

/// A task that runs a closure for a Deferred.
final class BodyTask<Value>: SpawnedTask, @unchecked Sendable {
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
        do { outcome = .success(try await runCancellable(body)) } catch {
            outcome = .failure(error)
        }
        leave()
        guard let result = result.take() else { return }
        switch outcome {
        case .success(let value): result.succeed(value)
        case .failure(let error): result.fail(error)
        }
    }

    override var place: ProgramPlace? { result?.place }

    override func abandon() {
        super.abandon()
        if let result = result.take() { result.fail(ReactorStopped()) }
    }
}
