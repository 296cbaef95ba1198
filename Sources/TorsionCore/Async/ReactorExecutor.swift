// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Runs async code on a reactor's thread.
///
/// An actor lives on a reactor by naming it as its executor; calls from tasks of that reactor then
/// never change the thread, and calls from elsewhere wake it:
///
///     actor Ledger {
///         nonisolated let executor: ReactorExecutor
///         nonisolated var unownedExecutor: UnownedSerialExecutor {
///             executor.asUnownedSerialExecutor()
///         }
///         init(_ executor: ReactorExecutor) { self.executor = executor }
///     }
///     let ledger = Ledger(reactor.executor)
///
/// Tasks are started by ``Reactor/spawn(isolation:file:line:_:)``, which needs only the reactor. A
/// `Task` with this as its `executorPreference` runs there too, at about twice the cost a resume.
///
/// Jobs run in phases of the reactor's turn, at most a thousand between two waits. Queued on the
/// reactor's thread a job costs neither lock nor system call, from another thread one wake-up for
/// any number. Jobs that come before the reactor runs wait for it. Those that come after its end
/// run on Swift's own threads, one at a time, so that a wait for them ends; their calls of the
/// reactor fail with ``ReactorStopped``.
///
/// May be kept, shared and used on any thread, and outlives its reactor.
public final class ReactorExecutor: SerialExecutor, TaskExecutor {
    let queue: JobQueue

    init(inbox: Inbox) {
        queue = JobQueue(inbox: inbox)
        unsafe queue.serial = self
    }

    /// Queues a job behind those that are ready.
    ///
    /// Called by the language, on any thread.
    ///
    /// - Parameter job: Run once, on the reactor's thread.
    public func enqueue(_ job: consuming ExecutorJob) {
        queue.append(.serial(UnownedJob(job)))
    }

    /// This executor, for an actor's `unownedExecutor`.
    public func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        UnownedSerialExecutor(ordinary: self)
    }

    /// This executor, for a task's preference.
    public func asUnownedTaskExecutor() -> UnownedTaskExecutor {
        UnownedTaskExecutor(ordinary: self)
    }

    /// Whether an actor lives on this executor.
    func runs(_ actor: any Actor) -> Bool {
        // A reference to the executor, and its witness table.
        let executor = unsafe unsafeBitCast(actor.unownedExecutor, to: (UInt, UInt).self)
        return unsafe executor.0 == UInt(bitPattern: Unmanaged.passUnretained(self).toOpaque())
    }

    /// Traps unless the calling thread runs the reactor.
    ///
    /// So `assumeIsolated` works inside the callbacks of a protocol.
    public func checkIsolated() {
        require(queue.isOnThread, "ReactorExecutor: this thread does not run the reactor")
    }

    /// Whether the calling thread runs the reactor.
    public func isIsolatingCurrentContext() -> Bool? { queue.isOnThread }
}

extension Reactor {
    /// Runs the jobs that are ready, as one event.
    @inline(__always)
    func runJobs() {
        if !executor.queue.isEmpty { runReadyJobs() }
    }

    /// Runs the jobs that are ready inside the present event.
    ///
    /// For a callback that lends something to a task.
    @inline(never)
    func runReadyJobs() {
        nameEvent(.jobs)
        performEvent { counters.jobs &+= UInt64(executor.queue.run()) }
    }
}
