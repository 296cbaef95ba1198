// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV
package import TorsionCore

/// A thread of the system, for a reactor that runs on its own.
///
/// Not a task: a reactor's wait would hold one of the few threads of the pool.
package final class NativeThread: Sendable {
    // Unchecked: `uv_thread_join` accepts it on any thread, and is called once.
    private nonisolated(unsafe) let thread: OpaquePointer

    private init(thread: OpaquePointer) { self.thread = thread }

    /// Runs `body` on a new thread.
    ///
    /// - Throws: ``IOError`` of operation `start` when the system has no more threads to give.
    package static func start(
        _ body: @escaping @Sendable () -> Void
    ) throws(IOError) -> NativeThread {
        let (thread, code) = launch(ThreadBody(run: body))
        if let thread { return thread }
        throw IOError(
            .start, function: "pthread_create", code: ErrorCode(libuv: code), subject: "a thread")
    }

    /// Runs `body` on a new thread as a part of a task, which has the task-locals of the caller's.
    ///
    /// Only a task can be given another one's locals, and only by being made there. So a caller that is
    /// in a task makes one whose single job is the new thread's; any other pays nothing.
    ///
    /// - Throws: As ``start(_:)``.
    package static func startWithTaskLocals(
        _ body: @escaping @Sendable () -> Void
    ) throws(IOError) -> NativeThread {
        guard withUnsafeCurrentTask(body: { $0 != nil }) else { return try start(body) }
        let executor = OneJobExecutor()
        let thread = try start { executor.runJob() }
        Task(executorPreference: executor) { body() }
        return thread
    }

    private static func launch(_ body: ThreadBody) -> (NativeThread?, Int32) {
        let context = Unmanaged.passRetained(body)
        var handle: OpaquePointer?
        let code = torsion_uv_thread_start(runThread, context.toOpaque(), &handle)
        if code != 0 { context.release() }
        return (handle.map(NativeThread.init(thread:)), code)
    }

    /// Waits until the thread has ended, and releases it.
    ///
    /// Called once, on another thread.
    package func join() { torsion_uv_thread_join(thread) }
}

/// Lets a thread of its own run the one job that it gets.
private final class OneJobExecutor: TaskExecutor {
    private let job = Lock<UnownedJob?>(nil)
    private let isThere = NativeSemaphore()

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        self.job.withLock { $0 = job }
        isThere.signal()
    }

    func runJob() {
        isThere.wait()
        job.withLock { $0 }?.runSynchronously(on: asUnownedTaskExecutor())
    }
}

private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void

    init(run: @escaping @Sendable () -> Void) { self.run = run }
}

/// A function and not a closure, so that no actor's isolation is inherited.
private func runThread(_ context: UnsafeMutableRawPointer) {
    Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().run()
}
