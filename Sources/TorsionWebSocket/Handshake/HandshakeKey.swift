// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// The keys of the opening handshake: RFC 6455 §4.
///
/// They prove that the other side speaks WebSocket, and secure nothing: so SHA-1 will do.
enum HandshakeKey {
    /// What a server answers to a key: §4.2.2.
    static func accept(for key: Bytes) -> Bytes {
        var text = [UInt8](key.span)
        text += Array("258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)
        return encode(SHA1.digest(of: text))
    }

    /// Whether a client's key is what it is to be: 16 bytes in Base64.
    static func isValid(_ key: RawSpan) -> Bool {
        guard key.byteCount == 24, key[22] == UInt8(ascii: "="), key[23] == UInt8(ascii: "=")
        else { return false }
        for index in 0..<22 where value(of: key[index]) == nil { return false }
        return true
    }

    private static func value(of letter: UInt8) -> UInt8? {
        switch letter {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): letter - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): letter - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): letter - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }

    /// In Base64: RFC 4648 §4.
    static func encode(_ bytes: [UInt8]) -> Bytes {
        let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let end = min(start + 3, bytes.count)
            var group: UInt32 = 0
            for index in 0..<3 {
                group = group << 8 | (start + index < end ? UInt32(bytes[start + index]) : 0)
            }
            for index in 0..<4 {
                let letter = letters[Int(group >> UInt32(18 - 6 * index) & 63)]
                text.append(index <= end - start ? letter : UInt8(ascii: "="))
            }
        }
        return Bytes(text)
    }
}

/// SHA-1: RFC 3174.
enum SHA1 {
    static func digest(of message: [UInt8]) -> [UInt8] {
        var state: [UInt32] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0]
        var padded = message + [0x80]
        padded += [UInt8](repeating: 0, count: (64 - (padded.count + 8) % 64) % 64)
        let bitCount = UInt64(message.count) * 8
        for shift in stride(from: UInt64(56), through: 0, by: -8) {
            padded.append(UInt8(truncatingIfNeeded: bitCount >> shift))
        }
        for start in stride(from: 0, to: padded.count, by: 64) {
            add(padded[start..<(start + 64)], to: &state)
        }
        return state.flatMap { word in
            stride(from: UInt32(24), through: 0, by: -8).map {
                UInt8(truncatingIfNeeded: word >> $0)
            }
        }
    }

    private static func add(_ block: ArraySlice<UInt8>, to state: inout [UInt32]) {
        var words = [UInt32](repeating: 0, count: 80)
        for index in 0..<16 {
            for byte in 0..<4 {
                words[index] =
                    words[index] << 8 | UInt32(block[block.startIndex + 4 * index + byte])
            }
        }
        for index in 16..<80 {
            let mixed = words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16]
            words[index] = mixed << 1 | mixed >> 31
        }
        var (a, b, c, d, e) = (state[0], state[1], state[2], state[3], state[4])
        for index in 0..<80 {
            let chosen: UInt32
            let constant: UInt32
            switch index {
            case 0..<20: (chosen, constant) = (b & c | ~b & d, 0x5a82_7999)
            case 20..<40: (chosen, constant) = (b ^ c ^ d, 0x6ed9_eba1)
            case 40..<60: (chosen, constant) = (b & c | b & d | c & d, 0x8f1b_bcdc)
            default: (chosen, constant) = (b ^ c ^ d, 0xca62_c1d6)
            }
            let next = (a << 5 | a >> 27) &+ chosen &+ e &+ constant &+ words[index]
            (a, b, c, d, e) = (next, a, b << 30 | b >> 2, c, d)
        }
        for (index, value) in [a, b, c, d, e].enumerated() { state[index] &+= value }
    }
}
