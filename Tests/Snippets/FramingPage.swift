// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion
import TorsionTesting

// snippet: frames
/// A store of values: "get KEY" and "set KEY VALUE", each a frame behind its length in two bytes.
final class Store: FrameProtocol {
    let frames = FrameDecoder(.lengthPrefix(.uint16, limitBytes: 1024))
    private var values: [String: String] = [:]

    func frameReceived(_ frame: RawSpan, from transport: any StreamTransport) throws {
        let words = String(decoding: frame).split(separator: " ", maxSplits: 2).map(String.init)
        switch words.first {
        case "set" where words.count == 3:
            values[words[1]] = words[2]
            try transport.write(frame: "ok", as: frames.format)
        case "get" where words.count == 2:
            try transport.write(frame: values[words[1]] ?? "", as: frames.format)
        default:
            transport.loseConnection()
        }
    }
}
// snippet end

// snippet: switch
/// Talks in lines until a client asks for netstrings.
final class Negotiator: LineProtocol {
    let lines = LineDecoder()

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        guard line == "NETSTRINGS" else { return transport.write("say NETSTRINGS\r\n") }
        transport.switchProtocol(to: Repeater())
    }
}

final class Repeater: FrameProtocol {
    let frames = FrameDecoder(.netstring)

    func frameReceived(_ frame: RawSpan, from transport: any StreamTransport) throws {
        try transport.write(frame: frame, as: .netstring)
    }
}
// snippet end

// snippet: body
/// Stores values: a line says how many bytes follow, and they may be anything.
final class Uploads: LineProtocol {
    let lines = LineDecoder()
    private var body: [UInt8] = []

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        // A peer's number: checked before anything is done with it.
        guard let count = Int(String(decoding: line)), 0...1_000_000 ~= count else {
            return transport.loseConnection()
        }
        body = []
        lines.expect(rawBytes: count)
        answerIfComplete(transport)
    }

    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        body += bytes
        answerIfComplete(transport)
    }

    private func answerIfComplete(_ transport: any StreamTransport) {
        if !lines.isRaw { transport.write("got \(body.count)\r\n") }
    }
}
// snippet end

// snippet: decode
/// The types of the HTTP/2 frames in a capture.
func frameTypes(in capture: RawSpan) throws -> [UInt8] {
    let frames = FrameDecoder(.header(byteCount: 9, length: .uint24, limitBytes: 16_384))
    var types: [UInt8] = []
    _ = try frames.decode(capture) { frame in
        types.append(frame[3])
        return true
    }
    return types
}
// snippet end

// snippet: policies
func serve(on reactor: Reactor) throws {
    let proxies = [AddressBlock("10.0.0.0/24")!]
    try ServerEndpoint(parsing: "tcp:8007")
        .filtered { ProxyHeaderReader(trusting: proxies) }
        .limited(to: ConnectionLimits(total: 10_000, perPeer: 50))
        .timeouts(Timeouts(request: .seconds(30), idle: .seconds(300)))
        .listen(on: reactor) { Store() }
}
// snippet end

@Test func `the protocols of the page on framing answer`() throws {
    let store = MemoryTransport(Store())
    store.receive("\0\u{9}set a b c\0\u{5}get a\0\u{5}get b")
    #expect(store.takeText() == "\0\u{2}ok\0\u{3}b c\0\0")
    store.receive("\0\u{4}quit")
    #expect(store.hasEnded)
    store.peerCloses()

    for pieces in chunkings(of: "hello\r\nNETSTRINGS\r\n2:hi,") {
        let negotiator = MemoryTransport(Negotiator())
        negotiator.receive(pieces: pieces)
        #expect(negotiator.takeText() == "say NETSTRINGS\r\n2:hi,")
        negotiator.peerResets()
    }

    for pieces in chunkings(of: "3\r\na\nb0\r\n2\r\n5\n-1\r\n3\r\n") {
        let uploads = MemoryTransport(Uploads())
        uploads.receive(pieces: pieces)
        #expect(uploads.takeText() == "got 3\r\ngot 0\r\ngot 2\r\n" && uploads.hasEnded)
        uploads.peerCloses()
    }

    let capture: Bytes = [0, 0, 1, 6, 0, 0, 0, 0, 0, 9, 0, 0, 0, 4, 1, 0, 0, 0, 0]
    #expect(try frameTypes(in: capture.span) == [6, 4])
}

@Test func `the server of the page on framing answers a proxy`() throws {
    let world = SimulatedWorld(seed: 1)
    try world.host("server").run { try serve(on: $0) }
    try world.host("proxy").run { _ in }
    let reactor = world.host("proxy").reactor
    let client = Asking()
    let header = ProxyHeader(
        source: SocketAddress("192.0.2.1:1")!, destination: SocketAddress("192.0.2.2:2")!)
    ClientEndpoint.tcp(host: "server", port: 8007)
        .filtered { ProxyHeaderWriter(header) }
        .connect(on: reactor) { client }
        .whenFailed { reactor.report($0, in: "connecting") }
    try world.run { client.loss != nil }
    #expect(client.answers == ["ok", "1"] && client.loss == .closedLocally)
    try world.finish()
}

/// Stores a value and asks for it.
private final class Asking: FrameProtocol {
    let frames = FrameDecoder(.lengthPrefix(.uint16))
    var answers: [String] = []
    var loss: ConnectionLoss?

    func connectionMade(_ transport: any StreamTransport) throws {
        try transport.write(frame: "set a 1", as: frames.format)
        try transport.write(frame: "get a", as: frames.format)
    }

    func frameReceived(_ frame: RawSpan, from transport: any StreamTransport) {
        answers.append(String(decoding: frame))
        if answers.count == 2 { transport.loseConnection() }
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { loss = why }
}
