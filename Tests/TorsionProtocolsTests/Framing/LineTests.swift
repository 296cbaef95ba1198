// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
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
    var onPause: (any StreamTransport) -> Void = { _ in }
    var onLost: (ConnectionLoss) -> Void = { _ in }
    private(set) var transport: (any StreamTransport)?

    init(_ lines: LineDecoder = LineDecoder()) { self.lines = lines }

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        received.append(String(decoding: line))
        switch line {
        case "raw": lines.isRaw = true
        case "pause":
            transport.pauseProducing()
            onPause(transport)
        case "pause and resume":
            transport.pauseProducing()
            transport.resumeProducing()
        case "pause and switch":
            transport.pauseProducing()
            transport.switchProtocol(to: successor!)
        case "close": transport.loseConnection()
        case "abort": transport.abortConnection()
        case "throw": throw Mishap()
        case "switch": transport.switchProtocol(to: successor!)
        default: break
        }
    }

    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        raw += String(decoding: bytes)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        self.transport = nil
        onLost(why)
    }
}

private struct Mishap: Error {}

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
                let memory = MemoryTransport(proto)
                memory.receive(pieces: pieces)
                guard case .protocolFailed(let error as LineTooLong)? = proto.loss else {
                    Issue.record("\(proto.loss as Any)")
                    continue
                }
                #expect(error.limitBytes == 4 && (5...8).contains(error.byteCount))
                // What the peer did wrong is told once.
                #expect(memory.clock.reactor.statistics.unhandledErrors == 0)
            }
        }
        let proto = Lines(LineDecoder(limitBytes: 4))
        let peer = MemoryTransport(proto)
        peer.receive("1234\r\n1234\n")
        #expect(proto.received == ["1234", "1234"] && peer.isOpen)
    }

    @Test func `a line over the limit is answered, then the connection closes`() {
        for pieces in chunkings(of: "ok\n12345678\nmore\n") {
            let proto = Polite()
            let peer = MemoryTransport(proto)
            peer.receive(pieces: pieces)
            #expect(peer.takeText() == "250 ok\r\n500 line too long\r\n")
            #expect(!peer.wasReset && peer.hasEnded)
            guard case .protocolFailed(is LineTooLong)? = proto.loss else {
                Issue.record("\(proto.loss as Any)")
                continue
            }
        }
    }

    @Test func `an error of another decoder is not this one's`() {
        let proto = Polite()
        let peer = MemoryTransport(proto)
        peer.receive("throw\n")
        #expect(peer.wasReset && peer.takeText() == "")
        #expect(proto.loss == .protocolFailed(LineTooLong(byteCount: 9, limitBytes: 1)))
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

    @Test func `raw mode that begins between two reads takes what is held of a line`() {
        let proto = Lines()
        let peer = MemoryTransport(proto)
        peer.receive("a\nbe")
        proto.lines.isRaw = true
        peer.receive("gin\nb")
        #expect(proto.raw == "begin\nb")
        proto.lines.isRaw = false
        peer.receive("c\n")
        #expect(proto.received == ["a", "c"])
    }

    @Test func `lines begin again in the middle of raw bytes`() {
        for pieces in chunkings(of: "a\nraw\n12345b\nraw\n67890c\n") {
            let proto = Bodies()
            MemoryTransport(proto).receive(pieces: pieces)
            #expect(proto.seen == ["a", "raw", "12345", "b", "raw", "67890", "c"])
        }
    }

    @Test func `raw bytes are kept while the connection is paused`() {
        for pieces in chunkings(of: "pause\nraw\nx\ny") {
            let proto = Lines()
            let peer = MemoryTransport(proto)
            peer.receive(pieces: pieces)
            #expect(proto.received == ["pause"] && proto.raw.isEmpty)
            peer.transport.resumeProducing()
            peer.clock.turn()
            #expect(proto.received == ["pause", "raw"])
            #expect(proto.raw == "x\ny")
        }
    }

    @Test func `aborting and throwing inside a line drop what is behind it`() {
        for word in ["abort", "throw"] {
            for pieces in chunkings(of: Bytes("a\n\(word)\nb\n")) {
                let proto = Lines()
                let peer = MemoryTransport(proto)
                peer.receive(pieces: pieces)
                #expect(proto.received == ["a", word])
                #expect(peer.wasReset)
                #expect(proto.loss == (word == "abort" ? .aborted : .protocolFailed(Mishap())))
            }
        }
    }

    @Test func `pausing and switching in one line leaves the rest to the successor's resumption`() {
        for pieces in chunkings(of: "a\npause and switch\nb\nc\n") {
            let proto = Lines(), next = Lines()
            proto.successor = next
            let peer = MemoryTransport(proto)
            peer.receive(pieces: pieces)
            #expect(proto.received == ["a", "pause and switch"] && next.received.isEmpty)
            peer.transport.resumeProducing()
            peer.clock.turn()
            #expect(next.received == ["b", "c"])
        }
    }

    @Test func `resuming in the line that paused loses and doubles nothing`() {
        for pieces in chunkings(of: "a\npause and resume\nb\n") {
            let proto = Lines()
            MemoryTransport(proto).receive(pieces: pieces)
            #expect(proto.received == ["a", "pause and resume", "b"])
        }
    }

    @Test func `a switch from a timer hands on what is held of a line`() {
        let proto = Lines(), next = Lines()
        let peer = MemoryTransport(proto)
        peer.receive("a\nbe")
        peer.clock.reactor.callLater(.seconds(1)) {
            peer.transport.switchProtocol(to: next, remaining: proto.lines.takePartial().span)
        }
        peer.clock.advance(by: .seconds(1))
        peer.receive("gin\n")
        #expect(proto.received == ["a"] && next.received == ["begin"])
    }

    @Test func `a peer that ends in mid-buffer of a paused connection loses no line`() {
        let proto = Lines()
        let peer = MemoryTransport(proto)
        peer.receive("pause\nb\nc\n")
        peer.peerCloses()
        #expect(proto.received == ["pause"] && proto.loss == nil)
        peer.transport.resumeProducing()
        peer.clock.turn()
        #expect(proto.received == ["pause", "b", "c"])
        #expect(proto.loss == .closedByPeer)
    }

    @Test(arguments: BackendChoice.tested.map(\.name), ["\n", "\r\n"])
    func `lines cross a socket while their reader pauses`(backend: String, end: String) throws {
        let choice = try BackendChoice.named(backend, among: BackendChoice.tested)
        let server = Lines()
        nonisolated(unsafe) var loss: ConnectionLoss?
        try Reactor.run(backend: choice, signals: .ignore) { reactor in
            let endpoint = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
            let port = try endpoint.listen(on: reactor) { server }
            server.onPause = { transport in
                reactor.callLater(.milliseconds(1)) { transport.resumeProducing() }
            }
            server.onLost = {
                loss = $0
                reactor.stop(within: .seconds(1))
            }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { Lines() }
                .addCallback { client in
                    for number in 0..<2_000 {
                        let word = number % 500 == 0 ? "pause" : "line \(number)"
                        client.transport?.write(word + end)
                    }
                    client.transport?.loseConnection()
                }
                .whenFailed { _ in reactor.stop(within: .zero) }
        }
        #expect(loss == .closedByPeer)
        #expect(
            server.received
                == (0..<2_000).map { $0 % 500 == 0 ? "pause" : "line \($0)" })
    }
}

/// Reads five raw bytes behind each line that says so, then lines again.
private final class Bodies: LineProtocol {
    let lines = LineDecoder()
    var seen: [String] = []
    private var body: [UInt8] = []

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        seen.append(String(decoding: line))
        lines.isRaw = line == "raw"
    }

    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        let count = min(bytes.byteCount, 5 - body.count)
        body += bytes.extracting(0..<count)
        guard body.count == 5 else { return }
        seen.append(String(decoding: body, as: UTF8.self))
        body = []
        lines.isRaw = false
        guard count < bytes.byteCount else { return }
        try dataReceived(bytes.extracting(count..<bytes.byteCount), from: transport)
    }
}

/// Answers a line that is too long.
private final class Polite: LineProtocol {
    let lines = LineDecoder(limitBytes: 5)
    var loss: ConnectionLoss?

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        if line == "throw" { throw LineTooLong(byteCount: 9, limitBytes: 1) }
        transport.write("250 \(String(decoding: line))\r\n")
    }

    func lineTooLong(_ error: LineTooLong, from transport: any StreamTransport) {
        transport.write("500 line too long\r\n")
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { loss = why }
}
