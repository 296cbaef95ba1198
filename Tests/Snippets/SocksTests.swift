// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion

private final class Echo: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }
}

private final class Caller: StreamProtocol {
    var text = ""

    func connectionMade(_ transport: any StreamTransport) { transport.write("through a proxy") }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        text += String(decoding: bytes)
    }
}

/// The endpoint of the guide, against a server that somebody else wrote: `microsocks(1)`.
@Suite(.enabled(if: isInstalled("microsocks"), "microsocks is not installed"))
struct SocksTests {
    @Test(arguments: BackendChoice.linked)
    func `an endpoint of one's own connects through a real SOCKS server`(
        backend: BackendChoice
    ) throws {
        let reactor = Reactor(backend: backend)
        let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in Echo() }
        let proxyPort = try Socket.freePort()
        let server = try Program(
            path: "microsocks", ["-i", "127.0.0.1", "-p", "\(proxyPort)"])
        defer {
            server.signal(15)
            _ = server.wait()
        }

        let endpoint = SocksEndpoint(
            proxy: .tcp(host: "127.0.0.1", port: proxyPort), host: "127.0.0.1",
            port: try #require(port.localAddress.port))
        let caller = Caller()
        var attempts = 0
        func connect() {
            attempts += 1
            endpoint.connect(on: reactor) { caller }.whenFailed { _ in
                // Until the server has started.
                if attempts < 500 { reactor.callLater(.milliseconds(10)) { connect() } }
            }
        }
        connect()
        let end = reactor.now.advanced(by: .seconds(20))
        while caller.text != "through a proxy", reactor.now < end { reactor.turn(until: end) }
        #expect(caller.text == "through a proxy")

        // Nobody listens there: the server says so, and the connect fails with its reply.
        var failure: (any Error)?
        SocksEndpoint(proxy: endpoint.proxy, host: "127.0.0.1", port: proxyPort &+ 1)
            .connect(on: reactor) { Caller() }.whenFailed { failure = $0 }
        while failure == nil, reactor.now < end { reactor.turn(until: end) }
        #expect(failure is SocksHandshake.Refused)
        reactor.shutDown()
    }
}
