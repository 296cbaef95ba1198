// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
@testable import TorsionHTTP
import TorsionTesting

/// H-35: each deadline by itself.
@Suite struct DeadlineTests {
    private let timedOut =
        "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    /// Lets time pass; what is asked is whether the connection is open just before and behind it.
    private func expectEnd(
        of client: Client, after seconds: Int, answer: String,
        _ place: SourceLocation = #_sourceLocation
    ) {
        client.clock.advance(by: .seconds(seconds) - .milliseconds(1))
        #expect(client.memory.isOpen, "too early", sourceLocation: place)
        client.clock.advance(by: .milliseconds(1))
        #expect(!client.memory.isOpen, "too late", sourceLocation: place)
        #expect(client.answer() == answer, sourceLocation: place)
        client.finish(place)
        #expect(client.unhandled == [], sourceLocation: place)
    }

    @Test func `H-35: a client that says nothing is closed after 10 s, without an answer`() {
        let client = Client(pathing())
        expectEnd(of: client, after: 10, answer: "")
        #expect(!client.memory.wasReset)
    }

    @Test func `H-35: a head that does not end is answered with 408 after 10 s`() {
        let client = Client(pathing())
        client.clock.advance(by: .seconds(7))
        client.send("GET / HTTP/1.1\r\n")
        client.clock.advance(by: .seconds(5))
        client.send("Host: a\r\n")
        expectEnd(of: client, after: 5, answer: timedOut)
    }

    @Test func `H-35: a head that drips is not kept alive by its drops`() {
        let client = Client(pathing())
        client.send("GET / HTTP/1.1\r\nX: ")
        for _ in 0..<9 {
            client.clock.advance(by: .seconds(1))
            client.send("x")
        }
        expectEnd(of: client, after: 1, answer: timedOut)
    }

    @Test func `H-35: a kept connection without a request is closed after 60 s`() {
        let client = Client(pathing())
        for _ in 0..<3 {
            client.clock.advance(by: .seconds(9))
            #expect(client.ask(get("/")) == ok("/"))
        }
        client.clock.advance(by: .seconds(59))
        #expect(client.ask(get("/")) == ok("/"))
        expectEnd(of: client, after: 60, answer: "")
    }

    @Test func `H-35: a body that stops is answered with 408 after 30 s`() {
        var options = HTTPServerOptions()
        options.bodyBytesPerSecond = 0
        let client = Client(echoing(), options)
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nab")
        client.clock.advance(by: .seconds(20))
        client.send("cd")
        expectEnd(of: client, after: 30, answer: timedOut)
    }

    @Test func `H-35: a body that comes more slowly than 100 bytes a second is refused`() {
        let client = Client(echoing())
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        var seconds = 0
        while client.memory.isOpen, seconds < 100 {
            client.clock.advance(by: .seconds(1))
            client.send(String(repeating: "x", count: 10))
            seconds += 1
        }
        #expect((30...41).contains(seconds), "\(seconds)")
        #expect(client.answer() == timedOut)
        client.finish()

        let fast = Client(echoing())
        fast.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11000\r\n\r\n")
        for _ in 0..<100 {
            fast.clock.advance(by: .seconds(1))
            fast.send(String(repeating: "x", count: 110))
        }
        #expect(fast.answer().hasPrefix("HTTP/1.1 200 OK"))
        fast.finish()
    }

    @Test func `H-35: a client that takes nothing of its answer is aborted after 30 to 40 s`() {
        let client = Client(
            Responding { $1.respond(.ok, body: Bytes([UInt8](repeating: 120, count: 100_000))) },
            roomBytes: 1_000)
        client.send(get("/"))
        var seconds = 0
        while client.memory.isOpen, seconds < 100 {
            client.clock.advance(by: .seconds(1))
            seconds += 1
        }
        #expect((30...40).contains(seconds), "\(seconds)")
        #expect(client.memory.wasReset)
        client.finish()

        // One that takes a little is waited for.
        let slow = Client(
            Responding { $1.respond(.ok, body: Bytes([UInt8](repeating: 120, count: 10_000))) },
            roomBytes: 1_000)
        slow.send(get("/"))
        for _ in 0..<5 {
            slow.clock.advance(by: .seconds(25))
            #expect(slow.memory.isOpen)
            slow.memory.drain(100)
        }
        slow.memory.drain()
        slow.finish()
    }

    @Test func `H-35: a program may take as long as it likes to answer, and to ask for a body`() {
        var kept: PendingExchange?
        let client = Client(Responding { kept = $1.later() })
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nab")
        client.clock.advance(by: .seconds(1_000))
        #expect(client.memory.isOpen)
        kept?.respond(.ok)
        client.settle()
        #expect(client.answer() == ok(""))
        client.finish()
    }

    @Test func `H-35: no request moves a timer`() {
        let client = Client(pathing())
        client.send(get("/"))
        let before = client.clock.reactor.delayedCalls.map(\.deadline)
        for _ in 0..<10 {
            client.clock.advance(by: .milliseconds(100))
            client.send(get("/"))
        }
        #expect(client.clock.reactor.delayedCalls.map(\.deadline) == before)
        client.finish()
    }
}
