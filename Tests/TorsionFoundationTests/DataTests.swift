// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import FoundationEssentials
import Testing
import Torsion
import TorsionFoundation
import TorsionTesting

@Suite struct DataTests {
    private static let counts = [0, 1, 14, 15, 64, 100_000]

    @Test(arguments: counts)
    func `bytes become data and bytes again`(count: Int) {
        let bytes = Bytes((0..<count).map { UInt8(truncatingIfNeeded: $0) })
        let data = Data(bytes)
        #expect(data.count == count && data.elementsEqual(bytes))
        #expect(Bytes(data) == bytes && Data(bytes.span) == data)
        // A slice of it counts from elsewhere.
        #expect(Bytes(data.dropFirst(1)) == bytes.dropFirst(1))
    }

    @Test func `data that is changed leaves its bytes alone`() {
        let bytes: Bytes = "hello"
        var data = Data(bytes)
        data[0] = 0
        let kept = Bytes(data)
        data[1] = 0
        #expect(bytes == "hello" && kept == Bytes([0, 101, 108, 108, 111]))
    }

    @Test func `a reader reads data, and a writer writes it`() throws {
        let message = Bytes { writer in
            writer.writeByte(3)
            writer.write(Data([1, 2, 3]))
        }
        var reader = message.reader
        let length = try reader.readByte()
        #expect(try reader.readData(length) == Data([1, 2, 3]) && reader.isAtEnd)
        #expect(throws: ByteReaderError.ended(missingByteCount: 1)) { try reader.readData(1) }
    }

    @Test func `a transport and a task take data`() throws {
        let clock = ManualClock()
        let peer = MemoryTransport(Greeter(), clock: clock)
        #expect(peer.takeText() == "hello")
    }

    private final class Greeter: StreamProtocol {
        func connectionMade(_ transport: any StreamTransport) {
            transport.write(Data("hello".utf8))
        }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
    }
}
