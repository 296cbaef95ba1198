// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV
package import TorsionCore

/// What is around the reactors of a whole program: `Reactor.main` and `ReactorGroup.main`.
package enum Program {
    /// Runs a program's reactors on the calling thread.
    ///
    /// Standard output leaves line by line, also into a pipe or a file, where a line such as
    /// "listening on …" would otherwise wait for 4 KiB to follow it. An error is one line on standard
    /// error and the process ends with status 1: what a `main` throws is a trap in Swift, with a
    /// backtrace.
    package static func run(_ body: () throws -> Void) {
        torsion_uv_buffer_output_by_line()
        do { try body() } catch {
            writeLineToStandardError("\(error)")
            torsion_uv_exit(1)
        }
    }

    /// Runs a program's reactors, with a task on each, until all tasks have returned.
    package static func runTasks(
        count: Int, backend: BackendChoice,
        services: @escaping @Sendable (Reactor) throws(IOError) -> any ReactorServices,
        signals: SignalPolicy, gracePeriod: Duration,
        _ body: nonisolated(nonsending) @escaping @Sendable (Reactor) async throws -> Void
    ) throws {
        let scope = ReactorScope(count: count, gracePeriod: gracePeriod)
        try scope.runHere {
            try ReactorGroup.run(
                count: count, backend: backend, services: services, signals: signals
            ) { reactor in scope.enter(reactor, body) }
        }
    }

    /// Runs a program's one reactor with one task, until it has returned.
    package static func runTask(
        backend: BackendChoice,
        services: @escaping @Sendable (Reactor) throws(IOError) -> any ReactorServices,
        signals: SignalPolicy, gracePeriod: Duration,
        _ body: nonisolated(nonsending) @escaping (Reactor) async throws -> Void
    ) throws {
        let scope = ReactorScope(count: 1, gracePeriod: gracePeriod)
        try scope.runHere {
            try Reactor.run(backend: backend, services: services, signals: signals) { reactor in
                scope.enter(reactor, body)
            }
        }
    }
}
