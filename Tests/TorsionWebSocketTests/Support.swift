// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionHTTP
import TorsionTesting
@testable import TorsionWebSocket

/// A responder that is a closure.
final class Responding: HTTPResponder {
    private let body: (borrowing RequestHead, consuming HTTPExchange) throws -> Void

    init(_ body: @escaping (borrowing RequestHead, consuming HTTPExchange) throws -> Void) {
        self.body = body
    }

    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) throws {
        try body(head, exchange)
    }
}

/// Notes what it is told, and echoes.
final class Recorder: WebSocketProtocol {
    var socket: WebSocket?
    var messages: [String] = []
    var losses: [WebSocketLoss] = []
    var echoes = true
    var whenReceived: (WebSocket, String) throws -> Void = { _, _ in }
    var whenMade: (WebSocket) throws -> Void = { _ in }

    func connectionMade(_ socket: WebSocket) throws {
        self.socket = socket
        try whenMade(socket)
    }

    func messageReceived(
        _ message: RawSpan, _ kind: WebSocketMessage.Kind, from socket: WebSocket
    ) throws {
        messages.append("\(kind) \(Bytes(message))")
        if echoes { socket.send(message, kind) }
        try whenReceived(socket, String(decoding: message))
    }

    func connectionLost(_ why: WebSocketLoss, from socket: WebSocket) {
        losses.append(why)
        self.socket = nil
    }
}

/// The example of RFC 6455 §1.3.
let handshakeFields =
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    + "Sec-WebSocket-Version: 13\r\n"
let accepted = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

func request(_ fields: String = handshakeFields, path: String = "/chat") -> String {
    "GET \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n"
}

/// A server in memory, whose client a test plays.
final class Client {
    let memory: MemoryTransport
    let clock: ManualClock
    /// Extensions.
    private let offer: String?
    private(set) var unhandled: [String] = []
    private var input: [UInt8] = []

    static let key: UInt32 = 0x1234_5678

    /// `upgrades`: Whether the handshake is done at once.
    init(
        _ proto: Recorder, _ options: WebSocketOptions = WebSocketOptions(),
        roomBytes: Int = .max, upgrades: Bool = true, clock: ManualClock? = nil,
        offer: String? = nil
    ) {
        self.offer = offer
        self.clock = clock ?? ManualClock()
        memory = MemoryTransport(
            serveHTTP(
                Responding { head, exchange in
                    guard head.path == "/chat" else { return exchange.respond(.notFound) }
                    exchange.upgrade(toWebSocket: proto, for: head, options: options)
                }), clock: self.clock, roomBytes: roomBytes)
        self.clock.reactor.unhandledError = { [unowned self] in unhandled.append("\($0)") }
        guard upgrades else { return }
        let field = offer.map { "Sec-WebSocket-Extensions: \($0)\r\n" } ?? ""
        memory.receive(request(handshakeFields + field))
        settle()
        let answer = memory.takeText()
        #expect(answer.contains("permessage-deflate") == (offer != nil))
        #expect(answer.hasPrefix("HTTP/1.1 101 ") && answer.contains(accepted), "\(answer)")
    }

    func settle() { clock.advance(by: .zero) }

    func send(_ bytes: Bytes) {
        memory.receive(bytes)
        settle()
    }

    func send(_ text: String) { send(frame(1, Bytes(text), key: Self.key)) }

    /// What frames the server has sent, since the last time.
    func frames() -> [String] {
        let bytes = memory.takeBytes()
        let decoded = Decoded(
            [bytes], from: .server, limit: 1 << 26, mayBeCompressed: offer != nil)
        #expect(decoded.error == nil)
        return decoded.events
    }

    /// Nothing is left of the connection.
    func finish(_ place: SourceLocation = #_sourceLocation) {
        clock.reactor.checkInvariants()
        if memory.isOpen { memory.peerCloses() }
        settle()
        if memory.isOpen { memory.peerResets() }
        clock.advance(by: .seconds(10))
        let figures = clock.reactor.statistics
        #expect(!memory.isOpen, sourceLocation: place)
        #expect(figures.delayedCalls == 0, "\(figures)", sourceLocation: place)
    }
}
