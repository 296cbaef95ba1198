// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore
internal import TorsionEpoll
public import TorsionProtocols
public import TorsionServices
internal import TorsionUV

extension BackendChoice {
    /// The backends that `import Torsion` links.
    public static let linked: [BackendChoice] = [.libuv, .epoll]

    /// The backend that the environment variable `TORSION_BACKEND` names, else libuv.
    ///
    /// - Parameter choices: Those that may be named; a program that links more than `import Torsion`
    ///   does adds them: `.fromEnvironment(among: BackendChoice.linked + [.ioURing])`.
    /// - Returns: The one that is named, or libuv.
    /// - Throws: ``UnknownBackend``, which lists them.
    public static func fromEnvironment(
        among choices: [BackendChoice] = linked
    ) throws(UnknownBackend) -> BackendChoice {
        guard let name = Environment.value(of: "TORSION_BACKEND"), !name.isEmpty else {
            return .libuv
        }
        return try named(name, among: choices)
    }
}

extension ConnectionLimits {
    /// As many connections as the process has descriptors left for, by its limit (`ulimit -n`,
    /// `getrlimit(2)`), at the time of the call: when the port is opened.
    ///
    /// For servers that open a descriptor for each connection: a proxy without a limit accepts
    /// clients until no descriptor is left for its other side.
    ///
    ///     endpoint.limited(to: .descriptors(each: 2)).listen(on: reactor) { StreamProxy(to: target) }
    ///
    /// - Parameters:
    ///   - each: How many descriptors a connection takes: its own and those that are opened for it.
    ///   - reactors: How many reactors of a group share the process; each gets its part.
    /// - Returns: A limit in all, at least 1.
    public static func descriptors(each: Int, reactors: Int = 1) -> ConnectionLimits {
        require(each >= 1, "ConnectionLimits: a connection takes a descriptor, not \(each)")
        require(reactors >= 1, "ConnectionLimits: need at least one reactor, got \(reactors)")
        // What a reactor that has started may still open, for the port and to look names up, and what
        // the others of its group need.
        let room = DescriptorLimit.room - 8 - 16 * (reactors - 1)
        return ConnectionLimits(total: max(1, room / (each * reactors)))
    }
}

extension Reactor {
    /// Makes a reactor over the backend that the environment names, else libuv.
    ///
    /// - Throws: ``UnknownBackend`` for a name that is not linked.
    public convenience init() throws(UnknownBackend) {
        self.init(backend: try .fromEnvironment())
    }

    /// Makes a reactor over a backend, with names, signals, threads and files.
    ///
    /// - Parameter backend: The event backend: one of ``BackendChoice/linked``, or another that the
    ///   program links.
    public convenience init(backend: BackendChoice) {
        self.init(backend: backend, services: StandardServices.make)
    }

    /// The linked backends that this machine can run.
    public static var availableBackends: [BackendChoice] {
        BackendChoice.linked.filter { $0.unavailableReason() == nil }
    }

    /// Makes a reactor, runs it on this thread until it stops, and releases it.
    ///
    /// For functions and tests; at the top level of a program use `Reactor.main`,
    /// where the closure of `run` would be main-actor code, which may not start tasks.
    ///
    /// The closure runs first, on the reactor. SIGINT and SIGTERM stop the reactor gracefully, a
    /// second one ends the process.
    ///
    /// - Parameters:
    ///   - backend: nil takes the one that `TORSION_BACKEND` names, else libuv.
    ///   - signals: How the program reacts to SIGINT and SIGTERM.
    ///   - body: Sets the program up; an error ends the run.
    /// - Throws: What `body` throws, ``UnknownBackend``, or ``IOError``.
    @available(*, noasync, message: "use withReactor in async code")
    public static func run(
        backend: BackendChoice? = nil, signals: SignalPolicy = .stop,
        _ body: (Reactor) throws -> Void
    ) throws {
        try run(
            backend: try backend ?? .fromEnvironment(), services: StandardServices.make,
            signals: signals, body)
    }
}

extension ReactorGroup {
    /// Runs `body` once on each of `count` threads, on a reactor each, until all have stopped.
    ///
    /// Each reactor listens with a socket of its own on the same port, among which the kernel
    /// spreads clients; port 0 is resolved once for all. At a UNIX address there is one socket, and
    /// all accept from it. If one closure throws, all stop.
    ///
    /// For functions and tests; at the top level of a program use
    /// `ReactorGroup.main`.
    ///
    /// - Parameters:
    ///   - count: Threads, at least 1.
    ///   - backend: nil takes the one that `TORSION_BACKEND` names, else libuv.
    ///   - signals: How the program reacts to SIGINT and SIGTERM, handled once for all.
    ///   - body: Sets one reactor up. It is called on several threads at once.
    /// - Throws: What a `body` throws, the first of them, ``UnknownBackend``, or ``IOError``.
    @available(*, noasync, message: "use withReactor in async code")
    public static func run(
        count: Int, backend: BackendChoice? = nil, signals: SignalPolicy = .stop,
        _ body: @escaping @Sendable (Reactor) throws -> Void
    ) throws {
        try run(
            count: count, backend: try backend ?? .fromEnvironment(),
            services: StandardServices.make,
            signals: signals, body)
    }
}

/// Runs `body` on reactors with threads of their own, for a program with an asynchronous `main`.
///
///     try await withReactor { reactor in
///         try await ServerEndpoint(parsing: "tcp:8007").serve(on: reactor) { connection in
///             for try await bytes in connection.inbound { try await connection.write(bytes) }
///         }
///     }
///
/// `body` runs once on each reactor, as one of its tasks. When all have returned, one has thrown,
/// a signal came or the calling task is cancelled, every reactor is stopped gracefully, and this
/// returns when their threads have ended.
///
/// - Parameters:
///   - count: Threads, at least 1; the ports that `body` opens are shared by them.
///   - backend: nil takes the one that `TORSION_BACKEND` names, else libuv.
///   - signals: How the program reacts to SIGINT and SIGTERM; `.ignore` under a supervisor such as
///     ServiceLifecycle.
///   - gracePeriod: How long the end waits for connections.
///   - body: Is called on several threads at once, with a reactor each.
/// - Throws: The first error of a `body`, ``UnknownBackend``, or ``IOError``.
public func withReactor(
    count: Int = 1, backend: BackendChoice? = nil, signals: SignalPolicy = .stop,
    gracePeriod: Duration = .seconds(10),
    _ body: nonisolated(nonsending) @escaping @Sendable (Reactor) async throws -> Void
) async throws {
    try await withReactor(
        count: count, backend: try backend ?? .fromEnvironment(), services: StandardServices.make,
        signals: signals, gracePeriod: gracePeriod, body)
}
