// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc
@_spi(Backend) internal import TorsionCore

/// What wakes a simulated host from elsewhere, and what it waits for when nothing else can happen:
/// `sem_overview(7)`.
///
/// `@unchecked Sendable`: a semaphore is made to be used from any thread. `@safe`: it is
/// destroyed with its owner.
@safe
final class ConditionWaker: BackendWaker, @unchecked Sendable {
    private let semaphore: UnsafeMutablePointer<sem_t>

    init() {
        unsafe semaphore = .allocate(capacity: 1)
        unsafe sem_init(semaphore, 0, 0)
    }

    deinit {
        unsafe sem_destroy(semaphore)
        unsafe semaphore.deallocate()
    }

    func wake() { unsafe sem_post(semaphore) }

    /// Whether it was rung since it was last taken.
    var isRung: Bool {
        var count: Int32 = 0
        unsafe sem_getvalue(semaphore, &count)
        return count > 0
    }

    /// Forgets the rings so far.
    ///
    /// - Returns: Whether there was one.
    @discardableResult
    func takeRing() -> Bool {
        var wasRung = false
        while unsafe sem_trywait(semaphore) == 0 { wasRung = true }
        return wasRung
    }

    /// Waits for a ring, and takes it.
    ///
    /// A signal may end it early, which is no harm.
    func wait() {
        unsafe sem_wait(semaphore)
        takeRing()
    }
}
