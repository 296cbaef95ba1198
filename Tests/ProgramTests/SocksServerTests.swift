// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion

/// Answers any request with one page.
private final class Page: LineProtocol {
    let lines = LineDecoder()
    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        guard line.isEmpty else { return }
        transport.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        transport.loseConnection()
    }
}

@Suite struct SocksServerTests {
    @Test(.enabled(if: isInstalled("curl")), arguments: ["socks5", "socks5h"])
    func `curl fetches a page through the proxy`(scheme: String) throws {
        let page = try runProgram { reactor in
            let origin = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor) { Page() }
            let place = Deferred<SocketAddress>(on: reactor)
            let proxy = SocksServer(reactor: reactor)
            let server = reactor.spawn {
                try await ServerEndpoint.tcp(port: 0, interface: .loopback).serve(
                    on: reactor, whenListening: { place.succeed($0.localAddress) },
                    proxy.serve)
            }
            let address = try await place.value
            let page = try await output(
                of: "curl",
                ["-sS", "--proxy", "\(scheme)://\(address)", "http://\(origin.localAddress)/"],
                on: reactor)
            server.cancel()
            return page
        }
        #expect(page == "hello")
    }
}
