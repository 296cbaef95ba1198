// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// MARK: Delimiters and words

extension ByteReader {
    /// Reads up to a delimiter, which is read too and left out of the result.
    ///
    ///     let name = try reader.readSpan(until: 0)
    ///
    /// - Parameter delimiter: What to look for.
    /// - Returns: What is before the delimiter, borrowed; it may be empty.
    /// - Throws: ``ByteReaderError`` if it is not there.
    /// - Complexity: O(*n*), eight bytes at a time. A decoder that is called again when more has
    ///   arrived goes on where the search ended, if it reads the same bytes in the same order.
    @inlinable
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    public mutating func readSpan(until delimiter: UInt8) throws(ByteReaderError) -> RawSpan {
        let start = position
        let key = UInt64(delimiter)
        guard let end = bytes.firstIndex(of: delimiter, from: searchStart(for: key)) else {
            noteSearch(upTo: bytes.byteCount, for: key)
            throw shortage(1)
        }
        next = end &+ 1
        return bytes.extracting(start..<end)
    }

    /// Reads up to a delimiter of one or more bytes, which is read too and left out of the result.
    ///
    ///     let header = try reader.readSpan(until: "\r\n\r\n")
    ///
    /// - Parameter delimiter: What to look for, as UTF-8; an empty one traps.
    /// - Returns: What is before the delimiter, borrowed; it may be empty.
    /// - Throws: ``ByteReaderError`` if it is not there.
    /// - Complexity: O(*n*), and O(*n* · *m*) for a delimiter of *m* bytes that nearly fits
    ///   everywhere; goes on as ``readSpan(until:)-(UInt8)`` does.
    @inlinable
    @_disfavoredOverload
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    public mutating func readSpan(until delimiter: String) throws(ByteReaderError) -> RawSpan {
        var delimiter = delimiter
        delimiter.makeContiguousUTF8()
        // Unsafe for types with padding, which a byte has not.
        return unsafe try readSpan(until: delimiter.utf8Span.span.bytes)
    }

    /// The same for a literal, which is not copied.
    ///
    /// - Parameter delimiter: What to look for; an empty one traps.
    /// - Returns: What is before the delimiter, borrowed; it may be empty.
    /// - Throws: ``ByteReaderError`` if it is not there.
    @inlinable
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    public mutating func readSpan(until delimiter: StaticString) throws(ByteReaderError) -> RawSpan
    {
        try readSpan(until: delimiter.utf8Bytes)
    }

    /// Reads up to a delimiter of one or more bytes, which is read too and left out of the result.
    ///
    /// - Parameter delimiter: What to look for; an empty one traps.
    /// - Returns: What is before the delimiter, borrowed; it may be empty.
    /// - Throws: ``ByteReaderError`` if it is not there.
    @inlinable
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    public mutating func readSpan(until delimiter: RawSpan) throws(ByteReaderError) -> RawSpan {
        require(!delimiter.isEmpty, "ByteReader: a delimiter has at least one byte")
        let start = position
        let key = Self.key(of: delimiter)
        guard let end = bytes.firstIndex(of: delimiter, from: searchStart(for: key)) else {
            // The delimiter may have begun in the last bytes.
            let end = max(start, bytes.byteCount &- delimiter.byteCount &+ 1)
            noteSearch(upTo: end, for: key)
            throw shortage(1)
        }
        next = end &+ delimiter.byteCount
        return bytes.extracting(start..<end)
    }

    /// Reads a line: up to a line feed, without it and a carriage return right before it.
    ///
    /// If you read lines from a connection, a line protocol or the lines of an async connection do
    /// more for you: a limit, and lines that arrive in pieces.
    ///
    /// - Throws: ``ByteReaderError`` if there is not a line feed.
    @inlinable
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    public mutating func readLine() throws(ByteReaderError) -> RawSpan {
        let line = try readSpan(until: UInt8(ascii: "\n"))
        let count = line.byteCount
        let endsInReturn = count > 0 && line[count &- 1] == UInt8(ascii: "\r")
        return line.extracting(0..<(endsInReturn ? count &- 1 : count))
    }

    /// Reads bytes as long as a condition holds; possibly zero.
    ///
    /// - Parameter condition: Called with one byte after the other.
    /// - Returns: The bytes, borrowed.
    /// - Throws: ``ByteReaderError/needsMore(byteCount:)`` if it holds to the end and more may
    ///   follow.
    @inlinable
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    public mutating func readSpan(
        while condition: (UInt8) -> Bool
    ) throws(ByteReaderError) -> RawSpan {
        let start = position
        var end = start
        while end < bytes.byteCount, condition(bytes[end]) { end &+= 1 }
        guard end < bytes.byteCount || !moreMayFollow else { throw shortage(1) }
        next = end
        return bytes.extracting(start..<end)
    }

    /// Reads a word, which ends before a separator or at the end of the bytes.
    ///
    ///     var reader = line.reader
    ///     while let word = try reader.readWord() { words.append(Bytes(word)) }
    ///
    /// Separators before the word are left out, however many there are; that behind it stays.
    ///
    /// - Parameter separator: The byte between words: by default a space.
    /// - Returns: At least one byte; nil if only separators are left.
    /// - Throws: ``ByteReaderError/needsMore(byteCount:)`` if the end is reached and more may
    ///   follow.
    @inlinable
    @_lifetime(copy self)
    @_lifetime(self: copy self)
    public mutating func readWord(
        separator: UInt8 = UInt8(ascii: " ")
    ) throws(ByteReaderError) -> RawSpan? {
        var start = position
        while start < bytes.byteCount, bytes[start] == separator { start &+= 1 }
        let end = bytes.firstIndex(of: separator, from: start)
        guard end != nil || !moreMayFollow else { throw shortage(1) }
        let wordEnd = end ?? bytes.byteCount
        next = wordEnd
        guard start < wordEnd else { return nil }
        return bytes.extracting(start..<wordEnd)
    }

    /// Reads exactly these bytes.
    ///
    /// - Parameter text: The expected text, as UTF-8.
    /// - Throws: ``ByteReaderError``: the first byte that differs is reported even if too few are
    ///   there.
    @inlinable
    @_disfavoredOverload
    @_lifetime(self: copy self)
    public mutating func expect(_ text: String) throws(ByteReaderError) {
        var text = text
        text.makeContiguousUTF8()
        // Unsafe for types with padding, which a byte has not.
        unsafe try expect(text.utf8Span.span.bytes)
    }

    /// Reads exactly the bytes of a literal: `try reader.expect("\r\n")`.
    ///
    /// - Parameter literal: The expected bytes.
    /// - Throws: ``ByteReaderError``: the first byte that differs is reported even if too few are
    ///   there.
    @inlinable
    @inline(__always)
    @_lifetime(self: copy self)
    public mutating func expect(_ literal: StaticString) throws(ByteReaderError) {
        try expect(literal.utf8Bytes)
    }

    /// Reads exactly these bytes.
    ///
    /// - Parameter literal: The expected bytes.
    /// - Throws: ``ByteReaderError``: the first byte that differs is reported even if too few are
    ///   there.
    @inlinable
    @inline(__always)
    @_lifetime(self: copy self)
    public mutating func expect(_ literal: RawSpan) throws(ByteReaderError) {
        let count = literal.byteCount
        guard count <= remainingByteCount, isNext(literal) else { throw mismatch(with: literal) }
        next &+= count
    }

    /// Whether these bytes come next, as many being there.
    @inlinable
    @inline(__always)
    func isNext(_ literal: RawSpan) -> Bool {
        var index = 0
        while index < literal.byteCount {
            // The caller has compared the counts.
            let (byte, wanted) = unsafe (
                bytes.unsafeLoad(fromUncheckedByteOffset: position &+ index, as: UInt8.self),
                literal.unsafeLoad(fromUncheckedByteOffset: index, as: UInt8.self)
            )
            if byte != wanted { return false }
            index &+= 1
        }
        return true
    }

    /// Where the next bytes differ from these, or how many are missing.
    @inlinable
    @inline(never)
    func mismatch(with literal: RawSpan) -> ByteReaderError {
        let count = min(literal.byteCount, remainingByteCount)
        for index in 0..<count where bytes[position &+ index] != literal[index] {
            return invalid(.literal, at: position &+ index)
        }
        return shortage(literal.byteCount &- count)
    }

    /// Reads these bytes if they come next.
    ///
    /// - Parameter text: The optional text, as UTF-8.
    /// - Returns: Whether they came, and were read.
    /// - Throws: ``ByteReaderError/needsMore(byteCount:)`` if what is there is their beginning and
    ///   more may follow.
    @inlinable
    @_disfavoredOverload
    @_lifetime(self: copy self)
    public mutating func skip(ifNext text: String) throws(ByteReaderError) -> Bool {
        var text = text
        text.makeContiguousUTF8()
        // Unsafe for types with padding, which a byte has not.
        return unsafe try skip(ifNext: text.utf8Span.span.bytes)
    }

    /// Reads the bytes of a literal if they come next.
    ///
    /// - Parameter literal: The optional bytes.
    /// - Returns: Whether they came, and were read.
    /// - Throws: ``ByteReaderError/needsMore(byteCount:)`` if what is there is their beginning and
    ///   more may follow.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func skip(ifNext literal: StaticString) throws(ByteReaderError) -> Bool {
        try skip(ifNext: literal.utf8Bytes)
    }

    /// Reads these bytes if they come next.
    ///
    /// - Parameter literal: The optional bytes.
    /// - Returns: Whether they came, and were read.
    /// - Throws: ``ByteReaderError/needsMore(byteCount:)`` if what is there is their beginning and
    ///   more may follow.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func skip(ifNext literal: RawSpan) throws(ByteReaderError) -> Bool {
        do throws(ByteReaderError) {
            try expect(literal)
            return true
        } catch {
            if case .needsMore = error { throw error }
            return false
        }
    }

    /// Where the search for a delimiter begins: behind what an earlier reader has searched.
    @inlinable
    func searchStart(for key: UInt64) -> Int {
        search.end > position && search.start == position && search.key == key
            && search.end <= bytes.byteCount
            ? search.end : position
    }

    /// A number that is another for each delimiter of up to seven bytes, and most likely for longer
    /// ones; a delimiter is the program's, not the peer's.
    @inlinable
    static func key(of delimiter: RawSpan) -> UInt64 {
        guard delimiter.byteCount > 1 else { return UInt64(delimiter[0]) }
        var key: UInt64 = 0
        for index in delimiter.indices { key = key &* 257 &+ UInt64(delimiter[index]) }
        return key ^ UInt64(delimiter.byteCount) &<< 56
    }

    @inlinable
    @_lifetime(self: copy self)
    mutating func noteSearch(upTo end: Int, for key: UInt64) {
        guard moreMayFollow else { return }
        search.start = position
        search.end = end
        search.key = key
    }
}

// MARK: Numbers as text, and text

extension ByteReader {
    /// Reads a number in decimal digits, up to the first byte that is not a digit.
    ///
    /// Strict: digits, with a minus sign before them if the type has a sign; plus signs and spaces
    /// are refused. Leading zeros are allowed, up to 32 digits in all.
    ///
    /// - Parameter type: The number's type.
    /// - Returns: The number.
    /// - Throws: ``ByteReaderError``: a digit is missing, or the type cannot hold the value. If
    ///   more may follow, digits that reach the end need more.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func readDecimal<Number: FixedWidthInteger>(
        _ type: Number.Type = Number.self
    ) throws(ByteReaderError) -> Number {
        var end = position
        guard end < bytes.byteCount else { throw shortage(1) }
        let isNegative = Number.isSigned && bytes[end] == UInt8(ascii: "-")
        if isNegative { end &+= 1 }
        let start = end
        var number: Number = 0
        while end < bytes.byteCount {
            // Checked just above.
            let byte = unsafe bytes.unsafeLoad(fromUncheckedByteOffset: end, as: UInt8.self)
            let digit = byte &- UInt8(ascii: "0")
            guard digit <= 9 else { break }
            let (product, overflows) = number.multipliedReportingOverflow(by: 10)
            let digitValue = Number(truncatingIfNeeded: digit)
            // Towards the sign at once, since the lowest number has no positive counterpart.
            let (sum, overflowsToo) =
                isNegative
                ? product.subtractingReportingOverflow(digitValue)
                : product.addingReportingOverflow(digitValue)
            guard !overflows, !overflowsToo, end &- start < 32 else {
                throw invalid(.range, at: position)
            }
            number = sum
            end &+= 1
        }
        guard end < bytes.byteCount || !moreMayFollow else { throw shortage(1) }
        guard end > start else {
            throw end < bytes.byteCount ? invalid(.decimal, at: end) : shortage(1)
        }
        next = end
        return number
    }

    /// Reads a number in hexadecimal digits of either case, up to the first byte that is not a
    /// digit.
    ///
    /// Leading zeros are allowed, up to 32 digits in all; a sign and `0x` are refused.
    ///
    /// - Parameter type: The number's type.
    /// - Returns: The number.
    /// - Throws: ``ByteReaderError``: a digit is missing, or the type cannot hold the value. If
    ///   more may follow, digits that reach the end need more.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func readHexadecimal<Number: FixedWidthInteger>(
        _ type: Number.Type = Number.self
    ) throws(ByteReaderError) -> Number {
        let start = position
        var end = start
        var number: Number = 0
        while end < bytes.byteCount, let digit = bytes[end].hexadecimalDigitValue {
            let (product, overflows) = number.multipliedReportingOverflow(by: 16)
            let (sum, overflowsToo) = product.addingReportingOverflow(
                Number(truncatingIfNeeded: digit))
            guard !overflows, !overflowsToo, end &- start < 32 else {
                throw invalid(.range, at: start)
            }
            number = sum
            end &+= 1
        }
        guard end < bytes.byteCount || !moreMayFollow else { throw shortage(1) }
        guard end > start else {
            throw end < bytes.byteCount ? invalid(.hexadecimal, at: end) : shortage(1)
        }
        next = end
        return number
    }

    /// Reads so many bytes of text in UTF-8.
    ///
    /// - Parameter count: How many bytes, not characters; as of ``readSpan(_:)``.
    /// - Returns: The text, which owns its memory.
    /// - Throws: ``ByteReaderError``, also if they are not UTF-8. If you want U+FFFD in place of
    ///   what is not, write `String(decoding: try reader.readSpan(count))`.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func readString(
        _ count: some BinaryInteger
    ) throws(ByteReaderError) -> String {
        let start = position
        guard let text = String(validating: try readSpan(count)) else {
            next = start
            throw invalid(.utf8, at: start)
        }
        return text
    }

    /// Reads text in UTF-8 up to a delimiter, which is read too and left out of the result.
    ///
    /// - Parameter delimiter: What to look for.
    /// - Returns: The text, which owns its memory.
    /// - Throws: ``ByteReaderError``, also if the text is not UTF-8.
    @inlinable
    @_lifetime(self: copy self)
    public mutating func readString(until delimiter: UInt8) throws(ByteReaderError) -> String {
        let start = position
        guard let text = String(validating: try readSpan(until: delimiter)) else {
            next = start
            throw invalid(.utf8, at: start)
        }
        return text
    }
}

extension UInt8 {
    /// The value of a hexadecimal digit of either case, 0 to 15; nil for any other byte.
    @inlinable
    public var hexadecimalDigitValue: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self &- UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self &- UInt8(ascii: "a") &+ 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self &- UInt8(ascii: "A") &+ 10
        default: nil
        }
    }
}
