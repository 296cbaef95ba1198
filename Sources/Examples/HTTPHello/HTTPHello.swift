// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion
import TorsionHTTP

/// Answers every request with the same thirteen bytes.
final class Hello: HTTPResponder {
    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        exchange.respond(.ok, [.contentType: "text/plain"], body: "Hello, World!")
    }
}

Reactor.main { reactor in
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8080"
    let hello = Hello()
    let port = try ServerEndpoint(parsing: place)
        .listen(on: reactor, http: HTTPServerOptions()) { hello }
    print("listening on \(port.localAddress)")
}
