// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import CAllocations
import Testing
import Torsion

/// What is read in place costs no memory, counted for the test's own thread.
@Suite struct AllocationTests {
    /// How often `body` is given memory, when it is run a second time.
    private func count(_ body: () throws -> Void) rethrows -> UInt64 {
        try body()
        let before = torsion_test_allocation_count()
        try body()
        return torsion_test_allocation_count() - before
    }

    @Test func `the count counts`() {
        var kept: [[UInt8]] = []
        kept.reserveCapacity(4)
        let count = count { kept.append([UInt8](repeating: 1, count: 1_000)) }
        #expect(count == 1 || count == 0 && isSanitized)
    }

    private var isSanitized: Bool { torsion_test_allocation_count() == 0 }

    @Test func `a reader over borrowed bytes allocates nothing`() throws {
        let message = Bytes { writer in
            writer.writeInteger(7 as UInt32)
            writer.writeVarint(300 as UInt64)
            writer.write("12345 word other\r\nname\0ff;")
            writer.writeInteger(3 as UInt16)
            writer.write("abcGET")
        }
        var sum = 0
        let count = try count {
            for _ in 0..<100 {
                var reader = message.span.reader
                sum += Int(try reader.readInteger(UInt32.self))
                sum += Int(try reader.readVarint(UInt64.self))
                sum += try reader.readDecimal(Int.self)
                while let word = try reader.readWord(), word.last != UInt8(ascii: "e") {
                    sum += word.byteCount
                    if word.contains(UInt8(ascii: "\0")) { break }
                }
                reader = message.span.reader
                try reader.skip(6)
                sum += try reader.readLine().byteCount
                sum += try reader.readSpan(until: 0).byteCount
                sum += try reader.readHexadecimal(Int.self)
                try reader.skip(1)
                var slice = try reader.readSlice(lengthAs: UInt16.self)
                sum += try slice.readSpan(3).byteCount
                sum += reader.readRest().equalsIgnoringCase("get") ? 1 : 0
            }
        }
        #expect(count == 0)
        #expect(sum > 0)
    }

    @Test func `messages that arrive whole allocate nothing`() throws {
        let bytes = Bytes {
            for _ in 0..<100 {
                $0.writeInteger(5 as UInt32)
                $0.write("hello")
            }
        }
        let messages = MessageBuffer()
        var sum = 0
        let count = try count {
            _ = try messages.decode(bytes.span) { reader in
                sum += try reader.readSpan(try reader.readInteger(UInt32.self)).byteCount
                return true
            }
        }
        #expect(count == 0 && sum == 1_000)
    }

    @Test func `lines and frames that arrive whole allocate nothing`() throws {
        let text = Bytes(String(repeating: "hello\r\n", count: 100))
        let lines = LineDecoder(), frames = FrameDecoder(.varintPrefix())
        var sum = 0
        let forLines = try count {
            _ = try lines.decode(text.span) { line in
                sum += line.byteCount
                return true
            }
        }
        let framed = Bytes(String(repeating: "\u{5}hello", count: 100))
        let forFrames = try count {
            _ = try frames.decode(framed.span) { frame in
                sum += frame.byteCount
                return true
            }
        }
        #expect(forLines == 0 && forFrames == 0 && sum == 2_000)
    }
}
