// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc
public import TorsionCore

/// Tells systemd the program's state, if systemd started it with `Type=notify`: ready, reloading,
/// stopping, alive.
///
///     Reactor.main { reactor in
///         try ServerEndpoint(parsing: "systemd:web.socket").listen(on: reactor) { Echo() }
///         reactor.notifySystemd()
///     }
///
/// It never waits: a datagram is left out when the socket is full.
///
/// - SeeAlso: `sd_notify(3)`, `systemd.service(5)`.
public final class SystemdNotifier {
    private unowned let reactor: Reactor
    private let descriptor: Int32
    private let path: String

    /// Connects to the socket of `NOTIFY_SOCKET`; nil if that is not set.
    ///
    /// - Parameters:
    ///   - reactor: Whose errors it reports to.
    ///   - path: Another socket than that of the environment: a path, or an abstract name that begins
    ///     with `@`.
    public init?(on reactor: Reactor, path: String? = nil) {
        reactor.checkThread()
        let path = path ?? getenv("NOTIFY_SOCKET").map { String(cString: $0) } ?? ""
        guard !path.isEmpty else { return nil }
        do throws(IOError) {
            descriptor = try LocalSocket.connect(to: path, isDatagram: true)
        } catch {
            reactor.report(error, in: "notifying systemd")
            return nil
        }
        self.reactor = reactor
        self.path = path
    }

    deinit { close(descriptor) }

    /// The program serves: `READY=1`, with this process's number, which differs from the one that
    /// systemd started when it was handed the ports of that.
    ///
    /// - Parameter status: One line for people, which `systemctl status` shows.
    public func ready(status: String? = nil) {
        send("READY=1\nMAINPID=\(getpid())" + line(status))
    }

    /// The program reads its configuration again: `RELOADING=1`, for `Type=notify-reload`.
    ///
    /// ``ready(status:)`` says when that is done.
    ///
    /// - Parameter status: One line for people.
    public func reloading(status: String? = nil) {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        let microseconds = time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
        send("RELOADING=1\nMONOTONIC_USEC=\(microseconds)" + line(status))
    }

    /// The program ends: `STOPPING=1`.
    ///
    /// - Parameter status: One line for people.
    public func stopping(status: String? = nil) { send("STOPPING=1" + line(status)) }

    /// The loop turns: `WATCHDOG=1`.
    public func alive() { send("WATCHDOG=1") }

    /// How often systemd wants to hear ``alive()``, at the latest: `WATCHDOG_USEC`; nil if it does not,
    /// or wants it of another process.
    public static var watchdogInterval: Duration? {
        func number(_ name: String) -> Int64? {
            getenv(name).flatMap { Int64(String(cString: $0)) }
        }
        if let process = number("WATCHDOG_PID"), process != Int64(getpid()) { return nil }
        guard let microseconds = number("WATCHDOG_USEC"), microseconds > 0 else { return nil }
        return .microseconds(microseconds)
    }

    private func line(_ status: String?) -> String {
        guard let status else { return "" }
        return "\nSTATUS=" + status.split(whereSeparator: \.isNewline).joined(separator: " ")
    }

    private func send(_ text: String) {
        reactor.checkThread()
        do throws(IOError) {
            try LocalSocket.send(text, over: descriptor, to: path)
        } catch {
            // Full: systemd is busy, and the next word will tell it.
            if error.code != .wouldBlock { reactor.report(error, in: "notifying systemd") }
        }
    }
}

extension Reactor {
    /// Tells systemd when this reactor is ready, stops, and, as often as systemd asks, that its loop
    /// turns.
    ///
    /// Without `NOTIFY_SOCKET` the call is ignored. Called on the reactor, at its start. A loop
    /// that hangs misses `WatchdogSec=`, and systemd ends the process and starts it anew. With
    /// reactors in several threads, call it on one of them.
    ///
    /// - Parameters:
    ///   - path: Another socket than that of `NOTIFY_SOCKET`.
    ///   - watchdogInterval: Another interval than that of `WATCHDOG_USEC`; half of it passes between
    ///     two words.
    /// - Returns: The notifier, for more messages such as a reload; nil without `NOTIFY_SOCKET`.
    @discardableResult
    public func notifySystemd(
        path: String? = nil, watchdogInterval: Duration? = SystemdNotifier.watchdogInterval
    ) -> SystemdNotifier? {
        guard let notifier = SystemdNotifier(on: self, path: path) else { return nil }
        addTrigger(.after, .startup) { [unowned self] in if isReady { notifier.ready() } }
        addTrigger(.before, .shutdown) { notifier.stopping() }
        if let watchdogInterval {
            // A timer of the loop: one that does not turn says nothing.
            LoopingCall(on: self) { notifier.alive() }.start(every: watchdogInterval / 2).ignore()
        }
        return notifier
    }
}
