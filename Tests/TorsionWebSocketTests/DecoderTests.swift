// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting
@testable import TorsionWebSocket

/// What a decoder made of a stream, with the payloads.
struct Decoded: Equatable {
    var events: [String] = []
    var error: WebSocketError?

    init(
        _ pieces: [Bytes], from sender: FrameHeader.Sender, limit: Int = 1 << 20, frame: Int = .max,
        mayBeCompressed: Bool = false
    ) {
        var decoder = WebSocketDecoder(
            from: sender, messageLimitBytes: limit, frameLimitBytes: frame,
            mayBeCompressed: mayBeCompressed)
        let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 4_096, alignment: 8)
        defer { scratch.deallocate() }
        do throws(WebSocketError) {
            for piece in pieces {
                var position = 0
                while true {
                    if let short = Self.takeShort(&decoder, piece, &position, sender, scratch) {
                        events.append(short)
                        continue
                    }
                    let event = try decoder.next(piece.span, &position, scratch: scratch)
                    if event == .needsMore { break }
                    events.append(describe(event, piece, scratch, &decoder))
                }
                #expect(position == piece.count)
                let most =
                    mayBeCompressed ? WebSocketDecoder.compressedLimit(for: limit) : limit
                #expect(decoder.heldByteCount <= most + WebSocketDecoder.controlFrameLimitBytes)
            }
        } catch {
            self.error = error
        }
    }

    private static func takeShort(
        _ decoder: inout WebSocketDecoder, _ piece: Bytes, _ position: inout Int,
        _ sender: FrameHeader.Sender, _ scratch: UnsafeMutableRawBufferPointer
    ) -> String? {
        let short = decoder.takeShortMessage(piece.span, &position, scratch: scratch)
        guard short >= 0 else { return nil }
        let count = short & 0xffff_ffff
        let payload =
            sender == .client
            ? Bytes(Array(scratch[..<count])) : piece[(position - count)..<position]
        return (short >> 32 == 1 ? "text " : "binary ") + "\(payload)"
    }

    private func describe(
        _ event: WebSocketDecoder.Event, _ piece: Bytes,
        _ scratch: UnsafeMutableRawBufferPointer, _ decoder: inout WebSocketDecoder
    ) -> String {
        func text(_ place: WebSocketDecoder.Place) -> Bytes {
            switch place {
            case .input(let range): return piece[range]
            case .scratch(let count): return Bytes(Array(scratch[..<count]))
            case .held:
                guard let held = decoder.takeHeld() else { return Bytes() }
                defer { extendLifetime(held) }
                return Bytes(Array(held.bytes))
            }
        }
        switch event {
        case .needsMore: return ""
        case .message(let isText, let isCompressed, let place):
            return (isCompressed ? "compressed " : "") + (isText ? "text " : "binary ")
                + "\(text(place))"
        case .ping(let place): return "ping \(text(place))"
        case .pong(let place): return "pong \(text(place))"
        case .close(let code, let place):
            return "close \(code.map { "\($0)" } ?? "-") \(text(place).dropFirst(2).count > 0)"
        }
    }
}

/// A frame as a client or a server sends it.
func frame(
    _ opcode: UInt8, _ payload: Bytes = Bytes(), isFinal: Bool = true, key: UInt32? = nil,
    reserved: UInt8 = 0
) -> Bytes {
    makeFrame(
        opcode | reserved | (isFinal ? 0x80 : 0), payload.span,
        mask: key.map { FrameMask(key: $0) })
}

@Suite struct DecoderTests {
    private static let key: UInt32 = 0x8765_4321

    /// A stream of every kind of frame.
    private func stream(key: UInt32?) -> Bytes {
        Bytes(
            joining: [
                frame(1, "hello", key: key), frame(2, Bytes([0, 255, 1]), key: key),
                frame(1, "grü", isFinal: false, key: key), frame(9, "are you there", key: key),
                frame(0, "ße ", isFinal: false, key: key), frame(10, "", key: key),
                frame(0, "🌍", key: key), frame(1, "", key: key),
                frame(2, Bytes(repeating: 7, count: 130), key: key),
                frame(1, "", isFinal: false, key: key), frame(0, "", key: key),
                frame(8, Bytes([3, 232]) + "bye", key: key), "ignored",
            ])
    }

    @Test(arguments: [nil, key] as [UInt32?])
    func `H-72: events are the same in every cut, control frames between fragments too`(
        key: UInt32?
    ) {
        let stream = stream(key: key)
        let sender: FrameHeader.Sender = key == nil ? .server : .client
        let expected = [
            "text hello", "binary \(Bytes([0, 255, 1]))", "ping are you there", "pong ",
            "text \(Bytes("grüße 🌍"))", "text ", "binary \(Bytes(repeating: 7, count: 130))",
            "text ",
            "close 1000 true",
        ]
        for pieces in chunkings(of: stream) {
            let decoded = Decoded(pieces, from: sender)
            #expect(decoded.error == nil)
            #expect(decoded.events == expected, "\(pieces.map(\.count))")
        }
    }

    @Test func `payloads of every length and every alignment are unmasked`() {
        for count in Array(0..<70) + [125, 126, 127, 4_000, 65_535, 65_536, 70_001] {
            let payload = Bytes((0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) })
            let bytes = frame(2, payload, key: Self.key)
            for cut in [bytes.count, 1, 7, bytes.count / 2] where cut > 0 && cut <= bytes.count {
                let decoded = Decoded([bytes[..<cut], bytes[cut...]], from: .client)
                #expect(decoded.events == ["binary \(payload)"], "\(count) cut at \(cut)")
            }
        }
    }

    private struct Wrong {
        let bytes: Bytes
        let error: WebSocketError
        var sender = FrameHeader.Sender.client
    }

    @Test func `RFC 6455: what is wrong is refused, in every cut, and nothing else`() {
        let key = Self.key
        let long = Bytes(repeating: 1, count: 126)
        let wrong = [
            // §5.2
            Wrong(bytes: frame(1, "x", key: key, reserved: 0x40), error: .reservedBits),
            Wrong(bytes: frame(1, "x", key: key, reserved: 0x20), error: .reservedBits),
            Wrong(bytes: frame(9, "x", key: key, reserved: 0x10), error: .reservedBits),
            Wrong(bytes: frame(3, "x", key: key), error: .unknownOpcode(3)),
            Wrong(bytes: frame(7, key: key), error: .unknownOpcode(7)),
            Wrong(bytes: frame(11, key: key), error: .unknownOpcode(11)),
            Wrong(bytes: frame(15, key: key), error: .unknownOpcode(15)),
            Wrong(bytes: Bytes([0x82, 0xfe, 0, 125, 0, 0, 0, 0]), error: .badLength),
            Wrong(
                bytes: Bytes([0x82, 0xff, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0]),
                error: .badLength),
            Wrong(
                bytes: Bytes([0x82, 0xff, 128, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
                error: .badLength),
            // §5.1
            Wrong(bytes: frame(1, "x"), error: .notMasked),
            Wrong(bytes: frame(1, "x", key: key), error: .masked, sender: .server),
            // §5.4
            Wrong(bytes: frame(0, "x", key: key), error: .unexpectedContinuation),
            Wrong(
                bytes: frame(1, "x", isFinal: false, key: key) + frame(1, "y", key: key),
                error: .unfinishedMessage),
            Wrong(
                bytes: frame(1, "x", isFinal: false, key: key)
                    + frame(2, isFinal: false, key: key), error: .unfinishedMessage),
            // §5.5
            Wrong(bytes: frame(9, "x", isFinal: false, key: key), error: .fragmentedControlFrame),
            Wrong(bytes: frame(8, isFinal: false, key: key), error: .fragmentedControlFrame),
            Wrong(bytes: frame(9, long, key: key), error: .longControlFrame),
            Wrong(bytes: frame(8, long, key: key), error: .longControlFrame),
            Wrong(bytes: frame(8, "x", key: key), error: .badCloseFrame),
            // §8.1
            Wrong(bytes: frame(1, Bytes([0xc3]), key: key), error: .notUTF8),
            Wrong(
                bytes: frame(1, Bytes([0xc3]), isFinal: false, key: key) + frame(0, key: key),
                error: .notUTF8),
            Wrong(bytes: frame(8, Bytes([3, 232, 0xff]), key: key), error: .notUTF8),
        ]
        for one in wrong {
            for pieces in chunkings(of: one.bytes) {
                let decoded = Decoded(pieces, from: one.sender)
                #expect(decoded.error == one.error, "\(Array(one.bytes.prefix(20)))")
                #expect(decoded.events == [])
            }
        }
    }

    @Test func `RFC 6455 §7.4: every code is either sendable or refused`() {
        for code in UInt16(0)...5_100 {
            let payload = Bytes { $0.writeInteger(code) }
            let decoded = Decoded([frame(8, payload, key: Self.key)], from: .client)
            let isRight: Bool
            switch code {
            case 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
                3000...4999:
                isRight = true
            default: isRight = false
            }
            #expect((decoded.error == nil) == isRight, "\(code)")
        }
    }

    @Test func `a limit is met before the payload comes, over fragments too`() {
        let key = Self.key
        let header = frame(2, Bytes(repeating: 1, count: 101), key: key)[..<6]
        #expect(
            Decoded([header], from: .client, limit: 100).error == .messageTooLong(limitBytes: 100))
        #expect(
            Decoded([header], from: .client, limit: 1_000, frame: 100).error
                == .frameTooLong(limitBytes: 100))
        #expect(Decoded([header], from: .client, limit: 101).error == nil)
        let first = frame(2, Bytes(repeating: 1, count: 60), isFinal: false, key: key)
        let second = frame(0, Bytes(repeating: 1, count: 41), key: key)
        #expect(
            Decoded([first, second[..<6]], from: .client, limit: 100).error
                == .messageTooLong(limitBytes: 100))
        #expect(Decoded([first, second], from: .client, limit: 101).events.count == 1)
        let endless = Bytes([0x82, 0xff, 127, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4])
        #expect(Decoded([endless], from: .client).error == .messageTooLong(limitBytes: 1 << 20))
    }

    @Test func `a text is refused at the byte that makes it wrong, not at its end`() {
        let key = Self.key
        let text = Bytes([0xce, 0xba, 0xe1, 0xbd, 0xb9, 0xf4, 0x90, 0x80, 0x80, 0x65])
        let bytes = frame(1, text, key: key)
        let bad = bytes.count - 4
        #expect(Decoded([bytes[..<bad]], from: .client).error == nil)
        #expect(Decoded([bytes[...bad]], from: .client).error == .notUTF8)
        #expect(Decoded([bytes[..<bad], bytes[bad...bad]], from: .client).error == .notUTF8)
    }
}

@Suite struct TextCheckTests {
    /// What the standard library takes for UTF-8.
    private func isValid(_ bytes: [UInt8]) -> Bool {
        String(validating: bytes, as: UTF8.self) != nil
    }

    private func check(_ bytes: [UInt8], cutAt cut: Int) -> Bool {
        let bytes = Bytes(bytes)
        var check = TextCheck()
        return check.add(bytes[..<cut].span) && check.add(bytes[cut...].span) && check.isComplete
    }

    @Test func `it agrees with the standard library on all sequences of three bytes' beginnings`() {
        let interesting: [UInt8] = [
            0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0,
            0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
        ]
        for a in interesting {
            for b in interesting {
                for c in interesting {
                    let three = [a, b, c]
                    let valid = isValid(three)
                    #expect(check(three, cutAt: 0) == valid, "\(three)")
                    #expect(check(three, cutAt: 1) == valid && check(three, cutAt: 2) == valid)
                    for d in [0x41, 0x80, 0xbf, 0xc2] as [UInt8] {
                        let four = three + [d]
                        #expect(check(four, cutAt: 3) == isValid(four), "\(four)")
                    }
                }
            }
        }
    }

    @Test func `long texts are found right and wrong at every place`() {
        let text = Array("Grüße an alle: привет, 世界, 🌍 und noch etwas ASCII dahinter".utf8)
        for cut in 0...text.count { #expect(check(text, cutAt: cut)) }
        for place in text.indices {
            var wrong = text
            wrong[place] = 0xff
            #expect(!check(wrong, cutAt: place))
        }
    }
}
