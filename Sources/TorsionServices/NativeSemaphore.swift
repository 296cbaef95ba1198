// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV

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
