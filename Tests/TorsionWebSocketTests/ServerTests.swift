// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionHTTP
import TorsionTesting
@testable import TorsionWebSocket

@Suite struct ServerHandshakeTests {
    private func answer(_ text: String, _ options: WebSocketOptions = WebSocketOptions()) -> String
    {
        let recorder = Recorder()
        let client = Client(recorder, options, upgrades: false)
        client.memory.receive(text)
        client.settle()
        let answer = client.memory.takeText()
        if !answer.contains(" 101 ") {
            // H-61: what was refused leaves the connection usable.
            client.memory.receive(request())
            client.settle()
            #expect(client.memory.takeText().contains(accepted))
        }
        client.finish()
        return answer
    }

    @Test func `the handshake of RFC 6455 §1.3 is answered as it says`() {
        let text = answer(request())
        #expect(
            text == "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\(accepted)\r\n"
                + "Connection: Upgrade\r\n\r\n")
    }

    @Test func `names and tokens are found in any case, in any list`() {
        let fields =
            "UPGRADE: h2c, WebSocket\r\nconnection: keep-alive\r\nConnection: x,uPGRADE\r\n"
            + "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nSEC-WEBSOCKET-VERSION: 13\r\n"
        #expect(answer(request(fields)).contains(accepted))
    }

    @Test func `H-61: a refused handshake says why, and the next one on the connection works`() {
        func without(_ text: String, _ replacement: String = "") -> String {
            let parts = handshakeFields.split(separator: text, omittingEmptySubsequences: false)
            #expect(parts.count == 2)
            return request(parts.joined(separator: replacement))
        }
        let refused: [(String, String)] = [
            (without("Upgrade: websocket\r\n"), "426"),
            (without("Upgrade: websocket", "Upgrade: h2c"), "426"),
            (without("Connection: Upgrade\r\n"), "400"),
            (without("Sec-WebSocket-Version: 13\r\n"), "426"),
            (without("Version: 13", "Version: 8"), "426"),
            (without("Version: 13", "Version: 013"), "426"),
            (without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "400"),
            (without("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), "400"),
            (without("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j!Q=="), "400"),
            (
                without(
                    "Upgrade: web", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nUpgrade: web"),
                "400"
            ),
            ("POST" + request().dropFirst(3), "400"),
        ]
        for (text, status) in refused {
            let answer = answer(text)
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(text): \(answer)")
            if status == "426" {
                #expect(answer.contains("Sec-WebSocket-Version: 13\r\n"))
                #expect(answer.contains("Upgrade: websocket\r\n"))
            }
        }
    }

    @Test func `HTTP/1.0 cannot upgrade`() {
        let recorder = Recorder()
        let client = Client(recorder, upgrades: false)
        client.memory.receive("GET /chat HTTP/1.0\r\nHost: a\r\n\(handshakeFields)\r\n")
        #expect(client.memory.takeText().hasPrefix("HTTP/1.1 400 "))
        client.finish()
    }

    @Test func `the server chooses the subprotocol that it likes best`() {
        var options = WebSocketOptions()
        options.subprotocols = ["b", "a"]
        let offer = "Sec-WebSocket-Protocol: x, a\r\nSec-WebSocket-Protocol: b\r\n"
        #expect(
            answer(request(handshakeFields + offer), options)
                .contains("Sec-WebSocket-Protocol: b\r\n"))
        #expect(!answer(request(), options).contains("Sec-WebSocket-Protocol"))
        let other = "Sec-WebSocket-Protocol: x\r\n"
        #expect(!answer(request(handshakeFields + other), options).contains("Protocol: "))
    }

    @Test func `H-60: frames behind the handshake, in the same read or cut, are the protocol's`() {
        let hello = frame(1, "hello", key: Client.key) + frame(2, "x", key: Client.key)
        // Each byte of the frames, every ninth of the request, and all of them.
        let cuts = chunkings(of: Bytes(request()) + hello)
        for (index, pieces) in cuts.enumerated()
        where index % 9 == 0 || index + 25 > cuts.count {
            let recorder = Recorder()
            let client = Client(recorder, upgrades: false)
            client.memory.receive(pieces: pieces)
            client.settle()
            #expect(recorder.messages == ["text hello", "binary x"])
            client.finish()
            #expect(recorder.losses.count == 1)
        }
    }

    @Test func `H-61: on any request of a connection, also behind others`() {
        let recorder = Recorder()
        let client = Client(recorder, upgrades: false)
        client.memory.receive(request("", path: "/a") + request("", path: "/b") + request())
        client.settle()
        let answer = client.memory.takeText()
        #expect(answer.split(separator: "HTTP/1.1 404").count == 2 && answer.contains(accepted))
        client.send("hi")
        #expect(client.frames() == ["text hi"])
        client.finish()
    }

    @Test func `a handshake that cannot be upgraded leaves no object behind`() {
        weak var seen: Recorder?
        do {
            let recorder = Recorder()
            seen = recorder
            let client = Client(recorder, upgrades: false)
            client.memory.receive(request(handshakeFields + "Content-Length: 5\r\n"))
            client.settle()
            #expect(client.memory.takeText().hasPrefix("HTTP/1.1 400 "))
            client.finish()
        }
        #expect(seen == nil)
    }
}

@Suite struct ServerTests {
    @Test func `messages are echoed, of every kind and length`() {
        let recorder = Recorder()
        let client = Client(recorder)
        for count in [0, 1, 125, 126, 127, 2_000, 2_049, 65_535, 65_536, 200_000] {
            let payload = Bytes(repeating: UInt8(ascii: "a"), count: count)
            client.send(frame(1, payload, key: Client.key))
            client.send(frame(2, payload, key: Client.key))
            #expect(client.frames() == ["text \(payload)", "binary \(payload)"])
        }
        client.finish()
        #expect(recorder.losses.map(\.code) == [.abnormal])
    }

    @Test func `H-72: a pong leaves before what follows the ping, between fragments too`() {
        let recorder = Recorder()
        let client = Client(recorder)
        let key = Client.key
        client.send(
            frame(1, "a", isFinal: false, key: key) + frame(9, "1", key: key)
                + frame(0, "b", isFinal: false, key: key) + frame(9, "2", key: key)
                + frame(0, "c", key: key) + frame(9, "3", key: key) + frame(1, "d", key: key))
        #expect(client.frames() == ["pong 1", "pong 2", "text abc", "pong 3", "text d"])
        client.finish()
    }

    @Test func `H-73: a client closes; it is answered with its code, and the server ends first`() {
        let recorder = Recorder()
        let client = Client(recorder)
        client.send(frame(8, Bytes([15, 160]) + "so long", key: Client.key) + "junk")
        #expect(client.frames() == ["close 4000 false"])
        #expect(client.memory.hasEnded && !client.memory.wasReset)
        client.memory.peerCloses()
        let loss = recorder.losses[0]
        #expect(loss.code.rawValue == 4000 && loss.reason == "so long" && loss.isClean)
        client.finish()
        #expect(recorder.losses.count == 1)
        let silent = Recorder()
        let other = Client(silent)
        other.send(frame(8, key: Client.key))
        #expect(other.frames() == ["close - false"])
        #expect(silent.losses.map(\.code) == [.none])
        other.finish()
        // What it says in words is on one line of a log, and no terminal obeys it.
        let sly = Recorder()
        let third = Client(sly)
        third.send(frame(8, Bytes([15, 160]) + "a\nb\u{1b}[2Jgrün", key: Client.key))
        third.memory.peerCloses()
        #expect(sly.losses[0].reason == "a\nb\u{1b}[2Jgrün")
        #expect("\(sly.losses[0])" == "closed with code 4000: a\\nb\\u{1B}[2Jgrün")
        third.finish()
    }

    @Test func `H-73: the server closes; what was sent leaves before, what comes is dropped`() {
        let recorder = Recorder()
        let client = Client(recorder)
        recorder.socket?.send("last")
        recorder.socket?.close(.goingAway, reason: "restart")
        recorder.socket?.send("too late")
        client.settle()
        #expect(client.frames() == ["text last", "close 1001 true"])
        #expect(!client.memory.hasEnded)
        client.send("ignored")
        client.send(frame(9, "ping", key: Client.key))
        #expect(client.frames() == [] && recorder.messages == [])
        client.send(frame(8, Bytes([3, 233]), key: Client.key))
        #expect(client.frames() == [] && client.memory.hasEnded && !client.memory.wasReset)
        client.finish()
        #expect(recorder.losses.map(\.code) == [.goingAway] && recorder.losses[0].isClean)
    }

    @Test func `H-73: who has finished sending still gets what comes before the close frame`() {
        let recorder = Recorder()
        let client = Client(recorder)
        recorder.echoes = false
        recorder.socket?.finishSending()
        client.settle()
        #expect(client.frames() == ["close 1000 false"])
        let close = frame(8, Bytes([3, 232]), key: Client.key)
        client.send(frame(1, "late", key: Client.key) + close + frame(1, "x", key: Client.key))
        #expect(recorder.messages == ["text late"] && client.memory.hasEnded)
        client.finish()
        #expect(recorder.losses.map(\.isClean) == [true])
    }

    @Test func `H-73: a close that is not answered within 5 s ends all the same`() {
        let recorder = Recorder()
        let client = Client(recorder)
        recorder.socket?.close()
        client.clock.advance(by: .milliseconds(4_900))
        #expect(recorder.losses.isEmpty)
        client.clock.advance(by: .milliseconds(200))
        #expect(recorder.losses.count == 1 && client.memory.hasEnded)
        #expect(!client.memory.wasReset)
        guard case .deadlinePassed(.closing)? = recorder.losses.first?.cause else {
            Issue.record("\(recorder.losses)")
            return
        }
        #expect(recorder.losses[0].code == .abnormal && !recorder.losses[0].isClean)
        client.finish()
    }

    @Test func `H-73: a peer that takes what is queued behind a close is given more time`() {
        let recorder = Recorder()
        let client = Client(recorder, roomBytes: 5_000)
        recorder.socket?.send(WebSocketMessage(Bytes(repeating: 7, count: 50_000)))
        recorder.socket?.close()
        client.settle()
        for _ in 0..<4 {
            client.clock.advance(by: .seconds(4))
            client.memory.drain(5_000)
        }
        #expect(recorder.losses.isEmpty && !client.memory.wasReset)
        // It takes nothing any more.
        client.clock.advance(by: .seconds(11))
        #expect(recorder.losses.count == 1 && client.memory.wasReset)
        client.finish()
    }

    @Test func `H-76: a ping after 30 s of silence, lost after two`() {
        let recorder = Recorder()
        let client = Client(recorder)
        client.clock.advance(by: .seconds(29))
        client.send("still here")
        #expect(client.frames() == ["text still here"])
        client.clock.advance(by: .milliseconds(29_900))
        #expect(client.frames() == [])
        client.clock.advance(by: .milliseconds(200))
        #expect(client.frames() == ["ping "])
        // Any sign of life counts.
        client.send(frame(10, key: Client.key))
        client.clock.advance(by: .milliseconds(30_100))
        #expect(client.frames() == ["ping "])
        client.clock.advance(by: .seconds(30))
        #expect(client.frames() == ["ping "] && recorder.losses.isEmpty)
        client.clock.advance(by: .seconds(30))
        guard case .deadlinePassed(.idle)? = recorder.losses.first?.cause else {
            Issue.record("\(recorder.losses)")
            return
        }
        client.finish()
        #expect(recorder.losses.count == 1)
    }

    @Test func `H-76: messages move no timer`() {
        let recorder = Recorder()
        let client = Client(recorder)
        let before = client.clock.reactor.delayedCalls
        for _ in 0..<10 {
            client.clock.advance(by: .seconds(2))
            client.send("x")
        }
        #expect(client.clock.reactor.delayedCalls.count == before.count)
        #expect(client.clock.reactor.statistics.delayedCalls == 1)
        client.finish()
    }

    @Test func `what breaks the protocol is answered with its code, and closed`() {
        let wrong: [(Bytes, UInt16)] = [
            (frame(3, key: Client.key), 1002), (frame(1, "x"), 1002),
            (frame(1, Bytes([0xff]), key: Client.key), 1007),
            (frame(2, Bytes(repeating: 0, count: 101), key: Client.key), 1009),
        ]
        for (bytes, code) in wrong {
            let recorder = Recorder()
            var options = WebSocketOptions()
            options.messageLimitBytes = 100
            let client = Client(recorder, options)
            client.send(
                frame(1, "before", key: Client.key) + bytes + frame(1, "x", key: Client.key))
            #expect(client.frames() == ["text before", "close \(code) true"])
            #expect(client.memory.hasEnded && !client.memory.wasReset)
            #expect(recorder.messages == ["text before"])
            client.finish()
            #expect(recorder.losses.map(\.code.rawValue) == [code])
            #expect(recorder.losses.first?.isClean == false)
        }
    }

    private struct Mishap: Error {}

    @Test func `a protocol that throws closes with 1011`() {
        let recorder = Recorder()
        recorder.whenReceived = { _, _ in throw Mishap() }
        let client = Client(recorder)
        client.send("x")
        #expect(client.frames() == ["text x", "close 1011 false"])
        client.finish()
        guard case .protocolFailed(let error)? = recorder.losses.first?.cause else {
            Issue.record("\(recorder.losses)")
            return
        }
        #expect(error is Mishap && recorder.losses[0].code == .internalError)
    }

    @Test func `a protocol may close, abort and pause inside a message`() {
        for verb in 0..<3 {
            let recorder = Recorder()
            recorder.whenReceived = { socket, text in
                guard text == "1" else { return }
                switch verb {
                case 0: socket.close()
                case 1: socket.abort()
                default: socket.pauseReceiving()
                }
            }
            let client = Client(recorder)
            client.send((0..<4).map { frame(1, Bytes("\($0)"), key: Client.key) }.joined())
            #expect(recorder.messages == ["text 0", "text 1"])
            if verb == 2 {
                #expect(!client.memory.isReading)
                recorder.whenReceived = { _, _ in }
                recorder.socket?.resumeReceiving()
                client.settle()
                #expect(recorder.messages.count == 4)
            }
            client.finish()
            #expect(recorder.losses.count == 1)
        }
    }

    @Test func `a client that reads nothing is read no more above the high mark`() {
        let recorder = Recorder()
        let client = Client(recorder, roomBytes: 1_000)
        let message = frame(2, Bytes(repeating: 1, count: 10_000), key: Client.key)
        for _ in 0..<50 where client.memory.isReading { client.send(message) }
        #expect(!client.memory.isReading)
        #expect(recorder.messages.count < 12)
        #expect((recorder.socket?.pendingByteCount ?? 0) < 100_000)
        client.memory.drain()
        client.settle()
        #expect(client.memory.isReading)
        client.finish()
    }

    @Test func `a flood of pings to a full connection is answered with the last one's pong`() {
        let recorder = Recorder()
        recorder.echoes = false
        let client = Client(recorder, roomBytes: 1_000)
        final class Producer: PushProducer {
            var log: [String] = []
            func pauseProducing() { log.append("pause") }
            func resumeProducing() { log.append("resume") }
            func stopProducing() { log.append("stop") }
        }
        let producer = Producer()
        recorder.socket?.registerProducer(producer)
        recorder.socket?.send(WebSocketMessage(Bytes(repeating: 1, count: 70_000)))
        client.settle()
        #expect(producer.log == ["pause"] && client.memory.isReading)
        let pending = recorder.socket?.pendingByteCount
        for number in 0..<100 { client.send(frame(9, Bytes("\(number)"), key: Client.key)) }
        #expect(recorder.socket?.pendingByteCount == pending)
        client.memory.drain()
        client.settle()
        #expect(producer.log == ["pause", "resume"])
        #expect(client.frames().last == "pong 99")
        client.finish()
        #expect(producer.log == ["pause", "resume", "stop"])
    }

    @Test func `nothing is left of a connection`() {
        weak var seen: Recorder?
        weak var socket: WebSocket?
        do {
            let recorder = Recorder()
            let client = Client(recorder)
            seen = recorder
            socket = recorder.socket
            client.send("x")
            client.finish()
        }
        #expect(seen == nil && socket == nil)
    }
}

extension Sequence where Element == Bytes {
    func joined() -> Bytes { Bytes(joining: Array(self)) }
}
