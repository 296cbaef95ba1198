// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Reads integers, texts and runs of bytes one after the other, in place.
///
/// The result of a read is borrowed from the bytes below, so that reading neither copies nor
/// allocates. A read that cannot be done throws ``ByteReaderError`` and leaves the reader where it
/// was: it traps on no input.
///
///     func readQuestion(_ reader: inout ByteReader) throws -> Question {
///         let kind = try reader.readInteger(UInt16.self)
///         let name = try reader.readSpan(try reader.readByte())
///         return Question(kind: kind, name: String(decoding: name))
///     }
///
/// If you prefer an optional to an error, write `try?`.
///
/// Make one with `bytes.reader` of a `RawSpan` or of ``Bytes``. It cannot outlive the bytes; hand
/// it to other functions as `inout`. It may be used wherever the bytes may be.
///
/// By default the bytes are taken to be whole: a read beyond their end throws
/// ``ByteReaderError/ended(missingByteCount:)``. If they are the beginning of a stream, make the
/// reader with `moreMayFollow: true`: then it throws ``ByteReaderError/needsMore(byteCount:)``, also
/// where a number or a word reaches the end and might go on.
///
/// - SeeAlso: SwiftNIO `ByteBuffer`; Rust `bytes::Buf`.
public struct ByteReader: ~Escapable {
    /// All the bytes, those that were read included.
    public let bytes: RawSpan

    /// How many bytes were read: where the next read begins.
    @inlinable
    public var position: Int { next }

    // What `position` shows.
    @usableFromInline var next = 0

    /// Whether the bytes are the beginning of a stream, of which more may arrive.
    public let moreMayFollow: Bool

    /// What owns the bytes, so that pieces of them can be kept without a copy; nil if borrowed.
    @usableFromInline let owner: Bytes?

    /// Up to here a decoder has used the bytes, whatever its call ends with.
    @usableFromInline package var committedPosition = 0

    /// A search that found nothing, to be gone on with when more bytes are there.
    @usableFromInline var search = Search()

    /// What was searched for a delimiter without finding it.
    @usableFromInline
    package struct Search {
        @usableFromInline var start = 0
        @usableFromInline var end = 0
        /// Which delimiter: see ``ByteReader/key(of:)``.
        @usableFromInline var key: UInt64 = 0

        @inlinable
        package init() {}

        /// The same search in bytes from which the first `count` were removed.
        package func removing(_ count: Int) -> Search {
            guard start >= count else { return Search() }
            var search = self
            search.start -= count
            search.end -= count
            return search
        }
    }

    /// Makes a reader that begins at the first byte.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed as long as the reader, and what it returns, is used.
    ///   - moreMayFollow: Whether the bytes are the beginning of a stream: see ``ByteReader``.
    @inlinable
    @_lifetime(copy bytes)
    public init(_ bytes: RawSpan, moreMayFollow: Bool = false) {
        self.bytes = bytes
        self.moreMayFollow = moreMayFollow
        owner = nil
    }

    /// Makes a reader whose ``readBytes(_:)`` shares the bytes instead of copying them.
    ///
    /// - Parameter bytes: Borrowed as long as the reader, and what it returns, is used.
    @inlinable
    @_lifetime(borrow bytes)
    public init(_ bytes: borrowing Bytes) {
        self.bytes = bytes.span
        moreMayFollow = false
        owner = copy bytes
    }

    @usableFromInline
    @_lifetime(copy bytes)
    init(_ bytes: RawSpan, of owner: Bytes?) {
        self.bytes = bytes
        moreMayFollow = false
        self.owner = owner
    }

    /// Goes on with what an earlier reader over a shorter beginning of the same bytes found.
    @inlinable
    @_lifetime(copy bytes)
    package init(_ bytes: RawSpan, continuing search: Search) {
        self.bytes = bytes
        moreMayFollow = true
        owner = nil
        self.search = search
    }

    /// The same over bytes that are owned, which ``readBytes(_:)`` then shares.
    @inlinable
    @_lifetime(borrow bytes)
    package init(_ bytes: borrowing Bytes, continuing search: Search) {
        self.bytes = bytes.span
        moreMayFollow = true
        owner = copy bytes
        self.search = search
    }

    /// The search that found nothing, for ``init(_:continuing:)``.
    package var unfinishedSearch: Search { search }

    /// How many bytes are left to read.
    @inlinable
    public var remainingByteCount: Int { bytes.byteCount &- position }

    /// Whether all bytes are read.
    @inlinable
    public var isAtEnd: Bool { position == bytes.byteCount }

    /// The bytes that are left, without reading them.
    @inlinable
    public var remaining: RawSpan {
        @_lifetime(copy self)
        get { bytes.extracting(position..<bytes.byteCount) }
    }

    /// Says that the bytes read so far are used, also if the message is not complete.
    ///
    /// For a decoder whose messages are long: it keeps what it has parsed in properties of its own,
    /// calls this, and is called again with what follows. Without it, each call of a decoder begins
    /// at the first byte of the message.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func commit() { committedPosition = position }

    /// Moves to another position, such as that which a compressed name of DNS points to.
    ///
    /// - Parameter position: Counted from the first byte, from 0 to the number of bytes.
    /// - Throws: ``ByteReaderError/invalid(_:position:)`` for any other.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func move(to position: some BinaryInteger) throws(ByteReaderError) {
        guard let position = Int(exactly: position), position >= 0, position <= bytes.byteCount
        else { throw .invalid(.position, position: self.position) }
        next = position
    }

    /// The error of a read that needs more bytes than are there.
    @usableFromInline @inline(never)
    func shortage(_ byteCount: Int) -> ByteReaderError {
        moreMayFollow ? .needsMore(byteCount: byteCount) : .ended(missingByteCount: byteCount)
    }

    /// The error of a byte that does not belong where it stands.
    @usableFromInline @inline(never)
    func invalid(_ expectation: ByteReaderError.Expectation, at position: Int) -> ByteReaderError {
        .invalid(expectation, position: position)
    }
}

// MARK: Bytes

extension ByteReader {
    /// Reads one byte.
    ///
    /// - Throws: ``ByteReaderError`` at the end.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func readByte() throws(ByteReaderError) -> UInt8 {
        guard position < bytes.byteCount else { throw shortage(1) }
        // Checked just above.
        let byte = unsafe bytes.unsafeLoad(fromUncheckedByteOffset: position, as: UInt8.self)
        next &+= 1
        return byte
    }

    /// Looks at a byte without reading it.
    ///
    /// - Parameter offset: How many bytes before it are left out: 0, the default, is the next.
    /// - Returns: The byte.
    /// - Throws: ``ByteReaderError`` if so many are not left.
    @inlinable
    public func peekByte(at offset: Int = 0) throws(ByteReaderError) -> UInt8 {
        guard offset >= 0 else { throw invalid(.position, at: position) }
        guard offset < remainingByteCount else { throw shortage(offset &- remainingByteCount &+ 1) }
        // Checked just above.
        return unsafe bytes.unsafeLoad(
            fromUncheckedByteOffset: position &+ offset, as: UInt8.self)
    }

    /// Reads so many bytes, borrowed.
    ///
    /// - Parameter count: Any integer, such as a length field; one that is negative or larger than
    ///   `Int.max` is an error, not a trap.
    /// - Returns: Exactly `count` bytes, borrowed.
    /// - Throws: ``ByteReaderError``.
    /// - Complexity: O(1).
    @inlinable
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    public mutating func readSpan(
        _ count: some BinaryInteger
    ) throws(ByteReaderError) -> RawSpan {
        let count = try checkedCount(count)
        let start = position
        next = start &+ count
        return bytes.extracting(start..<position)
    }

    /// Reads so many bytes, to keep: shared if the reader was made of ``Bytes``, else copied.
    ///
    /// - Parameter count: As of ``readSpan(_:)``.
    /// - Returns: Exactly `count` bytes.
    /// - Throws: ``ByteReaderError``.
    /// - Complexity: O(1) if shared, else O(*n*) and one allocation.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func readBytes(
        _ count: some BinaryInteger
    ) throws(ByteReaderError) -> Bytes {
        let count = try checkedCount(count)
        let start = position
        next = start &+ count
        return keep(start..<position)
    }

    /// Reads all that are left, borrowed; an empty span at the end.
    @inlinable
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    public mutating func readRest() -> RawSpan {
        let start = position
        next = bytes.byteCount
        return bytes.extracting(start..<position)
    }

    /// Reads so many bytes as a reader of their own, whose end is theirs: for a message within a
    /// message.
    ///
    /// A read beyond its end throws ``ByteReaderError/ended(missingByteCount:)``, also if more may
    /// follow in the stream outside.
    ///
    /// - Parameter count: As of ``readSpan(_:)``.
    /// - Returns: A reader that stands at the first of them.
    /// - Throws: ``ByteReaderError``.
    @inlinable
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    public mutating func readSlice(
        _ count: some BinaryInteger
    ) throws(ByteReaderError) -> ByteReader {
        let count = try checkedCount(count)
        let start = position
        next = start &+ count
        // A reader over borrowed bytes has no owner to keep.
        return ByteReader(bytes.extracting(start..<position), of: owner?[start..<position])
    }

    /// Reads a length, then so many bytes as a reader of their own.
    ///
    ///     var extensions = try hello.readSlice(lengthAs: UInt16.self)
    ///     while !extensions.isAtEnd { try readExtension(&extensions) }
    ///
    /// - Parameters:
    ///   - type: The integer that the length is.
    ///   - order: The order of its bytes.
    /// - Returns: A reader that stands at the first of them.
    /// - Throws: ``ByteReaderError``; the length is not read then either.
    @inlinable
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    public mutating func readSlice(
        lengthAs type: (some FixedWidthInteger).Type, _ order: ByteOrder = .bigEndian
    ) throws(ByteReaderError) -> ByteReader {
        let start = position
        do throws(ByteReaderError) {
            return try readSlice(try readInteger(type, order))
        } catch {
            next = start
            throw error
        }
    }

    /// Leaves out so many bytes.
    ///
    /// - Parameter count: As of ``readSpan(_:)``.
    /// - Throws: ``ByteReaderError``.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func skip(_ count: some BinaryInteger) throws(ByteReaderError) {
        next = position &+ (try checkedCount(count))
    }

    /// Fails unless all bytes were read.
    ///
    /// - Throws: ``ByteReaderError/invalid(_:position:)`` if a byte is left.
    @inlinable
    public func expectEnd() throws(ByteReaderError) {
        guard isAtEnd else { throw invalid(.end, at: position) }
    }

    /// So many bytes, if they are there.
    @inlinable
    func checkedCount(_ count: some BinaryInteger) throws(ByteReaderError) -> Int {
        guard let count = Int(exactly: count) else {
            throw count < 0 ? invalid(.byteCount, at: position) : shortage(.max)
        }
        guard count >= 0 else { throw invalid(.byteCount, at: position) }
        guard count <= remainingByteCount else { throw shortage(count &- remainingByteCount) }
        return count
    }

    /// The bytes at some positions, to keep.
    @inlinable
    func keep(_ range: Range<Int>) -> Bytes {
        if let owner { owner[range] } else { Bytes(bytes.extracting(range)) }
    }
}

// MARK: Integers

extension ByteReader {
    /// Reads an integer of the size of its type.
    ///
    /// - Parameters:
    ///   - type: The integer's type, such as `UInt16.self`.
    ///   - order: The order of its bytes.
    /// - Returns: The integer.
    /// - Throws: ``ByteReaderError`` if too few bytes are left.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func readInteger<Number: FixedWidthInteger>(
        _ type: Number.Type = Number.self, _ order: ByteOrder = .bigEndian
    ) throws(ByteReaderError) -> Number {
        guard let number = bytes.integer(at: position, as: type, order) else {
            throw shortage(MemoryLayout<Number>.size &- remainingByteCount)
        }
        next &+= MemoryLayout<Number>.size
        return number
    }

    /// Reads an unsigned integer of so many bytes, for sizes without a type, such as 3.
    ///
    ///     let length = try reader.readInteger(byteCount: 3)
    ///
    /// - Parameters:
    ///   - byteCount: Its size, from 1 to 8; any other traps.
    ///   - order: The order of its bytes.
    /// - Returns: The integer.
    /// - Throws: ``ByteReaderError`` if too few bytes are left.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func readInteger(
        byteCount: Int, _ order: ByteOrder = .bigEndian
    ) throws(ByteReaderError) -> UInt64 {
        require(
            (1...8).contains(byteCount),
            "ByteReader: an integer has 1 to 8 bytes, not \(byteCount)")
        guard byteCount <= remainingByteCount else {
            throw shortage(byteCount &- remainingByteCount)
        }
        var number: UInt64 = 0
        for index in 0..<byteCount {
            let place = order == .bigEndian ? index : byteCount &- 1 &- index
            // Checked just above.
            let byte = unsafe bytes.unsafeLoad(
                fromUncheckedByteOffset: position &+ place, as: UInt8.self)
            number = number &<< 8 | UInt64(byte)
        }
        next &+= byteCount
        return number
    }

    /// Reads an unsigned integer in groups of seven bits, the lowest first, as Protocol Buffers and
    /// MQTT have it (unsigned LEB128).
    ///
    /// - Parameter type: The integer's type, which says the largest value.
    /// - Returns: The integer.
    /// - Throws: ``ByteReaderError``; ``ByteReaderError/Expectation/varint`` as soon as the value
    ///   is larger than the type can hold, or more groups arrive than its largest value needs.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func readVarint<Number: FixedWidthInteger & UnsignedInteger>(
        _ type: Number.Type = Number.self
    ) throws(ByteReaderError) -> Number {
        var number: Number = 0
        var shift = 0
        var end = position
        while true {
            guard end < bytes.byteCount else { throw shortage(1) }
            // Checked just above.
            let byte = unsafe bytes.unsafeLoad(fromUncheckedByteOffset: end, as: UInt8.self)
            let group = Number(truncatingIfNeeded: byte & 0x7f)
            guard shift < Number.bitWidth, (group &<< shift) &>> shift == group else {
                throw invalid(.varint, at: position)
            }
            number |= group &<< shift
            end &+= 1
            if byte & 0x80 == 0 { break }
            shift &+= 7
        }
        next = end
        return number
    }
}
