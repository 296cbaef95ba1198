// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion
import TorsionTesting

// snippet: borrow
/// Answers to its first bytes, without keeping any.
final class Greeting: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        guard bytes.byteCount >= 3 else { return transport.loseConnection() }
        if bytes[0] == 0x16 { return transport.abortConnection() }  // a TLS client
        if bytes.starts(with: "GET ") { transport.write("HTTP/1.0 404 Not Found\r\n\r\n") }
        if bytes == "QUIT\r\n" { transport.write("bye\r\n") }
        if let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
            transport.write(bytes.extracting(0..<end))
        }
    }
}
// snippet end

// snippet: read
func read(_ bytes: RawSpan) -> [String] {
    let text = String(decoding: bytes)  // U+FFFD for bytes that are not UTF-8
    let strict = String(validating: bytes) ?? "not UTF-8"
    let array = Array(bytes)  // a copy
    var collected: [UInt8] = [1]
    collected += bytes  // another
    return [text, strict, "\(array.count)", "\(collected.count)"]
}
// snippet end

// snippet: keep
/// Gives every newcomer what was said before.
final class Memory: LineProtocol {
    let lines = LineDecoder()
    private var said: [Bytes] = []

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        for earlier in said { transport.write(earlier) }  // queued without a copy if it is large
        said.append(Bytes(line))  // the only copy, and you see it
    }
}
// snippet end

// snippet: owned
func slices(of message: Bytes) -> (header: Bytes, body: Bytes) {
    let header = message[..<4]  // shares the memory of `message`
    let body = message[4...].compacted()  // has its own: `message` can go
    return (header, body)
}

let hello: Bytes = "hello"  // a literal: no allocation, no copy
let mark: Bytes = [0xff, 0xfe]
let length = Bytes(capacity: 4) { $0.append(UInt32(5).bigEndian, as: UInt32.self) }
// snippet end

@Test func `bytes are read, kept and sliced as the page says`() {
    let peer = MemoryTransport(Memory())
    peer.receive("a\r\nb\r\nc\r\n")
    #expect(peer.takeText() == "aab")
    let (header, body) = slices(of: "headbody")
    #expect(header == "head" && body == "body" && hello == "hello" && mark.count == 2)
    #expect(Array(length) == [0, 0, 0, 5])
    #expect(read(hello.span) == ["hello", "hello", "5", "6"])
    #expect(read(mark.span)[1] == "not UTF-8")
    let quitter = MemoryTransport(Greeting())
    quitter.receive("QUIT\r\n")
    #expect(quitter.takeText() == "bye\r\nQUIT\r")
}
