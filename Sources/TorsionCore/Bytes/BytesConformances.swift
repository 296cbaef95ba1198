// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// What makes owned bytes feel at home: literals, comparison, text, arrays, loops.

extension Bytes: ExpressibleByStringLiteral {
    /// Makes the UTF-8 of a literal, where the compiler put it, without an allocation or a copy.
    ///
    /// - Parameter value: Read where it lies in the program; never copied.
    @inlinable
    public init(stringLiteral value: StaticString) {
        guard value.hasPointerRepresentation else {
            self.init(String(value.unicodeScalar))
            return
        }
        // A literal's text lives as long as the process.
        unsafe self.init(
            storage: nil, start: UnsafeRawPointer(value.utf8Start), count: value.utf8CodeUnitCount)
    }
}

extension Bytes: ExpressibleByArrayLiteral {
    /// Makes bytes of numbers: `let mark: Bytes = [0xff, 0xfe]`.
    ///
    /// - Parameter elements: One byte each; copied.
    @inlinable
    public init(arrayLiteral elements: UInt8...) {
        self.init(elements)
    }
}

extension Bytes: Hashable {
    /// Whether two hold the same bytes, wherever they are.
    ///
    /// - Parameters:
    ///   - left: Any number of bytes.
    ///   - right: Any number of bytes.
    /// - Returns: Whether count and content are the same.
    /// - Complexity: O(*n*); O(1) if they are at the same place or of different number.
    @inlinable
    public static func == (left: Bytes, right: Bytes) -> Bool {
        guard left.count == right.count else { return false }
        return unsafe left.start == right.start || left.span == right.span
    }

    /// Feeds the bytes to a hasher.
    ///
    /// - Parameter hasher: Fed with all bytes: O(*n*).
    @inlinable
    public func hash(into hasher: inout Hasher) {
        hasher.combine(count)
        unsafe withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
    }

    /// Whether the bytes are the UTF-8 of a text.
    ///
    /// - Parameters:
    ///   - left: Compared as they are, without decoding.
    ///   - right: Compared by its UTF-8.
    /// - Returns: Whether count and content are the same.
    @inlinable
    public static func == (left: Bytes, right: String) -> Bool { left.span == right }

    /// Whether the bytes are not the UTF-8 of a text.
    ///
    /// - Parameters:
    ///   - left: Compared as they are, without decoding.
    ///   - right: Compared by its UTF-8.
    /// - Returns: Whether count or content differ.
    @inlinable
    public static func != (left: Bytes, right: String) -> Bool { !(left == right) }
}

extension Bytes: Sequence {
    /// Gives the bytes one by one.
    public struct Iterator: IteratorProtocol, Sendable {
        @usableFromInline let bytes: Bytes
        @usableFromInline var position = 0

        @inlinable
        init(_ bytes: Bytes) { self.bytes = bytes }

        /// The next byte, `nil` at the end.
        @inlinable
        public mutating func next() -> UInt8? {
            guard position < bytes.count else { return nil }
            defer { position &+= 1 }
            // Checked just above.
            return unsafe bytes.start.unsafelyUnwrapped.load(
                fromByteOffset: position, as: UInt8.self)
        }
    }

    /// Begins at the first byte.
    @inlinable
    public func makeIterator() -> Iterator { Iterator(self) }

    /// How many bytes there are: exact, not an estimate.
    @inlinable
    public var underestimatedCount: Int { count }

    /// Calls `body` with all bytes at once, which makes `Array(bytes)` one copy.
    ///
    /// - Parameter body: Called once, now; it must not keep the pointer.
    /// - Returns: What `body` returns; never `nil`.
    @inlinable
    public func withContiguousStorageIfAvailable<Result>(
        _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
    ) rethrows -> Result? {
        try unsafe withUnsafeBytes { bytes in
            try unsafe bytes.withMemoryRebound(to: UInt8.self) { try unsafe body($0) }
        }
    }
}

extension Bytes {
    /// Finds the first byte of a value, from a position on; see `RawSpan`'s method.
    ///
    /// - Parameters:
    ///   - byte: Looked for.
    ///   - start: Where to begin, from 0 to ``count``.
    /// - Returns: A position from `start` on; `nil` if the byte is not there.
    @inlinable
    public func firstIndex(of byte: UInt8, from start: Int = 0) -> Int? {
        span.firstIndex(of: byte, from: start)
    }

    /// Whether the first bytes are the UTF-8 of `prefix`.
    ///
    /// - Parameter prefix: Compared by its UTF-8; an empty one is a prefix of everything.
    /// - Returns: Whether they are.
    @inlinable
    public func starts(with prefix: String) -> Bool { span.starts(with: prefix) }

    /// Bytes with memory of their own, just large enough: to keep a small slice for long.
    ///
    /// A literal, which owns no memory, is returned as it is.
    public func compacted() -> Bytes { storage == nil ? self : Bytes(span) }
}

extension String {
    /// Makes a text of bytes in UTF-8, with U+FFFD in place of what is not.
    ///
    /// - Parameter bytes: Copied.
    @inlinable
    public init(decoding bytes: Bytes) {
        self.init(decoding: bytes.span)
    }

    /// Makes a text of bytes in UTF-8; `nil` if they are not.
    ///
    /// - Parameter bytes: Copied, after they were checked.
    @inlinable
    public init?(validating bytes: Bytes) {
        self.init(validating: bytes.span)
    }
}

extension Bytes: CustomStringConvertible {
    /// The bytes as a text, with what is not printable ASCII as `\n`, `\r`, `\t` or `\x00`.
    ///
    /// For people: what cannot be read must not move their cursor, and different bytes give
    /// different texts. `String(decoding:)` gives the text itself.
    public var description: String {
        var text = ""
        text.reserveCapacity(count)
        for byte in self { text += printable(byte) }
        return text
    }
}

extension Bytes: CustomDebugStringConvertible {
    /// The bytes as ``description`` has them, in quotation marks.
    public var debugDescription: String { "\"\(description)\"" }
}

/// A byte as a person can read it: itself if it is printable ASCII.
func printable(_ byte: UInt8) -> String {
    switch byte {
    case UInt8(ascii: "\\"): "\\\\"
    case UInt8(ascii: "\n"): "\\n"
    case UInt8(ascii: "\r"): "\\r"
    case UInt8(ascii: "\t"): "\\t"
    case 0x20...0x7e: String(UnicodeScalar(byte))
    default: (byte < 16 ? "\\x0" : "\\x") + String(byte, radix: 16)
    }
}
