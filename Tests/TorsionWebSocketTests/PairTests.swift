// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionHTTP
import TorsionTLS
import TorsionTesting
@testable import TorsionWebSocket

#if TLS
private let securities = [false, true]
#else
private let securities = [false]
#endif

/// A server's place and a client's way to it, in the clear or over TLS.
private func ends(
    _ plain: ServerEndpoint, isSecure: Bool
) -> (any StreamServerEndpoint, ClientSecurity?) {
    #if TLS
    if isSecure {
        let security = ClientSecurity { endpoint, _ in
            try endpoint.tls(TestedTLS.contexts.client, serverName: "localhost")
        }
        return (plain.tls(TestedTLS.contexts.server), security)
    }
    #endif
    return (plain, nil)
}

/// Both sides of this package, and programs of others.
@Suite struct PairTests {
    /// Ends when the client has been told of its loss.
    private func run(
        _ backend: BackendChoice, _ server: Recorder, _ client: Recorder,
        isSecure: Bool = false
    ) throws {
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            reactor.unhandledError = { Issue.record("\($0)") }
            let plain = ServerEndpoint.tcp(port: 0, interface: .loopback)
            let (endpoint, security) = ends(plain, isSecure: isSecure)
            let port = try endpoint.listen(on: reactor, http: HTTPServerOptions()) {
                Responding { head, exchange in exchange.upgrade(toWebSocket: server, for: head) }
            }
            let scheme = isSecure ? "wss" : "ws"
            WebSocket.connect(
                "\(scheme)://\(port.localAddress)/", on: reactor, to: client,
                security: security
            ).whenFailed {
                Issue.record($0)
                reactor.stop(within: .zero)
            }
            func look() {
                guard client.losses.isEmpty || server.losses.isEmpty else {
                    reactor.stop(within: .seconds(5))
                    return
                }
                reactor.callLater(.milliseconds(1)) { look() }
            }
            look()
        }
    }

    @Test(arguments: BackendChoice.tested)
    func `messages go both ways, and a close ends both sides in peace`(backend: BackendChoice)
        throws
    {
        for isSecure in securities {
            let server = Recorder(), client = Recorder()
            let long = String(repeating: "long ", count: 60_000)
            client.echoes = false
            client.whenMade = { socket in
                socket.send("")
                socket.send("grüße")
                socket.send(WebSocketMessage(Bytes([0, 1, 2])))
                socket.send(long)
                socket.send(EncodedMessage("encoded"))
                socket.send("end")
            }
            client.whenReceived = { socket, text in
                if text == "end" { socket.close(.normal, reason: "enough") }
            }
            try run(backend, server, client, isSecure: isSecure)
            #expect(client.messages == server.messages && client.messages.count == 6)
            #expect(client.messages.contains("text \(Bytes(long))"))
            #expect(server.losses[0].code == .normal && server.losses[0].reason == "enough")
            #expect(server.losses[0].isClean && client.losses[0].isClean)
            #expect(client.losses[0].code == .normal)
        }
    }

    @Test func `what cannot be connected to says why`() throws {
        let world = SimulatedWorld(seed: 1)
        try world.host("server").run { reactor in
            try ServerEndpoint.tcp(port: 80).listen(on: reactor, http: HTTPServerOptions()) {
                Responding { head, exchange in exchange.respond(.forbidden) }
            }
        }
        try world.host("client").run { _ in }
        let reactor = world.host("client").reactor
        func failure(_ url: String, _ fields: FieldList = [:]) throws -> String {
            var text = ""
            WebSocket.connect(url, on: reactor, fields: fields)
                .addCallback { _ in text = "no failure" }.whenFailed { text = "\($0)" }
            try world.run { !text.isEmpty }
            return text
        }
        #expect(try failure("ws://server/") == "the server answered 403 Forbidden, no WebSocket")
        #expect(try failure("http://server/").contains("neither with ws: nor with wss:"))
        #expect(try failure("wss://server/").contains("security: .tls"))
        #expect(
            try failure("ws://server/", [.host: "x"])
                == "the field Host cannot be sent with a handshake")
        #expect(try failure("ws://server/", ["X-A": "a\r\nB: c"]).contains("X-A cannot be sent"))
        #expect(try failure("ws:/server").contains("is no URL"))
        #expect(try failure("ws://server:81/").contains("server"))
        try world.finish()
    }

    /// A server that answers a handshake as a test wants.
    private final class Odd: StreamProtocol {
        let answer: (String) -> String

        init(_ answer: @escaping (String) -> String) { self.answer = answer }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            let text = String(decoding: bytes)
            let line = text.split(separator: "\r\n").first { $0.hasPrefix("Sec-WebSocket-Key: ") }
            let key = Bytes(String(line?.dropFirst(19) ?? ""))
            transport.write(answer(String(decoding: HandshakeKey.accept(for: key))))
        }
    }

    @Test func `RFC 6455 §4.1: an answer that is not right is refused, and one that hangs`() throws
    {
        func right(_ accept: String, _ more: String = "") -> String {
            "HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\nConnection: x, upgrade\r\n"
                + "Sec-WebSocket-Accept: \(accept)\r\n\(more)\r\n"
        }
        let answers: [((String) -> String, String)] = [
            ({ right($0) }, ""),
            (
                { "HTTP/1.1 103 Early Hints\r\n\r\n" + right($0, "Sec-WebSocket-Protocol: b\r\n") },
                ""
            ),
            ({ right($0 + "=") }, "wrong Sec-WebSocket-Accept"),
            ({ right($0, "Sec-WebSocket-Accept: \($0)\r\n") }, "wrong Sec-WebSocket-Accept"),
            ({ right($0, "Sec-WebSocket-Protocol: c\r\n") }, "subprotocol that was not offered"),
            ({ right($0, "Sec-WebSocket-Extensions: x\r\n") }, "extension that was not offered"),
            (
                { _ in "HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n" },
                "another protocol"
            ),
            ({ _ in "HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n" }, ""),
            ({ _ in "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" }, "answered 200"),
            ({ _ in "SSH-2.0-OpenSSH\r\n" }, ""), ({ _ in "" }, "too long"),
        ]
        for (index, (answer, sentence)) in answers.enumerated() {
            let world = SimulatedWorld(seed: UInt64(index))
            try world.host("server").run { reactor in
                try ServerEndpoint.tcp(port: 80).listen(on: reactor) { Odd(answer) }
            }
            try world.host("client").run { _ in }
            var options = WebSocketOptions()
            options.subprotocols = ["a", "b"]
            var text: String?
            var socket: WebSocket?
            WebSocket.connect("ws://server/", on: world.host("client").reactor, options: options)
                .addCallback {
                    socket = $0
                    text = ""
                }.whenFailed { text = "\($0)" }
            try world.run { text != nil }
            #expect((socket != nil) == (index < 2), "\(index): \(text ?? "")")
            if index == 1 { #expect(socket?.subprotocol == "b") }
            if sentence != "too long" {
                #expect(text?.contains(sentence) ?? false, "\(text ?? "")")
            }
            if index == 10 {
                #expect(world.elapsed >= .seconds(10) && world.elapsed < .seconds(12))
            }
            socket?.abort()
            socket = nil
            try world.run(for: .seconds(20))
            try world.finish()
        }
    }

    @Test func `H-60: a frame behind the server's answer, in the same read, is delivered`() throws {
        for cut in [false, true] {
            let world = SimulatedWorld(seed: 4)
            try world.host("server").run { reactor in
                try ServerEndpoint.tcp(port: 80).listen(on: reactor) {
                    Odd { accept in
                        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                            + "Sec-WebSocket-Accept: \(accept)\r\n\r\n\u{1}\u{0}"
                    }
                }
            }
            try world.host("client").run { _ in }
            let recorder = Recorder()
            recorder.whenMade = { if cut { $0.pauseReceiving() } }
            WebSocket.connect("ws://server/", on: world.host("client").reactor, to: recorder)
                .whenFailed { Issue.record($0) }
            // Its first fragment is there; the second never comes.
            try world.run { recorder.socket != nil }
            recorder.socket?.abort()
            try world.run { recorder.losses.count == 1 }
            try world.finish()
        }
    }

    @Test func `cancelling a connect gives up, at any moment`() throws {
        for delay in 0..<40 {
            let world = SimulatedWorld(seed: UInt64(delay))
            let server = Recorder()
            try world.host("server").run { reactor in
                try ServerEndpoint.tcp(port: 80).listen(on: reactor, http: HTTPServerOptions()) {
                    Responding { head, exchange in
                        exchange.upgrade(toWebSocket: server, for: head)
                    }
                }
            }
            try world.host("client").run { _ in }
            var ended = false
            var socket: WebSocket?
            let attempt = WebSocket.connect("ws://server/", on: world.host("client").reactor)
            attempt.addCallback { socket = $0 }.addBoth { _ in ended = true }
            world.at(.milliseconds(delay)) { attempt.cancel() }
            try world.run { ended }
            socket = nil
            try world.run(for: .seconds(10))
            #expect(socket == nil)
            try world.finish()
        }
    }

    // MARK: Tasks

    @Test func `tasks on both sides: messages in order, an echo, and an end`() throws {
        let world = SimulatedWorld(seed: 9)
        var served: [String] = []
        var answered: [String] = []
        var isOver = false
        try world.host("server").run { reactor in
            reactor.spawn {
                try await ServerEndpoint.tcp(port: 80).serveHTTP(on: reactor) { request, answer in
                    let socket = try await answer.upgradeToWebSocket(request)
                    for try await message in socket.messages {
                        served.append(message.text ?? "binary")
                        try await socket.send(message)
                    }
                }
            }.whenFailed { Issue.record($0) }
        }
        try world.host("client").run { reactor in
            reactor.spawn {
                let socket = try await WebSocket.connect("ws://server/", on: reactor).value
                for number in 0..<300 { try await socket.send("\(number)") }
                for try await message in socket.messages {
                    answered.append(message.text ?? "binary")
                    if answered.count == 300 { break }
                }
                // Leaving a loop loses nothing.
                try await socket.send(WebSocketMessage(Bytes(repeating: 1, count: 200_000)))
                for try await message in socket.messages {
                    #expect(message.kind == .binary && message.bytes.count == 200_000)
                    socket.close()
                }
                isOver = true
            }.whenFailed { Issue.record($0) }
        }
        try world.run { isOver }
        #expect(answered == (0..<300).map { "\($0)" } && served.count == 301)
        try world.run(for: .seconds(10))
        try world.finish()
    }

    @Test func `a task that neither sends nor reads is slowed down, and one that is late throws`()
        throws
    {
        let world = SimulatedWorld(seed: 10)
        var sentCount = 0
        var failure: (any Error)?
        var kept: WebSocket?
        try world.host("server").run { reactor in
            reactor.spawn {
                try await ServerEndpoint.tcp(port: 80).serveHTTP(on: reactor) { request, answer in
                    kept = try await answer.upgradeToWebSocket(request)
                    try await reactor.sleep(for: .seconds(1_000))
                }
            }.whenFailed { Issue.record($0) }
        }
        try world.host("client").run { reactor in
            reactor.spawn {
                let socket = try await WebSocket.connect("ws://server/", on: reactor).value
                let message = WebSocketMessage(Bytes(repeating: 1, count: 10_000))
                do {
                    while true {
                        try await socket.send(message)
                        sentCount += 1
                    }
                } catch { failure = error }
            }.whenFailed { Issue.record($0) }
        }
        try world.run(for: .seconds(5))
        #expect(sentCount > 10 && sentCount < 2_000 && failure == nil)
        kept?.abort()
        try world.run { failure != nil }
        #expect(failure is WebSocketLoss || failure is ConnectionLoss)
        kept = nil
        try world.finish()
    }

    @Test func `a refused handshake of a task is answered, and not reported`() throws {
        let world = SimulatedWorld(seed: 11)
        try world.host("server").run { reactor in
            reactor.spawn {
                try await ServerEndpoint.tcp(port: 80).serveHTTP(on: reactor) { request, answer in
                    _ = try await answer.upgradeToWebSocket(request)
                }
            }.whenFailed { Issue.record($0) }
        }
        try world.host("client").run { _ in }
        let asker = Asker()
        ClientEndpoint.tcp(host: "server", port: 80).connect(on: world.host("client").reactor) {
            asker
        }.whenFailed { Issue.record($0) }
        try world.run { asker.transport != nil }
        asker.transport?.write(request(""))
        try world.run { asker.text.contains("\r\n\r\n") }
        #expect(asker.text.hasPrefix("HTTP/1.1 426 "))
        asker.transport?.loseConnection()
        try world.run { asker.isLost }
        try world.finish()
    }

    @Test func `H-40: at a stop every socket is closed with 1001, and its task told`() throws {
        let world = SimulatedWorld(seed: 12)
        var isStopped = false
        try world.host("server").run { reactor in
            reactor.spawn {
                try await ServerEndpoint.tcp(port: 80).serveHTTP(on: reactor) { request, answer in
                    let socket = try await answer.upgradeToWebSocket(request)
                    do { for try await _ in socket.messages {} } catch is ShutdownRequested {
                        isStopped = true
                    }
                }
            }
        }
        try world.host("client").run { _ in }
        let client = Recorder()
        WebSocket.connect("ws://server/", on: world.host("client").reactor, to: client)
            .whenFailed { Issue.record($0) }
        try world.run { client.socket != nil }
        world.host("server").reactor.stop(within: .seconds(10))
        try world.run { client.losses.count == 1 && !world.host("server").isRunning }
        #expect(client.losses[0].code == .goingAway && client.losses[0].isClean && isStopped)
        try world.finish()
    }
}

private final class Asker: StreamProtocol {
    private(set) var transport: (any StreamTransport)?
    private(set) var text = ""
    private(set) var isLost = false

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        text += String(decoding: bytes)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        isLost = true
        self.transport = nil
    }
}
