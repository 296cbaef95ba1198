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

private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void

    init(run: @escaping @Sendable () -> Void) { self.run = run }
}

/// A function and not a closure, so that no actor's isolation is inherited.
private func runThread(_ context: UnsafeMutableRawPointer) {
    Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().run()
}
