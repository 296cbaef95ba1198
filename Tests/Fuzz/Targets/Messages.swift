// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols

/// Reads in every way that a reader has, as the first byte of a message says.
private struct EveryMessageDecoder: MessageDecoder {
    func decode(_ reader: inout ByteReader) throws -> [UInt8] {
        switch try reader.readByte() % 8 {
        case 0: return [UInt8](try reader.readSpan(try reader.readByte()))
        case 1: return [UInt8](try reader.readSpan(until: 0))
        case 2: return [UInt8](try reader.readSpan(until: "\r\n"))
        case 3: return [UInt8](try reader.readSpan { $0 < 64 })
        case 4: return [UInt8](try reader.readSpan(try reader.readVarint(UInt64.self)))
        case 5: return [UInt8](try reader.readSpan(try reader.readDecimal(Int.self)))
        case 6: return [UInt8](try reader.readSlice(lengthAs: UInt16.self).remaining)
        default:
            guard let word = try reader.readWord() else { return [] }
            return [UInt8](word)
        }
    }
}

@c(LLVMFuzzerTestOneInput)
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(UnsafeRawBufferPointer(start: start, count: count)) else {
        return 0
    }
    let limit = 1 + input.choice
    let decoder = EveryMessageDecoder()
    expectSameFrames(input, mostHeld: limit) {
        let messages = MessageBuffer(limitBytes: limit)
        return (
            { messages.partialByteCount }, { messages.takePartial() },
            { bytes, show in
                try messages.decode(bytes) { reader in
                    let frame = try decoder.decode(&reader)
                    return try unsafe show(frame.span.bytes)
                }
            }
        )
    }
    return 0
}
