// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionProcesses
@_spi(Backend) internal import TorsionCore
internal import TorsionSockets

/// A child of the kernel's: a pidfd, which the reactor watches.
///
/// The number of a process is its own until the process has been waited for, so signals to the number
/// of its group are safe until ``reap()``; a signal to itself goes by the pidfd, which never names
/// another process.
final class SystemChild: ChildCarrier {
    let processID: Int32
    private let reactor: Reactor
    private let program: String
    private let leadsGroup: Bool
    private var pidfd: Int32
    private var watch: DescriptorWatch?
    /// Our side of its terminal, for its size; -1 if it has none.
    private var terminal: Int32

    init(
        _ processID: Int32, pidfd: Int32, terminal: Int32, of command: Command,
        on reactor: Reactor
    ) {
        self.processID = processID
        self.pidfd = pidfd
        self.terminal = terminal
        self.reactor = reactor
        program = command.program
        leadsGroup = command.group != .inherited
    }

    deinit {
        guard pidfd >= 0 else { return }
        _ = killAndWait()
        release()
    }

    func awaitExit(_ body: @escaping (ProcessStatus) -> Void) throws(IOError) {
        watch = try reactor.watch(descriptor: pidfd, for: .readable) { [unowned self] _ in
            guard let status = status(keepingZombie: true) else { return }
            // It stays readable until the zombie is gone.
            watch?.cancel()
            watch = nil
            body(status)
        }
    }

    func send(_ signal: Signal, toGroup: Bool) throws(IOError) {
        let code =
            toGroup && leadsGroup
            ? torsion_process_signal_group(processID, signal.number)
            : torsion_process_signal(pidfd, signal.number)
        guard code != 0 else { return }
        throw IOError(
            .signal, function: toGroup ? "kill" : "pidfd_send_signal",
            code: ErrorCode(errno: code), subject: "\(program) (\(processID)) with \(signal)")
    }

    func resize(_ size: TerminalSize) throws(IOError) {
        let code =
            terminal >= 0
            ? torsion_process_resize(terminal, Int32(size.rows), Int32(size.columns))
            : torsion_process_resize(-1, 1, 1)
        guard code != 0 else { return }
        throw IOError(
            .configure, function: "ioctl", code: ErrorCode(errno: code),
            subject: "the terminal of \(program) (\(processID))")
    }

    func hangUp() {
        if terminal >= 0 { torsion_process_close(terminal) }
        terminal = -1
    }

    func killAndWait() -> ProcessStatus {
        guard pidfd >= 0 else { return .unknown }
        try? send(.kill, toGroup: true)
        // Some milliseconds, unless the kernel itself holds the process: then init inherits it.
        _ = torsion_process_await_exit(pidfd, 1_000)
        return status(keepingZombie: true) ?? .signalled(.kill)
    }

    func reap() {
        guard pidfd >= 0 else { return }
        watch?.cancel()
        watch = nil
        release()
    }

    private func release() {
        _ = status(keepingZombie: false)
        torsion_process_close(pidfd)
        pidfd = -1
        hangUp()
    }

    /// - Returns: Nil while it runs.
    private func status(keepingZombie: Bool) -> ProcessStatus? {
        var how: Int32 = 0, value: Int32 = 0
        let found = torsion_process_status(pidfd, keepingZombie ? 1 : 0, &how, &value)
        if found == 0 { return nil }
        if found < 0 { return .unknown }
        return how == 1 ? .exited(value) : .signalled(Signal(number: value))
    }
}
