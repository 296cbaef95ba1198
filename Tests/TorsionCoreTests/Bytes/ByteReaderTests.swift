// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

/// As `#expect`, which cannot look into an expression with a span: it would have to keep it.
private func check(_ condition: Bool, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(condition, sourceLocation: sourceLocation)
}

/// What a read gives or throws; nil if it succeeds.
private func failure(
    of bytes: Bytes, moreMayFollow: Bool = false,
    _ read: (inout ByteReader) throws -> Void
) -> ByteReaderError? {
    var reader = ByteReader(bytes.span, moreMayFollow: moreMayFollow)
    let before = reader.position
    do { try read(&reader) } catch {
        #expect(reader.position == before, "a failed read moved the reader")
        return error as? ByteReaderError
    }
    return nil
}

@Suite struct ByteReaderTests {
    @Test func `a reader reads one thing behind the other`() throws {
        let bytes: Bytes = [7, 0x12, 0x34, 0x78, 0x56, 0xff, 0xfe, 1, 2, 3, 0x61, 0x62, 0, 9]
        var reader = bytes.reader
        #expect(try reader.readByte() == 7)
        #expect(try reader.readInteger(UInt16.self) == 0x1234)
        #expect(try reader.readInteger(UInt16.self, .littleEndian) == 0x5678)
        #expect(try reader.readInteger(Int16.self) == -2)
        #expect(try reader.readInteger(byteCount: 3) == 0x010203)
        #expect(reader.position == 10 && reader.remainingByteCount == 4)
        #expect(try reader.peekByte(at: 1) == 0x62)
        #expect(try reader.readString(until: 0) == "ab")
        check(reader.remaining == [9])
        #expect(throws: ByteReaderError.invalid(.end, position: 13)) { try reader.expectEnd() }
        try reader.skip(1)
        try reader.expectEnd()
        check(reader.isAtEnd && reader.readRest().isEmpty)
    }

    @Test func `integers of every size are read in both orders`() throws {
        let bytes = Bytes((1...16).map { UInt8($0) })
        func both<Number: FixedWidthInteger>(_ big: Number, _ little: Number) throws {
            var first = bytes.reader, second = bytes.reader
            #expect(try first.readInteger(Number.self) == big)
            #expect(try second.readInteger(Number.self, .littleEndian) == little)
            #expect(first.position == MemoryLayout<Number>.size)
        }
        try both(1 as UInt8, 1)
        try both(0x0102 as UInt16, 0x0201)
        try both(0x0102_0304 as Int32, 0x0403_0201)
        try both(0x0102_0304_0506_0708 as UInt64, 0x0807_0605_0403_0201)
        try both(
            0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10 as UInt128,
            0x100f_0e0d_0c0b_0a09_0807_0605_0403_0201)
        for count in 1...8 {
            var first = bytes.reader, second = bytes.reader
            let big = (1...count).reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
            #expect(try first.readInteger(byteCount: count) == big)
            #expect(
                try second.readInteger(byteCount: count, .littleEndian)
                    == big.byteSwapped >> UInt64(64 - 8 * count))
        }
    }

    @Test func `a read beyond the end of whole bytes says how many are missing`() {
        #expect(failure(of: []) { _ = try $0.readByte() } == .ended(missingByteCount: 1))
        #expect(
            failure(of: [1]) { _ = try $0.readInteger(UInt32.self) }
                == .ended(missingByteCount: 3))
        #expect(failure(of: [1]) { _ = try $0.readSpan(5) } == .ended(missingByteCount: 4))
        #expect(failure(of: [1]) { _ = try $0.peekByte(at: 3) } == .ended(missingByteCount: 3))
        #expect(failure(of: [1]) { _ = try $0.readSpan(until: 0) } == .ended(missingByteCount: 1))
        #expect(
            failure(of: [0, 9, 1]) { _ = try $0.readSlice(lengthAs: UInt16.self) }
                == .ended(missingByteCount: 8))
        #expect(
            failure(of: "-") { _ = try $0.readDecimal(Int.self) } == .ended(missingByteCount: 1))
        #expect(failure(of: "ab") { try $0.expect("abc") } == .ended(missingByteCount: 1))
    }

    @Test func `a text that is no literal is compared as one that is`() throws {
        for text in ["", "x", "GET ", "\r\n", String(repeating: "längeres ", count: 9)] {
            let bytes = Bytes(text.utf8) + Bytes("!")
            var reader = ByteReader(bytes)
            try reader.expect(text)
            try reader.expect("!")
            reader = ByteReader(bytes)
            #expect(try reader.skip(ifNext: text) && reader.position == text.utf8.count)
            #expect(try !reader.skip(ifNext: "?") && reader.skip(ifNext: "!"))
            reader = ByteReader(bytes)
            #expect(throws: ByteReaderError.self) { try reader.expect(text + "?") }
            #expect(reader.position == 0)
        }
        let end = "\r\n"
        var reader = ByteReader("one\r\ntwo")
        #expect(try reader.readSpan(until: end) == Bytes("one").span)
        reader = ByteReader("one\r\ntwo")
        #expect(try reader.readSpan(until: "\r\n") == Bytes("one").span)
    }

    @Test func `a reader of a stream says that more is needed`() {
        func needs(_ bytes: Bytes, _ read: (inout ByteReader) throws -> Void) -> Int? {
            guard case .needsMore(let count) = failure(of: bytes, moreMayFollow: true, read) else {
                return nil
            }
            return count
        }
        #expect(needs([1]) { _ = try $0.readSpan(5) } == 4)
        #expect(needs("12") { _ = try $0.readDecimal(Int.self) } == 1)
        #expect(needs("1f") { _ = try $0.readHexadecimal(Int.self) } == 1)
        #expect(needs("ab") { _ = try $0.readSpan(while: { $0 > 0x60 }) } == 1)
        #expect(needs("ab") { _ = try $0.readWord() } == 1)
        #expect(needs("a\r") { _ = try $0.readSpan(until: "\r\n") } == 1)
        #expect(needs("GE") { _ = try $0.skip(ifNext: "GET ") } == 2)
        #expect(needs([0x80]) { _ = try $0.readVarint(UInt32.self) } == 1)
        // What contradicts already is not waited for.
        #expect(
            failure(of: "GX", moreMayFollow: true) { try $0.expect("GET") }
                == .invalid(.literal, position: 1))
        #expect(failure(of: "HEAD", moreMayFollow: true) { _ = try $0.skip(ifNext: "GET") } == nil)
    }

    @Test func `a length from the wire is an error and no trap, whatever it is`() {
        #expect(
            failure(of: [1]) { _ = try $0.readSpan(-1 as Int32) }
                == .invalid(.byteCount, position: 0))
        #expect(failure(of: [1]) { try $0.skip(Int.min) } == .invalid(.byteCount, position: 0))
        #expect(
            failure(of: [1]) { _ = try $0.readBytes(UInt64.max) } == .ended(missingByteCount: .max))
        #expect(
            failure(of: [1]) { _ = try $0.readBytes(Int.max) } == .ended(missingByteCount: .max - 1)
        )
        #expect(
            failure(of: [1], moreMayFollow: true) { _ = try $0.readSlice(UInt128.max) }
                == .needsMore(byteCount: .max))
        #expect(failure(of: [1]) { try $0.move(to: 2) } == .invalid(.position, position: 0))
        #expect(failure(of: [1]) { try $0.move(to: -1) } == .invalid(.position, position: 0))
        #expect(
            failure(of: [1]) { _ = try $0.peekByte(at: -1) } == .invalid(.position, position: 0))
        #expect(
            failure(of: [1]) { _ = try $0.peekByte(at: .max) } == .ended(missingByteCount: .max))
    }

    @Test func `a slice ends where its bytes end, in a stream too`() throws {
        let bytes: Bytes = [0, 2, 0x61, 0x62, 0x63]
        var reader = ByteReader(bytes.span, moreMayFollow: true)
        var slice = try reader.readSlice(lengthAs: UInt16.self)
        #expect(try slice.readString(2) == "ab")
        check(slice.isAtEnd && !slice.moreMayFollow)
        #expect(throws: ByteReaderError.ended(missingByteCount: 1)) { try slice.skip(1) }
        #expect(try reader.readByte() == 0x63)
        #expect(throws: ByteReaderError.needsMore(byteCount: 1)) { try reader.skip(1) }
    }

    @Test func `decimal digits are read strictly`() throws {
        func decimal<Number: FixedWidthInteger>(_ text: Bytes, _ type: Number.Type) -> Number? {
            Number(decimal: text.span)
        }
        #expect(decimal("0", Int.self) == 0)
        #expect(decimal("-0", Int.self) == 0)
        #expect(decimal("007", Int.self) == 7)
        #expect(decimal("-9223372036854775808", Int.self) == .min)
        #expect(decimal("9223372036854775807", Int.self) == .max)
        #expect(decimal("9223372036854775808", Int.self) == nil)
        #expect(decimal("18446744073709551615", UInt64.self) == .max)
        #expect(decimal("255", UInt8.self) == 255)
        for text in ["", "-", "+1", " 1", "1 ", "0x1", "--1", "1-", "１"] as [String] {
            #expect(decimal(Bytes(text), Int.self) == nil, "\(text)")
        }
        #expect(decimal("-1", UInt8.self) == nil)
        #expect(decimal("256", UInt8.self) == nil)
        #expect(decimal(Bytes(repeating: UInt8(ascii: "0"), count: 32), Int.self) == 0)
        #expect(decimal(Bytes(repeating: UInt8(ascii: "0"), count: 33), Int.self) == nil)
        #expect(
            failure(of: "x") { _ = try $0.readDecimal(Int.self) } == .invalid(.decimal, position: 0)
        )
        #expect(
            failure(of: "256") { _ = try $0.readDecimal(UInt8.self) }
                == .invalid(.range, position: 0))
    }

    @Test func `hexadecimal digits are read in both cases`() {
        #expect(Int(hexadecimal: Bytes("fF").span) == 255)
        #expect(UInt64(hexadecimal: Bytes("ffffffffffffffff").span) == .max)
        #expect(UInt64(hexadecimal: Bytes("10000000000000000").span) == nil)
        #expect(UInt8(hexadecimal: Bytes("").span) == nil)
        #expect(UInt8(hexadecimal: Bytes("g").span) == nil)
        for byte in UInt8.min...UInt8.max {
            let text = String(UnicodeScalar(byte))
            #expect(byte.hexadecimalDigitValue == (byte < 128 ? UInt8(text, radix: 16) : nil))
        }
    }

    @Test func `words and lines are read`() throws {
        let text: Bytes = "  set  key 1\r\nnext\n\n"
        var reader = text.reader
        var line = try reader.readLine().reader
        var words: [String] = []
        while let word = try line.readWord() { words.append(String(decoding: word)) }
        #expect(words == ["set", "key", "1"])
        check(try reader.readLine() == "next")
        check(try reader.readLine() == "")
        #expect(throws: ByteReaderError.ended(missingByteCount: 1)) { _ = try reader.readLine() }
        var none = Bytes("   ").reader
        check(try none.readWord() == nil)
        check(none.isAtEnd)
    }

    @Test func `a varint is read as it was written, and refused where it is too long`() throws {
        func same<Number: FixedWidthInteger & UnsignedInteger>(_ number: Number, _ bytes: Bytes)
            throws
        {
            #expect(Bytes { $0.writeVarint(number) } == bytes)
            var reader = bytes.reader
            #expect(try reader.readVarint(Number.self) == number)
            check(reader.isAtEnd)
        }
        try same(0 as UInt32, [0])
        try same(127 as UInt8, [0x7f])
        try same(128 as UInt8, [0x80, 1])
        try same(255 as UInt8, [0xff, 1])
        try same(300 as UInt64, [0xac, 2])
        try same(UInt32.max, [0xff, 0xff, 0xff, 0xff, 0x0f])
        try same(UInt64.max, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])
        for bytes in [[0x80, 2], [0x80, 0x80, 0], [0xff, 0xff, 1]] as [Bytes] {
            #expect(
                failure(of: bytes, moreMayFollow: true) { _ = try $0.readVarint(UInt8.self) }
                    == .invalid(.varint, position: 0))
        }
        #expect(
            failure(of: [0xff, 0xff, 0xff, 0xff, 0x10]) { _ = try $0.readVarint(UInt32.self) }
                == .invalid(.varint, position: 0))
    }

    @Test func `what a reader of Bytes keeps is shared, and of a span copied`() throws {
        let bytes: Bytes = [1, 2, 3, 4, 5]
        var reader = bytes.reader
        try reader.skip(1)
        let piece = try reader.readBytes(2)
        #expect(piece == [2, 3])
        #expect(unsafe piece.unsafeBytes.baseAddress == bytes.unsafeBytes.baseAddress! + 1)
        var slice = try reader.readSlice(2)
        let inner = try slice.readBytes(1)
        #expect(unsafe inner.unsafeBytes.baseAddress == bytes.unsafeBytes.baseAddress! + 3)
        var borrowed = bytes.span.reader
        let copy = try borrowed.readBytes(2)
        #expect(copy == [1, 2])
        #expect(unsafe copy.unsafeBytes.baseAddress != bytes.unsafeBytes.baseAddress)
    }

    @Test func `text that is not UTF-8 is refused where text is asked for`() {
        #expect(
            failure(of: [0xff, 0]) { _ = try $0.readString(2) } == .invalid(.utf8, position: 0))
        #expect(
            failure(of: [0xff, 0]) { _ = try $0.readString(until: 0) }
                == .invalid(.utf8, position: 0))
    }

    @Test func `a search goes on where it ended, and never beyond a delimiter`() throws {
        let text = [UInt8](repeating: UInt8(ascii: "\r"), count: 40) + Array("\nab\r\n".utf8)
        let whole = Bytes(text)
        var search = ByteReader.Search()
        for count in 0...whole.count {
            let beginning = whole[..<count]
            var reader = ByteReader(beginning.span, continuing: search)
            do throws(ByteReaderError) {
                let line = try reader.readSpan(until: "\r\n")
                #expect(line.byteCount == 39 && count == 41)
                return
            } catch {
                #expect(error == .needsMore(byteCount: 1))
                search = reader.unfinishedSearch
                // Another delimiter with the same end is searched from the beginning.
                if count == 40 {
                    var other = ByteReader(whole[..<42].span, continuing: search)
                    #expect(try other.readSpan(until: UInt8(ascii: "\n")).byteCount == 40)
                }
            }
        }
        Issue.record("the delimiter was not found")
    }

    @Test func `errors are sentences`() {
        #expect("\(ByteReaderError.needsMore(byteCount: 3))" == "at least 3 more bytes are needed")
        #expect(
            "\(ByteReaderError.ended(missingByteCount: 2))"
                == "the bytes end, and at least 2 are missing")
        #expect(
            "\(ByteReaderError.invalid(.decimal, position: 4))"
                == "the byte at position 4 is not the beginning of a decimal number")
    }

    @Test func `an integer without a size traps`() async {
        await #expect(processExitsWith: .failure) {
            let bytes: Bytes = [1]
            var reader = bytes.reader
            _ = try reader.readInteger(byteCount: 0)
        }
        await #expect(processExitsWith: .failure) {
            let bytes: Bytes = [1]
            var reader = bytes.reader
            _ = try reader.readSpan(until: "")
        }
    }
}
