// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

@testable import TorsionProtocols

/// The frames of pieces that are decoded one after the other, or the error.
private func frames(of pieces: [Bytes], by decoder: FrameDecoder) throws -> [Bytes] {
    var frames: [Bytes] = []
    for piece in pieces {
        let used = try decoder.decode(piece.span) { frame in
            frames.append(Bytes(frame))
            return true
        }
        #expect(used == piece.count)
        decoder.checkInvariants()
    }
    return frames
}

/// What bytes are as frames of a format, and how many of them stay held.
struct FrameVector: CustomTestStringConvertible, Sendable {
    let format: FrameFormat
    let bytes: Bytes
    let frames: [Bytes]
    var held = 0

    var testDescription: String { "\(bytes)" }

    static let http2 = FrameFormat.header(byteCount: 9, length: .uint24)
    static let postgres = FrameFormat.header(
        byteCount: 5, length: .uint32, at: 1, counting: 4, limitBytes: 300)
    static let bgp = FrameFormat.header(byteCount: 19, length: .uint16, at: 16, counting: 19)

    static let all = [
        FrameVector(format: .netstring, bytes: "5:hello,0:,3:a,b,", frames: ["hello", "", "a,b"]),
        FrameVector(format: .netstring, bytes: "12:hello world!,", frames: ["hello world!"]),
        FrameVector(format: .netstring, bytes: "1:1,10:12345", frames: ["1"], held: 8),
        FrameVector(format: .netstring, bytes: "0", frames: [], held: 1),
        FrameVector(
            format: .lengthPrefix(.uint8), bytes: [1, 65, 0, 2, 1, 2, 3, 4],
            frames: [[65], [], [1, 2]], held: 2),
        FrameVector(
            format: .lengthPrefix(.uint16), bytes: [0, 1, 65, 0, 0, 0, 2, 66, 67, 0],
            frames: [[65], [], [66, 67]], held: 1),
        FrameVector(
            format: .lengthPrefix(.uint16.littleEndian), bytes: [1, 0, 65, 2, 0, 66, 67],
            frames: [[65], [66, 67]]),
        FrameVector(
            format: .lengthPrefix(.uint32), bytes: [0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0],
            frames: [[1, 2, 3], []]),
        FrameVector(
            format: .lengthPrefix(.uint64.littleEndian), bytes: [1, 0, 0, 0, 0, 0, 0, 0, 9, 7],
            frames: [[9]], held: 1),
        FrameVector(
            format: .varintPrefix(), bytes: [1, 65, 0, 0x82, 0x00, 66, 67, 0x80, 0x80, 0, 0xff],
            frames: [[65], [], [66, 67], []], held: 1),
        FrameVector(
            format: .varintPrefix(), bytes: Bytes([0x80, 1] + [UInt8](repeating: 7, count: 128)),
            frames: [Bytes(repeating: 7, count: 128)]),
        FrameVector(
            format: http2, bytes: [0, 0, 2, 4, 0, 0, 0, 0, 1, 7, 8, 0, 0, 0, 4, 1, 0, 0, 0, 0],
            frames: [[0, 0, 2, 4, 0, 0, 0, 0, 1, 7, 8], [0, 0, 0, 4, 1, 0, 0, 0, 0]]),
        FrameVector(
            format: postgres, bytes: [90, 0, 0, 0, 5, 73, 88, 0, 0, 0, 4],
            frames: [[90, 0, 0, 0, 5, 73], [88, 0, 0, 0, 4]]),
        FrameVector(
            format: bgp,
            bytes: Bytes([UInt8](repeating: 255, count: 16) + [0, 20, 1, 42, 255]),
            frames: [Bytes([UInt8](repeating: 255, count: 16) + [0, 20, 1, 42])], held: 1),
    ]
}

/// Bytes that break a format, and how.
struct BrokenVector: CustomTestStringConvertible, Sendable {
    let format: FrameFormat
    let bytes: Bytes
    let error: FrameError

    var testDescription: String { "\(bytes): \(error)" }

    static let all = [
        BrokenVector(
            format: .netstring, bytes: "05:hello,", error: .malformedLength(byte: UInt8(ascii: "5"))
        ),
        BrokenVector(
            format: .netstring, bytes: "00:,", error: .malformedLength(byte: UInt8(ascii: "0"))),
        BrokenVector(format: .netstring, bytes: ":,", error: .malformedLength(byte: 58)),
        BrokenVector(format: .netstring, bytes: "+1:a,", error: .malformedLength(byte: 43)),
        BrokenVector(format: .netstring, bytes: "1 :a,", error: .malformedLength(byte: 32)),
        BrokenVector(format: .netstring, bytes: "0x1:a,", error: .malformedLength(byte: 120)),
        BrokenVector(format: .netstring, bytes: "-1:a,", error: .malformedLength(byte: 45)),
        BrokenVector(
            format: .netstring, bytes: "2:abc,", error: .missingComma(byteCount: 2, byte: 99)),
        BrokenVector(
            format: .netstring(limitBytes: 10), bytes: "11:",
            error: .tooLong(byteCount: 11, limitBytes: 10)),
        BrokenVector(
            format: .netstring(limitBytes: 10), bytes: "99999999999999999999999",
            error: .tooLong(byteCount: 99, limitBytes: 10)),
        BrokenVector(
            format: .varintPrefix(limitBytes: 300), bytes: [0xad, 2],
            error: .tooLong(byteCount: 301, limitBytes: 300)),
        BrokenVector(
            format: .varintPrefix(),
            bytes: [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
            error: .overlongVarint),
        BrokenVector(
            format: .varintPrefix(),
            bytes: [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2],
            error: .tooLong(byteCount: .max, limitBytes: 65_536)),
        BrokenVector(
            format: .lengthPrefix(.uint16, limitBytes: 4), bytes: [0, 5],
            error: .tooLong(byteCount: 5, limitBytes: 4)),
        BrokenVector(
            format: .lengthPrefix(.uint64), bytes: [255, 255, 255, 255, 255, 255, 255, 255],
            error: .tooLong(byteCount: .max, limitBytes: 65_536)),
        BrokenVector(
            format: FrameVector.http2, bytes: [255, 255, 255, 0, 0, 0, 0, 0, 0],
            error: .tooLong(byteCount: 16_777_215, limitBytes: 65_536)),
        BrokenVector(
            format: FrameVector.postgres, bytes: [81, 0, 0, 0, 3],
            error: .tooShort(byteCount: 3, headerByteCount: 4)),
        BrokenVector(
            format: FrameVector.postgres, bytes: [81, 0, 0, 1, 49],
            error: .tooLong(byteCount: 301, limitBytes: 300)),
    ]
}

@Suite struct FrameDecoderTests {
    // L1
    @Test(arguments: FrameVector.all)
    func `a vector gives its frames however it is cut`(vector: FrameVector) throws {
        for pieces in chunkings(of: vector.bytes) {
            let decoder = FrameDecoder(vector.format)
            #expect(try frames(of: pieces, by: decoder) == vector.frames)
            #expect(decoder.partialByteCount == vector.held)
            #expect(decoder.shownCount == vector.frames.count)
        }
    }

    // L1
    @Test(arguments: BrokenVector.all)
    func `what breaks a format is told however it is cut`(vector: BrokenVector) {
        for pieces in chunkings(of: vector.bytes) {
            let decoder = FrameDecoder(vector.format)
            #expect(throws: vector.error) { try frames(of: pieces, by: decoder) }
        }
    }

    @Test(arguments: FrameVector.all)
    func `what is written as a format is read as it`(vector: FrameVector) throws {
        for frame in vector.frames {
            let proto = Discarding()
            let peer = MemoryTransport(proto)
            try peer.transport.write(frame: frame, as: vector.format)
            try peer.transport.write(frame: frame.span, as: vector.format)
            try peer.transport.write(frame: [UInt8](frame.span), as: vector.format)
            peer.clock.turn()
            let decoder = FrameDecoder(vector.format)
            #expect(try frames(of: [peer.takeBytes()], by: decoder) == [frame, frame, frame])
            peer.peerResets()
        }
    }

    @Test func `a frame over the limit is refused to its writer, and nothing is written`() throws {
        let peer = MemoryTransport(Discarding())
        let formats: [FrameFormat] = [
            .netstring(limitBytes: 4), .lengthPrefix(.uint32, limitBytes: 4),
        ]
        for format in formats {
            #expect(throws: FrameError.tooLong(byteCount: 5, limitBytes: 4)) {
                try peer.transport.write(frame: "12345", as: format)
            }
            try peer.transport.write(frame: "1234", as: format)
        }
        #expect(throws: FrameError.tooLong(byteCount: 256, limitBytes: 255)) {
            let frame = [UInt8](repeating: 0, count: 256)
            try peer.transport.write(frame: frame, as: .lengthPrefix(.uint8))
        }
        #expect(throws: FrameError.tooLong(byteCount: 65_517, limitBytes: 65_516)) {
            let frame = [UInt8](repeating: 0, count: 65_536)
            try peer.transport.write(frame: frame, as: FrameVector.bgp)
        }
        peer.clock.turn()
        #expect(peer.takeText() == "4:1234,\0\0\0\u{4}1234")
        peer.peerResets()
    }

    @Test func `the length in a header that is written is filled in`() throws {
        let peer = MemoryTransport(Discarding())
        try peer.transport.write(frame: [90, 9, 9, 9, 9, 73], as: FrameVector.postgres)
        peer.clock.turn()
        #expect(peer.takeBytes() == [90, 0, 0, 0, 5, 73])
        peer.peerResets()
    }

    @Test func `mistakes of a format and of a frame trap`() async {
        await #expect(processExitsWith: .failure) { _ = FrameFormat.netstring(limitBytes: 0) }
        await #expect(processExitsWith: .failure) {
            _ = FrameFormat.header(byteCount: 4, length: .uint32, at: 1)
        }
        await #expect(processExitsWith: .failure) {
            _ = FrameFormat.header(byteCount: 300, length: .uint8, counting: 300)
        }
        await #expect(processExitsWith: .failure) {
            let format = FrameFormat.header(byteCount: 4, length: .uint32)
            try MemoryTransport(Discarding()).transport.write(frame: [1, 2, 3], as: format)
        }
    }

    // L1
    @Test func `a frame in one read is shown where it lies`() throws {
        let decoder = FrameDecoder(.netstring)
        let bytes = Bytes("5:hello,2:ab,1:")
        try bytes.span.withUnsafeBytes { whole in
            var offsets: [Int] = []
            _ = try decoder.decode(bytes.span) { frame in
                frame.withUnsafeBytes { offsets.append($0.baseAddress! - whole.baseAddress!) }
                return true
            }
            #expect(offsets == [2, 10])
        }
        #expect(decoder.partialByteCount == 2)
    }

    // L1
    @Test func `what is held grows with what arrived, not with what is announced`() throws {
        var partial = PartialFrame()
        var copied = 0, copies = 0
        for _ in 0..<100_000 {
            let before = partial.bytes.capacity
            partial.append(Bytes("x").span, limitBytes: 100_000)
            let capacity = partial.bytes.capacity
            // The allocator rounds up: by less than a tenth at this size.
            #expect(capacity <= max(64, min(2 * partial.bytes.count + 64, 110_000)))
            guard capacity != before else { continue }
            copies += 1
            copied += partial.bytes.count
        }
        // Doubling: each byte is copied less than twice on the average.
        #expect(copied < 200_000 && copies < 20)
    }

    @Test func `storage of a long frame is not kept`() {
        var partial = PartialFrame()
        partial.append(Bytes([UInt8](repeating: 1, count: 100_000)).span, limitBytes: 100_000)
        var whole = partial.take()
        partial.recycle(&whole)
        #expect(partial.bytes.capacity == 0)
        partial.append(Bytes("short").span, limitBytes: 10)
        whole = partial.take()
        partial.recycle(&whole)
        #expect(partial.bytes.isEmpty && partial.bytes.capacity >= 5)
    }

    // L1
    @Test(arguments: [
        FrameFormat.netstring(limitBytes: 1 << 20), .lengthPrefix(.uint32, limitBytes: 1 << 20),
    ])
    func `a megabyte in single bytes is held once and shown once`(format: FrameFormat) throws {
        let peer = MemoryTransport(Discarding())
        try peer.transport.write(frame: [UInt8].pattern(count: 1 << 20), as: format)
        peer.clock.turn()
        let wire = peer.takeBytes()
        let decoder = FrameDecoder(format)
        var hash = StreamHash()
        for index in 0..<wire.count {
            _ = try decoder.decode(wire[index...index].span) { frame in
                hash.add(frame)
                return true
            }
            guard index + 1 < wire.count else { continue }
            if decoder.partialByteCount != index + 1 { Issue.record("a byte is lost at \(index)") }
        }
        #expect(hash == StreamHash(.pattern(count: 1 << 20)))
        peer.peerResets()
    }

    @Test func `a callback that says no stops behind its frame`() throws {
        for cut in [0, 3] {
            let decoder = FrameDecoder(.netstring)
            let bytes = Bytes("1:a,4:stop,1:b,")
            _ = try decoder.decode(bytes[..<cut].span) { _ in true }
            let used = try decoder.decode(bytes[cut...].span) { $0 != "stop" }
            #expect(used == 11 - cut && decoder.partialByteCount == 0)
        }
    }

    @Test func `what a callback throws reaches the caller, and the decoder can be used on`() throws
    {
        struct Mishap: Error {}
        let decoder = FrameDecoder(.netstring)
        _ = try decoder.decode(Bytes("3:a").span) { _ in true }
        #expect(throws: Mishap.self) {
            try decoder.decode(Bytes("bc,").span) { _ in throw Mishap() }
        }
        #expect(try frames(of: ["1:x,"], by: decoder) == ["x"])
    }

    @Test func `the callback may use the decoder that called it`() throws {
        for pieces in chunkings(of: "5:outer,4:last,") {
            let decoder = FrameDecoder(.netstring)
            var seen: [String] = []
            for piece in pieces {
                _ = try decoder.decode(piece.span) { frame in
                    seen.append(String(decoding: frame))
                    #expect(decoder.partialByteCount == 0 && decoder.takePartial().isEmpty)
                    guard frame == "outer" else { return true }
                    let inner = try frames(of: ["5:in", "ner,4:more,"], by: decoder)
                    seen += inner.map { String(decoding: $0.span) }
                    // The frame that is being shown was not overwritten.
                    seen.append(String(decoding: frame))
                    return true
                }
            }
            #expect(seen == ["outer", "inner", "more", "outer", "last"])
        }
    }

    @Test func `a held beginning can be taken out once, header and all`() throws {
        let decoder = FrameDecoder(.lengthPrefix(.uint16))
        #expect(try frames(of: [[0, 4, 1], [2]], by: decoder) == [])
        #expect(decoder.takePartial() == [0, 4, 1, 2])
        #expect(decoder.partialByteCount == 0 && decoder.takePartial().isEmpty)
        #expect(try frames(of: [[0, 1, 7]], by: decoder) == [[7]])
    }
}

private final class Discarding: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}
