// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// What a protocol does with the bytes that it is lent. A `RawSpan` of the standard library can only
// be cut and loaded from; these are the few calls that nearly every protocol needs, so that no
// beginner has to meet an unsafe pointer. All of them may be called wherever the span may be used.

extension RawSpan {
    /// The byte at a position from 0 to `byteCount` - 1; any other traps.
    ///
    ///     if bytes[0] == UInt8(ascii: "{") { … }
    @inlinable
    public subscript(position: Int) -> UInt8 {
        require(
            position >= 0 && position < byteCount,
            "RawSpan: position \(position) is out of range: there are \(byteCount) bytes")
        // Checked just above.
        return unsafe unsafeLoad(fromUncheckedByteOffset: position, as: UInt8.self)
    }

    /// Finds the first byte of a value, from a position on.
    ///
    ///     if let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
    ///         lineReceived(bytes.extracting(0..<end))
    ///     }
    ///
    /// - Parameters:
    ///   - byte: What to look for.
    ///   - start: Where to begin, from 0 to `byteCount`; any other traps.
    /// - Returns: The position in the whole span; `nil` if the byte is not there.
    /// - Complexity: O(*n*), eight bytes at a time.
    @inlinable
    public func firstIndex(of byte: UInt8, from start: Int = 0) -> Int? {
        require(
            start >= 0 && start <= byteCount,
            "RawSpan: start \(start) is out of range: there are \(byteCount) bytes")
        let wanted = UInt64(byte) &* 0x0101_0101_0101_0101
        var position = start
        while position &+ 8 <= byteCount {
            // Checked by the condition.
            let word = unsafe unsafeLoadUnaligned(
                fromUncheckedByteOffset: position, as: UInt64.self)
            // The lowest set bit is in the first byte that is zero, that is, the one wanted
            // (Warren, "Hacker's Delight", §6-1).
            let differences = UInt64(littleEndian: word) ^ wanted
            let hits =
                (differences &- 0x0101_0101_0101_0101) & ~differences & 0x8080_8080_8080_8080
            if hits != 0 { return position &+ hits.trailingZeroBitCount / 8 }
            position &+= 8
        }
        while position < byteCount {
            // Checked by the condition.
            if unsafe unsafeLoad(fromUncheckedByteOffset: position, as: UInt8.self) == byte {
                return position
            }
            position &+= 1
        }
        return nil
    }

    /// Whether the span holds a byte of a value.
    @inlinable
    public func contains(_ byte: UInt8) -> Bool { firstIndex(of: byte) != nil }

    /// Whether the first bytes are those of `prefix`; true if that is empty.
    @inlinable
    public func starts(with prefix: RawSpan) -> Bool {
        byteCount >= prefix.byteCount && extracting(0..<prefix.byteCount) == prefix
    }

    /// Whether the first bytes are the UTF-8 of `prefix`: `bytes.starts(with: "GET ")`.
    @inlinable
    public func starts(with prefix: String) -> Bool {
        // Unsafe for types with padding, which a byte has not.
        unsafe starts(with: prefix.utf8.span.bytes)
    }

    /// Whether the first bytes are those of `prefix`.
    @inlinable
    public func starts(with prefix: [UInt8]) -> Bool {
        // As above.
        unsafe starts(with: prefix.span.bytes)
    }

    /// Whether two spans hold the same bytes.
    @inlinable
    public static func == (left: RawSpan, right: RawSpan) -> Bool {
        guard left.byteCount == right.byteCount else { return false }
        var position = 0
        while position &+ 8 <= left.byteCount {
            // Both have as many bytes, and the condition checks them.
            let (leftWord, rightWord) = unsafe (
                left.unsafeLoadUnaligned(fromUncheckedByteOffset: position, as: UInt64.self),
                right.unsafeLoadUnaligned(fromUncheckedByteOffset: position, as: UInt64.self)
            )
            if leftWord != rightWord { return false }
            position &+= 8
        }
        while position < left.byteCount {
            if left[position] != right[position] { return false }
            position &+= 1
        }
        return true
    }

    /// Whether two spans differ.
    @inlinable
    public static func != (left: RawSpan, right: RawSpan) -> Bool { !(left == right) }

    /// Whether the bytes are the UTF-8 of a text: `bytes == "PING"`.
    @inlinable
    public static func == (left: RawSpan, right: String) -> Bool {
        // As above.
        unsafe left == right.utf8.span.bytes
    }

    /// Whether the bytes are not the UTF-8 of a text.
    @inlinable
    public static func != (left: RawSpan, right: String) -> Bool { !(left == right) }

    /// Whether the bytes are those of an array: `bytes == [0xff, 0xfe]`.
    @inlinable
    public static func == (left: RawSpan, right: [UInt8]) -> Bool {
        // As above.
        unsafe left == right.span.bytes
    }

    /// Whether the bytes are not those of an array.
    @inlinable
    public static func != (left: RawSpan, right: [UInt8]) -> Bool { !(left == right) }

    /// Whether the bytes are the UTF-8 of a text, for `switch`: `case "PING": …`.
    @inlinable
    public static func ~= (pattern: String, bytes: RawSpan) -> Bool { bytes == pattern }
}

extension String {
    /// Makes a text of bytes in UTF-8, with U+FFFD in place of what is not.
    @inlinable
    public init(decoding bytes: RawSpan) {
        self = unsafe bytes.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// Makes a text of bytes in UTF-8; `nil` if they are not.
    @inlinable
    public init?(validating bytes: RawSpan) {
        let text = unsafe bytes.withUnsafeBytes { unsafe String(validating: $0, as: UTF8.self) }
        guard let text else { return nil }
        self = text
    }
}

extension [UInt8] {
    /// Copies the bytes that a span lends.
    @inlinable
    public init(_ bytes: RawSpan) {
        self = unsafe bytes.withUnsafeBytes { unsafe Array($0) }
    }

    /// Appends a copy of the bytes that a span lends.
    @inlinable
    public static func += (array: inout [UInt8], bytes: RawSpan) {
        unsafe bytes.withUnsafeBytes { unsafe array.append(contentsOf: $0) }
    }
}
