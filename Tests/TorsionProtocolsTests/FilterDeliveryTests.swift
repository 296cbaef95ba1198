// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import Torsion
import TorsionTesting

/// Pauses, switches, and writes down.
private final class PausingLines: LineProtocol {
    let lines = LineDecoder()
    var received: [String] = []
    var next: PausingLines?
    private(set) var transport: (any StreamTransport)?

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        received.append(String(decoding: line))
        if line == "close" { transport.loseConnection() }
        if line == "abort" { transport.abortConnection() }
        if line == "pause" { transport.pauseProducing() }
        if line == "switch", let next { transport.switchProtocol(to: next) }
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        received.append("lost")
        self.transport = nil
    }
}

/// Cuts what arrives into single bytes, as a filter of records does that holds several in one read.
private final class Crumbler: StreamFilter {
    override func receive(_ bytes: RawSpan) {
        for index in 0..<bytes.byteCount { deliver(bytes.extracting(index..<index + 1)) }
    }
}

/// What a protocol above filters gets when it pauses, switches, or ends in the middle of a read.
@Suite struct FilterDeliveryTests {
    private static let crumblers = StreamLayers.filter { Crumbler() }.filtered { Crumbler() }

    @Test(arguments: PassingFilter.allCases)
    func `pausing above filters stops the reading, and loses nothing`(kind: PassingFilter) {
        for pieces in chunkings(of: "a\npause\nb\nc\n") {
            let proto = PausingLines()
            let peer = MemoryTransport(proto, layers: .passing(kind))
            peer.receive(pieces: pieces)
            #expect(proto.received == ["a", "pause"] && !peer.isReading)
            proto.transport?.resumeProducing()
            peer.clock.turn()
            #expect(proto.received == ["a", "pause", "b", "c"])
            proto.transport?.loseConnection()
            peer.peerCloses()
        }
    }

    @Test(arguments: PassingFilter.allCases)
    func `a read-closed behind kept bytes comes after them, through filters`(kind: PassingFilter) {
        let proto = PausingLines()
        let peer = MemoryTransport(proto, layers: .passing(kind))
        peer.receive("pause\nb\nc\n")
        peer.peerCloses()
        #expect(proto.received == ["pause"])
        proto.transport?.resumeProducing()
        peer.clock.turn()
        #expect(proto.received == ["pause", "b", "c", "lost"])
    }

    @Test func `a read-closed behind bytes that a filter holds comes after them`() {
        let proto = PausingLines()
        let peer = MemoryTransport(proto, layers: Self.crumblers)
        peer.receive("pause\nb\nc\n")
        #expect(peer.clock.reactor.statistics.queuedBytes == 4)
        peer.peerCloses()
        peer.clock.turn()
        #expect(proto.received == ["pause"])
        proto.transport?.resumeProducing()
        peer.clock.turn()
        peer.clock.turn()
        #expect(proto.received == ["pause", "b", "c", "lost"])
        #expect(peer.clock.reactor.statistics.queuedBytes == 0)
    }

    @Test(arguments: PassingFilter.allCases)
    func `switching in mid-buffer above three filters loses and doubles no byte`(
        kind: PassingFilter
    ) {
        for pieces in chunkings(of: "a\nswitch\nb\nc\n") {
            let proto = PausingLines(), next = PausingLines()
            proto.next = next
            let peer = MemoryTransport(proto, layers: .passing(kind))
            peer.receive(pieces: pieces)
            #expect(proto.received == ["a", "switch"])
            #expect(next.received == ["b", "c"])
            #expect(next.transport?.id == peer.transport.id)
            next.transport?.abortConnection()
            peer.clock.turn()
            #expect(proto.received == ["a", "switch"])
            #expect(next.received == ["b", "c", "lost"])
        }
    }

    @Test func `a filter that delivers many pieces of one read may be paused at any of them`() {
        for pieces in chunkings(of: "a\npause\nb\npause\nc\nswitch\nd\n") {
            let proto = PausingLines(), next = PausingLines()
            proto.next = next
            let peer = MemoryTransport(proto, layers: Self.crumblers)
            peer.receive(pieces: pieces)
            #expect(proto.received == ["a", "pause"])
            proto.transport?.resumeProducing()
            peer.clock.turn()
            #expect(proto.received == ["a", "pause", "b", "pause"])
            proto.transport?.resumeProducing()
            peer.clock.turn()
            #expect(proto.received == ["a", "pause", "b", "pause", "c", "switch"])
            #expect(next.received == ["d"])
            next.transport?.abortConnection()
            peer.clock.turn()
        }
    }

    @Test func `what a filter held is delivered, also while one below it reads nothing`() {
        let rate = ThrottleRate(bytesPerSecond: 1, burstBytes: 6)
        for pieces in chunkings(of: "pause\nb\nc\n") {
            let proto = PausingLines()
            let layers = StreamLayers.filter { Crumbler() }
                .filtered { StreamFilter() }.filtered { StreamFilter() }
                .filtered { Throttle(reading: rate) }
            let peer = MemoryTransport(proto, layers: layers)
            peer.receive(pieces: pieces)
            // The rate is used up by then, so that nothing is read from below.
            proto.transport?.resumeProducing()
            #expect(!peer.isReading)
            peer.clock.advance(by: .seconds(30))
            #expect(proto.received == ["pause", "b", "c"])
            peer.transport.reactor.checkInvariants()
            proto.transport?.abortConnection()
            peer.clock.turn()
        }
    }

    @Test func `a filter delivers nothing behind a close or an abort`() {
        for word in ["close", "abort"] {
            for pieces in chunkings(of: Bytes("a\n\(word)\nb\n")) {
                let proto = PausingLines()
                let peer = MemoryTransport(proto, layers: .filter { Crumbler() })
                peer.receive(pieces: pieces)
                peer.peerCloses()
                peer.clock.turn()
                #expect(proto.received == ["a", word, "lost"])
            }
        }
    }

    @Test(arguments: BackendChoice.tested.map(\.name))
    func `a megabyte and both ends cross six filters on real sockets`(backend: String) throws {
        let choice = try BackendChoice.named(backend, among: BackendChoice.tested)
        nonisolated(unsafe) var client: Caller?
        nonisolated(unsafe) var server: Caller?
        try Reactor.run(backend: choice, signals: .ignore) { reactor in
            let limit = reactor.callLater(.seconds(30)) { reactor.stop(within: .zero) }
            var open = 2
            let whenLost = {
                open -= 1
                guard open == 0 else { return }
                limit.cancel()
                reactor.stop(within: .seconds(1))
            }
            let near = Caller(isEcho: false, whenLost), far = Caller(isEcho: true, whenLost)
            client = near
            server = far
            let place = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
            let port = try place.filtered { StreamFilter() }.filtered { StreamFilter() }
                .filtered { StreamFilter() }
                .listen(on: reactor) { far }
            ClientEndpoint.address(port.localAddress)
                .filtered { StreamFilter() }.filtered { StreamFilter() }
                .filtered { StreamFilter() }
                .connect(on: reactor) { near }
                .whenFailed { _ in reactor.stop(within: .zero) }
        }
        #expect(client?.bytes == Caller.sent && server?.bytes == Caller.sent)
        #expect(client?.events.sorted() == ["closed by the peer", "write lost"])
        #expect(server?.events == ["read lost", "closed by the peer"])
    }
}

/// Sends a megabyte and its end, or echoes.
private final class Caller: HalfCloseableProtocol {
    static let sent = (0..<1 << 20).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }

    var bytes: [UInt8] = []
    var events: [String] = []
    private let isEcho: Bool
    private let whenLost: () -> Void

    init(isEcho: Bool, _ whenLost: @escaping () -> Void) {
        self.isEcho = isEcho
        self.whenLost = whenLost
    }

    func connectionMade(_ transport: any StreamTransport) {
        guard !isEcho else { return }
        transport.write(Self.sent)
        transport.loseWriteConnection()
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        self.bytes += bytes
        if isEcho { transport.write(bytes) }
    }

    func readConnectionLost(from transport: any StreamTransport) {
        events.append("read lost")
        if isEcho { transport.loseWriteConnection() }
    }

    func writeConnectionLost(from transport: any StreamTransport) { events.append("write lost") }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        events.append("\(why)")
        whenLost()
    }
}
