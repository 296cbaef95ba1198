// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

/// One read, with what it is called with.
private enum Read: CaseIterable {
    case byte, uint16, int64Little, threeBytes, span, bytes, untilByte, untilText, line, word
    case whileDigit, expect, skipIfNext, decimal, hexadecimal, varint, slice, string, peek, move
}

/// What a read gave: a text that tells values apart, or the error.
private enum Answer: Equatable {
    case value(String)
    case failed(ByteReaderError)

    var needed: Int? {
        if case .failed(.needsMore(let count)) = self { count } else { nil }
    }
}

private func answer(_ read: Read, _ number: Int, _ reader: inout ByteReader) -> Answer {
    do throws(ByteReaderError) {
        switch read {
        case .byte: return .value("\(try reader.readByte())")
        case .uint16: return .value("\(try reader.readInteger(UInt16.self))")
        case .int64Little: return .value("\(try reader.readInteger(Int64.self, .littleEndian))")
        case .threeBytes: return .value("\(try reader.readInteger(byteCount: 3))")
        case .span: return .value("\([UInt8](try reader.readSpan(number)))")
        case .bytes: return .value("\(Array(try reader.readBytes(number)))")
        case .untilByte: return .value("\([UInt8](try reader.readSpan(until: 0x0a)))")
        case .untilText: return .value("\([UInt8](try reader.readSpan(until: "\r\n")))")
        case .line: return .value("\([UInt8](try reader.readLine()))")
        case .word:
            guard let word = try reader.readWord() else { return .value("none") }
            return .value("\([UInt8](word))")
        case .whileDigit: return .value("\([UInt8](try reader.readSpan(while: { $0 < 0x3a })))")
        case .expect:
            try reader.expect("-0")
            return .value("")
        case .skipIfNext: return .value("\(try reader.skip(ifNext: "\r\n"))")
        case .decimal: return .value("\(try reader.readDecimal(Int8.self))")
        case .hexadecimal: return .value("\(try reader.readHexadecimal(UInt8.self))")
        case .varint: return .value("\(try reader.readVarint(UInt16.self))")
        case .slice:
            var slice = try reader.readSlice(lengthAs: UInt8.self)
            return .value("\([UInt8](slice.readRest()))")
        case .string: return .value(try reader.readString(until: 0x20))
        case .peek: return .value("\(try reader.peekByte(at: number))")
        case .move:
            try reader.move(to: number)
            return .value("")
        }
    } catch { return .failed(error) }
}

/// The same by the plainest means, in whole bytes: nil if the bytes do not suffice.
private func model(_ read: Read, _ number: Int, _ rest: [UInt8]) -> (value: String, used: Int)? {
    func upTo(_ delimiter: [UInt8]) -> Int? {
        (0..<max(0, rest.count - delimiter.count + 1))
            .first { Array(rest[$0..<($0 + delimiter.count)]) == delimiter }
    }
    func big(_ count: Int) -> UInt64? {
        rest.count >= count ? rest[..<count].reduce(0) { $0 << 8 | UInt64($1) } : nil
    }
    func digits(_ radix: Int, sign: Bool) -> [UInt8] {
        let signCount = sign && rest.first == 0x2d ? 1 : 0
        return rest[..<signCount]
            + rest[signCount...].prefix {
                Int(String(UnicodeScalar($0)), radix: radix) != nil && $0 < 128
            }
    }
    switch read {
    case .byte: return rest.first.map { ("\($0)", 1) }
    case .uint16: return big(2).map { ("\($0)", 2) }
    case .int64Little:
        return big(8).map { ("\(Int64(bitPattern: $0.byteSwapped))", 8) }
    case .threeBytes: return big(3).map { ("\($0)", 3) }
    case .span, .bytes:
        guard (0...rest.count).contains(number) else { return nil }
        return ("\(Array(rest[..<number]))", number)
    case .untilByte: return upTo([0x0a]).map { ("\(Array(rest[..<$0]))", $0 + 1) }
    case .untilText: return upTo([0x0d, 0x0a]).map { ("\(Array(rest[..<$0]))", $0 + 2) }
    case .line:
        return upTo([0x0a]).map { end in
            let line = rest[..<end]
            return ("\(Array(line.last == 0x0d ? line.dropLast() : line))", end + 1)
        }
    case .word:
        let lead = rest.prefix { $0 == 0x20 }.count
        let word = rest[lead...].prefix { $0 != 0x20 }
        return (word.isEmpty ? "none" : "\(Array(word))", lead + word.count)
    case .whileDigit:
        let run = rest.prefix { $0 < 0x3a }
        return ("\(Array(run))", run.count)
    case .expect: return rest.starts(with: [0x2d, 0x30]) ? ("", 2) : nil
    case .skipIfNext:
        return rest.starts(with: [0x0d, 0x0a]) ? ("true", 2) : ("false", 0)
    case .decimal:
        let text = digits(10, sign: true)
        return Int8(String(decoding: text, as: UTF8.self)).map { ("\($0)", text.count) }
    case .hexadecimal:
        let text = digits(16, sign: false)
        return UInt8(String(decoding: text, as: UTF8.self), radix: 16).map { ("\($0)", text.count) }
    case .varint:
        guard let last = rest.prefix(3).firstIndex(where: { $0 < 0x80 }) else { return nil }
        let value = rest[...last].reversed().reduce(0) { $0 << 7 | Int($1 & 0x7f) }
        return value <= 0xffff ? ("\(value)", last + 1) : nil
    case .slice:
        guard let count = rest.first, rest.count > Int(count) else { return nil }
        return ("\(Array(rest[1..<(1 + Int(count))]))", 1 + Int(count))
    case .string:
        guard let end = upTo([0x20]), let text = String(validating: rest[..<end], as: UTF8.self)
        else { return nil }
        return (text, end + 1)
    case .peek: return rest.indices.contains(number) ? ("\(rest[number])", 0) : nil
    case .move: return nil
    }
}

/// Bytes in which every read has something to find.
private func anyBytes(_ random: inout SplitMix64) -> [UInt8] {
    let values: [UInt8] = [
        0, 1, 2, 0x0a, 0x0d, 0x20, 0x2d, 0x30, 0x31, 0x39, 0x61, 0x66, 0x80, 0xff,
    ]
    return (0..<Int.random(in: 0...24, using: &random)).map { _ in
        Bool.random(using: &random)
            ? values.randomElement(using: &random)! : UInt8.random(in: 0...255, using: &random)
    }
}

@Suite struct ByteReaderModelTests {
    @Test(arguments: 0..<20)
    func `random reads of whole bytes give what a plain model gives`(seed: Int) throws {
        var random = SplitMix64(state: UInt64(seed))
        for _ in 0..<500 {
            let array = anyBytes(&random)
            let bytes = Bytes(array)
            var reader = bytes.reader
            for _ in 0..<8 {
                let read = Read.allCases.randomElement(using: &random)!
                let number = Int.random(in: -2...12, using: &random)
                let before = reader.position
                let got = answer(read, number, &reader)
                if read == .move {
                    let isWithin = (0...array.count).contains(number)
                    #expect(reader.position == (isWithin ? number : before))
                    continue
                }
                let rest = Array(array[before...])
                if let wanted = model(read, number, rest) {
                    #expect(got == .value(wanted.value), "\(read) of \(rest)")
                    #expect(reader.position == before + wanted.used, "\(read) of \(rest)")
                } else {
                    guard case .failed(let error) = got else {
                        Issue.record("\(read) of \(rest) gave \(got)")
                        continue
                    }
                    #expect(reader.position == before)
                    if case .needsMore = error { Issue.record("\(read) of whole bytes waits") }
                }
            }
        }
    }

    @Test(arguments: 0..<20)
    func `the beginning of a stream never gives another answer than the whole`(seed: Int) {
        var random = SplitMix64(state: UInt64(100 + seed))
        for _ in 0..<500 {
            let bytes = Bytes(anyBytes(&random))
            let reads = (0..<4).map { _ in
                let read = Read.allCases.filter { $0 != .move }.randomElement(using: &random)!
                return (read, Int.random(in: -2...12, using: &random))
            }
            var search = ByteReader.Search()
            for count in 0...bytes.count {
                let beginning = bytes[..<count]
                var reader = ByteReader(beginning.span, continuing: search)
                var whole = ByteReader(bytes.span, moreMayFollow: true)
                for (read, number) in reads {
                    let start = reader.position
                    let got = answer(read, number, &reader)
                    let wanted = answer(read, number, &whole)
                    if let needed = got.needed {
                        #expect(reader.position == start)
                        #expect(needed > 0)
                        // It must not ask for more than what it needs in the end.
                        if case .value = wanted {
                            let most = max(whole.position, start + (read == .peek ? number + 1 : 0))
                            let isScan =
                                read == .whileDigit || read == .word || read == .decimal
                                || read == .hexadecimal || read == .skipIfNext
                            #expect(count + needed <= most || isScan, "\(read) of \(bytes)")
                        }
                        break
                    }
                    #expect(got == wanted, "\(read) of \(bytes) after \(count) bytes")
                    #expect(reader.position == whole.position)
                }
                search = reader.unfinishedSearch
            }
        }
    }
}
