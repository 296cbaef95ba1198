// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import Torsion
import TorsionTesting

/// What a protocol does with a body: a line that is a number announces so many raw bytes.
private enum Way: String, CaseIterable {
    /// Says how many bytes it expects.
    case expecting
    /// Finds the end itself, and hands back the rest as it lies.
    case handingBack
    /// The same, with a copy of the rest.
    case handingBackCopy
    /// The same, in two calls.
    case handingBackTwice
}

/// Notes lines, bodies, and how deep the stack is in its callbacks.
private final class Bodies: LineProtocol {
    let lines = LineDecoder()
    let way: Way
    var seen: [String] = []
    var deepest = 0
    var whenBodyEnds: (any StreamTransport) throws -> Void = { _ in }
    var onLost: (ConnectionLoss) -> Void = { _ in }
    private var depth = 0
    private var left = 0
    private var body = ""

    init(_ way: Way) { self.way = way }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        enter()
        defer { depth -= 1 }
        guard let count = Int(String(decoding: line)) else {
            return seen.append(String(decoding: line))
        }
        left = count
        if way == .expecting { lines.expect(rawBytes: count) } else { lines.isRaw = count > 0 }
        if count == 0 { try endBody(transport) }
    }

    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        enter()
        defer { depth -= 1 }
        let used = min(left, bytes.byteCount)
        body += String(decoding: bytes.extracting(0..<used))
        left -= used
        if way == .expecting {
            #expect(used == bytes.byteCount && lines.expectedRawByteCount == left)
            #expect(lines.isRaw == (left > 0))
        }
        guard left == 0 else { return }
        try endBody(transport)
        guard way != .expecting else { return }
        lines.isRaw = false
        try handBack(bytes.extracting(used..<bytes.byteCount), to: transport)
    }

    private func handBack(_ rest: RawSpan, to transport: any StreamTransport) throws {
        switch way {
        case .expecting, .handingBack: try dataReceived(rest, from: transport)
        case .handingBackCopy:
            let copy = Bytes(rest)
            try dataReceived(copy.span, from: transport)
        case .handingBackTwice:
            let middle = rest.byteCount / 2
            try dataReceived(rest.extracting(..<middle), from: transport)
            try dataReceived(rest.extracting(middle...), from: transport)
        }
    }

    private func endBody(_ transport: any StreamTransport) throws {
        seen.append("[\(body)]")
        body = ""
        try whenBodyEnds(transport)
    }

    private func enter() {
        depth += 1
        deepest = max(deepest, depth)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { onLost(why) }
}

private struct Mishap: Error {}

@Suite struct BodyTests {
    private static let stream: Bytes = "a\n3\nxyzb\n0\nc\n4\n1\n2\nd\n1\nx2\nyz"
    private static let seen = ["a", "[xyz]", "b", "[]", "c", "[1\n2\n]", "d", "[x]", "[yz]"]

    // L1
    @Test(arguments: Way.allCases)
    private func `bodies between lines are the same however they are cut`(way: Way) {
        for pieces in chunkings(of: Self.stream) {
            let proto = Bodies(way)
            MemoryTransport(proto).receive(pieces: pieces)
            #expect(proto.seen == Self.seen && proto.deepest == 1)
        }
    }

    @Test(arguments: Way.allCases)
    private func `case M4: a thousand bodies in one read do not deepen the stack`(way: Way) {
        let proto = Bodies(way)
        MemoryTransport(proto).receive(String(repeating: "1\nx", count: 1_000))
        #expect(proto.seen == Array(repeating: "[x]", count: 1_000))
        #expect(proto.deepest == 1)
    }

    @Test(arguments: Way.allCases)
    private func `case M5: nothing is shown behind a pause in a body`(way: Way) {
        for pieces in chunkings(of: Self.stream) {
            let proto = Bodies(way)
            let peer = MemoryTransport(proto)
            proto.whenBodyEnds = { $0.pauseProducing() }
            peer.receive(pieces: pieces)
            for count in [2, 4, 6, 8] {
                #expect(proto.seen == Array(Self.seen.prefix(count)) && !peer.isReading)
                peer.transport.resumeProducing()
                peer.clock.turn()
            }
            #expect(proto.seen == Self.seen)
            peer.peerResets()
        }
    }

    @Test(arguments: Way.allCases, ["close", "close writing and reading", "abort", "throw"])
    private func `case M5: nothing is shown behind an end in a body`(way: Way, end: String) {
        for pieces in chunkings(of: Self.stream) {
            let proto = Bodies(way)
            let peer = MemoryTransport(proto)
            proto.whenBodyEnds = { transport in
                switch end {
                case "close": transport.loseConnection()
                case "abort": transport.abortConnection()
                case "throw": throw Mishap()
                default:
                    transport.loseWriteConnection()
                    transport.loseConnection()
                }
            }
            peer.receive(pieces: pieces)
            #expect(proto.seen == ["a", "[xyz]"])
            if peer.isOpen { peer.peerResets() }
        }
    }

    // S20
    @Test(arguments: Way.allCases)
    private func `case M5: a switch in a body hands everything behind it on`(way: Way) {
        for pieces in chunkings(of: Self.stream) {
            let proto = Bodies(way), next = Bodies(way)
            let peer = MemoryTransport(proto)
            proto.whenBodyEnds = { $0.switchProtocol(to: next) }
            peer.receive(pieces: pieces)
            #expect(proto.seen == ["a", "[xyz]"])
            #expect(next.seen == Array(Self.seen[2...]))
            peer.peerResets()
        }
    }

    @Test func `bytes that a line hands in come before those behind it`() {
        let proto = Preprocessor()
        let peer = MemoryTransport(proto)
        peer.receive("twice\nb\ntwice\n")
        #expect(proto.seen == ["twice", "1", "2", "b", "twice", "1", "2"] && proto.deepest == 1)
        proto.whenShown = { if proto.seen.last == "1" { peer.transport.pauseProducing() } }
        proto.seen = []
        peer.receive("twice\nb\n")
        #expect(proto.seen == ["twice", "1"])
        peer.transport.resumeProducing()
        peer.clock.turn()
        #expect(proto.seen == ["twice", "1", "2", "b"])
        peer.peerResets()
    }

    @Test func `an expectation between two reads takes what is held of a line`() {
        let proto = Notes()
        let peer = MemoryTransport(proto)
        peer.receive("a\nbe")
        proto.lines.expect(rawBytes: 7)
        #expect(proto.lines.expectedRawByteCount == 7)
        peer.receive("gin\nbc\n")
        #expect(proto.lines.expectedRawByteCount == 0)
        #expect(proto.raw == "begin\nb" && proto.seen == ["a", "c"])
        proto.lines.isRaw = true
        #expect(proto.lines.expectedRawByteCount == nil)
        proto.lines.isRaw = false
        proto.lines.expect(rawBytes: 5)
        proto.lines.expect(rawBytes: 0)
        peer.receive("d\n")
        #expect(proto.seen == ["a", "c", "d"])
        peer.peerResets()
    }

    @Test func `a decoder without a connection stops where raw bytes are expected`() throws {
        let lines = LineDecoder()
        let bytes: Bytes = "3\nxyza\n"
        let used = try lines.decode(bytes.span) { _ in
            lines.expect(rawBytes: 3)
            return true
        }
        #expect(used == 2 && lines.isRaw && lines.expectedRawByteCount == 3)
        lines.expect(rawBytes: 0)
        var shown: [String] = []
        _ = try lines.decode(bytes[5...].span) {
            shown.append(String(decoding: $0))
            return true
        }
        #expect(shown == ["a"])
    }

    @Test func `frames begin again behind the raw bytes that were expected`() {
        for pieces in chunkings(of: "3:raw,xyz,1:a,3:raw,1:b,1:c,") {
            let proto = RawFrames()
            MemoryTransport(proto).receive(pieces: pieces)
            #expect(proto.seen == ["raw", "[xyz,]", "a", "raw", "[1:b,]", "c"])
        }
    }

    @Test(arguments: BackendChoice.tested.map(\.name), Way.allCases)
    private func `case M4: 64 KiB of small bodies cross a socket`(
        backend: String, way: Way
    ) throws {
        let choice = try BackendChoice.named(backend, among: BackendChoice.tested)
        let server = Bodies(way)
        try Reactor.run(backend: choice, signals: .ignore) { reactor in
            server.onLost = { _ in reactor.stop(within: .seconds(1)) }
            let place = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
            let port = try place.listen(on: reactor) { server }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { Sender() }
                .whenFailed { _ in reactor.stop(within: .zero) }
        }
        #expect(server.seen == Array(repeating: "[x]", count: Sender.count))
        #expect(server.deepest == 1)
    }
}

/// Hands in two lines for a line "twice".
private final class Preprocessor: LineProtocol {
    let lines = LineDecoder()
    var seen: [String] = []
    var deepest = 0
    var whenShown: () -> Void = {}
    private var depth = 0

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        depth += 1
        deepest = max(deepest, depth)
        defer { depth -= 1 }
        seen.append(String(decoding: line))
        whenShown()
        guard line == "twice" else { return }
        try dataReceived(Bytes("1\n").span, from: transport)
        try cutLines(in: Bytes("2\n").span, from: transport)
    }
}

private final class Notes: LineProtocol {
    let lines = LineDecoder()
    var seen: [String] = []
    var raw = ""

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        seen.append(String(decoding: line))
    }

    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        raw += String(decoding: bytes)
    }
}

private final class RawFrames: FrameProtocol {
    let frames = FrameDecoder(.netstring)
    var seen: [String] = []
    private var body = ""

    func frameReceived(_ frame: RawSpan, from transport: any StreamTransport) {
        seen.append(String(decoding: frame))
        if frame == "raw" { frames.expect(rawBytes: 4) }
    }

    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        body += String(decoding: bytes)
        guard !frames.isRaw else { return }
        seen.append("[\(body)]")
        body = ""
    }
}

private final class Sender: StreamProtocol {
    static let count = 21_845

    func connectionMade(_ transport: any StreamTransport) {
        transport.write(String(repeating: "1\nx", count: Self.count))
        transport.loseConnection()
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}
