// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// Writes down its lines, and does what a line tells it.
private final class Lines: LineProtocol {
    let lines: LineDecoder
    var received: [String] = []
    var raw = ""
    var loss: ConnectionLoss?
    var successor: Lines?

    init(_ lines: LineDecoder = LineDecoder()) { self.lines = lines }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        received.append(String(decoding: line))
        switch line {
        case "raw": lines.isRaw = true
        case "pause": transport.pauseProducing()
        case "close": transport.loseConnection()
        case "switch": transport.switchProtocol(to: successor!)
        default: break
        }
    }

    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        raw += String(decoding: bytes)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { loss = why }
}

@Suite struct LineTests {
    @Test(arguments: ["a\r\nbb\n\nc\r\n", "\n", "no end", "x\r\ny\rz\n", "été\n"])
    func `lines are the same however they are cut`(text: String) {
        let whole = Lines()
        MemoryTransport(whole).receive(text)
        for pieces in chunkings(of: Bytes(text)) {
            let cut = Lines()
            MemoryTransport(cut).receive(pieces: pieces)
            #expect(cut.received == whole.received)
            #expect(cut.lines.partialByteCount == whole.lines.partialByteCount)
        }
    }

    @Test func `a line feed ends a line, and a carriage return before it belongs to the end`() {
        let proto = Lines()
        MemoryTransport(proto).receive("a\r\nb\n\r\nc\rd\n")
        #expect(proto.received == ["a", "b", "", "c\rd"])
    }

    @Test func `a strict decoder takes both or nothing`() {
        for pieces in chunkings(of: "a\nb\r\nc\r\n") {
            let proto = Lines(LineDecoder(terminator: .carriageReturnLineFeed))
            MemoryTransport(proto).receive(pieces: pieces)
            #expect(proto.received == ["a\nb", "c"])
        }
    }

    @Test func `a line over the limit ends the connection, on a partial line too`() {
        for text in ["12345\n", "12345678", "ok\n12345678"] {
            for pieces in chunkings(of: Bytes(text)) {
                let proto = Lines(LineDecoder(limitBytes: 4))
                MemoryTransport(proto).receive(pieces: pieces)
                #expect(proto.loss == .protocolFailed(LineTooLong(limitBytes: 4)))
            }
        }
        let proto = Lines(LineDecoder(limitBytes: 4))
        let peer = MemoryTransport(proto)
        peer.receive("1234\r\n1234\n")
        #expect(proto.received == ["1234", "1234"] && peer.isOpen)
    }

    @Test func `what follows the switch to raw mode is not cut`() {
        for pieces in chunkings(of: "a\nraw\nb\nc") {
            let proto = Lines()
            MemoryTransport(proto).receive(pieces: pieces)
            #expect(proto.received == ["a", "raw"])
            #expect(proto.raw == "b\nc")
        }
    }

    @Test func `pausing in mid-buffer keeps the rest for the resumption`() {
        let proto = Lines()
        let peer = MemoryTransport(proto)
        peer.receive("a\npause\nb\npause\nc\n")
        #expect(proto.received == ["a", "pause"])
        peer.receive("d\n")
        #expect(proto.received == ["a", "pause"])
        peer.transport.resumeProducing()
        #expect(proto.received == ["a", "pause", "b", "pause"])
        peer.clock.reactor.callLater(.seconds(1)) { peer.transport.resumeProducing() }
        peer.clock.advance(by: .seconds(1))
        #expect(proto.received == ["a", "pause", "b", "pause", "c", "d"])
    }

    @Test func `closing inside a line drops what is behind it`() {
        let proto = Lines()
        MemoryTransport(proto).receive("a\nclose\nb\n")
        #expect(proto.received == ["a", "close"])
    }

    @Test func `switching inside a line loses and doubles no byte`() {
        for pieces in chunkings(of: "a\nswitch\nb\nc\n") {
            let proto = Lines(), next = Lines()
            proto.successor = next
            MemoryTransport(proto).receive(pieces: pieces)
            #expect(proto.received == ["a", "switch"])
            #expect(next.received == ["b", "c"])
        }
    }

    @Test func `a long line in single bytes is linear work`() {
        let proto = Lines(LineDecoder(limitBytes: 200_000))
        let peer = MemoryTransport(proto)
        let byte = Bytes("x")
        for _ in 0..<100_000 { peer.receive(byte) }
        peer.receive("\n")
        #expect(proto.received.first?.utf8.count == 100_000)
    }
}
