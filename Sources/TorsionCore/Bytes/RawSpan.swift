// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// What a protocol does with the bytes that it is lent. A `RawSpan` of the standard library can only
// be cut and loaded from; these are the few calls that nearly every protocol needs, so that no
// beginner has to meet an unsafe pointer. All of them may be called wherever the span may be used.

extension RawSpan {
    /// The byte at a position from 0 to `byteCount` - 1; any other traps.
    ///
    ///     if bytes[0] == UInt8(ascii: "{") { … }
    ///
    /// - Parameter position: Counted from 0.
    @inlinable
    public subscript(position: Int) -> UInt8 {
        require(
            position >= 0 && position < byteCount,
            "RawSpan: position \(position) is out of range: there are \(byteCount) bytes")
        // Checked just above.
        return unsafe unsafeLoad(fromUncheckedByteOffset: position, as: UInt8.self)
    }

    /// The bytes at some positions, borrowed from the same memory; theirs count from 0.
    ///
    ///     let header = bytes[..<4]
    ///
    /// - Parameter positions: Within 0 to `byteCount`; any other traps.
    @inlinable
    public subscript(positions: some RangeExpression<Int>) -> RawSpan {
        @_lifetime(copy self)
        get {
            let range = positions.relative(to: 0..<byteCount)
            require(
                range.lowerBound >= 0 && range.upperBound <= byteCount,
                "RawSpan: range \(range) is out of range: there are \(byteCount) bytes")
            return extracting(range)
        }
    }

    /// The positions of the bytes: `for index in bytes.indices { … bytes[index] … }`.
    @inlinable
    public var indices: Range<Int> { 0..<byteCount }

    /// The first byte; nil if the span is empty.
    @inlinable
    public var first: UInt8? { isEmpty ? nil : self[0] }

    /// The last byte; nil if the span is empty.
    @inlinable
    public var last: UInt8? { isEmpty ? nil : self[byteCount &- 1] }

    /// A reader that begins at the first byte: see ``ByteReader``.
    @inlinable
    public var reader: ByteReader {
        @_lifetime(copy self)
        get { ByteReader(self) }
    }

    /// The integer whose bytes begin at a position.
    ///
    /// - Parameters:
    ///   - position: Of its first byte; any number is allowed.
    ///   - type: The integer's type, which says how many bytes it has.
    ///   - order: The order of its bytes.
    /// - Returns: Nil if not all of its bytes are within the span.
    @inlinable
    public func integer<Number: FixedWidthInteger>(
        at position: Int, as type: Number.Type = Number.self, _ order: ByteOrder = .bigEndian
    ) -> Number? {
        guard position >= 0, position <= byteCount,
            MemoryLayout<Number>.size <= byteCount &- position
        else { return nil }
        // Checked just above. The public protocol has conformers of which any pattern of bits is
        // no value; those of the standard library have none.
        var number: Number = 0
        unsafe withUnsafeMutableBytes(of: &number) { number in
            unsafe withUnsafeBytes { bytes in
                unsafe number.copyMemory(
                    from: UnsafeRawBufferPointer(
                        rebasing: bytes[position..<(position &+ number.count)]))
            }
        }
        return order == .bigEndian ? Number(bigEndian: number) : Number(littleEndian: number)
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

    /// Finds the first place of some bytes, from a position on.
    ///
    ///     let end = bytes.firstIndex(of: "\r\n\r\n")
    ///
    /// - Parameters:
    ///   - text: What to look for, as UTF-8; an empty one is found at once.
    ///   - start: Where to begin, from 0 to `byteCount`; any other traps.
    /// - Returns: The position of its first byte; nil if it is not there.
    /// - Complexity: O(*n* · *m*) at most for a text of *m* bytes, O(*n*) as a rule.
    @inlinable
    @_disfavoredOverload
    public func firstIndex(of text: String, from start: Int = 0) -> Int? {
        var text = text
        text.makeContiguousUTF8()
        // Unsafe for types with padding, which a byte has not.
        return unsafe firstIndex(of: text.utf8Span.span.bytes, from: start)
    }

    /// Finds the first place of a literal, from a position on.
    ///
    /// - Parameters:
    ///   - literal: What to look for; an empty one is found at once.
    ///   - start: Where to begin, from 0 to `byteCount`; any other traps.
    /// - Returns: The position of its first byte; nil if it is not there.
    @inlinable
    public func firstIndex(of literal: StaticString, from start: Int = 0) -> Int? {
        firstIndex(of: literal.utf8Bytes, from: start)
    }

    /// Finds the first place of some bytes, from a position on.
    ///
    /// - Parameters:
    ///   - wanted: What to look for; an empty span is found at once.
    ///   - start: Where to begin, from 0 to `byteCount`; any other traps.
    /// - Returns: The position of its first byte; nil if it is not there.
    /// - Complexity: O(*n* · *m*) at most for *m* wanted bytes, O(*n*) as a rule.
    @inlinable
    public func firstIndex(of wanted: RawSpan, from start: Int = 0) -> Int? {
        require(
            start >= 0 && start <= byteCount,
            "RawSpan: start \(start) is out of range: there are \(byteCount) bytes")
        let count = wanted.byteCount
        guard count > 0 else { return start }
        // The last byte is looked for: of a line's end it is the rarer one.
        let last = wanted[count &- 1]
        var from = start &+ count &- 1
        while from < byteCount, let end = firstIndex(of: last, from: from) {
            let position = end &- count &+ 1
            if extracting(position..<end) == wanted.extracting(0..<(count &- 1)) { return position }
            from = end &+ 1
        }
        return nil
    }

    /// Whether the span holds a byte of a value.
    ///
    /// - Parameter byte: Looked for.
    /// - Returns: Whether it is there: O(*n*).
    @inlinable
    public func contains(_ byte: UInt8) -> Bool { firstIndex(of: byte) != nil }

    /// Whether the first bytes are those of `prefix`; true if that is empty.
    ///
    /// - Parameter prefix: Of any length.
    /// - Returns: Whether they are; false if the span is shorter.
    @inlinable
    public func starts(with prefix: RawSpan) -> Bool {
        byteCount >= prefix.byteCount && extracting(0..<prefix.byteCount) == prefix
    }

    /// Whether the first bytes are the UTF-8 of `prefix`: `bytes.starts(with: "GET ")`.
    ///
    /// - Parameter prefix: Compared by its UTF-8.
    /// - Returns: Whether they are; false if the span is shorter.
    @inlinable
    @_disfavoredOverload
    public func starts(with prefix: String) -> Bool {
        // Unsafe for types with padding, which a byte has not.
        unsafe starts(with: prefix.utf8.span.bytes)
    }

    /// Whether the first bytes are those of a literal: `bytes.starts(with: "GET ")`.
    ///
    /// - Parameter prefix: Compared by its UTF-8, where it lies in the program.
    /// - Returns: Whether they are; false if the span is shorter.
    @inlinable
    public func starts(with prefix: StaticString) -> Bool { starts(with: prefix.utf8Bytes) }

    /// Whether the first bytes are those of `prefix`.
    ///
    /// - Parameter prefix: Of any length.
    /// - Returns: Whether they are; false if the span is shorter.
    @inlinable
    public func starts(with prefix: [UInt8]) -> Bool {
        // As above.
        unsafe starts(with: prefix.span.bytes)
    }

    /// Whether the bytes are those of a text, the letters A to Z being the same as a to z.
    ///
    ///     if name.equalsIgnoringCase("content-length") { … }
    ///
    /// - Parameter text: Compared as UTF-8; letters outside ASCII must be the same.
    /// - Returns: True if they are.
    @inlinable
    @_disfavoredOverload
    public func equalsIgnoringCase(_ text: String) -> Bool {
        var text = text
        text.makeContiguousUTF8()
        // Unsafe for types with padding, which a byte has not.
        return unsafe equalsIgnoringCase(text.utf8Span.span.bytes)
    }

    /// Whether the bytes are those of a literal, the letters A to Z being the same as a to z.
    ///
    /// - Parameter literal: What to compare with; letters outside ASCII must be the same.
    /// - Returns: True if they are.
    @inlinable
    @inline(__always)
    public func equalsIgnoringCase(_ literal: StaticString) -> Bool {
        byteCount == literal.utf8CodeUnitCount && equalsIgnoringCase(literal.utf8Bytes)
    }

    /// Whether the bytes are those of another span, the letters A to Z being the same as a to z.
    ///
    /// - Parameter other: What to compare with.
    /// - Returns: True if they are.
    @inlinable
    public func equalsIgnoringCase(_ other: RawSpan) -> Bool {
        guard byteCount == other.byteCount else { return false }
        for index in indices where self[index] != other[index] {
            guard self[index].asciiLowercased == other[index].asciiLowercased else { return false }
        }
        return true
    }

    /// Whether the first bytes are those of a text, the letters A to Z being the same as a to z.
    ///
    /// - Parameter prefix: Compared as UTF-8.
    /// - Returns: True if they are.
    @inlinable
    public func startsIgnoringCase(with prefix: String) -> Bool {
        let count = prefix.utf8.count
        return byteCount >= count && self[..<count].equalsIgnoringCase(prefix)
    }

    /// The bytes without spaces and tabs at either end.
    @inlinable
    public var trimmed: RawSpan {
        @_lifetime(copy self)
        get {
            var (start, end) = (0, byteCount)
            while start < end, self[start].isBlank { start &+= 1 }
            while end > start, self[end &- 1].isBlank { end &-= 1 }
            return extracting(start..<end)
        }
    }

    /// Whether two spans hold the same bytes.
    ///
    /// - Parameters:
    ///   - left: Any number of bytes.
    ///   - right: Any number of bytes.
    /// - Returns: Whether count and content are the same.
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
    ///
    /// - Parameters:
    ///   - left: Any number of bytes.
    ///   - right: Any number of bytes.
    /// - Returns: Whether count or content differ.
    @inlinable
    public static func != (left: RawSpan, right: RawSpan) -> Bool { !(left == right) }

    /// Whether the bytes are the UTF-8 of a text: `bytes == "PING"`.
    ///
    /// - Parameters:
    ///   - left: Compared as they are, without decoding.
    ///   - right: Compared by its UTF-8.
    /// - Returns: Whether count and content are the same.
    @inlinable
    public static func == (left: RawSpan, right: String) -> Bool {
        // As above.
        unsafe left == right.utf8.span.bytes
    }

    /// Whether the bytes are not the UTF-8 of a text.
    ///
    /// - Parameters:
    ///   - left: Compared as they are, without decoding.
    ///   - right: Compared by its UTF-8.
    /// - Returns: Whether count or content differ.
    @inlinable
    public static func != (left: RawSpan, right: String) -> Bool { !(left == right) }

    /// Whether the bytes are those of an array: `bytes == [0xff, 0xfe]`.
    ///
    /// - Parameters:
    ///   - left: Any number of bytes.
    ///   - right: Any number of bytes.
    /// - Returns: Whether count and content are the same.
    @inlinable
    public static func == (left: RawSpan, right: [UInt8]) -> Bool {
        // As above.
        unsafe left == right.span.bytes
    }

    /// Whether the bytes are not those of an array.
    ///
    /// - Parameters:
    ///   - left: Any number of bytes.
    ///   - right: Any number of bytes.
    /// - Returns: Whether count or content differ.
    @inlinable
    public static func != (left: RawSpan, right: [UInt8]) -> Bool { !(left == right) }

    /// Whether the bytes are the UTF-8 of a text, for `switch`: `case "PING": …`.
    ///
    /// - Parameters:
    ///   - pattern: Compared by its UTF-8.
    ///   - bytes: Compared as they are, without decoding.
    /// - Returns: Whether count and content are the same.
    @inlinable
    public static func ~= (pattern: String, bytes: RawSpan) -> Bool { bytes == pattern }
}

extension UInt8 {
    /// The small letter of a capital one of ASCII; any other byte itself.
    @inlinable
    public var asciiLowercased: UInt8 { self &- UInt8(ascii: "A") < 26 ? self | 0x20 : self }

    /// The capital letter of a small one of ASCII; any other byte itself.
    @inlinable
    public var asciiUppercased: UInt8 { self &- UInt8(ascii: "a") < 26 ? self & ~0x20 : self }

    @inlinable
    var isBlank: Bool { self == UInt8(ascii: " ") || self == UInt8(ascii: "\t") }
}

extension FixedWidthInteger {
    /// Makes a number of decimal digits; nil if there is any other byte.
    ///
    ///     guard let count = Int(decimal: argument) else { return refuse() }
    ///
    /// - Parameter bytes: As for ``ByteReader/readDecimal(_:)``: digits, and a minus sign before them
    ///   if the type has a sign.
    @inlinable
    public init?(decimal bytes: RawSpan) {
        var reader = bytes.reader
        guard let number = try? reader.readDecimal(Self.self), reader.isAtEnd else { return nil }
        self = number
    }

    /// Makes a number of hexadecimal digits; nil if there is any other byte.
    ///
    /// - Parameter bytes: As for ``ByteReader/readHexadecimal(_:)``.
    @inlinable
    public init?(hexadecimal bytes: RawSpan) {
        var reader = bytes.reader
        guard let number = try? reader.readHexadecimal(Self.self), reader.isAtEnd else {
            return nil
        }
        self = number
    }
}

extension String {
    /// Makes a text of bytes in UTF-8, with U+FFFD in place of what is not.
    ///
    /// - Parameter bytes: Borrowed for the call, and copied.
    @inlinable
    public init(decoding bytes: RawSpan) {
        self = unsafe bytes.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// Makes a text of bytes in UTF-8; `nil` if they are not.
    ///
    /// - Parameter bytes: Borrowed for the call, and copied after they were checked.
    @inlinable
    public init?(validating bytes: RawSpan) {
        let text = unsafe bytes.withUnsafeBytes { unsafe String(validating: $0, as: UTF8.self) }
        guard let text else { return nil }
        self = text
    }
}

extension [UInt8] {
    /// Copies the bytes that a span lends.
    ///
    /// - Parameter bytes: Borrowed for the call, and copied.
    @inlinable
    public init(_ bytes: RawSpan) {
        self = unsafe bytes.withUnsafeBytes { unsafe Array($0) }
    }

    /// Appends a copy of the bytes that a span lends.
    ///
    /// - Parameters:
    ///   - array: Grows by `bytes.byteCount`.
    ///   - bytes: Borrowed for the call.
    @inlinable
    public static func += (array: inout [UInt8], bytes: RawSpan) {
        unsafe bytes.withUnsafeBytes { unsafe array.append(contentsOf: $0) }
    }
}

extension StaticString {
    /// The bytes of a literal, which are there as long as the process.
    @inlinable
    @inline(__always)
    var utf8Bytes: RawSpan {
        @_lifetime(immortal)
        get {
            let bytes = unsafe UnsafeRawBufferPointer(
                start: utf8Start, count: utf8CodeUnitCount)
            return unsafe _overrideLifetime(RawSpan(_unsafeBytes: bytes), copying: ())
        }
    }
}
