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

    init(
        roomBytes: Int = .max,
        halfClosedTimeout: Duration? = StreamProxy.defaultHalfClosedTimeout,
        idleTimeout: Duration? = nil
    ) {
        let report = Report()
        let relay = StreamProxy(
            to: .address(server), halfClosedTimeout: halfClosedTimeout, idleTimeout: idleTimeout
        ) {
            report.note?($0)
        }
        memory = MemoryTransport(relay, clock: network.clock, roomBytes: roomBytes)
        report.note = { [unowned self] result in
            switch result {
            case .success(let bytes): outcomes.append("\(bytes.toTarget), \(bytes.toClient)")
            case .failure(let error): outcomes.append("\(error)")
            }
        }
    }

    private final class Report {
        var note: ((Result<ProxiedBytes, any Error>) -> Void)?
    }
}

@Suite struct StreamProxyTests {
    @Test func `nothing is read of a client before the target is connected`() {
        let client = Client()
        client.memory.receive("early")
        #expect(!client.memory.isReading && client.network.underWay == [server])
        client.network.accept(server)
        client.network.clock.turn()
        #expect(client.memory.isReading)
        client.memory.peerResets()
        client.network.clock.turn()
        #expect(
            client.outcomes == [
                "cannot read from 127.0.0.1:40000: connection reset by peer (ECONNRESET)"
            ])
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
        #expect(
            client.outcomes == [
                "cannot read from 127.0.0.1:40000: connection reset by peer (ECONNRESET)"
            ])
        #expect(client.network.reactor.statistics.openConnections == 0)
        #expect(client.network.reactor.statistics.delayedCalls == 0)
    }

    /// A client that is gone looks like one that has said all it wants to say.
    @Test func `a half-closed pair that carries nothing ends after five minutes`() {
        let client = Client()
        client.network.accept(server)
        client.network.clock.turn()
        client.memory.receive("question")
        client.memory.peerCloses()
        client.network.clock.advance(by: .seconds(299))
        #expect(client.memory.isOpen && client.outcomes.isEmpty)
        client.network.deliver("answer", from: server)
        #expect(client.memory.takeText() == "answer")
        client.network.clock.advance(by: .seconds(299))
        #expect(client.memory.isOpen && client.outcomes.isEmpty)
        client.network.clock.advance(by: .seconds(301))
        #expect(client.outcomes == ["took too long: halfClosed"])
        #expect(client.memory.hasEnded && client.network.underWay.isEmpty)
        client.network.clock.advance(by: .seconds(100))
        #expect(client.network.reactor.statistics.openConnections == 0)
        #expect(client.network.reactor.statistics.delayedCalls == 0)
    }

    @Test func `the other way round too, and what was carried still leaves`() {
        let client = Client(roomBytes: 3, halfClosedTimeout: .seconds(10))
        client.network.accept(server)
        client.network.clock.turn()
        client.network.deliver("farewell", from: server)
        client.network.end(server)
        client.network.clock.advance(by: .seconds(11))
        #expect(client.outcomes == ["took too long: halfClosed"])
        client.memory.drain()
        client.memory.peerCloses()
        #expect(client.memory.takeText() == "farewell" && !client.memory.isOpen)
        client.network.clock.advance(by: .seconds(100))
        #expect(client.network.reactor.statistics.openConnections == 0)
        #expect(client.network.reactor.statistics.delayedCalls == 0)
    }

    /// Who reads slowly is not silent, and has its own deadline: `StreamOptions.keepAlive`.
    @Test func `a side that is paused does not count as silent`() {
        let client = Client(roomBytes: 0, halfClosedTimeout: .seconds(10))
        client.network.accept(server)
        client.network.clock.turn()
        client.memory.peerCloses()
        client.network.deliver(String(repeating: "x", count: 1 << 20), from: server)
        client.network.clock.advance(by: .seconds(100))
        #expect(client.memory.isOpen && client.outcomes.isEmpty)
        client.memory.drain()
        client.network.clock.advance(by: .seconds(21))
        #expect(client.outcomes == ["took too long: halfClosed"])
        #expect(client.memory.takeText().utf8.count == 1 << 20)
        client.network.clock.advance(by: .seconds(100))
    }

    @Test func `without a timeout it stays as long as both want`() {
        let client = Client(halfClosedTimeout: nil)
        client.network.accept(server)
        client.network.clock.turn()
        client.memory.peerCloses()
        client.network.clock.advance(by: .seconds(100_000))
        #expect(client.memory.isOpen && client.outcomes.isEmpty)
        client.network.deliver("at last", from: server)
        client.network.end(server)
        client.network.clock.advance(by: .seconds(100))
        #expect(client.memory.takeText() == "at last")
        #expect(client.outcomes == ["0, 7"])
        #expect(client.network.reactor.statistics.delayedCalls == 0)
    }

    @Test func `an idle pair is closed, at most a quarter late`() {
        let client = Client(idleTimeout: .seconds(8))
        client.network.accept(server)
        client.network.clock.turn()
        client.network.clock.advance(by: .seconds(7))
        client.network.deliver("answer", from: server)
        client.network.clock.advance(by: .milliseconds(7_900))
        client.memory.receive("question")
        client.network.clock.advance(by: .milliseconds(7_900))
        #expect(client.memory.isOpen && client.outcomes.isEmpty)
        client.network.clock.advance(by: .milliseconds(2_100))
        #expect(client.outcomes == ["took too long: idle"])
        #expect(client.memory.hasEnded && client.memory.takeText() == "answer")
        client.memory.peerCloses()
        client.network.clock.advance(by: .seconds(100))
        #expect(client.network.underWay.isEmpty)
        #expect(client.network.reactor.statistics.openConnections == 0)
        #expect(client.network.reactor.statistics.delayedCalls == 0)
    }

    @Test func `a pair that waits for a reader is idle as well, and one that ends has no timer`() {
        let client = Client(roomBytes: 0, idleTimeout: .seconds(8))
        client.network.accept(server)
        client.network.clock.turn()
        client.network.deliver("answer", from: server)
        client.network.clock.advance(by: .seconds(11))
        #expect(client.outcomes == ["took too long: idle"])
        client.network.clock.advance(by: .seconds(100))
        #expect(client.network.reactor.statistics.openConnections == 0)
        let other = Client(idleTimeout: .seconds(8))
        other.network.accept(server)
        other.network.clock.turn()
        other.memory.peerCloses()
        other.network.end(server)
        other.network.clock.turn()
        #expect(other.outcomes == ["0, 0"])
        #expect(other.network.reactor.statistics.delayedCalls == 0)
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
