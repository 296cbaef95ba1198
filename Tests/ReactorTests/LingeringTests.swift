// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion

/// What remains of connections that were closed here, with peers that owe Torsion nothing.
@Suite struct LingeringTests {
    /// Answers the first bytes, and closes.
    private final class Answering: StreamProtocol {
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            transport.write("answer")
            transport.loseConnection()
        }
    }

    // S5, R3
    @Test(arguments: backendNames)
    func `issue 15: clients that stay hold no connection, and no stop`(name: String) throws {
        let reactor = Reactor(backend: try namedBackend(name), services: nil)
        var time = Duration.zero
        var clients: [Socket] = []
        try reactor.run(signals: .ignore) { reactor in
            let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in Answering() }
            for _ in 0..<200 {
                clients.append(try Socket(port: port.localAddress.port!))
                clients.last?.write("question")
            }
            reactor.callLater(.milliseconds(1)) { awaitAnswers(reactor) }
        }
        func awaitAnswers(_ reactor: Reactor) {
            let figures = reactor.statistics
            guard figures.connectionsMade == 200, figures.openConnections == 0 else {
                _ = reactor.callLater(.milliseconds(1)) { awaitAnswers(reactor) }
                return
            }
            #expect(figures.lingeringStreams <= 200)
            let start = reactor.now
            reactor.addTrigger(.after, .shutdown) { time = start.duration(to: reactor.now) }
            reactor.stop()
        }
        // The grace period is ten seconds.
        #expect(time < .seconds(5), "\(time)")
        for client in clients {
            #expect(client.readToEnd() == "answer")
            client.close()
        }
    }

    // S19, R3
    @Test(arguments: backendNames)
    func `what the kernel has is delivered by it, also when the run has ended`(
        name: String
    ) throws {
        let text = String(repeating: "x", count: 200_000)
        let reactor = Reactor(backend: try namedBackend(name), services: nil)
        var client: Socket?
        try reactor.run(signals: .ignore) { reactor in
            let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in
                Sending(text) { _ = reactor.stop() }
            }
            client = try Socket(port: port.localAddress.port!)
        }
        #expect(client?.readToEnd() == text)
        client?.close()
    }

    /// Sends a text, and closes.
    private final class Sending: StreamProtocol {
        private let text: String
        private let whenLost: () -> Void

        init(_ text: String, whenLost: @escaping () -> Void) {
            self.text = text
            self.whenLost = whenLost
        }

        func connectionMade(_ transport: any StreamTransport) {
            transport.write(text)
            transport.loseConnection()
        }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            #expect(why == .closedLocally)
            whenLost()
        }
    }
}
