// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

/// As `#expect`, which cannot look into an expression with a span: it would have to keep it.
private func check(_ condition: Bool, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(condition, sourceLocation: sourceLocation)
}

@Suite struct RawSpanTests {
    @Test func `a byte is found at every position of every length`() {
        for count in 0..<40 {
            for position in 0..<count {
                var array = [UInt8](repeating: 0x0b, count: count)
                array[position] = 0x0a
                // A wrong borrow between bytes would show right above the one sought.
                if position + 1 < count { array[position + 1] = 0x0b }
                let bytes = Bytes(array)
                #expect(bytes.firstIndex(of: 0x0a) == position)
                #expect(bytes.firstIndex(of: 0x0a, from: position) == position)
                #expect(bytes.firstIndex(of: 0x0a, from: position + 1) == nil)
                #expect(bytes.firstIndex(of: 0xff) == nil)
            }
        }
    }

    @Test func `a byte is found as a plain search finds it`() {
        var random = SplitMix64(state: 3)
        for _ in 0..<2000 {
            let count = Int.random(in: 0...50, using: &random)
            let values: [UInt8] = [0, 1, 0x7f, 0x80, 0x81, 0xfe, 0xff]
            let array = (0..<count).map { _ in values.randomElement(using: &random)! }
            let start = Int.random(in: 0...count, using: &random)
            let wanted = values.randomElement(using: &random)!
            let found = Bytes(array).firstIndex(of: wanted, from: start)
            #expect(found == array[start...].firstIndex(of: wanted))
        }
    }

    @Test func `spans compare with spans, texts and arrays`() {
        for count in 0..<20 {
            let array = (0..<count).map { UInt8($0) }
            let span = array.span.bytes
            check(span == array)
            check(!(span != array))
            for position in 0..<count {
                var other = array
                other[position] ^= 0x80
                check(span != other)
            }
            check(span != array + [0])
        }
        let ping = Bytes("PING")
        check(ping.span == "PING")
        check(ping.span != "PONG")
        check(ping.span != "PIN")
    }

    @Test func `a span begins with a prefix of itself and no other`() {
        let bytes = Bytes("GET / HTTP/1.1")
        check(bytes.span.starts(with: "GET "))
        check(bytes.span.starts(with: ""))
        check(bytes.span.starts(with: bytes.span))
        check(bytes.span.starts(with: [0x47]))
        check(!bytes.span.starts(with: "GET / HTTP/1.1\r"))
        check(!bytes.span.starts(with: "PUT"))
        check(bytes.span.contains(UInt8(ascii: "/")))
        check(!bytes.span.contains(0))
    }

    @Test func `a switch over spans takes texts`() {
        func answer(_ bytes: RawSpan) -> Int {
            switch bytes {
            case "PING": 1
            case "QUIT": 2
            default: 0
            }
        }
        check(answer(Bytes("QUIT").span) == 2)
        check(answer(Bytes("PINGS").span) == 0)
    }

    @Test func `a span is copied into text and arrays`() {
        let bytes = Bytes("aü")
        check(String(decoding: bytes.span) == "aü")
        check(String(validating: bytes.span) == "aü")
        check(String(validating: bytes.span.extracting(0..<2)) == nil)
        var array: [UInt8] = [1]
        array += bytes.span
        array += Bytes().span
        #expect(array == [1, 0x61, 0xc3, 0xbc])
        check(bytes.span[1] == 0xc3)
    }

    @Test func `positions beyond the end trap`() async {
        await #expect(processExitsWith: .failure) { _ = Bytes([1]).span[1] }
        await #expect(processExitsWith: .failure) { _ = Bytes([1]).span[-1] }
        await #expect(processExitsWith: .failure) { _ = Bytes([1]).firstIndex(of: 1, from: 2) }
    }

    @Test func `a span is cut by every kind of range`() {
        let bytes: Bytes = [0, 1, 2, 3, 4]
        let span = bytes.span
        check(span[1..<3] == [1, 2])
        check(span[1...3] == [1, 2, 3])
        check(span[3...] == [3, 4])
        check(span[..<2] == [0, 1])
        check(span[...0] == [0])
        check(span[5...].isEmpty && span[2..<2].isEmpty)
        #expect(span.indices == 0..<5 && span.first == 0 && span.last == 4)
        check(Bytes().span.first == nil && Bytes().span.last == nil)
    }

    @Test func `an integer is read where it is, or not at all`() {
        let bytes: Bytes = [1, 2, 3, 4]
        #expect(bytes.span.integer(at: 1, as: UInt16.self) == 0x0203)
        #expect(bytes.span.integer(at: 2, as: UInt16.self, .littleEndian) == 0x0403)
        #expect(bytes.span.integer(at: 3, as: UInt16.self) == nil)
        #expect(bytes.span.integer(at: -1, as: UInt8.self) == nil)
        #expect(bytes.span.integer(at: .max, as: UInt8.self) == nil)
        #expect(bytes.span.integer(at: 4, as: UInt8.self) == nil)
    }

    @Test func `texts are found as a plain search finds them`() {
        var random = SplitMix64(state: 9)
        for _ in 0..<5000 {
            let array = (0..<Int.random(in: 0...30, using: &random)).map { _ in
                UInt8.random(in: 0x61...0x62, using: &random)
            }
            let wanted = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                UInt8.random(in: 0x61...0x62, using: &random)
            }
            let start = Int.random(in: 0...array.count, using: &random)
            let plain = (start...array.count).first { array[$0...].starts(with: wanted) }
            let text = String(decoding: wanted, as: UTF8.self)
            #expect(array.span.bytes.firstIndex(of: text, from: start) == plain)
        }
    }

    @Test func `case is ignored where it is asked for, in ASCII alone`() {
        check(Bytes("Content-LENGTH").span.equalsIgnoringCase("content-length"))
        check(!Bytes("content-lengt").span.equalsIgnoringCase("content-length"))
        check(!Bytes("É").span.equalsIgnoringCase("é"))
        let (name, other) = ("content-length", "content-lengths")
        check(Bytes("Content-LENGTH").span.equalsIgnoringCase(name))
        check(!Bytes("Content-LENGTH").span.equalsIgnoringCase(other))
        check(Bytes("content-length: 5").span.starts(with: name))
        check(Bytes("a content-length").span.firstIndex(of: name) == 2)
        check(!Bytes("@[`{").span.equalsIgnoringCase("`{@["))
        check(Bytes("HeLo x").span.startsIgnoringCase(with: "helo "))
        check(!Bytes("He").span.startsIgnoringCase(with: "helo"))
        #expect(Bytes("PiNG").equalsIgnoringCase("ping"))
        for byte in UInt8.min...UInt8.max {
            let character = Character(UnicodeScalar(byte))
            let isASCII = byte < 128
            let lower = isASCII ? character.lowercased().utf8.first! : byte
            let upper = isASCII ? character.uppercased().utf8.first! : byte
            #expect(byte.asciiLowercased == lower && byte.asciiUppercased == upper)
        }
    }

    @Test func `blanks are trimmed at both ends`() {
        check(Bytes(" \t a b\t ").span.trimmed == "a b")
        check(Bytes(" \t ").span.trimmed.isEmpty)
        check(Bytes("").span.trimmed.isEmpty)
    }

    @Test func `ranges beyond the end of a span trap`() async {
        await #expect(processExitsWith: .failure) { _ = Bytes([1]).span[0..<2].byteCount }
        await #expect(processExitsWith: .failure) { _ = Bytes([1]).span[2...].byteCount }
    }
}
