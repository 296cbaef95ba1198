// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A hash of a stream's bytes that does not depend on how they were cut.
///
/// Two streams are equal, but for a chance of one in 2⁶⁴, if their hashes are: a test compares what
/// was sent with what arrived without keeping either. Eight bytes a step, so that a hundred megabytes
/// are cheap in a debug build. Not for anything that an adversary may choose.
public struct StreamHash: Equatable, Sendable {
    private var mixed: UInt64 = 0xcbf2_9ce4_8422_2325
    /// The last bytes, fewer than eight, the first of them lowest.
    private var rest: UInt64 = 0

    /// How many bytes were added.
    public private(set) var byteCount = 0

    /// The hash as a number.
    public var value: UInt64 { (mixed ^ rest) &+ UInt64(byteCount) }

    /// The hash of an empty stream.
    public init() {}

    /// The hash of these bytes.
    ///
    /// - Parameter bytes: The first of the stream; only read.
    public init(_ bytes: [UInt8]) {
        self.init()
        unsafe add(bytes.span.bytes)
    }

    /// Adds the stream's next bytes.
    ///
    /// They are only read. O(n).
    ///
    /// - Parameter bytes: Cut anywhere; borrowed for the call.
    public mutating func add(_ bytes: RawSpan) {
        unsafe bytes.withUnsafeBytes { bytes in
            var index = 0
            while index < bytes.count, byteCount & 7 != 0 {
                unsafe add(bytes[index])
                index += 1
            }
            while index + 8 <= bytes.count {
                let word = unsafe bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                mix(UInt64(littleEndian: word))
                byteCount += 8
                index += 8
            }
            while index < bytes.count {
                unsafe add(bytes[index])
                index += 1
            }
        }
    }

    private mutating func add(_ byte: UInt8) {
        rest |= UInt64(byte) << (UInt64(byteCount & 7) * 8)
        byteCount += 1
        guard byteCount & 7 == 0 else { return }
        mix(rest)
        rest = 0
    }

    private mutating func mix(_ word: UInt64) {
        mixed = (mixed ^ word) &* 0x9e37_79b9_7f4a_7c15
        mixed ^= mixed >> 32
    }
}

extension [UInt8] {
    /// Bytes for a test to send.
    ///
    /// They repeat only after a long while, so that their hash tells a lost, doubled or moved piece.
    /// The same seed gives the same bytes. O(n).
    ///
    /// - Parameters:
    ///   - count: How many bytes.
    ///   - seed: Another seed gives other bytes.
    /// - Returns: So many bytes.
    public static func pattern(count: Int, seed: UInt64 = 1) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: (count + 7) / 8 * 8) { buffer, filled in
            var state = seed
            for offset in stride(from: 0, to: count, by: 8) {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                // The generator's low bits repeat soon.
                let word = (state ^ (state >> 29)).littleEndian
                unsafe UnsafeMutableRawBufferPointer(buffer)
                    .storeBytes(of: word, toByteOffset: offset, as: UInt64.self)
            }
            filled = count
        }
    }
}
