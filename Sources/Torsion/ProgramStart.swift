// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore
public import TorsionServices

// The closures are `sending`, or `@Sendable`. What is written at the top level of `main.swift`, or
// in the `main` function of a type with `@main`, is main-actor code, and so would be a closure that
// stays there. One that is handed over belongs to nobody: its tasks run on the reactor, and those of
// the main actor would wait for a thread that the reactor keeps.

extension Reactor {
    /// Runs a program on this thread, until SIGINT, SIGTERM or ``Reactor/stop(lameDuck:within:)``.
    ///
    /// Write this at the top level of `main.swift`, or in the `main` function of a type with `@main`:
    ///
    ///     Reactor.main { reactor in
    ///         let port = try ServerEndpoint(parsing: "tcp:8007").listen(on: reactor) { Echo() }
    ///         print("listening on \(port.localAddress)")
    ///     }
    ///
    /// An error ends the program: one line on standard error, and exit status 1. Standard output
    /// leaves line by line, also into a pipe or a file. When the reactor has stopped, `main`
    /// returns.
    ///
    /// In a function, or in a test, use `Reactor.run`, which throws.
    ///
    /// - Parameters:
    ///   - backend: nil takes the one that `TORSION_BACKEND` names, else libuv. An error that it
    ///     throws ends the program too: `Reactor.main(backend: try .named(word)) { … }`.
    ///   - signals: How the program reacts to SIGINT and SIGTERM.
    ///   - body: Sets the program up, on the reactor. It runs before anything else; what it throws
    ///     ends the program. Make its objects inside it: it is isolated to no actor, so it cannot
    ///     use variables of the top level, and its captures are its own from then on.
    @available(*, noasync, message: "use withReactor in async code")
    public static func main(
        backend: @autoclosure () throws -> BackendChoice? = nil, signals: SignalPolicy = .stop,
        _ body: sending (Reactor) throws -> Void
    ) {
        Program.run { try run(backend: try backend(), signals: signals, body) }
    }

    /// Runs a program whose body is one task, on this thread, until the task has returned.
    ///
    ///     Reactor.main { reactor in
    ///         try await ServerEndpoint(parsing: "tcp:8007").serve(on: reactor) { connection in
    ///             for try await bytes in connection.inbound { try await connection.write(bytes) }
    ///         }
    ///     }
    ///
    /// The program ends when `body` returns or throws, or by SIGINT or SIGTERM; then the reactor
    /// stops gracefully. Everything else is as for `Reactor.main`: an error is one line on standard
    /// error and exit status 1. ``ReactorStopped`` and ``ShutdownRequested``, by which a stop ends
    /// a task, do not count as errors.
    ///
    /// This thread is the main actor's too: what `body` asks of the main actor never comes.
    ///
    /// - Parameters:
    ///   - backend: nil takes the one that `TORSION_BACKEND` names, else libuv. An error that it
    ///     throws ends the program too: `Reactor.main(backend: try .named(word)) { … }`.
    ///   - signals: How the program reacts to SIGINT and SIGTERM.
    ///   - gracePeriod: How long the end waits for connections, when `body` has returned.
    ///   - body: The program, as a task of the reactor.
    @available(*, noasync, message: "use withReactor in async code")
    public static func main(
        backend: @autoclosure () throws -> BackendChoice? = nil, signals: SignalPolicy = .stop,
        gracePeriod: Duration = .seconds(10),
        _ body: nonisolated(nonsending) sending @escaping (Reactor) async throws -> Void
    ) {
        Program.run {
            try Program.runTask(
                backend: try backend() ?? .fromEnvironment(), services: StandardServices.make,
                signals: signals, gracePeriod: gracePeriod, body)
        }
    }
}

extension ReactorGroup {
    /// Runs a program on `count` threads, each with a reactor, until all have stopped.
    ///
    ///     ReactorGroup.main(count: 4) { reactor in
    ///         try ServerEndpoint(parsing: "tcp:8007").listen(on: reactor) { Echo() }
    ///     }
    ///
    /// As `ReactorGroup.run`, for the top level of a program: an error
    /// ends it, as one line on standard error and exit status 1, and standard output leaves line by
    /// line.
    ///
    /// - Parameters:
    ///   - count: Threads, at least 1.
    ///   - backend: nil takes the one that `TORSION_BACKEND` names, else libuv. An error that it
    ///     throws ends the program too: `Reactor.main(backend: try .named(word)) { … }`.
    ///   - signals: How the program reacts to SIGINT and SIGTERM, handled once for all.
    ///   - body: Sets one reactor up. It is called on several threads at once.
    @available(*, noasync, message: "use withReactor in async code")
    public static func main(
        count: Int, backend: @autoclosure () throws -> BackendChoice? = nil,
        signals: SignalPolicy = .stop,
        _ body: @escaping @Sendable (Reactor) throws -> Void
    ) {
        Program.run { try run(count: count, backend: try backend(), signals: signals, body) }
    }

    /// Runs a program of one task a thread, each on a reactor, until all have returned.
    ///
    ///     ReactorGroup.main(count: 4) { reactor in
    ///         try await ServerEndpoint(parsing: "tcp:8007").serve(on: reactor) { connection in
    ///             for try await bytes in connection.inbound { try await connection.write(bytes) }
    ///         }
    ///     }
    ///
    /// The first task that throws ends the program; see `Reactor.main`.
    ///
    /// - Parameters:
    ///   - count: Threads, at least 1; the ports that `body` opens are shared by them.
    ///   - backend: nil takes the one that `TORSION_BACKEND` names, else libuv. An error that it
    ///     throws ends the program too: `Reactor.main(backend: try .named(word)) { … }`.
    ///   - signals: How the program reacts to SIGINT and SIGTERM, handled once for all.
    ///   - gracePeriod: How long the end waits for connections, when the tasks have returned.
    ///   - body: The program of one thread. It is called on several at once.
    @available(*, noasync, message: "use withReactor in async code")
    public static func main(
        count: Int, backend: @autoclosure () throws -> BackendChoice? = nil,
        signals: SignalPolicy = .stop,
        gracePeriod: Duration = .seconds(10),
        _ body: nonisolated(nonsending) @escaping @Sendable (Reactor) async throws -> Void
    ) {
        Program.run {
            try Program.runTasks(
                count: count, backend: try backend() ?? .fromEnvironment(),
                services: StandardServices.make, signals: signals, gracePeriod: gracePeriod, body)
        }
    }
}
