// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
@testable import TorsionHTTP
import TorsionTesting

@Suite struct FieldLineTests {
    /// Lines that are nearly usual: one byte or none is not.
    private func makeLine(_ dice: inout SeededGenerator) -> [UInt8] {
        let names = [
            "Host", "Accept", "User-Agent", "TE", "Content-Security-Policy", "X-Colour", "",
        ]
        var line = Array(names.randomElement(using: &dice)!.utf8)
        line += [":", ": ", ":  ", ":\t", ""].randomElement(using: &dice)!.utf8
        for _ in 0..<Int.random(in: 0..<30, using: &dice) {
            line.append(UInt8.random(in: 0x20..<0x7f, using: &dice))
        }
        line += ["\r\n", "\r\n", "\r\n", "\n", "\r", " \r\n", ""].randomElement(using: &dice)!.utf8
        if Int.random(in: 0..<3, using: &dice) == 0, !line.isEmpty {
            let odd: [UInt8] = [0, 9, 10, 13, 0x1f, 0x20, 0x3a, 0x7f, 0x80, 0xff]
            let place = Int.random(in: 0..<line.count, using: &dice)
            line[place] = odd.randomElement(using: &dice)!
        }
        return line
    }

    @Test
    func `a line of the usual form is what it is byte by byte, and no other is taken for one`() {
        var dice = SeededGenerator(seed: 20)
        var usualCount = 0
        for _ in 0..<200_000 {
            let before = Array("GET / HTTP/1.1\r\n".utf8)
            let behind = [[], [13, 10], Array("Accept: */*\r\n\r\n".utf8)]
            let bytes = before + makeLine(&dice) + behind.randomElement(using: &dice)!
            bytes.withUnsafeBufferPointer { buffer in
                // It has the first line at least.
                let base = buffer.baseAddress!, start = before.count
                let names = FieldNameTable.shared
                guard
                    let usual = FieldLine.usual(base, base + start, base + bytes.count, names)
                else { return }
                usualCount += 1
                guard
                    case .field(let found) = FieldLine.find(
                        base, start, bytes.count, names, isOver: false)
                else {
                    Issue.record("\(bytes) is refused byte by byte")
                    return
                }
                #expect(
                    usual.nameStart == found.nameStart && usual.nameCount == found.nameCount
                        && usual.name == found.name && usual.valueStart == found.valueStart
                        && usual.valueEnd == found.valueEnd && usual.end == found.end, "\(bytes)")
            }
        }
        #expect(usualCount > 5_000)
    }

    @Test func `a value is judged by its bytes, wherever they are`() {
        func isValue(_ bytes: [UInt8]) -> Bool { isFieldValue(bytes.span.bytes) }
        for count in 0..<40 {
            let value = [UInt8](repeating: UInt8(ascii: "a"), count: count)
            #expect(isValue(value))
            for place in 0..<count {
                for byte in UInt8.min...UInt8.max {
                    var value = value
                    value[place] = byte
                    let isAllowed = byte == 9 || byte >= 0x20 && byte != 0x7f
                    #expect(isValue(value) == isAllowed, "\(value)")
                }
            }
        }
    }

    @Test func `a host is the recent one only if each byte of it is`() {
        for count in [1, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33] {
            let host = (0..<count).map { UInt8(ascii: "a") + UInt8($0 % 26) }
            var recent = RecentHost()
            func equals(_ other: [UInt8]) -> Bool {
                other.withUnsafeBufferPointer { recent.equals($0.baseAddress!, other.count) }
            }
            #expect(!equals(host))
            host.withUnsafeBufferPointer { recent.keep($0.baseAddress!, count) }
            #expect(equals(host) == (8...32 ~= count))
            #expect(!equals(host + [97]))
            for place in host.indices {
                var other = host
                other[place] = UInt8(ascii: ",")
                #expect(!equals(other), "\(count), \(place)")
            }
        }
    }
}
