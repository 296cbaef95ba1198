// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
@testable import TorsionHTTP
import TorsionTesting

/// Bodies of requests and answers as sources and consumers.
@Suite struct BodyTests {
    private func post(_ body: String, _ fields: String = "") -> String {
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)"
    }

    /// A consumer that a test pauses by hand.
    private final class Tub: Consumer {
        var bytes: [UInt8] = []
        var producer: (any PushProducer)?
        var events: [String] = []

        func write(_ bytes: RawSpan) { self.bytes += bytes }
        func write(_ bytes: Bytes) { write(bytes.span) }
        func registerProducer(_ producer: any PushProducer) { self.producer = producer }
        func registerProducer(_ producer: any PullProducer) {}
        func unregisterProducer() { producer = nil }
        func finishConsuming() { events.append("finished") }
        func abandonConsuming(because error: any Error) { events.append("abandoned") }
    }

    @Test func `a body that is piped is read as fast as its consumer takes it`() {
        let tub = Tub()
        var count: Int?
        let client = Client(
            Responding { _, exchange in
                let body = exchange.body
                let pending = exchange.later()
                body.pipe(to: tub)
                    .addCallback {
                        count = $0
                        pending.respond(.created)
                    }
                    .whenFailed { _ in Issue.record("broke") }
            })
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nabc")
        #expect(tub.bytes.count == 3)
        tub.producer?.pauseProducing()
        client.send("def")
        client.send("ghi")
        #expect(tub.bytes.count == 3 && !client.memory.isReading)
        tub.producer?.resumeProducing()
        client.settle()
        #expect(tub.bytes.count == 9 && client.memory.isReading)
        client.send("jkl")
        #expect(String(decoding: tub.bytes, as: UTF8.self) == "abcdefghijkl" && count == 12)
        #expect(tub.events == ["finished"])
        #expect(client.answer() == "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        client.finish()
    }

    @Test func `a body that breaks off fails whoever reads it`() {
        for isReset in [false, true] {
            let tub = Tub()
            var error: (any Error)?
            let client = Client(
                Responding { _, exchange in
                    let body = exchange.body
                    let pending = exchange.later()
                    body.pipe(to: tub)
                        .whenFailed {
                            error = $0
                            pending.respond(.badRequest)
                        }
                })
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nabc")
            if isReset { client.memory.peerResets() } else { client.memory.peerCloses() }
            client.settle()
            #expect(tub.events == ["abandoned"])
            #expect(isReset ? error is ConnectionLoss : error is BodyTruncated, "\(error as Any)")
            #expect(!client.memory.isOpen)
            client.finish()
            #expect(client.unhandled == [])
        }
    }

    @Test(arguments: [
        "Content-Length: 12\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ])
    func `a body that breaks off behind what is held fails its reader when that was read`(
        start: String
    ) {
        let tub = Tub()
        var error: (any Error)?
        let client = Client(
            Responding { _, exchange in
                let body = exchange.body
                let pending = exchange.later()
                body.pipe(to: tub)
                    .whenFailed {
                        error = $0
                        pending.respond(.badRequest)
                    }
            })
        client.send("POST / HTTP/1.1\r\nHost: a\r\n\(start)")
        #expect(tub.bytes.count == 3)
        tub.producer?.pauseProducing()
        client.send(start.contains("chunked") ? "2\r\nde\r\n4\r\nf" : "def")
        client.memory.peerCloses()
        client.settle()
        #expect(tub.bytes.count == 3 && error == nil)
        tub.producer?.resumeProducing()
        client.settle()
        #expect(tub.bytes.count == 6 && tub.events == ["abandoned"])
        #expect(error is BodyTruncated, "\(error as Any)")
        #expect(client.answer().hasPrefix("HTTP/1.1 400 "))
        #expect(!client.memory.isOpen)
        client.finish()
        #expect(client.unhandled == [])
    }

    @Test func `a head that breaks off behind a request in hand is dropped when that is answered`()
    {
        var kept: PendingExchange?
        let client = Client(Responding { _, exchange in kept = exchange.later() })
        client.send(get("/a") + "GET /b HT")
        client.memory.peerCloses()
        client.settle()
        kept?.respond(.ok, body: "a")
        client.settle()
        client.clock.reactor.checkInvariants()
        #expect(client.answer() == ok("a"))
        #expect(!client.memory.isOpen)
        client.finish()
        #expect(client.unhandled == [])
    }

    @Test func `a body longer than its limit is a 413, and nothing of it is kept`() {
        let client = Client(
            Responding { _, exchange in
                let body = exchange.body.collect(limitBytes: 4)
                exchange.respond(when: body.addCallback { HTTPResponse(.ok, body: $0) })
            })
        #expect(client.ask(post("abcd")) == ok("abcd"))
        #expect(
            client.ask(post("abcde"))
                == "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        #expect(client.ask(post("efgh")) == ok("efgh"))
        client.finish()
        #expect(client.unhandled == [])
    }

    @Test func `trailers of a body are there when it has ended`() {
        var trailers: FieldList?
        let client = Client(
            Responding { _, exchange in
                let body = exchange.body
                let pending = exchange.later()
                body.collect(limitBytes: 100).addCallback { bytes in
                    trailers = body.trailers
                    pending.respond(.ok, body: bytes)
                }.whenFailed { _ in }
            })
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        #expect(client.ask(head + "1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n") == ok("a"))
        #expect(trailers == ["X-Sum": "7"])
        client.finish()
    }

    @Test
    func `a chunk that is none is answered with 400 by the server, whatever the program does`() {
        var failures = 0
        let client = Client(
            Responding { _, exchange in
                let body = exchange.body
                let pending = exchange.later()
                body.collect(limitBytes: 100).whenFailed { _ in
                    failures += 1
                    pending.respond(.internalServerError)
                }
            })
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        let answer = client.ask(head + "1\r\naX")
        #expect(
            answer == "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        #expect(failures == 1 && client.memory.hasEnded)
        client.finish()
    }

    @Test func `an answer in pieces goes in chunks, with trailers behind`() {
        var writer: ResponseWriter?
        let client = Client(
            Responding { _, exchange in writer = exchange.begin(.ok, [.trailer: "X"]) })
        client.send(get("/a") + get("/b"))
        writer?.write("hello")
        writer?.write(Bytes([UInt8](repeating: 120, count: 5_000)))
        writer?.write("")
        writer?.finish(trailers: ["X": "y"])
        client.settle()
        #expect(
            client.answer()
                == "HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
                + "1388\r\n" + String(repeating: "x", count: 5_000) + "\r\n0\r\nX: y\r\n\r\n"
                + "HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer?.finish()
        #expect(client.answer() == "0\r\n\r\n")
        client.finish()
        #expect(client.unhandled == [])
    }

    @Test func `an answer of unknown length to HTTP 1.0 goes to the connection's end`() {
        let client = Client(
            Responding { _, exchange in
                let writer = exchange.begin(.ok)
                writer.write("hello")
                writer.finish()
            })
        client.send("GET / HTTP/1.0\r\n\r\n")
        #expect(client.answer() == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")
        #expect(client.memory.hasEnded && !client.memory.wasReset)
        client.finish()
    }

    @Test func `a producer of an answer is paused while the client takes nothing`() {
        final class Source: ByteSource, PushProducer {
            var consumer: (any Consumer)?
            var events: [String] = []
            let result: Deferred<Int>
            init(_ reactor: Reactor) { result = Deferred(on: reactor) }
            func pipe(to consumer: any Consumer) -> Deferred<Int> {
                self.consumer = consumer
                consumer.registerProducer(self)
                return result
            }
            func pauseProducing() { events.append("pause") }
            func resumeProducing() { events.append("resume") }
            func stopProducing() {
                events.append("stop")
                result.fail(PipeBroken(byteCount: 0))
            }
        }
        var source: Source?
        let client = Client(
            Responding { head, exchange in
                source = Source(exchange.reactor)
                exchange.respond(.ok, body: source!, byteCount: 200_000)
            }, roomBytes: 1_000)
        client.send(get("/"))
        source?.consumer?.write(Bytes([UInt8](repeating: 1, count: 100_000)))
        #expect(source?.events == ["pause"])
        client.memory.drain()
        #expect(source?.events == ["pause", "resume"])
        source?.consumer?.write(Bytes([UInt8](repeating: 2, count: 100_000)))
        source?.consumer?.unregisterProducer()
        source?.consumer?.finishConsuming()
        source?.result.succeed(200_000)
        client.settle()
        #expect(client.answer().utf8.count > 200_000)
        #expect(client.ask(get("/")).hasPrefix("HTTP/1.1 200 OK"))
        client.memory.peerResets()
        client.settle()
        #expect(source?.events == ["stop"])
        client.finish()
        #expect(client.unhandled == [])
    }

    @Test func `H-60: bytes behind an upgrade go to the new protocol, in order, however cut`() {
        final class Shouter: StreamProtocol {
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
                transport.write(String(decoding: bytes).uppercased())
            }
        }
        let stream = Bytes(get("/", "Connection: Upgrade\r\nUpgrade: shout\r\n") + "hello, you")
        let expected =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\n"
            + "HELLO, YOU"
        for isLater in [false, true] {
            for pieces in chunkings(of: stream) {
                var kept: PendingExchange?
                let client = Client(
                    Responding { _, exchange in
                        if isLater { return kept = exchange.later() }
                        exchange.upgrade(to: Shouter(), .switchingProtocols, [.upgrade: "shout"])
                    })
                client.memory.receive(pieces: pieces)
                if isLater {
                    kept?.upgrade(to: Shouter(), .switchingProtocols, [.upgrade: "shout"])
                }
                client.settle()
                #expect(client.answer() == expected)
                // The new protocol has no deadlines of HTTP's.
                client.clock.advance(by: .seconds(1_000))
                #expect(client.memory.isOpen)
                client.finish()
                #expect(client.unhandled == [])
            }
        }
    }

    @Test func `H-61: an upgrade that is refused leaves the connection usable`() {
        let client = Client(pathing())
        #expect(client.ask(get("/a", "Connection: Upgrade\r\nUpgrade: x\r\n")) == ok("/a"))
        #expect(client.ask(get("/b")) == ok("/b"))
        client.finish()
    }

    @Test func `interim answers come before the answer, and not to HTTP 1.0`() {
        let client = Client(
            Responding { _, exchange in
                exchange.inform(.earlyHints, [.link: "</a>; rel=preload"])
                exchange.respond(.ok)
            })
        #expect(
            client.ask(get("/"))
                == "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" + ok(""))
        #expect(!client.ask("GET / HTTP/1.0\r\n\r\n").contains("103"))
        client.finish()
    }
}
