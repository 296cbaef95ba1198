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

    /// A client of a port that has this observer, and a protocol for it.
    private func connect(
        _ limiter: ConnectionLimiter, _ peer: String, over layers: StreamLayers = StreamLayers()
    ) throws -> (peer: MemoryTransport, proto: Recorder) {
        let address = try #require(SocketAddress(peer))
        limiter.checkInvariants()
        let proto = Recorder()
        let made = MemoryTransport(
            proto, clock: clock, layers: layers.observed(port: limiter), peerAddress: address)
        return (made, proto)
    }

    @Test func `clients beyond the total are refused until one has gone`() throws {
        var refused: [String] = []
        let limiter = ConnectionLimiter(ConnectionLimits(total: 2)) {
            refused.append("\($1): \($0)")
        }
        let first = try connect(limiter, "192.0.2.1:1").peer
        let second = try connect(limiter, "192.0.2.2:1").peer
        let late = try connect(limiter, "192.0.2.3:1")
        #expect(first.isOpen && second.isOpen && !late.peer.isOpen && late.proto.events.isEmpty)
        #expect(limiter.connectionCount == 2 && limiter.refusedCount == 1)
        #expect(refused == ["192.0.2.3:1: the port has 2 connections already"])
        first.peerResets()
        #expect(limiter.connectionCount == 1)
        let third = try connect(limiter, "192.0.2.3:1")
        #expect(third.peer.isOpen && third.proto.events == ["made"])
        second.peerResets()
        third.peer.peerCloses()
        clock.turn()
        #expect(limiter.connectionCount == 0)
        #expect(clock.reactor.statistics.unhandledErrors == 0)
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
        let limiter = ConnectionLimiter(ConnectionLimits(perPeer: 1))
        let (one, oneProto) = try connect(limiter, first)
        let (two, twoProto) = try connect(limiter, second)
        #expect(one.isOpen && two.isOpen == !isShared && two.wasReset == isShared)
        #expect(oneProto.events == ["made"] && twoProto.events == (isShared ? [] : ["made"]))
        #expect(limiter.connectionCount == (isShared ? 1 : 2))
        #expect(limiter.refusedCount == (isShared ? 1 : 0))
        one.peerResets()
        let again = try connect(limiter, first).peer
        #expect(again.isOpen)
        again.peerResets()
        two.peerResets()
        #expect(limiter.connectionCount == 0)
    }

    @Test func `behind a proxy the share is that of the proxy's client`() throws {
        let limiter = ConnectionLimiter(ConnectionLimits(total: 3, perPeer: 1))
        let layers = StreamLayers.filter { ProxyHeaderReader(trusting: AddressBlock.local) }
        func client(_ source: String) throws -> (peer: MemoryTransport, proto: Recorder) {
            let made = try connect(limiter, "127.0.0.1:40000", over: layers)
            made.peer.receive("PROXY TCP4 \(source) 192.0.2.9 1 2\r\nhello")
            return made
        }
        let first = try client("192.0.2.1"), second = try client("192.0.2.1")
        let third = try client("192.0.2.2")
        #expect(first.peer.isOpen && second.peer.wasReset && third.peer.isOpen)
        #expect(first.proto.events == ["made", "hello"] && second.proto.events.isEmpty)
        #expect(third.proto.events == ["made", "hello"])
        #expect(limiter.connectionCount == 2 && limiter.refusedCount == 1)
        first.peer.peerResets()
        third.peer.peerResets()
        #expect(limiter.connectionCount == 0)
    }

    @Test func `a client has a place while it handshakes, and gives it back if it fails`() throws {
        let limiter = ConnectionLimiter(ConnectionLimits(total: 1))
        let trusting = StreamLayers.filter { ProxyHeaderReader(trusting: AddressBlock.local) }
        let handshaking = try connect(limiter, "127.0.0.1:1", over: trusting).peer
        #expect(limiter.connectionCount == 1)
        #expect(try !connect(limiter, "127.0.0.1:2", over: trusting).peer.isOpen)
        #expect(limiter.connectionCount == 1 && limiter.refusedCount == 1)
        handshaking.peerCloses()
        #expect(!handshaking.isOpen && limiter.connectionCount == 0)

        let wary = StreamLayers.filter { ProxyHeaderReader(trusting: []) }
        #expect(try !connect(limiter, "127.0.0.1:3", over: wary).peer.isOpen)
        #expect(limiter.connectionCount == 0 && limiter.refusedCount == 1)
        limiter.checkInvariants()
    }

    @Test func `a client that the factory refuses gives its place back`() throws {
        let world = SimulatedWorld(seed: 1)
        let limiter = ConnectionLimiter(ConnectionLimits(total: 1))
        let factory = factory
        var losses: [ConnectionLoss] = []
        // A port at which the factory refuses.
        try world.host("server").run { reactor in
            try ServerEndpoint.tcp(port: 7).filtered { Renamed() }
                .listen(on: reactor, factory: factory)
                .observe(by: limiter)
        }
        try world.host("client").run { reactor in
            let server = ClientEndpoint.tcp(host: "server", port: 7)
            func connect(_ whenLost: @escaping () -> Void) {
                server.connect(on: reactor) {
                    Closing {
                        losses.append($0)
                        whenLost()
                    }
                }
                .whenFailed { reactor.report($0, in: "connecting") }
            }
            connect { connect {} }
        }
        try world.run { losses.count == 2 }
        #expect(losses == [.closedByPeer, .closedByPeer] && factory.made.isEmpty)
        #expect(limiter.connectionCount == 0 && limiter.refusedCount == 0)
        try world.finish()
    }

    @Test func `a switch of protocols is no loss`() throws {
        let limiter = ConnectionLimiter(ConnectionLimits(total: 1))
        let (peer, proto) = try connect(limiter, "192.0.2.1:1")
        let next = Recorder()
        proto.successor = next
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

/// Gives its connection an address that the factory refuses.
private final class Renamed: StreamFilter {
    override func begin() {
        var details = ConnectionDetails()
        details.peerAddress = .ipv4(.loopback, port: 9)
        agree(details)
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
