// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion
import TorsionHTTP

/// Answers `/health` by itself, and asks another server for everything else.
final class Front: HTTPResponder {
    private let proxy: ReverseProxy
    init(_ proxy: ReverseProxy) { self.proxy = proxy }

    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        guard head.path != "/health" else { return exchange.respond(.ok, body: "well\n") }
        proxy.requestReceived(head, exchange)
    }
}

// HTTPReverseProxy ENDPOINT URL
Reactor.main { reactor in
    let words = Array(CommandLine.arguments.dropFirst())
    let origin = try HTTPURL(parsing: words.dropFirst().first ?? "http://127.0.0.1:9000")
    let proxy = ReverseProxy(to: origin, by: HTTPClient(on: reactor))
    proxy.tellsClient = true
    proxy.whenFailed = { error in print("\(error)") }
    let front = Front(proxy)
    let port = try ServerEndpoint(parsing: words.first ?? "tcp:8080")
        .listen(on: reactor, http: HTTPServerOptions()) { front }
    print("listening on \(port.localAddress)")
}
