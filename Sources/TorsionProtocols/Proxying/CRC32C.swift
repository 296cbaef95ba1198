// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The checksum of Castagnoli, RFC 4960 appendix B.
enum CRC32C {
    /// What a byte adds, for each byte.
    private static let table: [UInt32] = (0..<256).map { byte in
        // The polynomial 0x1edc6f41 with its bits reversed.
        (0..<8).reduce(UInt32(byte)) { value, _ in
            value & 1 == 0 ? value >> 1 : value >> 1 ^ 0x82f6_3b78
        }
    }

    /// The checksum of bytes, those at some positions taken for zero.
    static func checksum(of bytes: [UInt8], zeroing zeroed: Range<Int>) -> UInt32 {
        var value = UInt32.max
        for (position, byte) in bytes.enumerated() {
            let byte = zeroed.contains(position) ? 0 : byte
            value = value >> 8 ^ table[Int(UInt8(truncatingIfNeeded: value) ^ byte)]
        }
        return ~value
    }
}
