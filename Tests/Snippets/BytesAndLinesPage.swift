// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion
import TorsionTesting

// The code of the guide *Bytes and lines*.

// snippet: reader
/// The question in a DNS query, behind its header of twelve bytes: RFC 1035, §4.1.2.
func readQuestion(_ query: RawSpan) throws(ByteReaderError) -> (name: String, kind: UInt16) {
    var reader = query.reader
    try reader.skip(12)
    var labels: [String] = []
    while case let length = try reader.readByte(), length > 0 {
        labels.append(try reader.readString(length))
    }
    return (labels.joined(separator: "."), try reader.readInteger(UInt16.self))
}
// snippet end

// snippet: writer
/// A chunk of HTTP/1.1: its length in hexadecimal digits, then its bytes.
func writeChunk(_ bytes: RawSpan, to transport: any StreamTransport) {
    transport.write { writer in
        writer.writeHexadecimal(UInt64(bytes.byteCount))
        writer.write("\r\n")
        writer.write(bytes)
        writer.write("\r\n")
    }
}
// snippet end

// snippet: decoder
/// A text behind its length in decimal digits, as in "5 hello".
struct TextDecoder: MessageDecoder {
    func decode(_ reader: inout ByteReader) throws -> String {
        let count = try reader.readDecimal(Int.self)
        try reader.expect(" ")
        return try reader.readString(count)
    }
}
// snippet end

// snippet: protocol
/// Sends each text back.
final class TextEcho: MessageProtocol {
    let messages = MessageBuffer(limitBytes: 1024)
    private let decoder = TextDecoder()

    func messageReceived(_ reader: inout ByteReader, from transport: any StreamTransport) throws {
        let text = try decoder.decode(&reader)
        transport.write("\(text.utf8.count) \(text)")
    }

    func messageTooLong(_ error: MessageTooLong, from transport: any StreamTransport) {
        transport.write("19 that is far too long")
    }
}
// snippet end

// snippet: async
/// Asks for a name by lines, then takes texts, then so many bytes.
func serve(_ connection: AsyncConnection) async throws {
    try await connection.write("who are you?\r\n")
    guard let name = try await connection.readLine(limitBytes: 100) else { return }
    for try await text in connection.messages(TextDecoder()) {
        if text == "done" { break }
        try await connection.write("\(name): \(text)\r\n")
    }
    let last = try await connection.read(exactly: 4)
    try await connection.write(last)
}
// snippet end

// snippet: background
/// Answers lines, and asks every half a minute whether the peer is still there.
func keepAlive(_ connection: AsyncConnection) async throws {
    try await connection.reactor.withBackground {
        while true {
            try await connection.reactor.sleep(for: .seconds(30))
            try await connection.write("PING\r\n")
        }
    } while: {
        for try await line in connection.lines() where line != "PONG" {
            try await connection.write("you said \(line)\r\n")
        }
    }
}
// snippet end

// snippet: ends
/// Says why it closes.
final class PoliteEcho: LineProtocol {
    let lines = LineDecoder(limitBytes: 510)

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        transport.write("250 \(String(decoding: line))\r\n")
    }

    func lineTooLong(_ error: LineTooLong, from transport: any StreamTransport) {
        transport.write("500 line too long\r\n")
    }

    func timedOut(_ deadline: ConnectionLoss.Deadline, from transport: any StreamTransport) {
        transport.write("421 too slow\r\n")
    }
}
// snippet end

@Suite struct BytesAndLinesTests {
    @Test func `the page's code does what the page says`() throws {
        let query = Bytes { writer in
            writer.write(repeating: 0, count: 12)
            writer.write("\u{3}www\u{7}example\0\0\u{1c}")
        }
        #expect(try readQuestion(query.span) == ("www.example", 28))
        #expect(throws: ByteReaderError.self) { try readQuestion(query.span[..<20]) }

        let echo = MemoryTransport(TextEcho())
        echo.receive(pieces: ["5 he", "llo1", " x", "9999 "])
        #expect(echo.takeText() == "5 hello1 x19 that is far too long" && echo.hasEnded)
        writeChunk(Bytes("hello").span, to: MemoryTransport(TextEcho()).transport)

        let polite = MemoryTransport(PoliteEcho())
        polite.receive("hi\r\n" + String(repeating: "x", count: 512))
        #expect(polite.takeText() == "250 hi\r\n500 line too long\r\n" && polite.hasEnded)
    }

    @Test func `the page's tasks do what the page says`() throws {
        let text = try runTask { connection in
            try await serve(connection)
        } sending: {
            "ann\r\n5 hello4 doneabcd"
        }
        #expect(text == "who are you?\r\nann: hello\r\nabcd")
        let other = try runTask { connection in
            try await keepAlive(connection)
        } sending: {
            "one\nPONG\ntwo\n"
        }
        #expect(other == "you said one\r\nyou said two\r\n")
    }

    /// What a server's task answers to a client that sends all at once.
    private func runTask(
        _ body: nonisolated(nonsending) @escaping (AsyncConnection) async throws -> Void,
        sending text: @escaping () -> String
    ) throws -> String {
        let reactor = Reactor(backend: .epoll)
        let outcome = Deferred<Bytes>(on: reactor)
        try reactor.run(signals: .ignore) { reactor in
            let place = Deferred<SocketAddress>(on: reactor)
            reactor.spawn {
                try await ServerEndpoint.tcp(port: 0, interface: .loopback).serve(
                    on: reactor, whenListening: { place.succeed($0.localAddress) }, body)
            }
            reactor.spawn {
                let address = try await place.value
                let connection = try await ClientEndpoint.address(address)
                    .connect(on: reactor).value
                try await connection.write(text())
                connection.finishWriting()
                outcome.succeed(try await connection.readToEnd(limitBytes: 1_000))
                reactor.stop(within: .seconds(1))
            }
        }
        return String(decoding: try result(of: outcome))
    }
}
