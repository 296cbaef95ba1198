// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionWebSocket

@c(LLVMFuzzerTestOneInput)
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(UnsafeRawBufferPointer(start: start, count: count)) else {
        return 0
    }
    let whole = outcome(of: [input.stream[...]], input.choice, isShort: false)
    let cut = outcome(of: input.pieces, input.choice, isShort: true)
    expect(whole == cut, "\(whole) differs from \(cut)")
    return 0
}

private struct Outcome: Equatable {
    var events: [String] = []
    var payloads: [[UInt8]] = []
    var error: WebSocketError?
}

private func outcome(
    of pieces: [ArraySlice<UInt8>], _ choice: Int, isShort: Bool
) -> Outcome {
    let limit = [1 << 20, 0x200, 125, 7][choice / 2 % 4]
    var decoder = WebSocketDecoder(
        from: choice % 2 == 0 ? .client : .server, messageLimitBytes: limit,
        frameLimitBytes: choice / 8 % 2 == 0 ? .max : 64, mayBeCompressed: choice & 32 != 0)
    var inflating = choice & 32 != 0 ? Inflating(limit: limit, keepsContext: choice & 64 != 0) : nil
    // The smallest that is allowed, and one that takes every message.
    let room = choice / 16 % 2 == 0 ? WebSocketDecoder.controlFrameLimitBytes : 4_096
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: room, alignment: 1)
    defer { scratch.deallocate() }
    var outcome = Outcome()
    do throws(WebSocketError) {
        for piece in pieces {
            let bytes = Bytes(Array(piece))
            var position = 0
            while true {
                // The short way is no other way: one of the two runs of each input takes it.
                if isShort {
                    let short = decoder.takeShortMessage(
                        bytes.span, &position, scratch: scratch)
                    if short >= 0 {
                        outcome.add(
                            short, bytes, position, isMasked: choice % 2 == 0, scratch)
                        continue
                    }
                }
                let event = try decoder.next(bytes.span, &position, scratch: scratch)
                if event == .needsMore { break }
                outcome.add(event, bytes, scratch, &decoder, &inflating)
            }
            expect(position == bytes.count, "\(bytes.count - position) bytes are left")
            let most = inflating == nil ? limit : WebSocketDecoder.compressedLimit(for: limit)
            expect(
                decoder.heldByteCount <= most + WebSocketDecoder.controlFrameLimitBytes,
                "\(decoder.heldByteCount) bytes are held")
        }
    } catch {
        outcome.error = error
    }
    return outcome
}

/// Takes the compression off, bounded; a message that is none ends it.
private struct Inflating {
    let limit: Int
    private let shared = SharedCompression()
    private let compression: MessageCompression?
    private var isOver = false

    init(limit: Int, keepsContext: Bool) {
        self.limit = limit
        var wanted = WebSocketCompression()
        wanted.peerKeepsContext = keepsContext
        compression = CompressionAgreement(
            accepting: [WebSocketExtension(name: "permessage-deflate")], wanted
        ).map { MessageCompression($0, isServer: true, minimumByteCount: 0) }
    }

    mutating func inflate(_ message: [UInt8]) -> String {
        guard let compression, !isOver else { return "over" }
        let output = shared.takeBuffer()
        defer { shared.giveBack(output) }
        do {
            try compression.inflate(
                Bytes(message).span, into: output, limitBytes: limit, shared)
            expect(output.bytes.count <= limit, "\(output.bytes.count) bytes of \(limit)")
            return "inflated \(Array(output.bytes))"
        } catch {
            isOver = true
            expect(output.bytes.count <= limit + 64, "\(output.bytes.count) bytes of \(limit)")
            return "\(error)"
        }
    }
}

extension Outcome {
    fileprivate mutating func add(
        _ short: Int, _ bytes: Bytes, _ position: Int, isMasked: Bool,
        _ scratch: UnsafeMutableRawBufferPointer
    ) {
        let count = short & 0xffff_ffff
        events.append(short >> 32 == 1 ? "text" : "binary")
        payloads.append(
            isMasked
                ? Array(scratch[..<count]) : [UInt8](bytes[(position - count)..<position].span))
    }

    fileprivate mutating func add(
        _ event: WebSocketDecoder.Event, _ bytes: Bytes,
        _ scratch: UnsafeMutableRawBufferPointer, _ decoder: inout WebSocketDecoder,
        _ inflating: inout Inflating?
    ) {
        switch event {
        case .needsMore: break
        case .message(_, true, let place):
            let payload = payload(place, bytes, scratch, &decoder)
            events.append(inflating?.inflate(payload) ?? "compressed, and that was not agreed on")
            payloads.append(payload)
        case .message(let isText, _, let place):
            let payload = payload(place, bytes, scratch, &decoder)
            if isText {
                expect(
                    String(validating: payload, as: UTF8.self) != nil, "no UTF-8: \(payload)")
            }
            events.append(isText ? "text" : "binary")
            payloads.append(payload)
        case .ping(let place):
            events.append("ping")
            payloads.append(payload(place, bytes, scratch, &decoder))
        case .pong(let place):
            events.append("pong")
            payloads.append(payload(place, bytes, scratch, &decoder))
        case .close(let code, let place):
            events.append("close \(code ?? 0)")
            payloads.append(payload(place, bytes, scratch, &decoder))
        }
    }

    private func payload(
        _ place: WebSocketDecoder.Place, _ bytes: Bytes,
        _ scratch: UnsafeMutableRawBufferPointer, _ decoder: inout WebSocketDecoder
    ) -> [UInt8] {
        switch place {
        case .input(let range): return [UInt8](bytes[range].span)
        case .scratch(let count): return Array(scratch[..<count])
        case .held:
            guard let held = decoder.takeHeld() else { fatalError("nothing is held") }
            defer { withExtendedLifetime(held) {} }
            return Array(held.bytes)
        }
    }
}
