// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion
import TorsionTesting

/// Runs `body` as a task of a new reactor, and sees to it that nothing is left.
func runProgram<Value>(
    _ body: nonisolated(nonsending) @escaping (Reactor) async throws -> Value
) throws -> Value {
    let reactor = Reactor(backend: .epoll)
    var outcome: Result<Value, any Error>?
    try reactor.run(signals: .ignore) { reactor in
        reactor.callLater(.seconds(60)) {
            Issue.record("the program has not ended in a minute")
            reactor.stop(within: .zero)
        }
        reactor.spawn { try await body(reactor) }.addBoth { result in
            outcome = result
            reactor.stop(within: .seconds(1))
        }
    }
    try checkClean(reactor)
    return try #require(outcome).get()
}

/// Runs a program to its end, on a thread of its own.
///
/// - Returns: What it printed.
func output(of path: String, _ arguments: [String], on reactor: Reactor) async throws -> String {
    try await reactor.deferToThread {
        let program = try Program(path: path, arguments)
        program.endInput()
        let output = program.readOutput()
        let status = program.wait()
        return status == 0 ? output : output + " (status \(status))"
    }.value
}

/// Connects until the server, which was started just now, listens.
func connect(
    to endpoint: ClientEndpoint, on reactor: Reactor
) async throws -> AsyncConnection {
    let policy = RetryPolicy(
        attemptLimit: 400, firstDelay: .milliseconds(20), longestDelay: .milliseconds(50))
    return try await reactor.retry(policy) { endpoint.connect(on: reactor) }.value
}
