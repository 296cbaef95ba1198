// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// Writes down its frames, and does what a frame tells it.
private final class Frames: FrameProtocol {
    let frames: FrameDecoder
    var received: [String] = []
    var raw = ""
    var loss: ConnectionLoss?
    var successor: Frames?

    init(_ format: FrameFormat = .netstring) { frames = FrameDecoder(format) }

    func frameReceived(_ frame: RawSpan, from transport: any StreamTransport) throws {
        received.append(String(decoding: frame))
        switch frame {
        case "raw": frames.isRaw = true
        case "pause": transport.pauseProducing()
        case "close": transport.loseConnection()
        case "abort": transport.abortConnection()
        case "throw": throw Mishap()
        case "switch": transport.switchProtocol(to: successor!)
        case "pause and switch":
            transport.pauseProducing()
            transport.switchProtocol(to: successor!)
        case "too long": try transport.write(frame: "123456789", as: .netstring(limitBytes: 8))
        default: break
        }
    }

    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        raw += String(decoding: bytes)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { loss = why }
}

private struct Mishap: Error {}

/// What a protocol of frames gets when it pauses, switches, closes, in the middle of a read.
@Suite struct FrameTests {
    static let formats: [FrameFormat] = [
        .netstring, .lengthPrefix(.uint8), .lengthPrefix(.uint16), .lengthPrefix(.uint32),
    ]

    /// The bytes of frames in a format.
    private static func wire(_ frames: [String], _ format: FrameFormat) throws -> Bytes {
        let peer = MemoryTransport(Frames())
        for frame in frames { try peer.transport.write(frame: frame, as: format) }
        peer.clock.turn()
        defer { peer.peerResets() }
        return peer.takeBytes()
    }

    // L1
    @Test(arguments: formats)
    func `what follows the switch to raw mode is not cut`(format: FrameFormat) throws {
        let bytes = try Self.wire(["a", "raw"], format)
        for pieces in chunkings(of: Bytes([UInt8](bytes.span) + Array("5:hel".utf8))) {
            let proto = Frames(format)
            MemoryTransport(proto).receive(pieces: pieces)
            #expect(proto.received == ["a", "raw"] && proto.raw == "5:hel")
        }
    }

    @Test func `raw mode that begins between two reads takes what is held of a frame`() {
        let proto = Frames()
        let peer = MemoryTransport(proto)
        peer.receive("1:a,5:be")
        proto.frames.isRaw = true
        peer.receive("gin")
        #expect(proto.raw == "5:begin")
        proto.frames.isRaw = false
        peer.receive("1:b,")
        #expect(proto.received == ["a", "b"])
    }

    // L1
    @Test(arguments: formats)
    func `pausing in mid-buffer keeps the rest for the resumption`(format: FrameFormat) throws {
        for pieces in chunkings(of: try Self.wire(["a", "pause", "b", "pause", "c"], format)) {
            let proto = Frames(format)
            let peer = MemoryTransport(proto)
            peer.receive(pieces: pieces)
            #expect(proto.received == ["a", "pause"] && !peer.isReading)
            peer.transport.resumeProducing()
            peer.clock.turn()
            #expect(proto.received == ["a", "pause", "b", "pause"])
            peer.transport.resumeProducing()
            peer.clock.turn()
            #expect(proto.received == ["a", "pause", "b", "pause", "c"])
        }
    }

    // S20
    @Test(arguments: formats)
    func `switching inside a frame loses and doubles no byte`(format: FrameFormat) throws {
        for word in ["switch", "pause and switch"] {
            for pieces in chunkings(of: try Self.wire(["a", word, "b", "c"], format)) {
                let proto = Frames(format), next = Frames(format)
                proto.successor = next
                let peer = MemoryTransport(proto)
                peer.receive(pieces: pieces)
                if word != "switch" {
                    #expect(next.received.isEmpty)
                    peer.transport.resumeProducing()
                    peer.clock.turn()
                }
                #expect(proto.received == ["a", word] && next.received == ["b", "c"])
            }
        }
    }

    @Test(arguments: ["close", "abort", "throw"])
    func `ending inside a frame drops what is behind it`(word: String) throws {
        for pieces in chunkings(of: try Self.wire(["a", word, "b"], .netstring)) {
            let proto = Frames()
            MemoryTransport(proto).receive(pieces: pieces)
            #expect(proto.received == ["a", word])
        }
    }

    // L1
    @Test func `a frame over the limit ends the connection before it has arrived`() {
        for pieces in chunkings(of: "1:a,9:") {
            let proto = Frames(.netstring(limitBytes: 8))
            let peer = MemoryTransport(proto)
            peer.receive(pieces: pieces)
            let error = FrameError.tooLong(byteCount: 9, limitBytes: 8)
            #expect(proto.loss == .protocolFailed(error) && peer.wasReset)
            #expect(peer.clock.reactor.statistics.unhandledErrors == 0)
        }
    }

    @Test func `what is no frame is the peer's mistake, and told once`() {
        let proto = Frames()
        let peer = MemoryTransport(proto)
        peer.receive("x")
        #expect(proto.loss == .protocolFailed(FrameError.malformedLength(byte: 120)))
        #expect(peer.wasReset && peer.clock.reactor.statistics.unhandledErrors == 0)
    }

    @Test func `a frame too long to be sent is the reason of the loss, if nobody catches it`() {
        let proto = Frames()
        let peer = MemoryTransport(proto)
        peer.receive("8:too long,")
        let error = FrameError.tooLong(byteCount: 9, limitBytes: 8)
        #expect(proto.loss == .protocolFailed(error) && peer.takeBytes().isEmpty)
    }

    @Test func `errors read as sentences`() {
        let errors: [FrameError] = [
            .tooLong(byteCount: 9, limitBytes: 8), .tooShort(byteCount: 3, headerByteCount: 4),
            .malformedLength(byte: 43), .missingComma(byteCount: 5, byte: 46),
        ]
        #expect(
            errors.map(\.description) == [
                "a frame of 9 bytes; 8 are allowed",
                "a frame's length is given as 3; its header alone counts 4",
                "a netstring's length has the byte 43; allowed are digits without a leading zero",
                "a netstring of 5 bytes ends in the byte 46 instead of a comma",
            ])
    }
}
