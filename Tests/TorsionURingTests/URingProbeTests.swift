// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if IOUring

import Glibc
import Testing
import TorsionCore

@testable import TorsionURing

/// Why there is no io_uring, and that there is one where no reason is given.
@Suite struct URingProbeTests {
    /// RLIMIT_MEMLOCK, which the module leaves out.
    private static let lockedMemory = __rlimit_resource_t(8)

    private func shortage(allowed: UInt64) -> String? {
        refusal(of: -ENOMEM, memory: KernelMemory(needed: 208 << 10, allowed: allowed))
    }

    @Test func `a refusal says what forbids io_uring`() {
        func sentence(_ code: Int32) -> String? {
            refusal(of: -code, memory: KernelMemory(needed: 0, allowed: .max))
        }
        #expect(sentence(0) == nil)
        #expect(sentence(ENOSYS) == "this kernel was built without io_uring (ENOSYS)")
        #expect(sentence(EPERM)?.contains("kernel.io_uring_disabled, or a seccomp filter") == true)
        #expect(sentence(EOPNOTSUPP) == "this kernel's io_uring is too old: Linux 5.11 is needed")
    }

    @Test func `a shortage names the limit that it comes from`() {
        let small =
            "the kernel has no memory for an io_uring (ENOMEM): it takes 208 KiB, and the"
            + " limit of locked memory is 64 KiB (`ulimit -l`, for a service of systemd"
            + " `LimitMEMLOCK=`)"
        #expect(shortage(allowed: 64 << 10) == small)
        let shared =
            "the kernel has no memory for an io_uring (ENOMEM): it takes 208 KiB, and other"
            + " io_urings of this user may have used up the limit of locked memory, 8192 KiB"
            + " (`ulimit -l`, for a service of systemd `LimitMEMLOCK=`)"
        #expect(shortage(allowed: 8_192 << 10) == shared)
        let unlimited = "the kernel has no memory for an io_uring (ENOMEM)"
        #expect(shortage(allowed: .max) == unlimited)
    }

    /// Under each limit of locked memory, as a user who is held to it.
    ///
    /// What a ring had is given back some time after it was closed, so a limit that has room for one
    /// and a half is the hardest.
    @Test func `where the probe finds nothing against it, a ring starts`() async {
        await #expect(processExitsWith: .success) {
            let highest = rlim_t(1_024 << 10)
            Self.limitLockedMemory(to: highest, of: highest)
            // The superuser is not held to it. What others of the same user have locked counts, so it is
            // a user whom nobody else is.
            if getuid() == 0, setuid(1_000_000 + uid_t(getpid())) != 0 { exit(20) }
            var refusals = 0
            for kibibytes in [4, 16, 32, 64, 128, 192, 256, 320, 1_024] as [rlim_t] {
                Self.limitLockedMemory(to: kibibytes << 10, of: highest)
                refusals += Self.isRefused(under: kibibytes) ? 1 : 0
            }
            // The kernels between 5.12 and some of 6 count none of it.
            guard refusals == 6 || refusals == 0 else { fatalError("\(refusals) refused") }
        }
    }

    private static func limitLockedMemory(to soft: rlim_t, of hard: rlim_t) {
        var limit = rlimit(rlim_cur: soft, rlim_max: hard)
        guard setrlimit(lockedMemory, &limit) == 0 else { exit(21) }
    }

    /// Whether there is a reason against it; then the start has to fail by the same, else to succeed.
    private static func isRefused(under kibibytes: rlim_t) -> Bool {
        let reason = BackendChoice.ioURing.unavailableReason()
        let backend = URingBackend()
        do throws(IOError) {
            try backend.start()
            if let reason { fatalError("\(kibibytes): it starts, but: \(reason)") }
            backend.shutDown()
            return false
        } catch {
            guard let reason else { fatalError("\(kibibytes): no reason, but \(error)") }
            guard error.code == .outOfMemory else { exit(22) }
            guard reason.contains("\(kibibytes) KiB (`ulimit -l`") else { fatalError(reason) }
            guard "\(error)".contains("`ulimit -l`") else { fatalError("\(error)") }
            return true
        }
    }

    /// 2.3 is the first that the shim can be built with.
    @Test func `the library tells its version`() throws {
        let library = try #require(BackendChoice.ioURing.library())
        #expect(library.name == "liburing" && library.version.hasPrefix("2."))
        #expect(library.isTested && "\(library)" == "liburing \(library.version), tested")
    }
}

#endif
