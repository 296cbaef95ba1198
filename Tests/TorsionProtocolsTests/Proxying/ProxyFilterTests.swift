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

/// Notes handshakes that fail.
private final class Failures: PortObserver {
    var texts: [String] = []
    var errors: [any Error] = []

    func clientArrived(from peer: SocketAddress) -> (any ConnectionObserver)? { nil }

    func handshakeFailed(_ error: any Error, with peer: SocketAddress) {
        texts.append("\(peer): \(error)")
        errors.append(error)
    }
}

@Suite struct ProxyFilterTests {
    private static let line = "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"
    private static let made = "made: 192.0.2.1:56324 to 192.0.2.2:443"

    /// A connection from a proxy at 127.0.0.1, and what is reported of it if it is refused.
    private final class Fixture {
        let proto = Recorder()
        let clock = ManualClock()
        let failures = Failures()
        private(set) var reports: [String] = []
        private(set) var peer: MemoryTransport!

        init(
            senders: [AddressBlock] = AddressBlock.local, timeout: Duration = .seconds(10),
            filters: Int = 0
        ) {
            clock.reactor.unhandledError = { [unowned self] in reports.append($0.context) }
            var options = StreamOptions()
            options.handshakeTimeout = timeout
            // One more below, which the reader stands on.
            let layers = StreamLayers.passing(count: filters)
                .filtered { ProxyHeaderReader(trusting: senders) }
                .filtered { StreamFilter() }
                .observed(port: failures)
            peer = MemoryTransport(proto, clock: clock, options: options, layers: layers)
        }

        var isOver: Bool {
            !peer.isOpen && proto.events.isEmpty && clock.reactor.delayedCalls.isEmpty
                && clock.reactor.statistics.handshakesFailed == 1
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
            let fixture = Fixture(filters: 2)
            fixture.peer.receive(pieces: pieces)
            // What came with the header is held by a filter above until the connection reads.
            fixture.clock.turn()
            #expect(fixture.proto.events == [Self.made] && fixture.proto.text == "hello")
            #expect(fixture.proto.transport?.proxyHeader?.addresses?.source.port == 56_324)
            fixture.proto.transport?.write("answer")
            fixture.peer.clock.turn()
            #expect(fixture.peer.takeText() == "answer")
            fixture.peer.peerCloses()
            fixture.proto.transport?.loseConnection()
            fixture.peer.clock.turn()
            #expect(fixture.proto.events == [Self.made, "end", "lost: closed here"])
            #expect(fixture.clock.reactor.delayedCalls.isEmpty)
            #expect(fixture.failures.texts.isEmpty && fixture.reports.isEmpty)
        }
    }

    @Test func `a connection without a proxy has no header`() {
        let proto = Recorder()
        let peer = MemoryTransport(proto)
        #expect(proto.transport?.proxyHeader == nil && proto.events.count == 1)
        peer.peerResets()
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

    @Test func `a sender who is not trusted is refused before its first byte`() {
        let fixture = Fixture(senders: [AddressBlock("10.0.0.0/8")!])
        let text = "127.0.0.1:40000 is not trusted to send a PROXY header"
        #expect(fixture.isOver && fixture.failures.texts == ["127.0.0.1:40000: \(text)"])
    }

    @Test func `a wrong header ends the connection, and the protocol hears nothing`() {
        for pieces in chunkings(of: "GET / HTTP/1.1\r\n") {
            let fixture = Fixture()
            fixture.peer.receive(pieces: pieces)
            #expect(fixture.isOver && fixture.failures.errors.count == 1)
            #expect(fixture.failures.errors.first is ProxyHeaderError)
        }
    }

    @Test func `a header that takes too long ends the connection, and is counted`() {
        let fixture = Fixture(timeout: .seconds(3))
        fixture.peer.receive("PROXY ")
        fixture.clock.advance(by: .milliseconds(2_999))
        #expect(fixture.peer.isOpen)
        fixture.clock.advance(by: .milliseconds(1))
        #expect(fixture.isOver)
        #expect(fixture.failures.texts == ["127.0.0.1:40000: took too long: handshaking"])
        #expect(fixture.reports.isEmpty)
        #expect(fixture.clock.reactor.statistics.handshakesFailed == 1)
    }

    @Test func `a peer that ends before its header ends the connection`() {
        for text in ["", "PROXY TCP4 "] {
            let fixture = Fixture()
            if !text.isEmpty { fixture.peer.receive(text) }
            fixture.peer.peerCloses()
            fixture.peer.clock.turn()
            #expect(fixture.isOver)
            // As checks of health do, which is no mistake of a proxy's.
            #expect(fixture.failures.errors.map { $0 is IOError } == [text.isEmpty])
            #expect(fixture.failures.errors.map { $0 is ProxyHeaderError } == [!text.isEmpty])
        }
    }

    @Test func `a peer that is refused is counted, and is no error of the program`() {
        let refused: [(senders: [AddressBlock], header: String)] = [
            ([], ""), (AddressBlock.local, "GET / HTTP/1.1\r\n"),
        ]
        for (senders, header) in refused {
            let fixture = Fixture(senders: senders)
            if !header.isEmpty { fixture.peer.receive(header) }
            #expect(fixture.isOver && fixture.failures.errors.count == 1)
            #expect(fixture.reports.isEmpty)
            #expect(fixture.clock.reactor.statistics.unhandledErrors == 0)
        }
    }

    @Test func `a reactor that stops ends a connection that still waits for its header`() {
        let fixture = Fixture()
        fixture.clock.reactor.stop(within: .seconds(1))
        fixture.clock.turn()
        fixture.peer.peerCloses()
        fixture.clock.turn()
        #expect(!fixture.peer.isOpen && fixture.proto.events.isEmpty && fixture.reports.isEmpty)
        #expect(fixture.failures.errors.map { $0 is IOError } == [true])
    }

    @Test func `a header leaves before what the protocol writes, also if the peer takes it late`() {
        let header = ProxyHeader(
            source: SocketAddress("192.0.2.1:56324")!, destination: SocketAddress("192.0.2.2:443")!,
            version: .v1)
        for room in [0, 10, Int.max] {
            let proto = Recorder()
            proto.onMade = { $0.write("hello") }
            let peer = MemoryTransport(
                proto, roomBytes: room, layers: .filter { ProxyHeaderWriter(header) })
            #expect(proto.events.isEmpty == (room < Int.max))
            peer.drain()
            #expect(proto.events.count == 1 && peer.takeText() == Self.line + "hello")
            peer.peerResets()
        }
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
                .filtered { ProxyHeaderReader(trusting: AddressBlock.local) }
                .listen(on: reactor) { server }
            let header = ProxyHeader(
                source: SocketAddress("192.0.2.1:56324")!,
                destination: SocketAddress("192.0.2.2:443")!)
            ClientEndpoint.address(port.localAddress)
                .filtered { ProxyHeaderWriter(header) }
                .connect(on: reactor) { Recorder() }
                .whenFailed { _ in reactor.stop(within: .zero) }
        }
        #expect(server.events.first == Self.made)
    }

    @Test func `a header that is waited for without a deadline is found`() async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            let peer = MemoryTransport(
                Recorder(),
                layers: .filter { ProxyHeaderReader(trusting: [AddressBlock("0.0.0.0/0")!]) })
            peer.receive("PROXY TCP4 ")
            peer.clock.reactor.checkInvariants()
            for call in peer.clock.reactor.delayedCalls { call.cancel() }
            peer.clock.reactor.checkInvariants()
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("Agreement: has no deadline"))
    }
}
