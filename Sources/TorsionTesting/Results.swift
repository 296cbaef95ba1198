// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// Takes the value of a Deferred that has to be there.
///
///     clock.advance(by: .seconds(1))
///     #expect(try result(of: greeting) == "hello")
///
/// - Parameter deferred: One without a callback; this takes its result.
/// - Returns: The value.
/// - Throws: The failure of the Deferred, or ``CheckFailure`` if it is still pending; then it is
///   left as it was.
/// - SeeAlso: Twisted `successResultOf`.
public func result<Value>(of deferred: Deferred<Value>) throws -> Value {
    try outcome(of: deferred, "result(of:): it has no result yet").get()
}

/// Takes the error of a Deferred that has to have failed.
///
///     #expect(try failure(of: connecting) is IOError)
///
/// - Parameter deferred: One without a callback; this takes its result.
/// - Returns: The error.
/// - Throws: ``CheckFailure`` if it has succeeded, or is still pending; then it is left as it was.
/// - SeeAlso: Twisted `failureResultOf`.
public func failure<Value>(of deferred: Deferred<Value>) throws -> any Error {
    switch try outcome(of: deferred, "failure(of:): it has no result yet") {
    case .success(let value):
        throw CheckFailure(description: "failure(of:): it has succeeded with \(value)")
    case .failure(let error): return error
    }
}

private func outcome<Value>(
    of deferred: Deferred<Value>, _ complaint: String
) throws -> Result<Value, any Error> {
    guard !deferred.isPending else { throw CheckFailure(description: complaint) }
    var outcome: Result<Value, any Error>?
    deferred.addBoth { outcome = $0 }
    // One that is paused keeps its result back.
    guard let outcome else { throw CheckFailure(description: complaint) }
    return outcome
}

/// Checks that a program has released everything on a reactor: connections, ports, watches, tasks
/// and delayed calls.
///
///     reactor.stop(within: .zero)
///     clock.turn()
///     try checkClean(reactor)
///
/// Call it at the end of a test, on the reactor's thread, or when its run has ended. A transport that
/// was lost and is still referenced counts too: it shows a cycle.
///
/// - Parameter reactor: The reactor to look at, which is not changed.
/// - Throws: ``CheckFailure``, which counts what is left.
/// - SeeAlso: Twisted's "reactor was unclean".
public func checkClean(_ reactor: Reactor) throws {
    let figures = reactor.statistics
    let counts: KeyValuePairs = [
        "open connections": figures.openConnections, "live transports": figures.liveTransports,
        "lingering streams": figures.lingeringStreams, "listening ports": figures.listeningPorts,
        "datagram ports": figures.datagramPorts, "watches": figures.watches,
        "delayed calls": figures.delayedCalls, "tasks": figures.tasks,
        "suspended tasks": figures.suspendedTasks, "open handles": figures.openHandles,
        "queued bytes": figures.queuedBytes,
    ]
    let left = counts.filter { $0.value != 0 }.map { "\($0.value) \($0.key)" }
    guard left.isEmpty else {
        throw CheckFailure(description: "the reactor is not clean: " + left.joined(separator: ", "))
    }
}
