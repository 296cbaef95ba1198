// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import TorsionCore
import TorsionServices

/// The backends that host the services.
///
/// Names, since a test's argument has to be printable.
let hosts = BackendChoice.tested.map(\.name)

/// Makes a reactor with the backend of this name and libuv's services.
func makeReactor(_ host: String) throws -> Reactor {
    let backend = try BackendChoice.named(host, among: BackendChoice.tested)
    let reactor = Reactor(backend: backend) { reactor throws(IOError) in
        try UVServices(on: reactor)
    }
    reactor.unhandledError = { Issue.record("\($0)") }
    return reactor
}

/// Runs a reactor with `body` until that stops it, at most ten seconds.
///
/// A function, since `run` is not for async code, and the body of an exit test is.
func run(
    _ host: String, signals: SignalPolicy = .ignore, _ body: (Reactor) throws -> Void
) throws {
    try makeReactor(host).run(signals: signals) { reactor in
        reactor.callLater(.seconds(10)) { preconditionFailure("the reactor was not stopped") }
        try body(reactor)
    }
}
