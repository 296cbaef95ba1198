// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion
import TorsionHTTP

// snippet: server
/// What a deployed server sets up beside its port.
func serve(_ web: ServerEndpoint, on reactor: Reactor) throws {
    // The next process takes the ports of this one: all of them, or it finds them in use.
    let path = "/run/app/handover"
    try web.handedOver(by: path).listen(on: reactor) { Welcoming() }
    // Where the load balancer asks; 503 as soon as a stop begins.
    let health = try ServerEndpoint(parsing: "tcp:8081")
    try HealthEndpoint(health.handedOver(by: path)).listen(on: reactor)
    // What an operator asks.
    let admin = try ServerEndpoint(parsing: "unix:/run/app/admin:mode=600")
    try AdminEndpoint(admin.handedOver(by: path)).listen(on: reactor)
    // READY, STOPPING, and WATCHDOG from a timer of the loop; nothing without systemd.
    reactor.notifySystemd()
}
// snippet end

private final class Welcoming: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write("hello\n")
    }
}

/// Without the folder there is nothing to listen at, which is an error that names the path.
@Test func `a server that may not use its paths says which`() {
    let error = #expect(throws: IOError.self) {
        try Reactor.run(signals: .ignore) { reactor in
            let place = ServerEndpoint.tcp(port: 0, interface: .loopback)
            try serve(place, on: reactor)
            reactor.stop()
        }
    }
    #expect(error?.subject?.contains("/run/app/") == true)
}
