// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV
package import TorsionCore

/// A thread of the system, for a reactor that runs on its own. Not a task: a reactor's wait would
/// hold one of the few threads of the pool.
package final class NativeThread: Sendable {
    /// Unchecked: `uv_thread_join` may be called from any thread, and is called once.
    private nonisolated(unsafe) let thread: OpaquePointer

    private init(thread: OpaquePointer) { self.thread = thread }

    /// Runs `body` on a new thread.
    ///
    /// - Throws: ``IOError`` of operation `start` when the system has no more threads to give.
    package static func start(
        _ body: @escaping @Sendable () -> Void
    ) throws(IOError) -> NativeThread {
        let context = Unmanaged.passRetained(ThreadBody(run: body))
        var thread: OpaquePointer?
        let code = torsion_uv_thread_start(runThread, context.toOpaque(), &thread)
        guard let thread else {
            context.release()
            throw IOError(
                .start, function: "pthread_create", code: ErrorCode(libuv: code),
                subject: "a thread")
        }
        return NativeThread(thread: thread)
    }

    /// Waits until the thread has ended, and releases it. Called once, on another thread.
    package func join() { torsion_uv_thread_join(thread) }
}

private final class ThreadBody {
    let run: @Sendable () -> Void

    init(run: @escaping @Sendable () -> Void) { self.run = run }
}

/// A function and not a closure, so that no actor's isolation is inherited.
private func runThread(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().run()
}
