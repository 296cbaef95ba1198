// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion

private final class Echo: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }
}

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
            reactor.stop()
        }
    }
}
