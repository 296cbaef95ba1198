// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion

/// Lines, frames, messages and counted bytes of one connection.
@Suite struct AsyncReadingTests {
    private struct PairDecoder: MessageDecoder {
        func decode(_ reader: inout ByteReader) throws -> (UInt16, Bytes) {
            let length = try reader.readInteger(UInt16.self)
            return (length, try reader.readBytes(length))
        }
    }

    @Test(arguments: backendNames)
    func `lines, frames, messages and bytes follow each other, and nothing is lost`(
        name: String
    ) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let whole = Bytes {
                $0.write("hello\r\nworld\nframes\n5:first,6:second,")
                $0.writeInteger(3 as UInt16)
                $0.write("abc")
                $0.write("12345678\nlast\0tail")
            }
            for size in [1, 2, 3, 7, whole.count] {
                let (_, endpoint) = try await world.serve { connection in
                    for start in stride(from: 0, to: whole.count, by: size) {
                        try await connection.write(whole[start..<min(start + size, whole.count)])
                        await reactor.yield()
                    }
                }
                let connection = try await endpoint.connect(on: reactor).value
                var lines: [String] = []
                for try await line in connection.lines() {
                    if line == "frames" { break }
                    lines.append(String(decoding: line))
                }
                #expect(lines == ["hello", "world"])
                var frames: [Bytes] = []
                for try await frame in connection.frames(.netstring) {
                    frames.append(frame)
                    if frames.count == 2 { break }
                }
                #expect(frames == ["first", "second"])
                for try await (length, bytes) in connection.messages(PairDecoder()) {
                    #expect(length == 3 && bytes == "abc")
                    break
                }
                #expect(try await connection.read(exactly: 4) == "1234")
                let some = try #require(try await connection.read(upTo: 3))
                #expect(!some.isEmpty && "567".hasPrefix(String(decoding: some)))
                #expect(
                    try await connection.read(exactly: 4 - some.count)
                        == Bytes("5678")[some.count...])
                #expect(try await connection.readLine() == "")
                #expect(try await connection.readLine(terminator: .bytes([0])) == "last")
                #expect(try await connection.readToEnd(limitBytes: 4) == "tail")
                #expect(try await connection.readLine() == nil)
                #expect(try await connection.read(upTo: 1) == nil)
            }
        }
    }

    @Test(arguments: backendNames)
    func `a read that is cancelled loses no byte`(name: String) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let (_, endpoint) = try await world.serve { connection in
                try await connection.write("half a li")
                guard try await connection.readLine() != nil else { return }
                try await connection.write("ne\n")
            }
            let connection = try await endpoint.connect(on: reactor).value
            // The first half is here when a second reader has seen it; then the wait is cancelled.
            let reading = reactor.spawn { try await connection.readLine() }
            while reactor.statistics.queuedBytes == 0 { try await reactor.sleep(for: .zero) }
            reading.cancel()
            await #expect(throws: CancellationError.self) { try await reading.value }
            try await connection.write("go on\n")
            #expect(try await connection.readLine() == "half a line")
        }
    }

    @Test(arguments: backendNames)
    func `a peer that ends in a message is an error, and what it sent stays`(name: String) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let (_, endpoint) = try await world.serve { connection in
                try await connection.write("whole\nhalf")
            }
            let connection = try await endpoint.connect(on: reactor).value
            var lines: [Bytes] = []
            await #expect(throws: UnexpectedEnd(byteCount: 4)) {
                for try await line in connection.lines() { lines.append(line) }
            }
            #expect(lines == ["whole"])
            await #expect(throws: UnexpectedEnd(byteCount: 4)) {
                try await connection.read(exactly: 5)
            }
            #expect(try await connection.readToEnd(limitBytes: 10) == "half")
            await #expect(throws: UnexpectedEnd(byteCount: 0)) {
                try await connection.read(exactly: 1)
            }
            #expect(try await connection.read(exactly: 0).isEmpty)
        }
    }

    @Test(arguments: backendNames)
    func `limits hold for what has not ended`(name: String) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let (_, endpoint) = try await world.serve { connection in
                try await connection.write(String(repeating: "x", count: 10_000))
                _ = try await connection.readToEnd(limitBytes: 0)
            }
            let connection = try await endpoint.connect(on: reactor).value
            await #expect(throws: LineTooLong.self) {
                try await connection.readLine(limitBytes: 100)
            }
            await #expect(throws: FrameError.malformedLength(byte: 120)) {
                for try await _ in connection.frames(.netstring) {}
            }
            await #expect(throws: MessageTooLong.self) {
                for try await _ in connection.messages(PairDecoder(), limitBytes: 1_000) {}
            }
        }
    }

    @Test(arguments: backendNames)
    func `a server whose client ends in a line reports nothing`(name: String) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let (_, endpoint) = try await world.serve { connection in
                for try await line in connection.lines() { try await connection.write(line) }
            }
            let connection = try await endpoint.connect(on: reactor).value
            try await connection.write("no end")
            connection.finishWriting()
            await #expect(throws: ConnectionLoss.self) {
                try await connection.readToEnd(limitBytes: 1)
            }
            #expect(world.unhandled.isEmpty)
        }
    }

    @Test(arguments: backendNames)
    func `a long message in many reads comes whole`(name: String) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let sent = pattern(3_000_000)
            let (_, endpoint) = try await world.serve { connection in
                try await connection.write(sent)
                try await connection.write("tail\n")
            }
            let connection = try await endpoint.connect(on: reactor).value
            let received = try await connection.read(exactly: sent.count)
            #expect(received == sent)
            #expect(try await connection.readLine() == "tail")
            #expect(reactor.statistics.queuedBytes == 0)
        }
    }

    @Test(arguments: backendNames)
    func `datagrams come as a sequence, which ends with the port`(name: String) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let endpoint = DatagramEndpoint.udp(port: 0, interface: .loopback)
            let server = try endpoint.listen(on: reactor)
            let echo = reactor.spawn {
                var count = 0
                for try await datagram in server {
                    try server.write(datagram.bytes, to: datagram.address)
                    count += 1
                }
                return count
            }
            let client = try endpoint.listen(on: reactor)
            // More than wait at a time: the port pauses, and goes on.
            for number in 0..<150 { try client.write(Bytes("\(number)"), to: server.localAddress) }
            var numbers: [Int] = []
            for try await datagram in client {
                #expect(datagram.address == server.localAddress)
                numbers.append(Int(decimal: datagram.bytes.span) ?? -1)
                if numbers.count == 150 { break }
            }
            #expect(numbers == Array(0..<150))
            server.close()
            #expect(try await echo.value == 150)
            client.close()
        }
    }
}
