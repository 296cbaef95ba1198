// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion
@testable import TorsionHTTP
import TorsionTesting

@Suite struct ServerTests {
    @Test func `a request is answered, and the next one on the same connection`() {
        let client = Client(pathing())
        #expect(client.ask(get("/a")) == ok("/a"))
        #expect(client.ask(get("/b")) == ok("/b"))
        #expect(client.memory.isOpen)
        client.finish()
        #expect(client.unhandled == [])
    }

    @Test func `H-1: the answers are the same however the requests are cut`() {
        let stream = Bytes(
            get("/a") + "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz"
                + "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "2\r\nab\r\n1;x\r\nc\r\n0\r\nT: u\r\n\r\n" + get("/d", "Connection: close\r\n"))
        let expected =
            ok("GET /a\n") + ok("POST /b\nxyz") + ok("POST /c\nabc")
            + ok("GET /d\n", "Connection: close\r\n")
        for pieces in chunkings(of: stream) {
            let client = Client(echoing())
            client.memory.receive(pieces: pieces)
            client.settle()
            #expect(client.answer() == expected)
            #expect(client.memory.hasEnded && !client.memory.wasReset)
            client.finish()
            #expect(client.unhandled == [])
        }
    }

    @Test
    func `H-2: what the corpus refuses is answered with its status, and the connection closed`() {
        for request in corpus {
            let client = Client(echoing())
            client.send(request.text)
            let answer = client.answer()
            // Nothing here makes a tunnel.
            let isTunnel = request.text.hasPrefix("CONNECT ")
            let status = request.error?.status ?? (isTunnel ? .notImplemented : .ok)
            let place = "\(request.section): \(Bytes(String(request.text.prefix(120)))): \(answer)"
            // Of two answers, where the first request was whole, the last one.
            #expect(answer.contains("HTTP/1.1 \(status)\r\n"), "\(place)")
            if request.error != nil {
                #expect(answer.contains("Connection: close\r\n"), "\(place)")
                #expect(client.memory.hasEnded, "\(place)")
            }
            client.finish()
            #expect(client.unhandled == [], "\(place)")
        }
    }

    @Test func `H-20: answers keep the order of their requests, whichever is ready first`() {
        var waiting: [(String, PendingExchange)] = []
        let client = Client(
            Responding { head, exchange in
                let path = String(decoding: head.path)
                waiting.append((path, exchange.later()))
            })
        client.send(get("/a") + get("/b") + get("/c"))
        // One at a time.
        #expect(waiting.map(\.0) == ["/a"] && client.answer() == "")
        waiting.removeFirst().1.respond(.ok, body: "a")
        client.settle()
        #expect(client.answer() == ok("a") && waiting.map(\.0) == ["/b"])
        waiting.removeFirst().1.respond(.ok, body: "b")
        client.settle()
        waiting.removeFirst().1.respond(.ok, body: "c")
        #expect(client.answer() == ok("b") + ok("c"))
        client.finish()
    }

    @Test func `H-21: requests of one read that are answered at once leave in one write`() {
        let client = Client(pathing())
        client.send((0..<16).map { get("/\($0)") }.joined())
        #expect(client.answer() == (0..<16).map { ok("/\($0)") }.joined())
        client.finish()
    }

    @Test func `H-22: one read is held behind a request, then reading pauses`() {
        var pending: [PendingExchange] = []
        let client = Client(Responding { _, exchange in pending.append(exchange.later()) })
        client.send(get("/a"))
        #expect(client.memory.isReading)
        client.send(get("/b"))
        #expect(client.memory.isReading)
        client.send(get("/c"))
        #expect(!client.memory.isReading)
        client.send(get("/d"))
        for count in 1...4 {
            #expect(pending.count == count)
            pending.last?.respond(.ok)
            client.settle()
        }
        #expect(client.memory.isReading)
        #expect(client.answer() == String(repeating: ok(""), count: 4))
        client.finish()
    }

    @Test func `H-23: a body that nobody reads is read past, a long one ends the connection`() {
        let client = Client(pathing())
        let post = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: "
        #expect(client.ask(post + "3\r\n\r\nabc" + get("/b")) == ok("/p") + ok("/b"))
        #expect(client.ask(post + "6\r\n\r\nabc") == ok("/p"))
        #expect(client.ask("def" + get("/c")) == ok("/c"))
        #expect(client.ask(post + "300000\r\n\r\nabc") == ok("/p", "Connection: close\r\n"))
        #expect(client.memory.hasEnded && !client.memory.wasReset)
        client.finish()

        let chunked = Client(pathing())
        let head = "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        #expect(chunked.ask(head + "3\r\nabc\r\n0\r\n\r\n" + get("/d")) == ok("/p") + ok("/d"))
        #expect(chunked.ask(head) == ok("/p"))
        for _ in 0..<5 where !chunked.memory.hasEnded {
            chunked.send("10000\r\n" + String(repeating: "x", count: 0x10000) + "\r\n")
        }
        #expect(chunked.answer() == "" && chunked.memory.hasEnded)
        chunked.finish()
    }

    @Test func `H-24: 100 Continue is sent when the body is first asked for, and only then`() {
        let head =
            "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        let reader = Client(echoing())
        #expect(reader.ask(head) == "HTTP/1.1 100 Continue\r\n\r\n")
        #expect(reader.ask("abc") == ok("POST /p\nabc"))
        // With the body already there it is not needed.
        #expect(reader.memory.isOpen)
        reader.finish()

        let refuser = Client(Responding { _, exchange in exchange.respond(.contentTooLarge) })
        // Whether the body comes cannot be known: the connection ends.
        #expect(
            refuser.ask(head)
                == "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        #expect(refuser.memory.hasEnded)
        refuser.finish()

        let empty = Client(echoing())
        let without = "GET /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"
        #expect(empty.ask(without) == ok("GET /p\n"))
        empty.finish()
    }

    @Test func `H-25: HEAD, 204 and 304 have no body, however it is given`() {
        final class Source: ByteSource {
            func pipe(to consumer: any Consumer) -> Deferred<Int> {
                Issue.record("a body was asked for")
                return Deferred(on: ManualClock().reactor)
            }
        }
        let client = Client(
            Responding { head, exchange in
                switch head.path {
                case "/whole": exchange.respond(.ok, body: "hello")
                case "/none": exchange.respond(.noContent, body: "hello")
                case "/same": exchange.respond(.notModified, [.etag: "\"e\""], body: "hello")
                case "/source": exchange.respond(.ok, body: Source(), byteCount: 7)
                default:
                    let writer = exchange.begin(.ok)
                    writer.write("hello")
                    writer.finish(trailers: ["X": "y"])
                }
            })
        func head(_ path: String) -> String { "HEAD \(path) HTTP/1.1\r\nHost: a\r\n\r\n" }
        #expect(client.ask(head("/whole")) == "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        #expect(client.ask(head("/source")) == "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
        #expect(
            client.ask(head("/begun")) == "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        #expect(client.ask(get("/none")) == "HTTP/1.1 204 No Content\r\n\r\n")
        #expect(client.ask(get("/same")) == "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n")
        client.finish()
        #expect(client.unhandled == [])
    }

    // RFC 9110 §15.3.6
    @Test func `H-25: 205 has a length of 0 and no body, however it is given`() {
        let reset = "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"
        for kind in 0..<4 {
            let client = Client(
                Responding { _, exchange in
                    if kind == 0 { return exchange.respond(.resetContent, body: "hello") }
                    if kind == 1 { return exchange.respond(.resetContent) }
                    let writer = exchange.begin(.resetContent, byteCount: kind == 2 ? 5 : nil)
                    writer.write("hello")
                    writer.finish(trailers: ["X": "y"])
                })
            #expect(client.ask(get("/") + get("/")) == reset + reset, "\(kind)")
            client.finish()
            #expect(client.unhandled == [])
        }
    }

    @Test func `an exchange that is kept as a value keeps its connection, and is answered later`() {
        final class Keeping: HTTPResponder {
            var kept: HTTPExchange?
            func requestReceived(
                _ head: borrowing RequestHead, _ exchange: consuming HTTPExchange
            ) {
                kept = consume exchange
            }
        }
        weak var released: Keeping?
        do {
            let keeping = Keeping()
            released = keeping
            check(keeping)
        }
        // Its connection would keep it.
        #expect(released == nil)

        func check(_ keeping: Keeping) {
            let client = Client(keeping)
            #expect(client.ask(get("/a")) == "")
            keeping.kept.take()?.respond(.ok, body: "later")
            #expect(client.ask(get("/b")) == ok("later"))
            // Released, outside of the call.
            keeping.kept = nil
            client.settle()
            #expect(client.answer().hasPrefix("HTTP/1.1 500 "))
            #expect(client.unhandled.count == 1)
            // Behind the connection's end.
            client.send(get("/c"))
            client.memory.peerResets()
            client.settle()
            keeping.kept.take()?.respond(.ok)
            client.finish()
        }
    }

    // RFC 8446 §5.1
    @Test func `a client of TLS at a port in the clear is answered at once`() {
        let hello: [UInt8] = [0x16, 3, 1, 0, 0xc4, 1, 0, 0, 0xc0, 3, 3] + [UInt8](0..<0xc0)
        let bad = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        for count in [1, 5, 15, 16, hello.count] {
            let client = Client(pathing())
            client.memory.receive(Bytes(hello[..<count]))
            client.settle()
            #expect(client.answer() == bad, "\(count)")
            #expect(client.memory.hasEnded)
            client.finish()
        }
        let behind = Client(pathing())
        behind.memory.receive(Bytes(Array(get("/a").utf8) + hello))
        behind.settle()
        #expect(behind.answer() == ok("/a") + bad)
        behind.finish()
    }

    @Test func `H-26: a responder that throws is answered for with 500, or the connection ends`() {
        struct Mishap: Error {}
        let client = Client(
            Responding { head, exchange in
                switch head.path {
                case "/early": throw Mishap()
                case "/own": throw HTTPResponse(.forbidden, body: "no")
                case "/late":
                    exchange.respond(.ok)
                    throw Mishap()
                case "/pending":
                    _ = exchange.later()
                    throw Mishap()
                default:
                    exchange.begin(.ok).write("a")
                    throw Mishap()
                }
            })
        let failed = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
        #expect(client.ask(get("/early")) == failed)
        #expect(client.unhandled.count == 1 && client.unhandled[0].contains("Mishap"))
        #expect(client.ask(get("/own")) == "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        #expect(client.unhandled.count == 1)
        #expect(client.ask(get("/late")) == ok(""))
        #expect(client.unhandled.count == 2)
        #expect(client.ask(get("/pending")) == failed)
        #expect(client.memory.isOpen)
        client.send(get("/begun"))
        #expect(!client.memory.isOpen && client.memory.wasReset)
        client.finish()
    }

    @Test
    func `H-27: a body that is not as long as announced ends the connection, and is reported`() {
        for (written, announced) in [(3, 5), (7, 5)] {
            let client = Client(
                Responding { _, exchange in
                    let writer = exchange.begin(.ok, byteCount: announced)
                    writer.write(String(repeating: "x", count: written))
                    writer.finish()
                })
            client.send(get("/"))
            #expect(client.memory.wasReset && client.unhandled.count == 1)
            client.finish()
        }
        let forgetful = Client(Responding { _, exchange in _ = exchange.begin(.ok, byteCount: 5) })
        forgetful.send(get("/"))
        #expect(forgetful.memory.wasReset)
        #expect(forgetful.unhandled.count == 1 && forgetful.unhandled[0].contains("released"))
        forgetful.finish()
    }

    @Test func `H-28: an exchange that is dropped gets a 500, and the mistake is reported`() {
        var kept: PendingExchange?
        let client = Client(
            Responding { head, exchange in if head.path == "/later" { kept = exchange.later() } })
        let failed = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
        #expect(client.ask(get("/now")) == failed)
        #expect(client.ask(get("/later")) == "" && kept?.isOpen == true)
        kept = nil
        client.settle()
        #expect(client.answer() == failed)
        #expect(client.unhandled.count == 2 && client.unhandled[0].contains("not answered"))
        #expect(client.memory.isOpen)
        client.finish()
    }

    @Test func `H-29: a client that goes away cancels once; its end behind a request does not`() {
        var gone = 0
        var kept: PendingExchange?
        let client = Client(
            Responding { _, exchange in
                exchange.whenGone { gone += 1 }
                kept = exchange.later()
            })
        client.send(get("/"))
        client.memory.peerCloses()
        client.settle()
        #expect(gone == 0 && client.memory.isOpen)
        kept?.respond(.ok)
        client.settle()
        #expect(gone == 0 && client.answer() == ok("", "Connection: close\r\n"))
        #expect(!client.memory.isOpen)
        client.finish()

        var wasCancelled = 0
        let other = Client(
            Responding { _, exchange in
                let reactor = exchange.reactor
                exchange.respond(
                    when: Deferred<HTTPResponse>(on: reactor) { _ in wasCancelled += 1 })
            })
        other.send(get("/"))
        other.memory.peerResets()
        other.settle()
        #expect(wasCancelled == 1 && other.unhandled == [])
        other.finish()
    }

    @Test func `H-30: Connection is read in all spellings, and HTTP/1.0 closes`() {
        let closes = [
            "close", "Close", "CLOSE", " close ", "x, close", "close,", "keep-alive,close",
            ",,close",
        ]
        let keeps = ["keep-alive", "closed", "x", "", "clo se", "Keep-Alive, x"]
        for value in closes + keeps {
            let client = Client(pathing())
            let answer = client.ask(get("/", "Connection: \(value)\r\n"))
            #expect(client.memory.isOpen == keeps.contains(value), "\(value)")
            #expect(answer.contains("Connection: close\r\n") == closes.contains(value), "\(value)")
            client.finish()
        }
        let several = Client(pathing())
        several.send(get("/", "Connection: x\r\nX: y\r\nConnection: close\r\n"))
        #expect(several.memory.hasEnded)
        several.finish()
        let old = Client(pathing())
        old.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        #expect(old.memory.hasEnded && old.answer().hasPrefix("HTTP/1.1 200 OK\r\n"))
        old.finish()
        // The program may ask for it.
        let own = Client(Responding { $1.respond(.ok, [.connection: "close"]) })
        #expect(
            own.ask(get("/")) == "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        #expect(own.memory.hasEnded)
        own.finish()
    }

    @Test func `H-31: CR, LF and NUL in a field that the program sets never reach the wire`() {
        let values = [
            "a\r\nX: y", "a\nb", "a\rb", "\0", "a\u{7f}", "\u{1b}", "12345678\n",
            "\r234567890123456",
            "12345678901234567890\0",
        ]
        for value in values {
            for kind in 0..<4 {
                let client = Client(
                    Responding { _, exchange in
                        let fields: FieldList = ["X": Bytes(value)]
                        switch kind {
                        case 0: exchange.respond(.ok, fields)
                        case 1: exchange.begin(.ok, fields).finish()
                        case 2:
                            exchange.inform(.earlyHints, fields)
                            exchange.respond(.ok)
                        default: exchange.begin(.ok).finish(trailers: fields)
                        }
                    })
                let answer = client.ask(get("/"))
                #expect(!answer.contains("X:"), "\(Bytes(answer))")
                #expect(client.unhandled.count == 1)
                client.finish()
            }
        }
        let tabs = Client(Responding { $1.respond(.ok, ["X": "a\tb", "Y": "12345678\t"]) })
        let answer = tabs.ask(get("/"))
        #expect(answer.contains("\r\nX: a\tb\r\nY: 12345678\t\r\n") && tabs.unhandled == [])
        tabs.finish()
        for name in [FieldName.contentLength, .transferEncoding] {
            let client = Client(Responding { $1.respond(.ok, [name: "5"]) })
            #expect(client.ask(get("/")).hasPrefix("HTTP/1.1 500 "))
            #expect(client.unhandled.count == 1)
            client.finish()
        }
    }

    // RFC 9110 §4.2.3, RFC 9112 §3.2.4
    @Test func `a URL without a path has the path of a slash, except for OPTIONS`() {
        let client = Client(
            Responding { head, exchange in
                let path = String(decoding: head.path)
                var query = "none"
                if let bytes = head.query { query = String(decoding: bytes) }
                let copy = head.copied()
                #expect(copy.path == Bytes(path))
                #expect(copy.query.map { String(decoding: $0.span) } ?? "none" == query)
                exchange.respond(.ok, body: Bytes("\(path) \(query)"))
            })
        for (line, answer) in [
            ("GET http://a", "/ none"), ("GET http://a?b/c", "/ b/c"), ("GET http://a/", "/ none"),
            ("GET http://a/b?c", "/b c"), ("OPTIONS http://a", " none"), ("OPTIONS *", "* none"),
        ] {
            #expect(client.ask("\(line) HTTP/1.1\r\nHost: a\r\n\r\n") == ok(answer), "\(line)")
        }
        client.finish()
    }

    // RFC 9110 §9.3.6
    @Test(arguments: [true, false])
    func `only an upgrade promises a tunnel to CONNECT`(isStreamed: Bool) {
        let client = Client(
            Responding { head, exchange in
                if isStreamed {
                    exchange.begin(.ok, byteCount: 2).write("ok")
                } else {
                    exchange.respond(.ok, body: "ok")
                }
            })
        let answer = client.ask("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\nGET / HTTP/1.1\r\n")
        #expect(
            answer
                == "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        #expect(client.memory.hasEnded)
        client.finish()
        #expect(client.unhandled == [])
    }

    @Test(arguments: [
        "\0\0\r\n", "GET /\r\n\r\n", "x\n", "GET / \r\n\r\n", "\r\n\r\n", "\r\nGET /\n",
    ])
    func `a line that is too short for a request is refused when it has ended`(text: String) {
        let client = Client(pathing())
        #expect(client.ask(text).hasPrefix("HTTP/1.1 400 "), "\(text)")
        #expect(client.memory.hasEnded)
        client.finish()
        let pieces = Client(pathing())
        for byte in text.utf8 { pieces.memory.receive([byte]) }
        pieces.settle()
        #expect(pieces.answer().hasPrefix("HTTP/1.1 400 "), "\(text)")
        pieces.finish()
    }

    @Test func `a short line that may become a request waits for the rest`() {
        for text in ["A / HTTP/1.0\r\n", "\r\nA / HTTP/1.0\r\n", "\r\n", "A / HTTP/1.0\r"] {
            let client = Client(pathing())
            #expect(client.ask(text) == "", "\(text)")
            #expect(client.memory.isOpen)
            client.finish()
        }
    }

    @Test func `H-32: a valid request in front of garbage is answered first`() {
        let client = Client(pathing())
        let refused = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        #expect(client.ask(get("/a") + "garbage, and more of it\r\n\r\n") == ok("/a") + refused)
        #expect(client.memory.hasEnded && !client.memory.wasReset)
        client.finish()

        var kept: PendingExchange?
        let later = Client(Responding { kept = $1.later() })
        later.send(get("/a") + "garbage, and more of it\r\n\r\n")
        #expect(later.answer() == "")
        kept?.respond(.ok)
        later.settle()
        #expect(later.answer() == ok("") + refused)
        later.finish()
    }
}
