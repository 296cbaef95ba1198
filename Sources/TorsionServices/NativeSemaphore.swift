// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV
internal import TorsionCore

/// Lets a thread wait for another.
final class NativeSemaphore: Sendable {
    // Unchecked: its functions are for any thread.
    private nonisolated(unsafe) let semaphore: OpaquePointer

    init() {
        var made: OpaquePointer?
        let code = torsion_uv_semaphore_new(&made)
        // It fails without memory only (`sem_init(3)`), where Swift's own allocations trap.
        guard let made else { fatalError("NativeSemaphore: libuv code \(code)") }
        semaphore = made
    }

    deinit { torsion_uv_semaphore_free(semaphore) }

    /// Lets one thread go on that waits, or the next that will.
    func signal() { torsion_uv_semaphore_post(semaphore) }

    /// Waits for one ``signal()``.
    func wait() { torsion_uv_semaphore_wait(semaphore) }
}

/// Lets threads go on when all of them have come.
final class Barrier: Sendable {
    private struct State {
        var missing: Int
        var waiting = 0
        var isAbandoned = false
    }

    private let state: Lock<State>
    private let everybody = NativeSemaphore()

    /// - Parameter count: How many threads there are.
    init(count: Int) { state = Lock(State(missing: count)) }

    /// Waits for the others; called once by each thread.
    ///
    /// - Returns: False if they will not all come.
    func pass() -> Bool {
        let isLast = state.withLock { state in
            state.missing -= 1
            guard state.missing > 0, !state.isAbandoned else { return true }
            state.waiting += 1
            return false
        }
        if isLast { release() } else { everybody.wait() }
        return state.withLock { !$0.isAbandoned }
    }

    /// One of them does not come: nobody waits from now on.
    ///
    /// Of no effect when all have come.
    func abandon() {
        state.withLock { state in if state.missing > 0 { state.isAbandoned = true } }
        release()
    }

    private func release() {
        let count = state.withLock { state in
            defer { state.waiting = 0 }
            return state.waiting
        }
        for _ in 0..<count { everybody.signal() }
    }
}
