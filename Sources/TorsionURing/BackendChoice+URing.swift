// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if IOUring

internal import CTorsionSockets
internal import CTorsionURing
@_spi(Backend) public import TorsionCore
@_spi(Backend) internal import TorsionSockets

extension BackendChoice {
    /// Sockets over `io_uring(7)`: multishot operations, provided buffers, one call a turn.
    ///
    /// Not linked by `import Torsion`, since it needs liburing: `import TorsionURing`. The package has
    /// it behind a trait, `.package(…, traits: ["IOUring"])`.
    ///
    ///     Reactor.main(backend: .ioURing) { reactor in … }
    ///
    /// Linux 5.11 is needed. It does without newer features, up to 6.1, that a kernel lacks; see
    /// `io_uring_setup(2)` for settings that forbid io_uring altogether.
    public static let ioURing = BackendChoice(
        name: "io_uring",
        unavailableReason: {
            let size = Ring.Configuration().size
            let result = torsion_uring_probe(size.entries, size.completions, size.buffers)
            return refusal(of: result, memory: KernelMemory(for: size))
        },
        library: {
            let minor = torsion_uring_library_minor()
            let isTested = torsion_uring_library_major() == 2 && testedMinors.contains(minor)
            return LinkedLibrary(
                name: "liburing", version: "\(torsion_uring_library_major()).\(minor)",
                isTested: isTested)
        },
        makeBackend: { URingBackend() })

    /// Of liburing 2, up to the patch; what the shim uses of it are three system calls.
    private static let testedMinors: ClosedRange<Int32> = 3...15
}

/// What an io_uring takes of the kernel's memory, and how much this user may lock, in bytes.
struct KernelMemory {
    let needed: UInt64
    /// `UInt64.max` without a limit.
    let allowed: UInt64

    /// Why there was not enough, and what to do.
    fileprivate var shortage: String {
        guard allowed < .max else { return "" }
        let limit = "\(allowed / 1_024) KiB (`ulimit -l`, for a service of systemd `LimitMEMLOCK=`)"
        return allowed < needed
            ? ": it takes \(needed / 1_024) KiB, and the limit of locked memory is \(limit)"
            : ": it takes \(needed / 1_024) KiB, and other io_urings of this user may have used up"
                + " the limit of locked memory, \(limit)"
    }
}

extension KernelMemory {
    init(for size: Ring.Size) {
        needed = torsion_uring_bytes_needed(size.entries, size.completions, size.buffers)
        allowed = torsion_uring_bytes_allowed()
    }
}

/// A sentence for what a probe returned; nil for 0.
func refusal(of result: Int32, memory: KernelMemory) -> String? {
    guard result != 0 else { return nil }
    let code = ErrorCode(errno: -result)
    switch code {
    case .notImplemented:
        return "this kernel was built without io_uring (\(code.name))"
    case .notPermitted:
        return "the kernel refuses io_uring to this process (\(code.name)): the setting"
            + " kernel.io_uring_disabled, or a seccomp filter as containers have it"
    case .notSupported:
        return "this kernel's io_uring is too old: Linux 5.11 is needed"
    case .outOfMemory:
        return "the kernel has no memory for an io_uring (\(code.name))\(memory.shortage)"
    default:
        return "the kernel refuses an io_uring: \(code)"
    }
}

#else

@_spi(Backend) public import TorsionCore

extension BackendChoice {
    /// Sockets over `io_uring(7)`, which this build is without: turn the trait on.
    @available(
        *, unavailable,
        message: "depend on Torsion with the trait: .package(…, traits: [\"IOUring\"])"
    )
    public static var ioURing: BackendChoice { fatalError("built without the trait IOUring") }
}

#endif
