// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

/// Calls a closure for each thing that it is told.
private class Player: StreamProtocol {
    var whenMade: (any StreamTransport) -> Void = { _ in }
    var whenRead: (String, any StreamTransport) -> Void = { _, _ in }
    var loss: ConnectionLoss?

    func connectionMade(_ transport: any StreamTransport) { whenMade(transport) }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        whenRead(String(decoding: bytes), transport)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        whenMade = { _ in }
        whenRead = { _, _ in }
    }
}

private final class LastingPlayer: Player, HalfCloseableProtocol {
    var whenReadLost: (any StreamTransport) -> Void = { _ in }

    func readConnectionLost(from transport: any StreamTransport) { whenReadLost(transport) }

    func writeConnectionLost(from transport: any StreamTransport) {}
}

private final class Producer: PushProducer {
    var calls: [String] = []

    func pauseProducing() { calls.append("pause") }
    func resumeProducing() { calls.append("resume") }
    func stopProducing() { calls.append("stop") }
}

/// What is called at the end of an event may write, and close behind it: nothing of that is lost.
@Suite struct EndOfEventTests {
    private static func peer(_ proto: Player, isFiltered: Bool) -> MemoryTransport {
        MemoryTransport(
            proto, layers: isFiltered ? StreamLayers().filtered { StreamFilter() } : StreamLayers())
    }

    private func expectLastWords(
        _ peer: MemoryTransport, _ words: String, isClosedBelow: Bool = false
    ) {
        peer.clock.turn()
        #expect(peer.takeText() == words)
        #expect(peer.hasEnded && !peer.wasReset)
        if peer.isOpen { peer.peerCloses() }
        #expect(!peer.isOpen)
    }

    // S3, S20
    @Test(arguments: [false, true])
    func `a protocol that takes over, writes and closes has its last words sent`(isFiltered: Bool) {
        let old = Player(), new = Player()
        let peer = Self.peer(old, isFiltered: isFiltered)
        old.whenRead = { _, transport in transport.switchProtocol(to: new) }
        new.whenMade = { transport in
            transport.write("bye")
            transport.loseConnection()
        }
        peer.receive("x")
        expectLastWords(peer, "bye")
        #expect(new.loss == .closedLocally)
    }

    // S3, S20
    @Test(arguments: [false, true])
    func `outside of an event a switch to one that writes and closes is the same`(isFiltered: Bool)
    {
        let old = Player(), new = Player()
        let peer = Self.peer(old, isFiltered: isFiltered)
        new.whenMade = { transport in
            transport.write("bye")
            transport.loseConnection()
        }
        var transport: (any StreamTransport)?
        old.whenRead = { transport = $1 }
        peer.receive("x")
        transport?.switchProtocol(to: new)
        expectLastWords(peer, "bye")
    }

    // S3, L1
    @Test(arguments: [false, true])
    func `what is answered to bytes that were kept is sent before the close`(isFiltered: Bool) {
        let player = Player()
        let peer = Self.peer(player, isFiltered: isFiltered)
        player.whenRead = { text, transport in
            guard text == "wait quit" else {
                transport.write("bye")
                return transport.loseConnection()
            }
            transport.pauseProducing()
            transport.unread(Bytes("quit").span)
            transport.reactor.callLater(.seconds(1)) { transport.resumeProducing() }
        }
        peer.receive("wait quit")
        peer.clock.advance(by: .seconds(1))
        expectLastWords(peer, "bye")
        #expect(player.loss == .closedLocally)
    }

    // S3, S7
    @Test(arguments: [false, true])
    func `who takes over behind the peer's end may answer and close`(isFiltered: Bool) {
        let old = LastingPlayer(), new = LastingPlayer()
        let peer = Self.peer(old, isFiltered: isFiltered)
        old.whenReadLost = { $0.switchProtocol(to: new) }
        new.whenReadLost = { transport in
            transport.write("answer")
            transport.loseConnection()
        }
        peer.peerCloses()
        expectLastWords(peer, "answer")
        #expect(new.loss == .closedLocally)
    }

    // MARK: A producer when both ends close

    // S4
    @Test(arguments: [false, true])
    func `behind the peer's end, too, closing waits for a producer`(isOnlyWriting: Bool) {
        let player = LastingPlayer(), producer = Producer()
        let peer = MemoryTransport(player)
        player.whenReadLost = { transport in
            transport.registerProducer(producer)
            if isOnlyWriting { transport.loseWriteConnection() } else { transport.loseConnection() }
        }
        peer.peerCloses()
        #expect(producer.calls.isEmpty && peer.isOpen)
        peer.transport.write("the producer's last")
        peer.clock.turn()
        #expect(peer.isOpen)
        peer.transport.unregisterProducer()
        peer.clock.turn()
        #expect(peer.takeText() == "the producer's last")
        #expect(producer.calls.isEmpty && !peer.isOpen && !peer.wasReset)
        #expect(player.loss == (isOnlyWriting ? .closedByPeer : .closedLocally))
    }

    // S4, S17
    @Test func `a peer that ends while a close waits for a producer still gets everything`() {
        let player = LastingPlayer(), producer = Producer()
        let peer = MemoryTransport(player)
        peer.transport.registerProducer(producer)
        peer.transport.loseConnection()
        peer.peerCloses()
        peer.transport.write("the producer's last")
        peer.transport.unregisterProducer()
        peer.clock.turn()
        #expect(peer.takeText() == "the producer's last")
        #expect(producer.calls.isEmpty && player.loss == .closedLocally)
    }

    // S4, S18
    @Test func `a protocol that ends with its peer stops its producer then, closing or not`() {
        for isClosing in [false, true] {
            let player = Player(), producer = Producer()
            let peer = MemoryTransport(player)
            peer.transport.registerProducer(producer)
            if isClosing { peer.transport.loseConnection() }
            peer.peerCloses()
            peer.clock.turn()
            #expect(producer.calls == ["stop"])
            #expect(!peer.isOpen && !peer.wasReset, "closing: \(isClosing)")
        }
    }

    // S4, S18
    @Test func `what the kernel takes at once is progress of a close, too`() {
        let player = Player(), producer = Producer()
        var options = StreamOptions()
        options.closeTimeout = .seconds(10)
        let peer = MemoryTransport(player, options: options)
        peer.transport.registerProducer(producer)
        peer.transport.loseConnection()
        for _ in 0..<9 {
            peer.clock.advance(by: .seconds(3))
            peer.transport.write("piece ")
        }
        #expect(player.loss == nil)
        peer.transport.unregisterProducer()
        peer.clock.turn()
        #expect(peer.takeText() == String(repeating: "piece ", count: 9) && peer.hasEnded)
        peer.peerCloses()
        #expect(player.loss == .closedLocally)

        let silent = MemoryTransport(Player(), options: options)
        silent.transport.registerProducer(producer)
        silent.transport.loseConnection()
        silent.clock.advance(by: .seconds(21))
        #expect(
            silent.hasEnded && !silent.wasReset, "a producer that does nothing cannot hold a close")
        silent.peerCloses()
        #expect(!silent.isOpen)
    }

    // MARK: Pull producers

    private final class Puller: PullProducer {
        let transport: any StreamTransport
        let pieceByteCount: Int
        var asked = 0

        init(_ transport: any StreamTransport, pieceByteCount: Int) {
            self.transport = transport
            self.pieceByteCount = pieceByteCount
        }

        func produceMore() {
            asked += 1
            transport.write([UInt8](repeating: 1, count: pieceByteCount))
        }

        func stopProducing() {}
    }

    // P4
    @Test func `a pull producer is asked once, however often else was written meanwhile`() {
        let peer = MemoryTransport(Player(), roomBytes: 1_000)
        let puller = Puller(peer.transport, pieceByteCount: 600)
        peer.transport.registerProducer(puller)
        #expect(puller.asked == 1)
        // Three events before the next turn, each of which finds the queue empty.
        for _ in 0..<3 { peer.transport.write("x") }
        peer.clock.turn()
        #expect(puller.asked == 2)
        peer.clock.turn()
        #expect(puller.asked == 2, "the kernel did not take all of it")
        peer.drain(500)
        peer.clock.turn()
        #expect(puller.asked == 3)
    }

    // P4
    @Test func `a pull producer is not asked while something is queued`() {
        let peer = MemoryTransport(Player(), roomBytes: 1_000)
        let puller = Puller(peer.transport, pieceByteCount: 600)
        peer.transport.registerProducer(puller)
        // After it was put on the list of those to be asked.
        peer.transport.write([UInt8](repeating: 2, count: 5_000))
        peer.clock.turn()
        #expect(puller.asked == 1)
        peer.drain(5_000)
        peer.clock.turn()
        #expect(puller.asked == 2)
    }
}
