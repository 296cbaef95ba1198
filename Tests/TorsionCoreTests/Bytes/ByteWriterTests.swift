// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

@Suite struct ByteWriterTests {
    @Test func `a writer writes one thing behind the other`() {
        let bytes = Bytes { writer in
            writer.writeByte(7)
            writer.writeInteger(0x1234 as UInt16)
            writer.writeInteger(0x5678 as UInt16, .littleEndian)
            writer.writeInteger(0x010203, byteCount: 3)
            writer.writeInteger(0x010203, byteCount: 3, .littleEndian)
            writer.write("ab")
            writer.write([0xff])
            writer.write("cd" as Bytes)
            writer.write(Bytes("ef").span)
            writer.write(repeating: 0, count: 2)
            #expect(writer.byteCount == 20)
        }
        #expect(
            bytes == [
                7, 0x12, 0x34, 0x78, 0x56, 1, 2, 3, 3, 2, 1, 0x61, 0x62, 0xff, 0x63, 0x64, 0x65,
                0x66, 0, 0,
            ])
    }

    @Test func `numbers are written as text`() {
        func decimal(_ number: some FixedWidthInteger) {
            #expect(Bytes { $0.writeDecimal(number) } == "\(number)")
        }
        for number in [0, 1, 9, 10, 99, 100, -1, -10, .max, .min] as [Int] { decimal(number) }
        for number in Int8.min...Int8.max { decimal(number) }
        decimal(UInt64.max)
        decimal(Int128.min)
        #expect(Bytes { $0.writeHexadecimal(0 as UInt) } == "0")
        #expect(Bytes { $0.writeHexadecimal(0xbeef as UInt) } == "beef")
        #expect(Bytes { $0.writeHexadecimal(0xf as UInt8, digitCount: 4) } == "000f")
        #expect(Bytes { $0.writeHexadecimal(UInt64.max) } == "ffffffffffffffff")
    }

    @Test func `a length is written before what it is of`() throws {
        let bytes = try Bytes { writer in
            writer.writeByte(UInt8(ascii: "Q"))
            try writer.writeLengthPrefixed(as: UInt32.self, countingItself: true) { writer in
                writer.write("SELECT 1")
                try writer.writeLengthPrefixed(as: UInt8.self) { $0.write("ab") }
                try writer.writeLengthPrefixed(as: UInt16.self, .littleEndian) { _ in }
            }
        }
        #expect(bytes == Bytes("Q\0\0\0\u{11}SELECT 1\u{2}ab\0\0"))
    }

    @Test func `a length that does not fit takes back what was written`() throws {
        let bytes = Bytes { writer in
            writer.write("a")
            #expect(throws: LengthOverflow(byteCount: 256)) {
                try writer.writeLengthPrefixed(as: UInt8.self) {
                    $0.write(repeating: 1, count: 256)
                }
            }
            #expect(throws: CancellationError.self) {
                try writer.writeLengthPrefixed(as: UInt8.self) { writer in
                    writer.write("gone")
                    throw CancellationError()
                }
            }
            writer.write("b")
        }
        #expect(bytes == "ab")
        let sentence = "the length 256 does not fit in its field"
        #expect("\(LengthOverflow(byteCount: 256))" == sentence)
    }

    @Test func `what was written can be seen and replaced`() {
        let bytes = Bytes { writer in
            writer.writeInteger(0 as UInt32)
            writer.write("body")
            writer.overwriteInteger(at: 0, with: UInt32(writer.byteCount))
            let isBody = writer.written[4...] == "body"
            #expect(isBody)
        }
        #expect(bytes == Bytes("\0\0\0\u{8}body"))
    }

    @Test(arguments: [0, 1, 511, 512, 513, 1024, 1025, 100_000])
    func `any number of bytes is written whole`(count: Int) {
        let array = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        let one = Bytes { writer in
            for byte in array { writer.writeByte(byte) }
        }
        #expect(Array(one) == array)
        #expect(Array(Bytes { $0.write(array) }) == array)
        #expect(Array(Bytes(reserving: count) { $0.write(array) }) == array)
        #expect(Array(Bytes(reserving: 1) { $0.write(array) }) == array)
        #expect(Array(Bytes(reserving: 10 * count + 10) { $0.write(array) }) == array)
    }

    @Test func `a connection gets what is written in one go, or nothing`() {
        let peer = MemoryTransport(Writer())
        #expect(peer.takeText() == "42\r\n" + String(repeating: "x", count: 3000) + "end")
    }

    @Test func `random writes give what an array gives, and are read back`() throws {
        var random = SplitMix64(state: 5)
        for _ in 0..<2000 {
            var array: [UInt8] = []
            let numbers = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                (
                    Int.random(in: 0...5, using: &random),
                    Int64.random(in: .min ... .max, using: &random)
                )
            }
            let bytes = try Bytes { writer in
                for (kind, number) in numbers {
                    switch kind {
                    case 0:
                        writer.writeInteger(number)
                        array += (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * $0)) }
                    case 1:
                        writer.writeDecimal(number)
                        writer.writeByte(0x20)
                        array += Array("\(number) ".utf8)
                    case 2:
                        writer.writeVarint(UInt64(bitPattern: number))
                        var rest = UInt64(bitPattern: number)
                        while rest > 127 {
                            array.append(UInt8(rest & 127) | 128)
                            rest >>= 7
                        }
                        array.append(UInt8(rest))
                    case 3:
                        writer.writeHexadecimal(UInt64(bitPattern: number))
                        writer.writeByte(0x20)
                        array += Array(String(UInt64(bitPattern: number), radix: 16).utf8) + [0x20]
                    case 4:
                        let count = Int(number & 63)
                        try writer.writeLengthPrefixed(as: UInt16.self) {
                            $0.write(repeating: 9, count: count)
                        }
                        array += [0, UInt8(count)] + Array(repeating: 9, count: count)
                    default:
                        writer.writeInteger(
                            UInt64(bitPattern: number) >> 24, byteCount: 5, .littleEndian)
                        array += (0..<5).map {
                            UInt8(
                                truncatingIfNeeded: UInt64(bitPattern: number)
                                    >> (24 + 8 * UInt64($0)))
                        }
                    }
                }
            }
            #expect(Array(bytes) == array)
            var reader = bytes.reader
            for (kind, number) in numbers {
                switch kind {
                case 0: #expect(try reader.readInteger(Int64.self) == number)
                case 1:
                    #expect(try reader.readDecimal(Int64.self) == number)
                    try reader.skip(1)
                case 2: #expect(try reader.readVarint(UInt64.self) == UInt64(bitPattern: number))
                case 3:
                    #expect(try reader.readHexadecimal(UInt64.self) == UInt64(bitPattern: number))
                    try reader.skip(1)
                case 4:
                    let slice = try reader.readSlice(lengthAs: UInt16.self)
                    #expect(slice.remainingByteCount == Int(number & 63))
                default:
                    let read = try reader.readInteger(byteCount: 5, .littleEndian)
                    #expect(read == UInt64(bitPattern: number) >> 24)
                }
            }
            let isAtEnd = reader.isAtEnd
            #expect(isAtEnd)
        }
    }

    @Test func `a writer's own mistakes trap`() async {
        await #expect(processExitsWith: .failure) {
            _ = Bytes { $0.writeInteger(256, byteCount: 1) }
        }
        await #expect(processExitsWith: .failure) {
            _ = Bytes { $0.overwriteInteger(at: 0, with: 1 as UInt8) }
        }
    }
}

private final class Writer: StreamProtocol {
    func connectionMade(_ transport: any StreamTransport) {
        transport.write { writer in
            writer.writeDecimal(42)
            writer.write("\r\n")
        }
        transport.write { $0.write(repeating: UInt8(ascii: "x"), count: 3000) }
        transport.write { _ in }
        #expect(throws: CancellationError.self) {
            try transport.write { writer in
                writer.write("gone")
                throw CancellationError()
            }
        }
        transport.write("end")
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}
