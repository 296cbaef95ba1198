// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

@Suite struct MemoryPeerTests {
    @Test func `room that has no limit is drained without end`() {
        let peer = MemoryTransport(Quiet())
        peer.drain(15)
        peer.drain()
        peer.drain(.max - 1)
        peer.transport.write("all of it")
        #expect(peer.takeText() == "all of it")
    }

    @Test func `what does not fit into the peer's room pauses the producer until it is drained`() {
        let peer = MemoryTransport(Quiet(), roomBytes: 100)
        let producer = Told()
        peer.transport.registerProducer(producer)
        peer.transport.watermarks = Watermarks(low: 10, high: 20)
        peer.transport.write(String(repeating: "x", count: 130))
        #expect(peer.takeBytes().count == 100)
        #expect(peer.transport.pendingByteCount == 30)
        #expect(producer.calls == ["pause"])
        peer.drain(15)
        #expect(producer.calls == ["pause"])
        peer.drain(10)
        #expect(producer.calls == ["pause", "resume"])
        peer.drain()
        #expect(peer.takeBytes().count == 30)
        peer.transport.abortConnection()
        peer.clock.turn()
        #expect(producer.calls == ["pause", "resume", "stop"])
        #expect(peer.wasReset && !peer.isOpen)
    }

    @Test func `what the peer sends to a paused connection waits`() {
        let quiet = Quiet()
        let peer = MemoryTransport(quiet)
        peer.transport.pauseProducing()
        #expect(!peer.isReading)
        peer.receive("early")
        peer.peerCloses()
        #expect(quiet.text.isEmpty && quiet.losses.isEmpty)
        peer.transport.resumeProducing()
        peer.clock.turn()
        #expect(quiet.text == "early")
        #expect(quiet.losses == [.closedByPeer])
    }

    @Test func `a reset by the peer is told with its code`() {
        let quiet = Quiet()
        let peer = MemoryTransport(quiet)
        peer.peerResets()
        guard case .failed(let error) = quiet.losses.first else {
            Issue.record("\(quiet.losses)")
            return
        }
        #expect(error.code == .connectionReset)
        #expect(!peer.isOpen)
    }

    @Test func `losing the connection is seen by the peer, and is complete without its end`() {
        let quiet = Quiet()
        let peer = MemoryTransport(quiet)
        peer.transport.write("bye")
        peer.transport.loseConnection()
        peer.clock.turn()
        #expect(peer.hasEnded && !peer.isOpen && peer.takeText() == "bye")
        #expect(quiet.losses == [.closedLocally])
        peer.receive("late")
        peer.peerCloses()
        #expect(!peer.wasReset && quiet.text.isEmpty, "what comes late is read and dropped")
    }

    @Test func `what comes long after the close is answered with a reset`() {
        let quiet = Quiet()
        let peer = MemoryTransport(quiet)
        peer.transport.loseConnection()
        peer.clock.advance(by: .seconds(1))
        peer.receive("late")
        #expect(!peer.wasReset)
        peer.clock.advance(by: .seconds(1))
        peer.receive("too late")
        #expect(peer.wasReset)
    }

    @Test func `a reset behind bytes that a paused protocol has not read waits for them`() {
        let quiet = Quiet()
        let peer = MemoryTransport(quiet)
        peer.transport.pauseProducing()
        peer.receive("last")
        peer.peerResets()
        peer.transport.write("dropped")
        peer.clock.advance(by: .seconds(4))
        #expect(quiet.losses.isEmpty && quiet.text.isEmpty && peer.takeText().isEmpty)
        peer.transport.resumeProducing()
        peer.clock.turn()
        #expect(quiet.text == "last" && quiet.losses.count == 1)
    }

    @Test func `a paused protocol is told of a reset after five seconds, whatever is unread`() {
        let quiet = Quiet()
        let peer = MemoryTransport(quiet)
        peer.transport.pauseProducing()
        peer.receive("last")
        peer.peerResets()
        peer.clock.advance(by: .seconds(5))
        #expect(quiet.text.isEmpty && quiet.losses.count == 1)
    }

    @Test(arguments: chunkings(of: "a\nbc\r\nd"))
    func `however bytes are cut, they arrive in order`(pieces: [Bytes]) {
        let quiet = Quiet()
        let peer = MemoryTransport(quiet)
        peer.receive(pieces: pieces)
        #expect(quiet.text == "a\nbc\r\nd")
        #expect(quiet.reads == pieces.count)
    }

    @Test func `the cuts are every pair, every byte alone, and none`() {
        let cuts = chunkings(of: "abc")
        #expect(cuts == [["abc"], ["a", "bc"], ["ab", "c"], ["a", "b", "c"]])
        #expect(chunkings(of: "a") == [["a"]])
    }

    @Test func `two without a clock of their own talk all the same`() {
        final class Forward: StreamProtocol {
            var next: (any StreamTransport)?
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
                next?.write(bytes)
            }
        }
        let forward = Forward()
        let ann = MemoryTransport(forward), bob = MemoryTransport(Quiet())
        forward.next = bob.transport
        ann.receive("hi")
        #expect(bob.takeText() == "hi")
    }
}

/// Notes what happens and answers nothing.
private final class Quiet: StreamProtocol {
    private(set) var text = ""
    private(set) var reads = 0
    private(set) var losses: [ConnectionLoss] = []

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        text += String(decoding: bytes)
        reads += 1
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        losses.append(why)
    }
}

/// A producer that writes down what it is told.
private final class Told: PushProducer {
    private(set) var calls: [String] = []

    func pauseProducing() { calls.append("pause") }
    func resumeProducing() { calls.append("resume") }
    func stopProducing() { calls.append("stop") }
}
