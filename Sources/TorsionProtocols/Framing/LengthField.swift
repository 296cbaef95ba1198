// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// A number on the wire that says how long something is: its size and its order of bytes.
///
/// A plain value, usable on any thread. The highest byte comes first, as in network order, unless
/// ``littleEndian`` is asked for.
///
///     FrameFormat.lengthPrefix(.uint32)
///     FrameFormat.lengthPrefix(.uint16.littleEndian)
public struct LengthField: Hashable, Sendable {
    /// How many bytes the number has: 1, 2, 3, 4 or 8.
    public let byteCount: Int

    /// Whether the lowest byte comes first.
    public let isLittleEndian: Bool

    /// One byte: up to 255.
    public static let uint8 = LengthField(byteCount: 1)
    /// Two bytes: up to 65,535.
    public static let uint16 = LengthField(byteCount: 2)
    /// Three bytes: up to 16,777,215.
    public static let uint24 = LengthField(byteCount: 3)
    /// Four bytes: up to 4,294,967,295.
    public static let uint32 = LengthField(byteCount: 4)
    /// Eight bytes.
    public static let uint64 = LengthField(byteCount: 8)

    private init(byteCount: Int, isLittleEndian: Bool = false) {
        self.byteCount = byteCount
        self.isLittleEndian = isLittleEndian
    }

    /// The same field with the lowest byte first.
    public var littleEndian: LengthField {
        LengthField(byteCount: byteCount, isLittleEndian: true)
    }

    /// The largest number that the field holds.
    public var maximum: UInt64 { .max >> (64 - 8 * UInt64(byteCount)) }

    /// The number that stands at a position.
    ///
    /// The caller has checked that the whole field is there.
    func read(from bytes: RawSpan, at offset: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<byteCount {
            let place = isLittleEndian ? byteCount - 1 - index : index
            value = value << 8 | UInt64(bytes[offset + place])
        }
        return value
    }

    /// Calls `body` with the bytes of a number that the field holds.
    func withBytes(of value: UInt64, _ body: (RawSpan) -> Void) {
        let word = isLittleEndian ? value.littleEndian : (value << (64 - 8 * byteCount)).bigEndian
        // The word outlives the call, and the field is at most eight bytes.
        unsafe Swift.withUnsafeBytes(of: word) { word in
            unsafe body(RawSpan(_unsafeBytes: word[..<byteCount]))
        }
    }
}
