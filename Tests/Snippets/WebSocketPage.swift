// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionHTTP
import TorsionTLS
import TorsionTesting
import TorsionWebSocket

// snippet: Server
final class Shout: WebSocketProtocol {
    func messageReceived(
        _ message: RawSpan, _ kind: WebSocketMessage.Kind, from socket: WebSocket
    ) {
        if kind == .text { socket.send(String(decoding: message).uppercased()) }
    }
}

final class Shouting: HTTPResponder {
    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        guard head.path == "/shout" else { return exchange.respond(.notFound) }
        exchange.upgrade(toWebSocket: Shout(), for: head)
    }
}

func shout(on reactor: Reactor) throws {
    let responder = Shouting()
    try ServerEndpoint.tcp(port: 8080)
        .listen(on: reactor, http: HTTPServerOptions()) { responder }
}
// snippet end

// snippet: Origin
func mayConnect(_ head: borrowing RequestHead) -> Bool {
    // A program sends no Origin, a browser always does.
    head.text("Origin").map { $0 == "https://chat.example.org" } ?? true
}
// snippet end

// snippet: Tasks
func shoutByTasks(on reactor: Reactor) async throws {
    try await ServerEndpoint.tcp(port: 8080).serveHTTP(on: reactor) { request, answer in
        let socket = try await answer.upgradeToWebSocket(request)
        for try await message in socket.messages {
            try await socket.send((message.text ?? "").uppercased())
        }
    }
}
// snippet end

// snippet: Client
func ask(on reactor: Reactor) async throws {
    let socket = try await WebSocket.connect("ws://127.0.0.1:8080/shout", on: reactor).value
    try await socket.send("hello")
    for try await message in socket.messages {
        print(message)
        socket.close()
    }
}
// snippet end

func askSecurely(on reactor: Reactor) {
    // snippet: Secure
    WebSocket.connect("wss://example.org/shout", on: reactor, to: Shout(), security: .tls)
        .whenFailed { print($0) }
    // snippet end
}

#if Zlib
// snippet: Compression
func serveCompressed(on reactor: Reactor) throws {
    var options = WebSocketOptions()
    options.compression = WebSocketCompression()
    let responder = Upgrading(options)
    try ServerEndpoint.tcp(port: 8080).listen(on: reactor, http: HTTPServerOptions()) { responder }
}

final class Upgrading: HTTPResponder {
    let options: WebSocketOptions

    init(_ options: WebSocketOptions) { self.options = options }

    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        guard head.asksForWebSocket else { return exchange.respond(.notFound) }
        exchange.upgrade(toWebSocket: Shout(), for: head, options: options)
    }
}
// snippet end
#endif

// snippet: Broadcast
final class News {
    let readers = WebSocketBroadcast(slowReaders: .drop(aboveBytes: 256 * 1024))

    func publish(_ text: String) { readers.send(text) }
}
// snippet end

@Test func `the guide's WebSocket answers without a socket`() {
    // snippet: Test
    let client = MemoryTransport(serveHTTP(Shouting()))
    client.receive(
        "GET /shout HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    #expect(client.takeText().contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
    // A client masks: RFC 6455 §5.7 has this "Hello".
    client.receive(
        Bytes([0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]))
    #expect(client.takeText().hasSuffix("HELLO"))
    // snippet end
    client.peerCloses()
    let news = News()
    news.publish("to nobody yet")
    #expect(news.readers.count == 0)
}
