// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import Torsion
import TorsionTesting

private final class Recorder: StreamProtocol {
    var events: [String] = []
    var successor: Recorder?

    func connectionMade(_ transport: any StreamTransport) { events.append("made") }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        events.append(String(decoding: bytes))
        if let successor { transport.switchProtocol(to: successor) }
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        events.append("lost")
    }
}

private final class Recorders: StreamProtocolFactory {
    var made: [Recorder] = []
    var ports: [String] = []

    func makeProtocol(for peer: SocketAddress) -> (any StreamProtocol)? {
        if peer.port == 9 { return nil }
        made.append(Recorder())
        return made.last
    }

    func started(on port: ListeningPort) { ports.append("started") }
    func stopped(on port: ListeningPort) { ports.append("stopped") }
}

private let testedBackends = BackendChoice.tested

@Suite struct ConnectionLimiterTests {
    private let clock = ManualClock()
    private let factory = Recorders()

    /// A client, as a port makes it; nil if it is refused at the handle.
    private func connect(_ limiter: ConnectionLimiter, _ peer: String) throws -> MemoryTransport? {
        let peer = try #require(SocketAddress(peer))
        limiter.checkInvariants()
        return try limiter.makeProtocol(for: peer).map {
            MemoryTransport($0, clock: clock, peerAddress: peer)
        }
    }

    @Test func `clients beyond the total are refused until one has gone`() throws {
        var refused: [String] = []
        let limiter = ConnectionLimiter(factory, ConnectionLimits(total: 2)) {
            refused.append("\($1): \($0)")
        }
        let first = try #require(try connect(limiter, "192.0.2.1:1"))
        let second = try #require(try connect(limiter, "192.0.2.2:1"))
        #expect(try connect(limiter, "192.0.2.3:1") == nil)
        #expect(limiter.connectionCount == 2 && limiter.refusedCount == 1)
        #expect(refused == ["192.0.2.3:1: the port has 2 connections already"])
        first.peerResets()
        #expect(limiter.connectionCount == 1)
        let third = try #require(try connect(limiter, "192.0.2.3:1"))
        #expect(third.isOpen && factory.made.count == 3)
        second.peerResets()
        third.peerCloses()
        clock.turn()
        #expect(limiter.connectionCount == 0)
    }

    @Test(
        arguments: [
            ("192.0.2.1:1", "192.0.2.1:2", true), ("192.0.2.1:1", "192.0.2.2:1", false),
            ("192.0.2.1:1", "[::ffff:192.0.2.1]:1", true),
            ("[2001:db8::1]:1", "[2001:db8::2]:1", true),
            ("[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false),
            ("unix:@a", "unix:@a", false),
        ])
    func `clients of one address have a share`(
        first: String, second: String, isShared: Bool
    ) throws {
        let limiter = ConnectionLimiter(factory, ConnectionLimits(perPeer: 1))
        let one = try #require(try connect(limiter, first))
        let two = try #require(try connect(limiter, second))
        #expect(one.isOpen && two.isOpen == !isShared && two.wasReset == isShared)
        #expect(factory.made.map(\.events) == [["made"], isShared ? [] : ["made"]])
        #expect(limiter.connectionCount == (isShared ? 1 : 2))
        #expect(limiter.refusedCount == (isShared ? 1 : 0))
        one.peerResets()
        let again = try #require(try connect(limiter, first))
        #expect(again.isOpen)
        again.peerResets()
        two.peerResets()
        #expect(limiter.connectionCount == 0)
    }

    @Test func `behind a proxy the share is that of the proxy's client`() throws {
        let limiter = ConnectionLimiter(factory, ConnectionLimits(total: 3, perPeer: 1))
        func client(_ source: String) throws -> MemoryTransport {
            let made = try #require(
                try limiter.makeProtocol(for: .ipv4(.loopback, port: 1)))
            let reader = ProxyHeaderReader(above: made, trusting: AddressBlock.local) { _, _ in }
            let peer = MemoryTransport(reader, clock: clock)
            peer.receive("PROXY TCP4 \(source) 192.0.2.9 1 2\r\nhello")
            return peer
        }
        let first = try client("192.0.2.1"), second = try client("192.0.2.1")
        let third = try client("192.0.2.2")
        #expect(first.isOpen && second.wasReset && third.isOpen)
        #expect(factory.made.map(\.events) == [["made", "hello"], [], ["made", "hello"]])
        first.peerResets()
        third.peerResets()
        #expect(limiter.connectionCount == 0)
    }

    @Test func `a connection that was never made gives its place back`() throws {
        let limiter = ConnectionLimiter(factory, ConnectionLimits(total: 1))
        do {
            let made = try #require(try limiter.makeProtocol(for: .ipv4(.loopback, port: 1)))
            let reader = ProxyHeaderReader(above: made, trusting: []) { _, _ in }
            #expect(MemoryTransport(reader, clock: clock).wasReset)
        }
        #expect(limiter.connectionCount == 0)
        #expect(try limiter.makeProtocol(for: .ipv4(.loopback, port: 9)) == nil)
        #expect(limiter.connectionCount == 0 && limiter.refusedCount == 0)
    }

    @Test func `a switch of protocols is no loss`() throws {
        let limiter = ConnectionLimiter(factory, ConnectionLimits(total: 1))
        let peer = try #require(try connect(limiter, "192.0.2.1:1"))
        let next = Recorder()
        factory.made[0].successor = next
        peer.receive("switch")
        peer.receive("more")
        #expect(next.events == ["made", "more"] && limiter.connectionCount == 1)
        peer.peerResets()
        #expect(next.events.last == "lost" && limiter.connectionCount == 0)
    }

    @Test func `a limit that is not positive is a mistake`() async {
        await #expect(processExitsWith: .failure) { _ = ConnectionLimits(total: 0) }
        await #expect(processExitsWith: .failure) { _ = ConnectionLimits(perPeer: -1) }
    }

    @Test(arguments: testedBackends.map(\.name))
    func `a port serves the next client when one has gone`(backend: String) throws {
        let choice = try BackendChoice.named(backend, among: testedBackends)
        let factory = factory
        nonisolated(unsafe) var losses: [ConnectionLoss] = []
        try Reactor.run(backend: choice, signals: .ignore) { reactor in
            let limit = reactor.callLater(.seconds(30)) { reactor.stop(within: .zero) }
            let port = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
                .limited(to: ConnectionLimits(total: 1))
                .listen(on: reactor, factory: factory)
            let endpoint = ClientEndpoint.address(port.localAddress)
            func client(_ whenLost: @escaping (ConnectionLoss) -> Void) -> Deferred<Closing> {
                endpoint.connect(on: reactor) {
                    Closing {
                        losses.append($0)
                        whenLost($0)
                    }
                }
            }
            // When the first has gone for the server, too.
            func comeNext() {
                guard factory.made.first?.events.last == "lost" else {
                    reactor.callLater(.zero) { comeNext() }
                    return
                }
                client { _ in
                    limit.cancel()
                    reactor.stop(within: .seconds(1))
                }
                .addCallback { $0.transport?.loseConnection() }
                .whenFailed { _ in reactor.stop(within: .zero) }
            }
            client { _ in comeNext() }
                .addCallback { first in
                    client { _ in first.transport?.loseConnection() }
                        .whenFailed { _ in reactor.stop(within: .zero) }
                }
                .whenFailed { _ in reactor.stop(within: .zero) }
        }
        #expect(losses == [.closedByPeer, .closedLocally, .closedLocally])
        #expect(factory.made.map(\.events) == [["made", "lost"], ["made", "lost"]])
        #expect(factory.ports == ["started", "stopped"])
    }
}

/// A client that only waits.
private final class Closing: StreamProtocol {
    private let whenLost: (ConnectionLoss) -> Void
    private(set) var transport: (any StreamTransport)?

    init(_ whenLost: @escaping (ConnectionLoss) -> Void) { self.whenLost = whenLost }

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        whenLost(why)
    }
}
