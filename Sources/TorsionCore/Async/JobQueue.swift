// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionCore
internal import Synchronization

// Which executor a job came through decides how it must be run. Measured on Swift 6.3.1, for a task
// that suspends and is resumed by the reactor:
//
//     nonisolated, preferring a task executor, run on that:     1 enqueue,  2,420 instructions
//     actor on the reactor, run isolated to its executor:       1 enqueue,  2,490 instructions
//     nonisolated, but run isolated to a serial executor:       3 enqueues, 4,820 instructions
//     the first and the second with a cancellation handler:     4,060 and 5,320 instructions
//
// So each task that the reactor starts prefers a *task executor* of its own, and the serial executor
// is for actors. Both put their jobs into this one queue. And since the task executor
// tells whose job runs, the cancellation handler is paid once a task: see ``SpawnedTask``.

/// A piece of a task that waits for the reactor's thread.
enum QueuedJob: Sendable {
    /// It came through the executor of actors.
    case serial(UnownedJob)
    /// It came through the task executor of a task, which it keeps alive.
    case task(UnownedJob, of: Unmanaged<SpawnedTask>)
    /// A task that let others run first: resuming it queues its job. Resumed inside the closure
    /// that makes it, a continuation would go on at once.
    case resumption(UnsafeContinuation<Void, Never>)
}

/// The jobs of one reactor, in the order in which they became ready.
///
/// `@unchecked Sendable`: the list is touched on the thread that `owner` names, and what other
/// threads queue goes through the inbox and its lock.
final class JobQueue: @unchecked Sendable {
    /// How many jobs run between two waits, so that they do not starve input and timers.
    static let limitBetweenWaits = 1_000

    /// What a task may write while it runs before it counts as more jobs than one, in bytes.
    private static let byteCountPerJob = 16 * 1024
    /// What a write counts besides its bytes: the time that a small one takes is that of a kilobyte.
    private static let byteCountPerWrite = 1024
    /// As how many jobs each further ``byteCountPerJob`` counts.
    ///
    /// So 4 MiB can be written between two waits, or 4,000 small pieces: about a millisecond.
    private static let jobsPerWriting = 4

    private let inbox: Inbox
    // Set once by the executor that owns this queue. A job is queued by an executor, which its task
    // or its actor keeps alive until the job has run; so this is valid whenever it is used.
    unowned(unsafe) var serial: ReactorExecutor!

    /// The thread that runs the reactor or turns it now, 0 while none does.
    private let owner = Atomic<UInt>(0)
    @exclusivity(unchecked) private var jobs: [QueuedJob] = []
    @exclusivity(unchecked) private var head = 0
    @exclusivity(unchecked) private var budget = limitBetweenWaits
    /// What the present job has written since it was charged for that.
    @exclusivity(unchecked) private var writtenByteCount = 0
    @exclusivity(unchecked) private var isRunning = false
    /// The task that runs now, if it is one that the reactor started, and no child of one.
    @exclusivity(unchecked) private(set) var running: Unmanaged<SpawnedTask>?

    private let late = Lock(LateJobs())
    /// Held while a late job runs, so that a reactor which runs again waits for its end.
    private let lateTurnstile = Lock(())
    private let lateThread = Atomic<UInt>(0)

    init(inbox: Inbox) { self.inbox = inbox }

    /// Whether a job could run now, had it the budget.
    var isEmpty: Bool { head == jobs.count }

    /// Whether the calling thread is the one that runs the jobs.
    var isOnThread: Bool {
        let thread = torsion_thread_id()
        return owner.load(ordering: .relaxed) == thread
            || lateThread.load(ordering: .relaxed) == thread
    }

    /// Whether the calling thread runs a job of a reactor that has ended.
    var isLate: Bool { lateThread.load(ordering: .relaxed) == torsion_thread_id() }

    /// Queues a job: without a lock on the reactor's thread, through the inbox from any other.
    func append(_ job: QueuedJob) {
        if owner.load(ordering: .relaxed) == torsion_thread_id() {
            jobs.append(job)
        } else if !inbox.append(job) {
            runLate(job)
        }
    }

    /// Takes what other threads have queued.
    func append(contentsOf others: [QueuedJob]) { jobs += others }

    // MARK: On the reactor's thread

    /// This thread runs the reactor from now on.
    func bind() { owner.store(torsion_thread_id(), ordering: .relaxed) }

    /// No thread runs the reactor.
    func unbind() { owner.store(0, ordering: .relaxed) }

    var isBound: Bool { owner.load(ordering: .relaxed) != 0 }

    /// The reactor has waited.
    func renewBudget() { budget = Self.limitBetweenWaits }

    /// Runs what is queued, and what that queues, within the budget.
    ///
    /// - Returns: How many ran.
    func run() -> Int {
        // Inside a job, for example one that ends the reactor's life: the loop below goes on.
        guard !isRunning else { return 0 }
        isRunning = true
        var count = 0
        while head < jobs.count, budget > 0 {
            let job = jobs[head]
            head += 1
            count += 1
            budget -= 1
            writtenByteCount = 0
            if case .task(let job, let task) = job {
                unsafe running = task._withUnsafeGuaranteedRef { $0.isItself(job) } ? task : nil
            }
            run(job)
            unsafe running = nil
        }
        isRunning = false
        if head == 1, jobs.count == 1 {
            // Mostly so; and four times cheaper than the general way.
            jobs.removeLast()
        } else if head == jobs.count {
            jobs.removeAll(keepingCapacity: true)
        } else {
            jobs.removeFirst(head)
        }
        head = 0
        return count
    }

    /// The task that runs wrote so many bytes, and would go on without waiting.
    ///
    /// One that writes in a loop, and whose peer takes all of it, would keep the reactor.
    ///
    /// - Returns: Whether it may go on in this turn.
    @inline(__always)
    func mayGoOn(afterWriting byteCount: Int) -> Bool {
        writtenByteCount &+= byteCount &+ Self.byteCountPerWrite
        return writtenByteCount <= Self.byteCountPerJob || chargeWriting()
    }

    @inline(never)
    private func chargeWriting() -> Bool {
        let count = writtenByteCount / Self.byteCountPerJob
        writtenByteCount %= Self.byteCountPerJob
        budget = max(0, budget - count * Self.jobsPerWriting)
        return budget > 0
    }

    private func run(_ job: QueuedJob) {
        switch job {
        case .serial(let job):
            unsafe job.runSynchronously(
                isolatedTo: serial.asUnownedSerialExecutor(),
                taskExecutor: serial.asUnownedTaskExecutor())
        case .task(let job, let task):
            unsafe task._withUnsafeGuaranteedRef {
                unsafe job.runSynchronously(on: $0.asUnownedTaskExecutor())
            }
        case .resumption(let continuation):
            unsafe continuation.resume()
        }
    }

    /// Asserts what must hold between turns: what ran is gone, and what is left may still run.
    func checkInvariants() {
        require(head == 0 && !isRunning, "JobQueue: between turns, but \(head) jobs into a run")
        require(unsafe running == nil, "JobQueue: between turns, and yet a task runs")
        require(
            0...Self.limitBetweenWaits ~= budget, "JobQueue: \(budget) jobs more before a wait")
    }

    // MARK: After the reactor's end

    /// Jobs that came when the reactor had ended.
    private struct LateJobs {
        /// With what runs each, which must live until then.
        var jobs: [(job: QueuedJob, executor: any Executor)] = []
        var isDraining = false
    }

    /// Runs a job of a reactor that has ended: one at a time, on the threads of Swift's own pool.
    ///
    /// A job cannot be refused, its task would hang for ever, and with it whoever waits for that.
    /// So the task goes on, elsewhere, and finds that every call on the reactor fails.
    private func runLate(_ job: QueuedJob) {
        let executor: any Executor
        if case .task(_, let task) = job {
            executor = unsafe task.takeUnretainedValue()
        } else {
            executor = unsafe serial
        }
        let isFirst = late.withLock { late in
            late.jobs.append((job, executor))
            defer { late.isDraining = true }
            return !late.isDraining
        }
        if isFirst { Task.detached { [self] in drainLate() } }
    }

    /// Gives back what did not run when the reactor ended.
    func abandonRest() {
        let rest = jobs[head...]
        jobs = []
        head = 0
        for job in rest { runLate(job) }
    }

    /// A reactor that had ended runs again: waits for the late job that runs now.
    func awaitLateJob() { lateTurnstile.withLock { _ in } }

    private func drainLate() {
        while let (job, executor) = nextLate() {
            defer { extendLifetime(executor) }
            lateTurnstile.withLock { _ in
                // The reactor may run again.
                guard !inbox.append(job) else { return }
                lateThread.store(torsion_thread_id(), ordering: .relaxed)
                run(job)
                lateThread.store(0, ordering: .relaxed)
            }
        }
    }

    private func nextLate() -> (QueuedJob, any Executor)? {
        late.withLock { late in
            guard !late.jobs.isEmpty else {
                late.isDraining = false
                return nil
            }
            return late.jobs.removeFirst()
        }
    }
}
