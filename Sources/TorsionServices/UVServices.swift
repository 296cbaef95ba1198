// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV
public import TorsionCore

/// Names, signals and threads for a reactor with any backend, from a libuv loop that is the reactor's guest.
///
///     Reactor(backend: .epoll) { reactor throws(IOError) in try UVServices(on: reactor) }
///
/// - SeeAlso: libuv `uv_getaddrinfo`, `uv_signal_t`, `uv_backend_fd`.
public final class UVServices: ReactorServices {
    /// Looks names up as the system does: `/etc/hosts`, DNS and what else `nsswitch.conf(5)` names.
    ///
    /// A look-up that takes more than ten seconds fails with `ErrorCode.timedOut`.
    public let resolver: any NameResolver

    /// Catches signals of the process.
    public let signals: any SignalSource

    /// Ten threads of the reactor's own, started when there is work for them.
    public var threads: any WorkerThreads { workers }

    /// The machine's files, by libuv's calls without a callback.
    public let files: any FileSystem = UVFiles()

    /// One of the kernel's: `inotify(7)`.
    public func makeFileNotifier() throws(IOError) -> any FileNotifier {
        try InotifyNotifier(on: guest.reactor)
    }

    /// The descriptors that systemd opened for this process, by `LISTEN_PID`, `LISTEN_FDS` and
    /// `LISTEN_FDNAMES`.
    ///
    /// They are closed on exec from the first look on.
    public var inheritedDescriptors: [InheritedDescriptor] {
        let all = InheritedDescriptor.list(
            processID: torsion_uv_process_id(),
            listenPID: Environment.value(of: "LISTEN_PID"),
            listenFDs: Environment.value(of: "LISTEN_FDS"),
            listenFDNames: Environment.value(of: "LISTEN_FDNAMES"))
        for one in all { torsion_uv_close_on_exec(one.number) }
        return all
    }

    /// The machine's time of day: `clock_gettime(2)`, `CLOCK_REALTIME`.
    public func wallTime() -> WallTime {
        var time = WallTime(seconds: 0)
        torsion_uv_wall_time(&time.seconds, &time.nanoseconds)
        return time
    }

    /// Bytes of the kernel's generator: `getrandom(2)`.
    ///
    /// - Parameter count: How many, 0 or more.
    /// - Returns: So many bytes.
    /// - Throws: `IOError` if the kernel refuses them.
    public func randomBytes(count: Int) throws(IOError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let code = torsion_uv_random(&bytes, count)
        if code != 0 { throw IOError(.start, function: "uv_random", code: ErrorCode(libuv: code)) }
        return bytes
    }

    private let workers: UVThreads
    private let guest: GuestLoop
    private let lookups: UVResolver
    private let registrations: UVSignals

    /// Makes the services of a reactor; what `import Torsion` gives each of its reactors.
    public static let make: @Sendable (Reactor) throws(IOError) -> any ReactorServices = {
        (reactor) throws(IOError) in try UVServices(on: reactor)
    }

    /// Makes the guest loop, and has the reactor watch it.
    ///
    /// Writing to a closed connection must not end the process, so `SIGPIPE` is ignored from now
    /// on, unless the program has a handler for it.
    ///
    /// - Parameter reactor: The reactor that the services belong to.
    /// - Throws: `IOError` of operation `start`, for example without descriptors: a loop needs
    ///   four.
    public convenience init(on reactor: Reactor) throws(IOError) {
        try self.init(on: reactor, lookupLimit: .seconds(10))
    }

    /// The same with another deadline of each look-up.
    init(on reactor: Reactor, lookupLimit: Duration) throws(IOError) {
        torsion_uv_ignore_sigpipe()
        guest = try GuestLoop(on: reactor)
        workers = UVThreads(on: reactor)
        lookups = UVResolver(guest: guest, limit: lookupLimit)
        registrations = UVSignals(guest: guest)
        resolver = lookups
        signals = registrations
    }

    /// Joins the threads, cancels look-ups and registrations and releases the loop.
    ///
    /// Called by the reactor.
    public func shutDown() {
        workers.shutDown()
        registrations.shutDown()
        lookups.shutDown()
        guest.shutDown()
    }
}
