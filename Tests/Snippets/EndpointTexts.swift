// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion

private final class Echo: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }
}

// snippet: Both
/// A port and a destination, as a command line or a configuration has them.
func startProxy(from: String, to: String, on reactor: Reactor) throws -> ListeningPort {
    let target = try ClientEndpoint(parsing: to)
    return try ServerEndpoint(parsing: from).listen(on: reactor) { StreamProxy(to: target) }
}
// snippet end

// snippet: Errors
func complaint(about text: String) -> String {
    do {
        _ = try ServerEndpoint(parsing: text)
        return "fine"
    } catch {
        return "\(error)"
    }
}
// snippet end

// snippet: Values
/// The place `tcp:8007:interface=127.0.0.1` as a value, with an option that texts do not have.
func localEndpoint() -> ServerEndpoint {
    var endpoint = ServerEndpoint.tcp(port: 8007, interface: .loopback)
    endpoint.options.closeTimeout = .seconds(5)
    return endpoint
}
// snippet end

// snippet: Adding
/// `slow:8080:rate=1000`: TCP with all of its options, which sends so many bytes a second.
let endpoints = EndpointParser.standard.adding(
    server: "slow", example: "slow:8080:rate=1000"
) { arguments in
    let endpoint = try ServerEndpoint.tcp(reading: &arguments)
    let rate = try arguments.option("rate", in: 1...1_000_000) ?? 1_000
    return endpoint.filtered { Throttle(writing: ThrottleRate(bytesPerSecond: rate)) }
}

func listen(at text: String, on reactor: Reactor) throws -> ListeningPort {
    try endpoints.server(parsing: text).listen(on: reactor) { Echo() }
}
// snippet end

@Suite struct EndpointTextsPage {
    @Test func `the guide's type of endpoint listens`() throws {
        try Reactor.run { reactor in
            let port = try listen(at: "slow:0:interface=127.0.0.1:rate=5000", on: reactor)
            #expect(port.localAddress.host == "127.0.0.1")
            #expect(throws: EndpointError.self) { try listen(at: "slow:0:pace=1", on: reactor) }
            #expect(throws: EndpointError.self) { try ServerEndpoint(parsing: "slow:0") }
            let proxy = try startProxy(
                from: "tcp:0:interface=127.0.0.1", to: "tcp:\(port.localAddress)", on: reactor)
            #expect(proxy.isListening)
            reactor.stop()
        }
    }

    @Test func `a value is what its text is, but for its options`() throws {
        var endpoint = localEndpoint()
        #expect("\(endpoint)" == "tcp:8007:interface=127.0.0.1")
        endpoint.options.closeTimeout = .seconds(30)
        #expect(try endpoint == ServerEndpoint(parsing: "tcp:8007:interface=127.0.0.1"))
    }

    @Test(arguments: [
        (
            "tpc:8007",
            "unknown endpoint type 'tpc': allowed are tcp, tcp6, unix, stdio, fd, pipe, systemd"
        ),
        ("tcp:", "an endpoint of type 'tcp' needs a port, as in 'tcp:8080:interface=127.0.0.1'"),
        ("tcp:99999", "'99999' is no valid port: allowed is 0 to 65535"),
        (
            "tcp:8007:speed=9",
            "an endpoint of type 'tcp' has no option 'speed': allowed are port, interface,"
                + " backlog, reuseport, nodelay, keepalive"
        ),
    ])
    func `the guide's errors are those of the parser`(text: String, error: String) {
        #expect(complaint(about: text) == error)
    }
}
