// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionProcesses
public import TorsionCore
internal import TorsionSockets

/// The terminal of this process, or another that it has open: its size, and its raw mode.
///
///     let terminal = try Terminal(on: reactor)
///     try terminal.onResize { size in draw(size) }
///     try terminal.makeRaw()
///     try ServerEndpoint.standardStreams.listen(on: reactor) { Keys() }
///
/// Bytes are read and written by endpoints: `stdio:`, `fd:3`. In raw mode each key arrives as it is
/// pressed, is not shown, and does not raise a signal; a line is ended by `"\r\n"`.
///
/// The flags come back with ``restore()``, when the object is released, at the end of the reactor's
/// run, by `exit(3)`, by a signal that ends the process, by a trap too, and while the process is
/// stopped by SIGTSTP. SIGKILL and SIGSTOP leave the terminal raw, and so do `_exit(2)` and
/// `execve(2)`. Belongs to its reactor's thread.
///
/// - SeeAlso: `termios(3)`, `ioctl_tty(2)`; libuv `uv_tty_t`.
public final class Terminal {
    /// The reactor that it belongs to.
    public let reactor: Reactor

    /// The number that it works with: its own, closed with it.
    public let descriptor: Int32

    private var rawNumber: Int32?
    /// Whether it is raw until it is told otherwise.
    private var isKept = false
    /// How many bodies want it raw.
    private var useCount = 0
    private var registration: (any SignalRegistration)?
    private var lastSize: TerminalSize?

    /// The terminal that controls this process, `/dev/tty`: also where standard input is something
    /// else.
    ///
    /// - Parameter reactor: Where it belongs.
    /// - Throws: `IOError` of operation `open`, if the process is without a terminal.
    public convenience init(on reactor: Reactor) throws(IOError) {
        try self.init(torsion_terminal_open(), on: reactor, "/dev/tty")
    }

    /// A terminal that is open already.
    ///
    /// - Parameters:
    ///   - descriptor: Stays yours; the object has a duplicate.
    ///   - reactor: Where it belongs.
    /// - Throws: `IOError` of operation `open`: `ENOTTY`, if it is not a terminal.
    public convenience init(descriptor: Int32, on reactor: Reactor) throws(IOError) {
        let own = torsion_process_duplicate(descriptor, 3)
        try self.init(own, on: reactor, "descriptor \(descriptor)")
    }

    private init(_ own: Int32, on reactor: Reactor, _ subject: String) throws(IOError) {
        var rows: Int32 = 0, columns: Int32 = 0
        let code = own < 0 ? -own : torsion_terminal_size(own, &rows, &columns)
        // Before the object is complete, which would close it.
        guard code == 0 else {
            if own >= 0 { torsion_process_close(own) }
            throw IOError(
                .open, function: own < 0 ? "open" : "ioctl", code: ErrorCode(errno: code),
                subject: subject)
        }
        self.reactor = reactor
        descriptor = own
        reactor.companion(of: RawTerminals.self).add(self)
    }

    deinit {
        giveBack()
        registration?.cancel()
        torsion_process_close(descriptor)
    }

    // MARK: Size

    /// How many characters it shows now; 24 lines of 80 where it does not know, as a serial line.
    ///
    /// - Throws: `IOError` of operation `configure`, as for a terminal that was hung up.
    public var size: TerminalSize {
        get throws(IOError) {
            var rows: Int32 = 0, columns: Int32 = 0
            try check(torsion_terminal_size(descriptor, &rows, &columns), "ioctl")
            return TerminalSize(
                rows: rows > 0 ? Int(rows) : 24, columns: columns > 0 ? Int(columns) : 80)
        }
    }

    /// Calls `body` when the terminal that controls this process has got another size: SIGWINCH.
    ///
    /// - Parameter body: Called on the reactor until the terminal is released or the run ends; takes
    ///   the place of the former one.
    /// - Throws: `IOError` of operation `signal`, if signals cannot be caught here.
    public func onResize(_ body: @escaping (TerminalSize) -> Void) throws(IOError) {
        registration?.cancel()
        registration = nil
        lastSize = try? size
        let signal = Signal(number: torsion_terminal_window_signal())
        registration = try reactor.signals.catchSignal(signal) { [weak self] _ in
            guard let self, let size = try? self.size, size != lastSize else { return }
            lastSize = size
            reactor.performEvent { body(size) }
        }
    }

    // MARK: Raw mode

    /// Whether it is in raw mode by this object.
    public var isRaw: Bool { rawNumber != nil }

    /// Puts it in raw mode until ``restore()``: `cfmakeraw(3)`.
    ///
    /// Harmless when repeated.
    ///
    /// - Throws: `IOError` of operation `configure`: `EIO` if the process runs in the background, or the
    ///   terminal was hung up.
    public func makeRaw() throws(IOError) {
        try enter()
        isKept = true
    }

    /// Gives it back the flags that it had, behind the last `withRawMode` that is under way.
    ///
    /// Harmless when it is not in raw mode. If several objects have made one terminal raw, the last
    /// restores it. A terminal that was hung up has lost its flags, which does not count as an
    /// error.
    public func restore() {
        isKept = false
        leave()
    }

    /// Puts it in raw mode until a Deferred has fired.
    ///
    /// Several may overlap: the last restores it.
    ///
    /// - Parameter body: Called once, now.
    /// - Returns: A Deferred for what that of `body` came to, when the flags are back.
    /// - Throws: What ``makeRaw()`` or `body` threw; the flags are back.
    public func withRawMode<Value>(
        _ body: () throws -> Deferred<Value>
    ) throws -> Deferred<Value> {
        try enter()
        useCount += 1
        do {
            return try body().addBoth { [self] outcome in
                endUse()
                return try outcome.get()
            }
        } catch {
            endUse()
            throw error
        }
    }

    /// Puts it in raw mode while `body` runs.
    ///
    /// Several may overlap: the last restores it.
    ///
    /// - Parameter body: Runs on the reactor.
    /// - Returns: What `body` returns, when the flags are back.
    /// - Throws: What ``makeRaw()`` or `body` threw; the flags are back.
    public func withRawMode<Result>(_ body: () async throws -> Result) async throws -> Result {
        try enter()
        useCount += 1
        defer { endUse() }
        return try await body()
    }

    private func enter() throws(IOError) {
        reactor.checkThread()
        guard rawNumber == nil else { return }
        let number = torsion_terminal_make_raw(descriptor)
        try check(number < 0 ? -number : 0, "tcsetattr")
        rawNumber = number
    }

    private func endUse() {
        useCount -= 1
        leave()
    }

    private func leave() {
        if !isKept, useCount == 0 { giveBack() }
    }

    /// Restores it, whoever wants it raw: the object or the run ends.
    fileprivate func giveBack() {
        guard let number = rawNumber.take() else { return }
        _ = torsion_terminal_restore(number)
    }

    private func check(_ code: Int32, _ function: String) throws(IOError) {
        guard code != 0 else { return }
        throw IOError(
            .configure, function: function, code: ErrorCode(errno: code), subject: "a terminal")
    }
}

/// Restores what is raw at the end of a reactor's run.
private final class RawTerminals: ReactorCompanion {
    private struct Reference { weak var terminal: Terminal? }
    private var all: [Reference] = []

    init(on reactor: Reactor) {}

    func add(_ terminal: Terminal) {
        all.removeAll { $0.terminal == nil }
        all.append(Reference(terminal: terminal))
    }

    deinit { for one in all { one.terminal?.giveBack() } }
}
