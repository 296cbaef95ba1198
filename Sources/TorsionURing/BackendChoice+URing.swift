// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import CTorsionURing
public import TorsionCore
internal import TorsionSockets

extension BackendChoice {
    /// Sockets over `io_uring(7)`: multishot operations, provided buffers, one call a turn.
    ///
    /// Not linked by `import Torsion`, since it needs liburing: `import TorsionURing`.
    ///
    ///     try Reactor.run(backend: .ioURing) { reactor in … }
    ///
    /// Linux 5.11 is needed. What a kernel lacks of the newer features, up to 6.1, is done without,
    /// one by one; see `io_uring_setup(2)` for what may forbid io_uring altogether.
    public static let ioURing = BackendChoice(
        name: "io_uring", unavailableReason: { refusal(of: torsion_uring_probe()) },
        makeBackend: { URingBackend() })
}

/// A sentence for what a probe returned; nil for 0.
func refusal(of result: Int32) -> String? {
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
        return "the kernel has no memory for an io_uring (\(code.name)); before Linux 5.12 it"
            + " counts against the limit of locked memory, `ulimit -l`"
    default:
        return "the kernel refuses an io_uring: \(code)"
    }
}
