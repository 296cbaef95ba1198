// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Checks that bytes are UTF-8 while they arrive, in pieces that are cut anywhere: RFC 3629 §4.
///
/// Wrong bytes are found at the first one that no valid text could have there.
package struct TextCheck: Equatable {
    /// Continuation bytes that the present character still needs.
    private var missing: UInt8 = 0
    /// The least and the most that the next continuation byte may be.
    private var low: UInt8 = 0x80
    private var high: UInt8 = 0xbf

    package init() {}

    /// Whether the text may end here: no character is cut.
    package var isComplete: Bool { missing == 0 }

    /// Takes more bytes.
    ///
    /// - Parameters:
    ///   - start: Where they are.
    ///   - count: How many there are, 0 or more.
    /// - Returns: Whether all that has come is UTF-8, but for a character that is cut at its end.
    package mutating func add(_ start: UnsafeRawPointer, count: Int) -> Bool {
        var index = 0
        while index < count {
            if missing == 0 {
                while index &+ 8 <= count,
                    unsafe start.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                        & .highBits == 0
                {
                    index &+= 8
                }
                guard index < count else { return true }
                let byte = unsafe start.load(fromByteOffset: index, as: UInt8.self)
                if byte >= 0x80 { guard begin(byte) else { return false } }
            } else {
                let byte = unsafe start.load(fromByteOffset: index, as: UInt8.self)
                guard byte >= low, byte <= high else { return false }
                missing &-= 1
                low = 0x80
                high = 0xbf
            }
            index &+= 1
        }
        return true
    }

    /// The first byte of a character that is not ASCII.
    @inline(__always)
    private mutating func begin(_ byte: UInt8) -> Bool {
        switch byte {
        case 0xc2...0xdf: missing = 1
        case 0xe0...0xef:
            missing = 2
            // No longer form than needed, and no half of a UTF-16 pair.
            if byte == 0xe0 { low = 0xa0 }
            if byte == 0xed { high = 0x9f }
        case 0xf0...0xf4:
            missing = 3
            // No longer form than needed, and nothing behind U+10FFFF.
            if byte == 0xf0 { low = 0x90 }
            if byte == 0xf4 { high = 0x8f }
        default: return false
        }
        return true
    }

    package mutating func add(_ bytes: RawSpan) -> Bool {
        unsafe bytes.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return true }
            return unsafe add(start, count: bytes.count)
        }
    }
}
