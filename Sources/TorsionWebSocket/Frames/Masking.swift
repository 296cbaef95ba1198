// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The mask of a client's frame: RFC 6455 §5.3.
///
/// As it lies in memory: the byte that is used first is the lowest.
package struct FrameMask: Equatable {
    package var key: UInt32

    @inline(__always)
    package init(key: UInt32) { self.key = key }

    /// The mask behind so many bytes of a payload.
    @inline(__always)
    package func advanced(by count: Int) -> FrameMask {
        let bits = UInt32(truncatingIfNeeded: count & 3) &* 8
        return FrameMask(key: bits == 0 ? key : key &>> bits | key &<< (32 &- bits))
    }

    /// Copies bytes, and changes each by the mask: eight at a time, in one pass.
    ///
    /// - Parameters:
    ///   - source: Where they are.
    ///   - target: Where they go, without overlap.
    ///   - count: How many there are, 0 or more.
    /// - Returns: All resulting words, ORed: no byte's highest bit is set if all of them are ASCII.
    @inline(__always)
    package func copy(
        from source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, count: Int
    ) -> UInt64 {
        var seen: UInt64 = 0
        guard count >= 8 else {
            for index in 0..<count {
                let mask = UInt8(truncatingIfNeeded: key &>> UInt32((index & 3) &* 8))
                let byte = unsafe source.load(fromByteOffset: index, as: UInt8.self) ^ mask
                unsafe target.storeBytes(of: byte, toByteOffset: index, as: UInt8.self)
                seen |= UInt64(byte)
            }
            return seen
        }
        let word = (UInt64(key) | UInt64(key) &<< 32).littleEndian
        var index = 0
        // Four words a round: half of the instructions of one word a round.
        while index &+ 32 <= count {
            let from = unsafe source + index
            let to = unsafe target + index
            let a = unsafe from.loadUnaligned(as: UInt64.self) ^ word
            let b = unsafe from.loadUnaligned(fromByteOffset: 8, as: UInt64.self) ^ word
            let c = unsafe from.loadUnaligned(fromByteOffset: 16, as: UInt64.self) ^ word
            let d = unsafe from.loadUnaligned(fromByteOffset: 24, as: UInt64.self) ^ word
            unsafe to.storeBytes(of: a, as: UInt64.self)
            unsafe to.storeBytes(of: b, toByteOffset: 8, as: UInt64.self)
            unsafe to.storeBytes(of: c, toByteOffset: 16, as: UInt64.self)
            unsafe to.storeBytes(of: d, toByteOffset: 24, as: UInt64.self)
            seen |= a | b | c | d
            index &+= 32
        }
        while index &+ 8 <= count {
            let value =
                unsafe source.loadUnaligned(fromByteOffset: index, as: UInt64.self) ^ word
            unsafe target.storeBytes(of: value, toByteOffset: index, as: UInt64.self)
            seen |= value
            index &+= 8
        }
        if index < count {
            // The last eight again, some of them for the second time: shorter than a loop of bytes.
            let start = count &- 8
            let rest = advanced(by: start).key
            let last = (UInt64(rest) | UInt64(rest) &<< 32).littleEndian
            let value =
                unsafe source.loadUnaligned(fromByteOffset: start, as: UInt64.self) ^ last
            unsafe target.storeBytes(of: value, toByteOffset: start, as: UInt64.self)
            seen |= value
        }
        return seen
    }
}

extension UInt64 {
    /// The highest bit of each byte.
    @inline(__always)
    static var highBits: UInt64 { 0x8080_8080_8080_8080 }
}
