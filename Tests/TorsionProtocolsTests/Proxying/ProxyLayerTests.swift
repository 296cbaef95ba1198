// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import Torsion
import TorsionTesting

/// Writes down what happens to it.
private final class Recorder: HalfCloseableProtocol {
    var events: [String] = []
    var text = ""
    var onMade: (any StreamTransport) throws -> Void = { _ in }
    private(set) var transport: (any StreamTransport)?

    func connectionMade(_ transport: any StreamTransport) throws {
        self.transport = transport
        events.append("made: \(transport.peerAddress) to \(transport.localAddress)")
        try onMade(transport)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        text += String(decoding: bytes)
    }

    func readConnectionLost(from transport: any StreamTransport) { events.append("end") }
    func writeConnectionLost(from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        events.append("lost: \(why)")
        self.transport = nil
    }
}

private let testedBackends = BackendChoice.tested

@Suite struct ProxyLayerTests {
    private static let line = "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"
    private static let made = "made: 192.0.2.1:56324 to 192.0.2.2:443"

    /// A connection from a proxy at 127.0.0.1, and what is told of it if it is refused.
    private final class Fixture {
        let proto = Recorder()
        var refusals: [String] = []
        private(set) var peer: MemoryTransport!

        init(
            senders: [AddressBlock] = AddressBlock.local, timeout: Duration = .seconds(10),
            layers: Int = 0
        ) {
            let above = (0..<layers).reduce(proto as any StreamProtocol) { above, _ in
                StreamLayer(above: above)
            }
            let reader = ProxyHeaderReader(
                above: above, trusting: senders, timeout: timeout
            ) { [unowned self] in refusals.append("\($1): \($0)") }
            peer = MemoryTransport(StreamLayer(above: reader))
        }
    }

    // L1
    @Test(arguments: [line, "\u{0}"])
    func `the protocol sees the client's addresses from its first call, however cut`(
        start: String
    ) throws {
        let header =
            start == Self.line
            ? Bytes(start) : binary(0x21, 0x11, [192, 0, 2, 1, 192, 0, 2, 2, 220, 4, 1, 187])
        for pieces in chunkings(of: Bytes([UInt8](header.span) + Array("hello".utf8))) {
            let fixture = Fixture(layers: 2)
            fixture.peer.receive(pieces: pieces)
            #expect(fixture.proto.events == [Self.made] && fixture.proto.text == "hello")
            #expect(fixture.proto.transport?.proxyHeader?.addresses?.source.port == 56_324)
            #expect(fixture.peer.transport.proxyHeader == nil)
            fixture.proto.transport?.write("answer")
            fixture.peer.clock.turn()
            #expect(fixture.peer.takeText() == "answer")
            fixture.peer.peerCloses()
            fixture.proto.transport?.loseConnection()
            fixture.peer.clock.turn()
            #expect(fixture.proto.events == [Self.made, "end", "lost: closed here"])
            #expect(fixture.peer.clock.reactor.delayedCalls.isEmpty && fixture.refusals.isEmpty)
        }
    }

    @Test func `a protocol that pauses when it is made gets the rest when it resumes`() {
        for pieces in chunkings(of: Bytes(Self.line + "hello")) {
            let fixture = Fixture()
            fixture.proto.onMade = { $0.pauseProducing() }
            fixture.peer.receive(pieces: pieces)
            #expect(fixture.proto.text.isEmpty && fixture.proto.events.count == 1)
            fixture.proto.transport?.resumeProducing()
            fixture.peer.clock.turn()
            #expect(fixture.proto.text == "hello")
            fixture.peer.peerResets()
        }
    }

    @Test func `a proxy that speaks for itself has its own addresses`() {
        for header in [Bytes("PROXY UNKNOWN\r\n"), binary(0x20, 0, [])] {
            let fixture = Fixture()
            fixture.peer.receive(header)
            #expect(fixture.proto.events == ["made: 127.0.0.1:40000 to 127.0.0.1:80"])
            fixture.peer.peerResets()
        }
    }

    @Test func `a sender who is not trusted is reset before its first byte`() {
        let fixture = Fixture(senders: [AddressBlock("10.0.0.0/8")!])
        let text = "127.0.0.1:40000 is not trusted to send a PROXY header"
        #expect(fixture.peer.wasReset && fixture.proto.events.isEmpty)
        #expect(fixture.refusals == ["127.0.0.1:40000: the protocol failed: \(text)"])
        #expect(fixture.peer.clock.reactor.delayedCalls.isEmpty)
    }

    @Test func `a wrong header resets the connection, and the protocol hears nothing`() {
        for pieces in chunkings(of: "GET / HTTP/1.1\r\n") {
            let fixture = Fixture()
            fixture.peer.receive(pieces: pieces)
            #expect(fixture.peer.wasReset && fixture.proto.events.isEmpty)
            #expect(fixture.refusals.count == 1)
            #expect(fixture.peer.clock.reactor.delayedCalls.isEmpty)
        }
    }

    @Test func `a header that takes too long resets the connection`() {
        let fixture = Fixture(timeout: .seconds(3))
        fixture.peer.receive("PROXY ")
        fixture.peer.clock.advance(by: .milliseconds(2_999))
        #expect(fixture.peer.isOpen)
        fixture.peer.clock.advance(by: .milliseconds(1))
        #expect(fixture.peer.wasReset && fixture.proto.events.isEmpty)
        #expect(fixture.refusals == ["127.0.0.1:40000: took too long: handshaking"])
    }

    @Test func `a peer's end before its header ends the connection`() {
        for (text, isTold) in [("", false), ("PROXY TCP4 ", true)] {
            let fixture = Fixture()
            if !text.isEmpty { fixture.peer.receive(text) }
            fixture.peer.peerCloses()
            fixture.peer.clock.turn()
            #expect(!fixture.peer.isOpen && fixture.proto.events.isEmpty)
            #expect(fixture.refusals.isEmpty == !isTold)
            #expect(fixture.peer.clock.reactor.delayedCalls.isEmpty)
        }
    }

    @Test func `a refusal that nobody asked for goes to the reactor's hook`() {
        let clock = ManualClock()
        var told: [String] = []
        clock.reactor.unhandledError = { told.append($0.context) }
        let reader = ProxyHeaderReader(above: Recorder(), trusting: [])
        _ = MemoryTransport(reader, clock: clock)
        #expect(told == ["the PROXY header of 127.0.0.1:40000"])
    }

    @Test func `a reactor that stops ends a connection that still waits for its header`() {
        let fixture = Fixture()
        fixture.peer.transport.reactor.stop(within: .seconds(1))
        fixture.peer.clock.turn()
        fixture.peer.peerCloses()
        fixture.peer.clock.turn()
        #expect(!fixture.peer.isOpen && fixture.proto.events.isEmpty && fixture.refusals.isEmpty)
    }

    @Test func `a header leaves before what the protocol writes`() {
        let proto = Recorder()
        proto.onMade = { $0.write("hello") }
        let header = ProxyHeader(
            source: SocketAddress("192.0.2.1:56324")!, destination: SocketAddress("192.0.2.2:443")!,
            version: .v1)
        let peer = MemoryTransport(ProxyHeaderWriter(above: proto, header))
        #expect(peer.takeText() == Self.line + "hello")
        peer.peerResets()
    }

    @Test(arguments: testedBackends.map(\.name))
    func `a proxy's client is seen through real sockets`(backend: String) throws {
        let choice = try BackendChoice.named(backend, among: testedBackends)
        let server = Recorder()
        try Reactor.run(backend: choice, signals: .ignore) { reactor in
            let limit = reactor.callLater(.seconds(30)) { reactor.stop(within: .zero) }
            server.onMade = { _ in
                limit.cancel()
                reactor.stop(within: .seconds(1))
            }
            let port = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
                .wrapped { ProxyHeaderReader(above: $0, trusting: AddressBlock.local) }
                .listen(on: reactor) { server }
            let header = ProxyHeader(
                source: SocketAddress("192.0.2.1:56324")!,
                destination: SocketAddress("192.0.2.2:443")!)
            ClientEndpoint.address(port.localAddress)
                .wrapped { ProxyHeaderWriter(above: $0, header) }
                .connect(on: reactor) { Recorder() }
                .whenFailed { _ in reactor.stop(within: .zero) }
        }
        #expect(server.events.first == Self.made)
    }

    @Test func `a header that is waited for without a deadline is found`() async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            let reader = ProxyHeaderReader(
                above: Recorder(), trusting: [AddressBlock("0.0.0.0/0")!])
            let peer = MemoryTransport(reader)
            peer.receive("PROXY TCP4 ")
            peer.clock.reactor.checkInvariants()
            for call in peer.clock.reactor.delayedCalls { call.cancel() }
            peer.clock.reactor.checkInvariants()
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("waits for a header without a deadline"))
    }
}
