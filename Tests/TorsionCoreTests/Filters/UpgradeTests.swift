// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

/// Waits for a line, then makes capitals of what is written.
private final class Capitals: StreamFilter {
    override func begin() {}

    override func receive(_ bytes: RawSpan) {
        if hasAgreed { deliver(bytes) } else if bytes.contains(UInt8(ascii: "\n")) { agree() }
    }

    override func transmit(_ bytes: RawSpan) -> Int {
        send(Bytes([UInt8](bytes).map { $0 & ~0x20 }))
        return bytes.byteCount
    }
}

private final class Note: HalfCloseableProtocol {
    var text = ""
    var events: [String] = []
    var whenRead: (any StreamTransport) -> Void = { _ in }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        text += String(decoding: bytes)
        whenRead(transport)
    }

    func readConnectionLost(from transport: any StreamTransport) { events.append("read lost") }
    func writeConnectionLost(from transport: any StreamTransport) { events.append("write lost") }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        events.append("\(why)")
    }
}

private final class Producer: PushProducer {
    var calls: [String] = []
    func pauseProducing() { calls.append("pause") }
    func resumeProducing() { calls.append("resume") }
    func stopProducing() { calls.append("stop") }
}

/// What is written behind `startFilter` is the filter's, and waits until that has agreed.
@Suite struct UpgradeTests {
    private let note = Note()
    private let peer: MemoryTransport

    private var transport: any StreamTransport { peer.transport }

    init() { peer = MemoryTransport(note) }

    private func agree() {
        peer.clock.advance(by: .zero)
        peer.clock.reactor.checkInvariants()
        peer.receive("\n")
        peer.clock.turn()
    }

    @Test func `what is written behind startFilter waits for the filter`() {
        transport.write("clear,")
        transport.startFilter(Capitals())
        transport.write("one,")
        transport.write(Bytes(Array(repeating: UInt8(ascii: "b"), count: 5_000)))
        transport.write(capacity: 8) {
            $0.append(repeating: UInt8(ascii: "c"), count: 4, as: UInt8.self)
        }
        #expect(peer.takeText() == "clear," && transport.pendingByteCount == 5_008)
        peer.clock.reactor.checkInvariants()
        peer.clock.advance(by: .zero)
        #expect(peer.takeText().isEmpty && transport.pendingByteCount == 5_008)
        transport.write("two")
        agree()
        let rest = String(repeating: "B", count: 5_000) + "CCCCTWO"
        #expect(peer.takeText() == "ONE\u{c}" + rest && transport.pendingByteCount == 0)
        peer.receive("in")
        #expect(note.text == "in")
    }

    @Test func `a producer feels the marks while its bytes wait`() {
        let producer = Producer()
        transport.startFilter(Capitals())
        transport.registerProducer(producer)
        // As a producer may: until it is paused, in one event.
        var count = 0
        while producer.calls.isEmpty, count < 1_000 {
            transport.write([UInt8](repeating: 1, count: 10_000))
            count += 1
        }
        #expect(producer.calls == ["pause"])
        #expect(transport.pendingByteCount == count * 10_000)
        agree()
        #expect(producer.calls == ["pause", "resume"] && transport.pendingByteCount == 0)
        #expect(peer.takeBytes().count == count * 10_000)
    }

    @Test func `more than the limit aborts, and nothing of it is counted afterwards`() {
        transport.watermarks = Watermarks(low: 10, high: 20, limit: 100)
        transport.startFilter(Capitals()).whenFailed { _ in }
        transport.write([UInt8](repeating: 1, count: 101))
        transport.write("x")
        peer.clock.turn()
        #expect(peer.wasReset && note.events == ["\(ConnectionLoss.writeLimitExceeded)"])
        #expect(peer.clock.reactor.statistics.queuedBytes == 0)
    }

    // S3
    @Test func `a close in the same event loses nothing that waits`() {
        transport.startFilter(Capitals())
        transport.write("last words")
        transport.loseConnection()
        peer.clock.turn()
        #expect(peer.isOpen && note.events.isEmpty)
        agree()
        #expect(peer.takeText() == "LAST\0WORDS" && peer.hasEnded && !peer.wasReset)
        #expect(note.events == ["closed here"])
    }

    // S3
    @Test func `a half-close in the same event loses nothing that waits`() {
        transport.startFilter(Capitals())
        transport.write("last words")
        transport.loseWriteConnection()
        peer.clock.turn()
        #expect(!peer.hasEnded)
        agree()
        #expect(peer.takeText() == "LAST\0WORDS" && peer.hasEnded)
        #expect(note.events == ["write lost"])
        peer.receive("still read")
        #expect(note.text == "still read")
    }

    @Test func `a close with nothing to say does not wait for the filter`() {
        var failure: (any Error)?
        transport.startFilter(Capitals()).whenFailed { failure = $0 }
        transport.loseConnection()
        peer.clock.turn()
        #expect(peer.hasEnded && note.events == ["closed here"])
        #expect(failure as? ConnectionLoss == .closedLocally)
    }

    @Test func `a peer that ends before the filter begins fails it there and then`() {
        var failure: (any Error)?
        note.whenRead = { transport in
            transport.startFilter(Capitals()).whenFailed { failure = $0 }
            transport.write("last words")
        }
        // Both come in one turn, and the filter in the next.
        peer.clock.reactor.callLater(.zero) { [peer] in
            peer.receive("go")
            peer.peerCloses()
        }
        peer.clock.turn()
        peer.clock.turn()
        peer.clock.turn()
        #expect(failure != nil && !peer.isOpen && peer.takeText().isEmpty)
        #expect(note.events.first == "read lost" && note.events.count == 2)
        #expect(note.events.last?.contains("ECONNRESET") == true)
    }

    @Test func `bytes that come before the filter begins are its own, also behind a close`() {
        transport.startFilter(Capitals())
        transport.write("last words")
        transport.loseConnection()
        peer.receive("\n")
        peer.clock.advance(by: .zero)
        peer.clock.turn()
        #expect(peer.takeText() == "LAST\0WORDS" && note.events == ["closed here"])
    }

    @Test func `a filter that never agrees ends a close that waits for it, by its deadline`() {
        transport.startFilter(Capitals()).whenFailed { _ in }
        transport.write("last words")
        transport.loseConnection()
        peer.clock.advance(by: .seconds(10))
        peer.clock.turn()
        #expect(!peer.isOpen && peer.takeText().isEmpty)
        #expect(note.events == ["\(ConnectionLoss.deadlinePassed(.handshaking))"])
    }
}
