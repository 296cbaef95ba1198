// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// What makes owned bytes a collection. The positions of a slice of `Bytes` count from 0, while the
// slices of a `Collection` share the positions of the whole. So generic code gets the library's
// `Slice`, and the calls below, which are written on `Bytes` itself, give `Bytes`.

extension Bytes: RandomAccessCollection {
    /// The slice that generic code uses for a range; `Bytes(slice)` shares its bytes.
    public typealias SubSequence = Slice<Bytes>

    /// 0.
    @inlinable
    public var startIndex: Int { 0 }

    /// ``count``.
    @inlinable
    public var endIndex: Int { count }

    /// The positions, from 0 to ``count`` - 1.
    @inlinable
    public var indices: Range<Int> { 0..<count }

    /// The bytes at some positions, shared without a copy; theirs count from 0.
    ///
    /// - Parameter positions: Within 0 to ``count``; any other traps.
    @inlinable
    public subscript(positions: Range<Int>) -> Bytes {
        require(
            positions.lowerBound >= 0 && positions.upperBound <= count,
            "Bytes: range \(positions) is out of range: there are \(count) bytes")
        guard !positions.isEmpty else { return Bytes() }
        // Within the count there is an address.
        return unsafe Bytes(
            storage: storage, start: start! + positions.lowerBound, count: positions.count)
    }

    /// The first bytes, shared; all if there are fewer.
    ///
    /// - Parameter maximum: How many at most: 0 or more; a negative number traps.
    /// - Returns: Bytes that share memory with these.
    @inlinable
    public func prefix(_ maximum: Int) -> Bytes { self[0..<Swift.min(maximum, count)] }

    /// The last bytes, shared; all if there are fewer.
    ///
    /// - Parameter maximum: How many at most: 0 or more; a negative number traps.
    /// - Returns: Bytes that share memory with these.
    @inlinable
    public func suffix(_ maximum: Int) -> Bytes {
        self[(count - Swift.min(maximum, count))..<count]
    }

    /// The bytes without the first ones, shared; empty if there are not that many.
    ///
    /// - Parameter number: How many are left out: 0 or more; a negative number traps.
    /// - Returns: Bytes that share memory with these.
    @inlinable
    public func dropFirst(_ number: Int = 1) -> Bytes { self[Swift.min(number, count)..<count] }

    /// The bytes without the last ones, shared; empty if there are not that many.
    ///
    /// - Parameter number: How many are left out: 0 or more; a negative number traps.
    /// - Returns: Bytes that share memory with these.
    @inlinable
    public func dropLast(_ number: Int = 1) -> Bytes {
        self[0..<(count - Swift.min(number, count))]
    }

    /// The parts between separators, shared.
    ///
    /// - Parameters:
    ///   - separator: The byte between two parts, which belongs to neither.
    ///   - maximum: How often to split at most; the last part has the rest.
    ///   - omitsEmpty: Whether parts without a byte are left out.
    /// - Returns: The parts in order.
    /// - Complexity: O(*n*).
    @inlinable
    public func split(
        separator: UInt8, maxSplits maximum: Int = .max,
        omittingEmptySubsequences omitsEmpty: Bool = true
    ) -> [Bytes] {
        var parts: [Bytes] = []
        var start = 0
        while parts.count < maximum, let end = firstIndex(of: separator, from: start) {
            if end > start || !omitsEmpty { parts.append(self[start..<end]) }
            start = end + 1
        }
        if start < count || !omitsEmpty { parts.append(self[start..<count]) }
        return parts
    }
}

extension Bytes {
    /// A reader that begins at the first byte, and whose ``ByteReader/readBytes(_:)`` shares the
    /// bytes.
    @inlinable
    public var reader: ByteReader {
        @_lifetime(borrow self)
        get { ByteReader(self) }
    }

    /// Shares the bytes of a slice.
    ///
    /// - Parameter slice: The result of generic code over other bytes.
    @inlinable
    public init(_ slice: Slice<Bytes>) { self = slice.base[slice.startIndex..<slice.endIndex] }

    /// Copies a slice of an array, with one allocation unless it is empty.
    ///
    /// - Parameter bytes: Copied.
    @inlinable
    public init(_ bytes: ArraySlice<UInt8>) {
        self = unsafe bytes.withUnsafeBytes { unsafe Bytes(copying: $0) }
    }

    /// Copies a sequence of bytes.
    ///
    /// - Parameter bytes: Copied at once if they lie in one piece, else one by one.
    @inlinable
    public init(_ bytes: some Sequence<UInt8>) {
        let copied = bytes.withContiguousStorageIfAvailable {
            unsafe Bytes(copying: UnsafeRawBufferPointer($0))
        }
        self =
            copied
            ?? Bytes(reserving: bytes.underestimatedCount) { writer in
                for byte in bytes { writer.writeByte(byte) }
            }
    }

    /// Makes so many bytes of one value, with one allocation.
    ///
    /// - Parameters:
    ///   - byte: The value of each.
    ///   - count: How many: 0 or more; a negative number traps.
    @inlinable
    public init(repeating byte: UInt8, count: Int) {
        self.init(reserving: count) { $0.write(repeating: byte, count: count) }
    }

    /// Makes bytes that are those of several others, one behind the other.
    ///
    /// - Parameter parts: Copied, with one allocation.
    public init(joining parts: some Collection<Bytes>) {
        self.init(reserving: parts.reduce(0) { $0 + $1.count }) { writer in
            for part in parts { writer.write(part) }
        }
    }

    /// Bytes that are those of two others, one behind the other; copied.
    ///
    /// To put many together, use ``init(reserving:writing:)``.
    ///
    /// - Parameters:
    ///   - left: Comes first.
    ///   - right: Comes behind it.
    /// - Returns: A new value of ``count`` bytes of both.
    @inlinable
    public static func + (left: Bytes, right: Bytes) -> Bytes {
        if right.isEmpty { return left }
        if left.isEmpty { return right }
        return Bytes(reserving: left.count + right.count) { writer in
            writer.write(left)
            writer.write(right)
        }
    }

    /// Whether the bytes are those of a text, the letters A to Z being the same as a to z.
    ///
    /// - Parameter text: Compared as UTF-8; letters outside ASCII must be the same.
    /// - Returns: True if they are.
    @inlinable
    public func equalsIgnoringCase(_ text: String) -> Bool { span.equalsIgnoringCase(text) }
}
