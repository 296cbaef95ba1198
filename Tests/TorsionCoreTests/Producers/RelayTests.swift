// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

private let server = SocketAddress("192.0.2.1:80")!

/// A client in memory, whose target the test plays.
private final class Client {
    let network = PlayedNetwork()
    let memory: MemoryTransport
    var outcomes: [String] = []

    init() {
        let report = Report()
        let relay = Relay(to: .address(server)) { report.note?($0) }
        memory = MemoryTransport(relay, clock: network.clock)
        report.note = { [unowned self] result in
            switch result {
            case .success(let bytes): outcomes.append("\(bytes.toTarget), \(bytes.toClient)")
            case .failure(let error): outcomes.append("\(error)")
            }
        }
    }

    private final class Report {
        var note: ((Result<RelayedBytes, any Error>) -> Void)?
    }
}

@Suite struct RelayTests {
    @Test func `nothing is read of a client before the target is connected`() {
        let client = Client()
        client.memory.receive("early")
        #expect(!client.memory.isReading && client.network.underWay == [server])
        client.network.accept(server)
        client.network.clock.turn()
        #expect(client.memory.isReading)
        client.memory.peerResets()
        client.network.clock.turn()
        #expect(client.outcomes == ["cannot read: connection reset by peer (ECONNRESET)"])
        #expect(client.network.underWay.isEmpty)
    }

    @Test func `a client whose target refuses is aborted, and the error names the target`() {
        let client = Client()
        client.network.fail(server, .connectionRefused)
        client.network.clock.turn()
        #expect(client.memory.wasReset)
        #expect(
            client.outcomes == ["cannot connect to \(server): connection refused (ECONNREFUSED)"])
        #expect(client.network.reactor.statistics.delayedCalls == 0)
    }

    @Test func `a client that goes while it waits ends the attempt`() {
        let client = Client()
        client.memory.peerResets()
        client.network.clock.turn()
        #expect(client.network.underWay.isEmpty)
        #expect(client.outcomes == ["cannot read: connection reset by peer (ECONNRESET)"])
        #expect(client.network.reactor.statistics.openConnections == 0)
        #expect(client.network.reactor.statistics.delayedCalls == 0)
    }

    @Test func `a graceful stop does not wait for a target that does not answer`() {
        let client = Client()
        client.memory.transport.loseConnection()
        client.memory.peerCloses()
        client.network.clock.turn()
        #expect(client.network.underWay.isEmpty && !client.memory.isOpen)
        #expect(client.outcomes == ["closed here"])
    }
}
