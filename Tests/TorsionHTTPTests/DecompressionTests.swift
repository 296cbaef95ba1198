// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if Zlib

import Testing
import Torsion
@testable import TorsionHTTP
import TorsionTesting

private let text = String(repeating: "0123456789abcdef ", count: 300)

/// The text in blocks that are not compressed (RFC 1951 §3.2.4), with what each form puts around it.
private enum Compressed {
    static func blocks(_ text: Bytes) -> Bytes {
        var bytes = Bytes()
        var rest = text
        repeat {
            let block = rest.prefix(60_000)
            rest = rest.dropFirst(block.count)
            let count = UInt16(block.count)
            bytes =
                bytes + Bytes([rest.isEmpty ? 1 : 0])
                + Bytes { writer in
                    writer.writeInteger(count, .littleEndian)
                    writer.writeInteger(~count, .littleEndian)
                } + block
        } while !rest.isEmpty
        return bytes
    }

    static func gzip(_ text: Bytes) -> Bytes {
        Bytes([31, 139, 8, 0, 0, 0, 0, 0, 0, 255]) + blocks(text)
            + Bytes { writer in
                writer.writeInteger(crc(text), .littleEndian)
                writer.writeInteger(UInt32(text.count), .littleEndian)
            }
    }

    static func zlib(_ text: Bytes) -> Bytes {
        Bytes([0x78, 0x01]) + blocks(text) + Bytes { $0.writeInteger(adler(text)) }
    }

    private static func crc(_ bytes: Bytes) -> UInt32 {
        var sum = ~UInt32(0)
        for byte in bytes {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum >> 1 ^ (sum & 1 == 1 ? 0xedb8_8320 : 0) }
        }
        return ~sum
    }

    private static func adler(_ bytes: Bytes) -> UInt32 {
        var (a, b): (UInt32, UInt32) = (1, 0)
        for byte in bytes {
            a = (a + UInt32(byte)) % 65_521
            b = (b + a) % 65_521
        }
        return b << 16 | a
    }
}

@Suite struct DecompressionTests {
    private var decompressing: HTTPClientOptions {
        var options = HTTPClientOptions()
        options.decompresses = true
        return options
    }

    /// A server that gives one answer.
    private func site(
        _ head: String, _ body: Bytes, isCut: Bool = false, options: HTTPClientOptions? = nil
    ) throws -> ClientSite {
        try ClientSite(options ?? decompressing) { conversation in
            guard conversation.wholePath != nil else { return }
            let count = body.count + (isCut ? 1 : 0)
            conversation.answer("HTTP/1.1 200 OK|Content-Length: \(count)|\(head)||")
            conversation.transport?.write(body)
            if isCut { conversation.transport?.loseConnection() }
        }
    }

    @Test(arguments: ["gzip", "GZIP", "x-gzip", "deflate"])
    func `a compressed answer is delivered without its compression, when asked for`(
        coding: String
    ) throws {
        let body =
            coding == "deflate" ? Compressed.zlib(Bytes(text)) : Compressed.gzip(Bytes(text))
        let site = try site("Content-Encoding: \(coding)|X: y", body)
        let outcome = try site.ask("/")
        #expect(outcome.text == text)
        #expect(outcome.head?.fields.map(\.name) == ["X"])
        #expect(site.conversations[0].text.contains("\r\nAccept-Encoding: gzip, deflate\r\n"))
        // The connection carries another request.
        #expect(try site.ask("/").text == text && site.conversations.count == 1)
        try site.finish()

        let plain = try self.site(
            "Content-Encoding: \(coding)", body, options: HTTPClientOptions())
        let raw = try plain.ask("/")
        #expect(raw.body == body && raw.head?.fields[.contentEncoding] == Bytes(coding))
        #expect(!plain.conversations[0].text.contains("Accept-Encoding"))
        try plain.finish()
    }

    @Test func `what says another coding, or several, is delivered as it came`() throws {
        for fields in [
            "X: y", "Content-Encoding: br", "Content-Encoding: gzip, gzip",
            "Content-Encoding: gzip|Content-Encoding: gzip", "Content-Encoding: identity",
        ] {
            let site = try site(fields, "as it is")
            #expect(try site.ask("/").text == "as it is", "\(fields)")
            try site.finish()
        }
    }

    @Test func `nothing is asked for with a head, a range, or words of the program's`() throws {
        let site = try site("Content-Encoding: gzip", Compressed.gzip("a"))
        for (method, fields) in [
            (.head, [:]), (.get, [.range: "bytes=0-1"]), (.get, [.acceptEncoding: "br"]),
        ] as [(HTTPMethod, FieldList)] {
            let request = ClientRequest(try site.url("/"), method: method, fields: fields)
            let outcome = site.send(request, collects: false)
            try site.world.run { outcome.response != nil }
            #expect(!site.conversations[0].text.contains("gzip"))
            if method == .head { #expect(outcome.head?.fields[.contentEncoding] == "gzip") }
            outcome.release()
            for one in site.conversations { one.transport?.abortConnection() }
            try site.world.run { site.client.connectionCount == 0 }
        }
        try site.finish()
    }

    @Test func `a damaged or truncated body is an error, wherever it is cut`() throws {
        let gzip = Compressed.gzip("hello"), zlib = Compressed.zlib("hello")
        func outcome(_ coding: String, _ body: Bytes, isCut: Bool = false) throws -> String {
            let site = try site("Content-Encoding: \(coding)", body, isCut: isCut)
            let outcome = try site.ask("/")
            let said = outcome.text ?? outcome.error.map { "\($0)" } ?? ""
            try site.finish()
            return said
        }
        #expect(try outcome("gzip", gzip) == "hello")
        for count in 1..<gzip.count {
            #expect(try outcome("gzip", gzip[..<count]) == "the body ended before its gzip did")
        }
        for count in 1..<zlib.count {
            #expect(
                try outcome("deflate", zlib[..<count]) == "the body ended before its deflate did")
        }
        // The framing's own end is worse news.
        #expect(try outcome("gzip", gzip, isCut: true) == "\(ResponseError.truncated)")
        let damaged = [
            ("gzip", gzip[..<(gzip.count - 1)] + "x"), ("gzip", "hello"), ("gzip", gzip + "xx"),
            ("gzip", zlib), ("deflate", gzip), ("deflate", zlib + "x"), ("deflate", zlib + zlib),
            // Without zlib's form around it, which RFC 9110 §8.4.1.2 wants.
            ("deflate", Compressed.blocks("hello")),
        ]
        for (index, (coding, body)) in damaged.enumerated() {
            #expect(
                try outcome(coding, body) == "the body is no \(coding), or was damaged", "\(index)")
        }
    }

    @Test func `RFC 1952 §2.2: members of gzip stand one behind the other`() throws {
        let body = Compressed.gzip("one ") + Compressed.gzip("") + Compressed.gzip("two")
        let site = try site("Content-Encoding: gzip", body)
        #expect(try site.ask("/").text == "one two")
        try site.finish()
    }

    /// Zeroes, a thousandth as many bytes compressed.
    private func bomb(_ byteCount: Int) throws -> Bytes {
        let deflater = try #require(Deflater(windowBits: 15))
        let zeroes = Bytes(repeating: 0, count: 1 << 20)
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 8)
        defer { room.deallocate() }
        var bytes = Bytes([31, 139, 8, 0, 0, 0, 0, 0, 0, 255])
        for _ in 0..<(byteCount >> 20) {
            let progress = deflater.add(zeroes.span, into: room)
            bytes = bytes + Bytes(Array(room[..<progress.writtenByteCount]))
        }
        return bytes
    }

    @Test func `a bomb is read as far as the reader wants, and no further`() throws {
        let site = try site("Content-Encoding: gzip", bomb(128 << 20), isCut: true)
        // `collect` has the limit of a reader's choice: 4 MiB here.
        let outcome = try site.get("/")
        try site.world.run(limit: .seconds(100)) { outcome.isOver }
        #expect(outcome.error is ReadLimitExceeded)
        #expect(site.client.connectionCount == 0)
        try site.finish()
    }

    @Test func `pieces are small, and come when they are asked for`() throws {
        let site = try site("Content-Encoding: gzip", bomb(64 << 20), isCut: true)
        let outcome = try site.get("/", collects: false)
        try site.world.run { outcome.response != nil }
        var counts: [Int] = []
        for round in 1...100 {
            outcome.response?.body.nextPiece().addCallback { counts.append($0?.count ?? 0) }
                .ignore()
            try site.world.run { counts.count == round }
            try site.world.run(for: .seconds(1))
            #expect(counts.count == round)
        }
        #expect(counts.allSatisfy { 1...16_384 ~= $0 } && counts.reduce(0, +) > 1 << 20)
        #expect(outcome.response?.body.receivedByteCount == counts.reduce(0, +))
        outcome.release()
        try site.world.run { site.client.connectionCount == 0 }
        try site.finish()
    }

    @Test func `a reader that goes away leaves nothing behind, at any moment`() throws {
        let body = Compressed.gzip(Bytes(String(repeating: text, count: 40)))
        for round in 0..<30 {
            let site = try site("Content-Encoding: gzip", body)
            let outcome = try site.get("/")
            try site.world.run(for: .microseconds(Int64(round) * 400))
            outcome.cancel()
            outcome.release()
            try site.world.run { site.client.connectionCount == site.client.idleConnectionCount }
            try site.finish()
        }
    }
}

#endif
