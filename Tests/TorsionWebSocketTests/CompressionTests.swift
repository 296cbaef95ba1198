// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if Zlib

import CTorsionZlib
import Testing
import Torsion
import TorsionHTTP
import TorsionTesting
@testable import TorsionWebSocket

private var compressing: WebSocketOptions {
    var options = WebSocketOptions()
    options.compression = WebSocketCompression()
    return options
}

private func keeping(_ own: Bool, _ peer: Bool) -> WebSocketOptions {
    var options = compressing
    options.compression?.keepsContext = own
    options.compression?.peerKeepsContext = peer
    options.compression?.minimumByteCount = 0
    return options
}

/// Bytes that cannot be compressed.
private func noise(_ count: Int) -> Bytes {
    var random = SeededGenerator(seed: UInt64(count))
    return Bytes(reserving: count + 8) { writer in
        for _ in 0..<(count + 7) / 8 { writer.writeInteger(random.next()) }
    }[..<count]
}

/// A message as a sender without a context compresses it.
private func deflated(_ text: Bytes) throws -> Bytes {
    let output = PayloadBuffer(expecting: 0)
    try #require(Deflater(windowBits: 15)).deflateMessage(text.span, into: output)
    defer { extendLifetime(output) }
    return Bytes(Array(output.bytes))
}

private func inflated(_ messages: [Bytes], keepsContext: Bool = false) throws -> [Bytes] {
    var agreement = try #require(
        CompressionAgreement(
            accepting: [WebSocketExtension(name: "permessage-deflate")], WebSocketCompression()))
    agreement.clientKeepsContext = keepsContext
    let compression = MessageCompression(agreement, isServer: true, minimumByteCount: 0)
    let shared = SharedCompression()
    return try messages.map { message in
        let output = shared.takeBuffer()
        defer { shared.giveBack(output) }
        try compression.inflate(message.span, into: output, limitBytes: 1 << 20, shared)
        return Bytes(Array(output.bytes))
    }
}

/// RFC 7692.
@Suite struct CompressionTests {
    private static let deflate = "permessage-deflate"
    private static let key = Client.key

    // MARK: Agreeing

    @Test(arguments: [
        ("", ""), ("x", ""), ("permessage-bzip2; client_max_window_bits", ""),
        (deflate, "; server_no_context_takeover; client_no_context_takeover"),
        (
            "\(deflate); client_max_window_bits",
            "; server_no_context_takeover; client_no_context_takeover"
        ),
        (
            "\(deflate);server_max_window_bits=\"10\" ; client_max_window_bits=8",
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10"
        ),
        (
            "\(deflate); server_max_window_bits=15",
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15"
        ),
        // The first offer that can be.
        (
            "x; a=b, \(deflate); what, , \(deflate); server_max_window_bits=9",
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9"
        ),
        // Each declined: unknown, without or with a value, twice, out of range.
        ("\(deflate); what", ""), ("\(deflate); server_no_context_takeover=1", ""),
        ("\(deflate); client_no_context_takeover=\"1\"", ""),
        ("\(deflate); server_max_window_bits", ""), ("\(deflate); server_max_window_bits=7", ""),
        ("\(deflate); server_max_window_bits=16", ""),
        ("\(deflate); server_max_window_bits=08", ""),
        ("\(deflate); client_max_window_bits=+9", ""),
        ("\(deflate); client_no_context_takeover; client_no_context_takeover", ""),
        // Not by the grammar, hence no WebSocket: RFC 6455 §9.1.
        ("\(deflate);", "400"), ("=", "400"), ("\(deflate) x", "400"), ("a; b=", "400"),
        ("a; b=\"\"", "400"), ("a; b=\"c", "400"), ("a; b=\"c d\"", "400"), ("a; b=c d", "400"),
    ])
    func `H-75: a server accepts the first offer that it can keep`(offer: String, answer: String) {
        let client = Client(Recorder(), compressing, upgrades: false)
        client.memory.receive(
            request(handshakeFields + "Sec-WebSocket-Extensions: \(offer)\r\n"))
        client.settle()
        let text = client.memory.takeText()
        if answer == "400" {
            #expect(text.hasPrefix("HTTP/1.1 400 "), "\(text)")
        } else if answer.isEmpty {
            #expect(text.contains(accepted) && !text.contains("Extensions"), "\(text)")
        } else {
            let field = "Sec-WebSocket-Extensions: \(Self.deflate)\(answer)\r\n"
            #expect(text.contains(accepted) && text.contains(field), "\(text)")
        }
        client.finish()
    }

    @Test func `a server without compression agrees on none`() {
        let client = Client(Recorder(), upgrades: false)
        client.memory.receive(
            request(handshakeFields + "Sec-WebSocket-Extensions: \(Self.deflate)\r\n"))
        client.settle()
        #expect(!client.memory.takeText().contains("Extensions"))
        // Its first reserved bit is nobody's then.
        client.send(frame(1, Bytes([0]), key: Self.key, reserved: 0x40))
        #expect(client.frames() == ["close 1002 true"])
        client.finish()
    }

    @Test func `a server keeps its context if its program and the client let it`() throws {
        func answer(_ offer: String, _ options: WebSocketOptions) throws -> CompressionAgreement? {
            let list = try #require(WebSocketExtension.list([Bytes(offer)]))
            return try CompressionAgreement(accepting: list, #require(options.compression))
        }
        let both = try answer(Self.deflate, keeping(true, true))
        #expect(both?.answer == Self.deflate)
        let forbidden = try answer(
            "\(Self.deflate); server_no_context_takeover", keeping(true, true))
        #expect(forbidden?.answer == "\(Self.deflate); server_no_context_takeover")
        let hinted = try answer(
            "\(Self.deflate); client_no_context_takeover", keeping(true, true))
        #expect(hinted?.clientKeepsContext == false && hinted?.serverKeepsContext == true)
    }

    @Test(arguments: [
        ("; server_no_context_takeover", true, true), ("", false, true),
        ("; server_no_context_takeover; client_no_context_takeover", true, true),
        ("; server_no_context_takeover; client_max_window_bits=9", true, true),
        ("; server_no_context_takeover; server_max_window_bits=8", true, true),
        ("; client_max_window_bits", false, false), ("; server_max_window_bits", false, false),
        ("; client_max_window_bits=7", false, false), ("; what", false, false),
        ("; server_no_context_takeover=x", false, false),
        ("; client_max_window_bits=9; client_max_window_bits=9", false, false),
    ])
    func `a client takes only an answer to its offer`(
        answer: String, withoutContext: Bool, withContext: Bool
    ) throws {
        let list = try #require(WebSocketExtension.list([Bytes(Self.deflate + answer)]))
        let plain = try #require(compressing.compression)
        let kept = try #require(keeping(true, true).compression)
        #expect((CompressionAgreement(answer: list[0], to: plain) != nil) == withoutContext)
        #expect((CompressionAgreement(answer: list[0], to: kept) != nil) == withContext)
        let other = WebSocketExtension(name: "permessage-bzip2")
        #expect(CompressionAgreement(answer: other, to: plain) == nil)
    }

    // MARK: Messages

    @Test func `RFC 7692 §7.2.3: its examples are what they say`() throws {
        let hello: [[UInt8]] = [
            [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            [
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ],
        ]
        #expect(try inflated(hello.map { Bytes($0) }) == Array(repeating: "Hello", count: 4))
        // §7.2.3.2: the second one refers to the first.
        let second = Bytes([0xf2, 0x00, 0x11, 0x00, 0x00])
        let both = [Bytes(hello[0]), second]
        #expect(try inflated(both, keepsContext: true) == ["Hello", "Hello"])
        #expect(throws: WebSocketError.badCompression) { try inflated(both) }
        #expect(try inflated([Bytes([0]), Bytes()]) == ["", ""])
        #expect(try deflated("Hello") == Bytes(hello[0]))
        #expect(try deflated("") == Bytes([0]))
    }

    @Test func `a compressed message is one, in every cut and in fragments`() throws {
        let text = Bytes(String(repeating: "grüße, ", count: 40))
        let whole = try deflated(text)
        let parts = [whole[..<5], whole[5..<5], whole[5..<9], whole[9...]]
        var stream = frame(1, whole, key: Self.key, reserved: 0x40)
        for (index, part) in parts.enumerated() {
            stream =
                stream
                + frame(
                    index == 0 ? 1 : 0, part, isFinal: index == 3, key: Self.key,
                    reserved: index == 0 ? 0x40 : 0)
                + frame(9, "?", key: Self.key)
        }
        stream = stream + frame(1, "plain", key: Self.key)
        for pieces in chunkings(of: stream) {
            let recorder = Recorder()
            recorder.echoes = false
            let client = Client(recorder, compressing, offer: Self.deflate)
            client.memory.receive(pieces: pieces)
            client.settle()
            #expect(recorder.messages == ["text \(text)", "text \(text)", "text plain"])
            #expect(client.frames() == Array(repeating: "pong ?", count: 4))
            client.finish()
        }
    }

    @Test(arguments: [
        (frame(0x1, "x", isFinal: false, key: key) + frame(0, "", key: key, reserved: 0x40), 1002),
        (frame(9, "", key: key, reserved: 0x40), 1002),
        (frame(1, Bytes([0]), key: key, reserved: 0x20), 1002),
        (frame(1, Bytes([0]), key: key, reserved: 0x50), 1002),
        // No DEFLATE; one that is cut; a stored block that lies about its length; what is no UTF-8.
        (frame(2, Bytes([7, 7, 7]), key: key, reserved: 0x40), 1007),
        (frame(2, Bytes([0xf2, 0x48, 0xcd]), key: key, reserved: 0x40), 1007),
        (frame(2, Bytes([0, 5, 0, 0xfa, 0xfe, 1]), key: key, reserved: 0x40), 1007),
        (frame(2, Bytes([0, 6, 0, 0xf9, 0xff, 1]), key: key, reserved: 0x40), 1007),
        (frame(2, Bytes([0xf3, 0x48, 0xcd, 0xc9, 0xc9, 7, 0]), key: key, reserved: 0x40), 1007),
        (frame(1, Bytes([0, 1, 0, 0xfe, 0xff, 0xff, 0]), key: key, reserved: 0x40), 1007),
    ])
    func `H-75: what is wrong with a compressed message closes with its code`(
        bytes: Bytes, code: Int
    ) {
        let recorder = Recorder()
        let client = Client(recorder, compressing, offer: Self.deflate)
        client.send(bytes + frame(1, "behind", key: Self.key))
        #expect(client.frames() == ["close \(code) true"])
        client.finish()
        #expect(recorder.messages.isEmpty && recorder.losses.count == 1)
    }

    @Test func `H-75: an inflating bomb is stopped at the limit of a message`() throws {
        let bomb = try deflated(Bytes(repeating: 0, count: 64 << 20))
        #expect(bomb.count < 70_000)
        let agreement = try #require(
            CompressionAgreement(
                accepting: [WebSocketExtension(name: Self.deflate)], WebSocketCompression()))
        let compression = MessageCompression(agreement, isServer: true, minimumByteCount: 0)
        let output = PayloadBuffer(expecting: 0)
        #expect(throws: WebSocketError.messageTooLong(limitBytes: 1 << 20)) {
            try compression.inflate(
                bomb.span, into: output, limitBytes: 1 << 20, SharedCompression())
        }
        #expect(output.count <= 1 << 20 + 64 && output.capacity <= 2 << 20)

        let recorder = Recorder()
        let client = Client(recorder, compressing, offer: Self.deflate)
        client.send(frame(2, bomb, key: Self.key, reserved: 0x40))
        #expect(client.frames() == ["close 1009 true"])
        client.finish()
        #expect(recorder.messages.isEmpty)
    }

    @Test func `H-75: a message of the limit arrives, and one of a byte more does not`() throws {
        for count in [1 << 20, 1 << 20 + 1] {
            // Bytes that cannot be compressed: the message is longer than what it is of.
            let text = noise(count)
            let message = try deflated(text)
            #expect(message.count > count)
            let recorder = Recorder()
            recorder.echoes = false
            let client = Client(recorder, compressing, offer: Self.deflate)
            client.send(frame(2, message, key: Self.key, reserved: 0x40))
            #expect(recorder.messages.count == (count == 1 << 20 ? 1 : 0))
            #expect(client.frames() == (count == 1 << 20 ? [] : ["close 1009 true"]))
            client.finish()
        }
    }

    // MARK: Both sides

    @Test(arguments: [false, true], [false, true])
    func `both sides understand each other, with and without contexts`(
        server: Bool, client: Bool
    ) throws {
        let world = SimulatedWorld(seed: 3)
        let answering = Recorder(), asking = Recorder()
        try world.host("server").run { reactor in
            try ServerEndpoint.tcp(port: 80).listen(on: reactor, http: HTTPServerOptions()) {
                Responding { head, exchange in
                    exchange.upgrade(
                        toWebSocket: answering, for: head, options: keeping(server, client))
                }
            }
        }
        try world.host("client").run { _ in }
        var sent: [String] = []
        asking.echoes = false
        // One after the other: a client that only sends, and an echo that only answers, wait for each other.
        func sendNext(_ socket: WebSocket) {
            let round = sent.count
            if round == 21 { return socket.close() }
            if round == 20 {
                sent.append("text encoded")
                return socket.send(EncodedMessage("encoded").compressed())
            }
            let count = [0, 1, 60, 500, 3_000, 20_000, 70_000][round % 7]
            let isText = round % 3 > 0
            let bytes = isText ? Bytes(repeating: UInt8(97 + round), count: count) : noise(count)
            sent.append((isText ? "text " : "binary ") + "\(bytes)")
            socket.send(bytes.span, isText ? .text : .binary)
        }
        asking.whenMade = { socket in
            #expect(socket.isCompressing)
            sendNext(socket)
        }
        asking.whenReceived = { socket, _ in sendNext(socket) }
        WebSocket.connect(
            "ws://server/", on: world.host("client").reactor, to: asking,
            options: keeping(client, server)
        ).whenFailed { Issue.record($0) }
        try world.run { asking.losses.count == 1 && answering.losses.count == 1 }
        #expect(asking.messages == sent)
        #expect(answering.messages == sent)
        #expect(asking.losses[0].isClean && answering.losses[0].isClean, "\(asking.losses)")
        try world.finish()
    }

    @Test(arguments: 8...15)
    func `a server refers no further back than its client can`(bits: Int) throws {
        let recorder = Recorder()
        let client = Client(
            recorder, keeping(true, false),
            offer: "\(Self.deflate); server_max_window_bits=\(bits)")
        // Two copies so far apart that only a window of more bits holds the first one.
        let once = noise(1 << bits)
        let text = once + once[..<200] + once[(once.count - 200)...]
        client.send(frame(2, text, key: Self.key))
        let bytes = client.memory.takeBytes()
        #expect(bytes[0] == 0xc2)
        let header = FrameHeader.byteCount(forPayload: bytes.count - 4, isMasked: false)
        let message = [UInt8](bytes[header...].span)
        // A reader of exactly so large a window; byte by byte, or it would look into its own output.
        let inflater = try #require(torsion_inflater_new(Int32(-bits)))
        defer { torsion_inflater_free(inflater) }
        var used = 0, output: [UInt8] = []
        while used < message.count {
            var byte: UInt8 = 0
            let rest = Array(message[used...].prefix(1_000))
            let progress = torsion_inflater_add(inflater, rest, rest.count, &byte, 1)
            #expect(progress.result >= 0)
            if progress.result < 0 { break }
            used += progress.used
            if progress.written > 0 { output.append(byte) }
        }
        #expect(Bytes(output) == text[..<output.count] && output.count >= text.count - 1)
        client.finish()
    }

    @Test func `short messages, and those that do not become shorter, are sent as they are`() {
        let recorder = Recorder()
        let client = Client(recorder, compressing, offer: Self.deflate)
        let short = String(repeating: "a", count: 63), long = short + "a"
        client.send(short)
        #expect(client.frames() == ["text \(short)"])
        client.send(long)
        let compressed = client.frames()
        #expect(compressed.count == 1 && compressed[0].hasPrefix("compressed text"))
        let incompressible = noise(500)
        client.send(frame(2, incompressible, key: Self.key))
        #expect(client.frames() == ["binary \(incompressible)"])
        client.finish()
    }

    @Test func `H-74: a broadcast is compressed once, for those who keep no context`() throws {
        let clock = ManualClock()
        let recorders = (0..<4).map { _ in Recorder() }
        let clients = [
            Client(recorders[0], compressing, clock: clock, offer: Self.deflate),
            Client(recorders[1], compressing, clock: clock, offer: Self.deflate),
            Client(recorders[2], keeping(true, true), clock: clock, offer: Self.deflate),
            Client(recorders[3], clock: clock),
        ]
        let room = WebSocketBroadcast()
        for recorder in recorders { recorder.socket.map(room.add) }
        let text = String(repeating: "news ", count: 100)
        let compressed = "compressed text \(try deflated(Bytes(text)))"
        room.send(text)
        room.send(EncodedMessage(text))
        room.send(EncodedMessage(text).compressed())
        clock.advance(by: .zero)
        for client in clients[..<2] {
            #expect(client.frames() == [compressed, "text \(text)", compressed])
        }
        for client in clients[2...] {
            #expect(client.frames() == Array(repeating: "text \(text)", count: 3))
        }
        for client in clients where client.memory.isOpen { client.memory.peerResets() }
        for client in clients { client.finish() }
    }
}

#endif
