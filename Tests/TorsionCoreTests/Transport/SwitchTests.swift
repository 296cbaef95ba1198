// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

/// Notes what it is told; what it does is the test's.
private class Stage: StreamProtocol {
    var events: [String] = []
    var transport: (any StreamTransport)!
    var whenMade: (any StreamTransport) throws -> Void = { _ in }
    var whenRead: (any StreamTransport) throws -> Void = { _ in }

    func connectionMade(_ transport: any StreamTransport) throws {
        self.transport = transport
        events.append("made")
        try whenMade(transport)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        events.append(String(decoding: bytes))
        try whenRead(transport)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        events.append("\(why)")
    }
}

/// One that goes on when its peer has ended.
private final class LastingStage: Stage, HalfCloseableProtocol {
    var whenReadLost: (any StreamTransport) throws -> Void = { _ in }

    func readConnectionLost(from transport: any StreamTransport) throws {
        events.append("read lost")
        try whenReadLost(transport)
    }

    func writeConnectionLost(from transport: any StreamTransport) { events.append("write lost") }
}

/// `switchProtocol` where the connection ends, is ending, or has half ended; above a transport, and
/// over a filter.
@Suite struct SwitchTests {
    private static func peer(_ proto: Stage, isFiltered: Bool) -> MemoryTransport {
        MemoryTransport(
            proto, layers: isFiltered ? StreamLayers().filtered { StreamFilter() } : StreamLayers())
    }

    // MARK: A loss in the event of the switch

    @Test(arguments: [false, true])
    func `a loss in the event of a switch is the old protocol's`(isFiltered: Bool) {
        let endings: [(String, (any StreamTransport) throws -> Void)] = [
            ("aborted here", { $0.abortConnection() }),
            ("the protocol failed: \(Failed(number: 1))", { _ in throw Failed(number: 1) }),
        ]
        for (loss, end) in endings {
            let old = Stage()
            weak var released: Stage?
            let peer = Self.peer(old, isFiltered: isFiltered)
            old.whenRead = { transport in
                let new = Stage()
                new.whenMade = { _ in Issue.record("made above a lost connection") }
                released = new
                transport.switchProtocol(to: new)
                try end(transport)
            }
            peer.receive("x")
            peer.clock.turn()
            #expect(old.events == ["made", "x", loss])
            #expect(released == nil, "the successor is still held")
        }
    }

    @Test(arguments: [false, true])
    func `a loss after the event of a switch is the new protocol's`(isFiltered: Bool) {
        let old = Stage(), new = Stage()
        let peer = Self.peer(old, isFiltered: isFiltered)
        old.whenRead = { $0.switchProtocol(to: new) }
        peer.receive("x")
        peer.peerResets()
        #expect(old.events == ["made", "x"])
        #expect(new.events.first == "made" && new.events.count == 2)
    }

    @Test(arguments: [false, true])
    func `a switch while closing is carried out, and the new protocol is told the end`(
        isFiltered: Bool
    ) {
        let old = Stage(), new = Stage()
        let peer = Self.peer(old, isFiltered: isFiltered)
        old.whenRead = { transport in
            transport.switchProtocol(to: new)
            transport.loseConnection()
        }
        peer.receive("x")
        peer.peerCloses()
        #expect(old.events == ["made", "x"] && new.events == ["made", "closed here"])
    }

    // MARK: A switch behind the peer's end

    @Test(arguments: [false, true], ["", "rest"])
    func `a protocol that takes over behind the peer's end is told of it, too`(
        isFiltered: Bool, rest: String
    ) {
        let old = LastingStage(), new = LastingStage()
        let peer = Self.peer(old, isFiltered: isFiltered)
        peer.receive("x")
        peer.peerCloses()
        peer.clock.turn()
        old.transport.switchProtocol(to: new, remaining: Bytes(rest).span)
        peer.clock.turn()
        #expect(old.events == ["made", "x", "read lost"])
        #expect(new.events == ["made"] + (rest.isEmpty ? [] : [rest]) + ["read lost"])
        new.transport.write("answer")
        new.transport.loseWriteConnection()
        peer.clock.turn()
        #expect(peer.takeText() == "answer" && !peer.isOpen)
        #expect(new.events.last == "closed by the peer")
    }

    @Test(arguments: [false, true])
    func `switching at the peer's end tells the new protocol once`(isFiltered: Bool) {
        let old = LastingStage(), new = LastingStage()
        let peer = Self.peer(old, isFiltered: isFiltered)
        old.whenReadLost = { $0.switchProtocol(to: new) }
        peer.peerCloses()
        peer.clock.turn()
        #expect(old.events == ["made", "read lost"] && new.events == ["made", "read lost"])
    }

    @Test(arguments: [false, true])
    func `a protocol that ends with its peer closes when it takes over behind the end`(
        isFiltered: Bool
    ) {
        let old = LastingStage(), new = Stage()
        let peer = Self.peer(old, isFiltered: isFiltered)
        peer.peerCloses()
        old.transport.switchProtocol(to: new, remaining: Bytes("rest").span)
        peer.clock.turn()
        #expect(new.events == ["made", "rest", "closed by the peer"])
        #expect(!peer.isOpen && !peer.wasReset)
    }

    @Test(arguments: [false, true])
    func `the end waits while the new protocol is paused`(isFiltered: Bool) {
        for rest in ["", "rest"] {
            let old = LastingStage(), new = LastingStage()
            let peer = Self.peer(old, isFiltered: isFiltered)
            peer.peerCloses()
            new.whenMade = { $0.pauseProducing() }
            old.transport.switchProtocol(to: new, remaining: Bytes(rest).span)
            peer.clock.turn()
            #expect(new.events == ["made"])
            new.transport.resumeProducing()
            peer.clock.turn()
            #expect(new.events == ["made"] + (rest.isEmpty ? [] : [rest]) + ["read lost"])
        }
    }

    @Test(arguments: [false, true])
    func `a second switch passes the end on`(isFiltered: Bool) {
        let old = LastingStage(), middle = LastingStage(), new = LastingStage()
        let peer = Self.peer(old, isFiltered: isFiltered)
        peer.peerCloses()
        middle.whenMade = { $0.switchProtocol(to: new) }
        old.transport.switchProtocol(to: middle)
        peer.clock.turn()
        #expect(middle.events.first == "made" && new.events == ["made", "read lost"])
    }
}
