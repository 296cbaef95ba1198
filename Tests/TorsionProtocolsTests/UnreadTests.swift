// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import Torsion
import TorsionTesting

/// Uses one byte of each delivery, pauses, and gives the rest back; resumes in a later turn.
private final class Nibbler: StreamProtocol {
    var used = 0
    /// How often the bytes lay elsewhere than behind those of the delivery before.
    var moves = 0
    var switches = false
    var onLost: (ConnectionLoss) -> Void = { _ in }
    private var end: UInt = 0

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        let end = bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) + UInt($0.count) }
        if end != self.end { moves += 1 }
        self.end = end
        used += 1
        guard bytes.byteCount > 1 else { return }
        if switches {
            return transport.switchProtocol(to: self, remaining: bytes.extracting(1...))
        }
        transport.pauseProducing()
        transport.unread(bytes.extracting(1...))
        transport.reactor.callLater(.zero) { transport.resumeProducing() }
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { onLost(why) }
}

/// What is given back costs no copy each time: work that a peer chooses must be linear in its bytes.
@Suite struct UnreadTests {
    private static let byteCount = 8_192
    /// A copy of the first read, and one each time no more than half is left.
    private static let moveLimit = 2 + 13

    // L1
    @Test(arguments: [0, 1, 3], [false, true])
    func `case M8: bytes that are given back again and again stay where they are`(
        filters: Int, switches: Bool
    ) {
        let nibbler = Nibbler()
        nibbler.switches = switches
        let peer = MemoryTransport(nibbler, layers: .passing(count: filters))
        peer.receive(Bytes([UInt8](repeating: 10, count: Self.byteCount)))
        peer.clock.advance(by: .zero)
        for _ in 0..<Self.byteCount where nibbler.used < Self.byteCount { peer.clock.turn() }
        #expect(nibbler.used == Self.byteCount)
        #expect(nibbler.moves <= Self.moveLimit)
        peer.peerResets()
    }

    // L1
    @Test(arguments: BackendChoice.tested.map(\.name))
    func `case M8: over sockets, too`(backend: String) throws {
        let choice = try BackendChoice.named(backend, among: BackendChoice.tested)
        let nibbler = Nibbler()
        try Reactor.run(backend: choice, signals: .ignore) { reactor in
            nibbler.onLost = { _ in reactor.stop(within: .seconds(1)) }
            let place = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
            let port = try place.listen(on: reactor) { nibbler }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { Sender() }
                .whenFailed { _ in reactor.stop(within: .zero) }
        }
        #expect(nibbler.used == Self.byteCount)
        // Each read is copied once, and there may be several.
        #expect(nibbler.moves <= 8 * Self.moveLimit)
    }

    @Test(arguments: [false, true])
    func `bytes that a line keeps for its successor come before those behind the line`(
        isFiltered: Bool
    ) {
        let proto = Upgrader(), next = Listener()
        proto.next = next
        let peer = MemoryTransport(proto, layers: .passing(count: isFiltered ? 1 : 0))
        peer.receive("upgrade\nrest\n")
        #expect(next.received == "held rest\n")
        peer.peerResets()
    }
}

private final class Sender: StreamProtocol {
    func connectionMade(_ transport: any StreamTransport) {
        transport.write([UInt8](repeating: 10, count: 8_192))
        transport.loseConnection()
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

private final class Upgrader: LineProtocol {
    let lines = LineDecoder()
    var next: Listener?

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        guard let next = next.take() else { return }
        transport.switchProtocol(to: next, remaining: Bytes("held ").span)
    }
}

private final class Listener: StreamProtocol {
    var received = ""

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        received += String(decoding: bytes)
    }
}
