// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

@Suite struct BytesTests {
    @Test func `bytes hold a copy of what they were made of`() {
        var array: [UInt8] = [1, 2, 3]
        let bytes = Bytes(array)
        array[0] = 9
        #expect(Array(bytes) == [1, 2, 3])
        #expect(Array(bytes.span) == [1, 2, 3])
        #expect(Array(Bytes(bytes.span)) == [1, 2, 3])
        #expect(String(decoding: Bytes("grüße")) == "grüße")
    }

    @Test func `no bytes need no memory`() {
        for bytes in [Bytes(), Bytes([]), Bytes(""), Bytes(Bytes().span), "", []] {
            #expect(bytes.isEmpty)
            #expect(bytes.storage == nil)
            #expect(bytes.span.byteCount == 0)
            #expect(Array(bytes) == [])
            #expect(bytes == Bytes())
        }
    }

    @Test func `a slice shares the bytes and counts from 0`() {
        let bytes: Bytes = [0, 1, 2, 3, 4]
        let slice = bytes[1..<4][1...]
        #expect(slice == [2, 3])
        #expect(slice[0] == 2)
        #expect(slice.storage === bytes.storage)
        #expect(unsafe slice.unsafeBytes.baseAddress == bytes.unsafeBytes.baseAddress! + 2)
        #expect(bytes[...2] == [0, 1, 2])
        #expect(bytes[2..<2].storage == nil)
        #expect(bytes[5...].isEmpty)
    }

    @Test func `a slice keeps its bytes when all else is gone`() {
        let slice: Bytes = {
            let whole = Bytes([UInt8](repeating: 7, count: 10_000))
            return whole[9_998...]
        }()
        #expect(slice == [7, 7])
    }

    @Test func `a compacted slice lets go of the rest`() {
        let slice = Bytes([1, 2, 3, 4])[1..<3]
        #expect(slice.compacted() == slice)
        #expect(slice.compacted().storage !== slice.storage)
        #expect(("literal" as Bytes).compacted().storage == nil)
    }

    @Test func `a literal of characters is not copied`() {
        let bytes: Bytes = "PING\r\n"
        #expect(bytes.storage == nil)
        #expect(Array(bytes) == Array("PING\r\n".utf8))
        let one: Bytes = "ü"
        #expect(Array(one) == [0xc3, 0xbc])
    }

    @Test func `bytes are made in place`() {
        let bytes = Bytes(capacity: 8) { room in
            room.append(0x7f)
            room.append(1, as: UInt8.self)
        }
        #expect(bytes == [0x7f, 1])
        #expect(Bytes(capacity: 0) { _ in } == Bytes())
        #expect(throws: CancellationError.self) {
            try Bytes(capacity: 8) { _ in throw CancellationError() }
        }
    }

    @Test func `equal bytes are equal and hash alike, wherever they lie`() {
        let slice = Bytes([9, 1, 2, 3, 9])[1..<4]
        #expect(slice == Bytes([1, 2, 3]))
        #expect(Set([slice, [1, 2, 3], [1, 2]]).count == 2)
        #expect(slice != [1, 2, 4])
        #expect(Bytes("PING") == "PING")
        #expect(Bytes("PING") != "PONG")
    }

    @Test func `bytes print so that a person can tell them apart`() {
        #expect("\(Bytes("GET /\r\n"))" == #"GET /\r\n"#)
        #expect("\([0, 0x1b, 0xff, 0x5c] as Bytes)" == #"\x00\x1b\xff\\"#)
        #expect(Bytes("a").debugDescription == "\"a\"")
    }

    @Test func `text that is not UTF-8 is repaired or refused`() {
        #expect(String(decoding: [0x61, 0xff] as Bytes) == "a\u{fffd}")
        #expect(String(validating: [0x61, 0xff] as Bytes) == nil)
        #expect(String(validating: [0x61] as Bytes) == "a")
        #expect(String(validating: Bytes()) == "")
    }

    @Test func `bytes are a collection whose parts are bytes`() {
        let bytes: Bytes = [1, 2, 3, 4]
        let parts = [bytes.prefix(2), bytes.suffix(2), bytes.dropFirst(), bytes.dropLast(3)]
        #expect(parts == [[1, 2], [3, 4], [2, 3, 4], [1]])
        #expect(bytes.prefix(9) == bytes && bytes.suffix(9) == bytes)
        #expect(bytes.dropFirst(9).isEmpty && bytes.dropLast(9).isEmpty)
        #expect(bytes.first == 1 && bytes.last == 4 && Bytes().first == nil)
        #expect(bytes.reversed() == [4, 3, 2, 1])
        #expect(bytes.indices == 0..<4)
        #expect(bytes.map { Int($0) }.reduce(0, +) == 10)
        #expect(bytes.firstIndex { $0 > 2 } == 2 && bytes.contains(3) && !bytes.contains(9))
        #expect(bytes + [5] == [1, 2, 3, 4, 5])
        #expect(Bytes(joining: [bytes, [], [9]]) == [1, 2, 3, 4, 9])
        #expect(Array(bytes.enumerated().map(\.offset)) == [0, 1, 2, 3])
    }

    @Test func `a slice of generic code shares positions, and becomes bytes`() {
        func middle<Whole: RandomAccessCollection>(_ whole: Whole) -> Whole.SubSequence
        where Whole.Index == Int { whole[1..<3] }
        let bytes: Bytes = [1, 2, 3, 4]
        let slice = middle(bytes)
        #expect(slice.startIndex == 1 && slice[1] == 2)
        let shared = Bytes(slice)
        #expect(shared == [2, 3] && shared[0] == 2)
        #expect(unsafe shared.unsafeBytes.baseAddress == bytes.unsafeBytes.baseAddress! + 1)
    }

    @Test func `bytes are split as an array is`() {
        var random = SplitMix64(state: 11)
        for _ in 0..<1000 {
            let array = (0..<Int.random(in: 0...12, using: &random)).map { _ in
                UInt8.random(in: 0...2, using: &random)
            }
            for omits in [true, false] {
                for most in [0, 1, 2, .max] {
                    let parts = Bytes(array).split(
                        separator: 1, maxSplits: most, omittingEmptySubsequences: omits)
                    let wanted = array.split(
                        separator: 1, maxSplits: most, omittingEmptySubsequences: omits)
                    #expect(parts.map { Array($0) } == wanted.map { Array($0) })
                }
            }
        }
    }

    @Test func `bytes come from and go to what else holds bytes`() {
        let array: [UInt8] = [1, 2, 3, 4]
        #expect(Bytes(array[1..<3]) == [2, 3])
        #expect(Bytes(array.lazy.map { $0 * 2 }) == [2, 4, 6, 8])
        #expect(Bytes(stride(from: 0 as UInt8, to: 3, by: 1)) == [0, 1, 2])
        #expect(Bytes("né".utf8) == "né")
        #expect(Bytes(repeatElement(7, count: 2)) == Bytes(repeating: 7, count: 2))
        #expect(Array(Bytes(array)) == array && ArraySlice(Bytes(array)) == array[...])
        #expect(String(decoding: Bytes("né"), as: UTF8.self) == "né")
    }

    @Test func `positions beyond the end trap`() async {
        await #expect(processExitsWith: .failure) { _ = Bytes([1])[1] }
        await #expect(processExitsWith: .failure) { _ = Bytes([1])[-1] }
        await #expect(processExitsWith: .failure) { _ = Bytes([1])[0..<2] }
        await #expect(processExitsWith: .failure) { _ = Bytes([1, 2])[1...][1] }
    }
}
