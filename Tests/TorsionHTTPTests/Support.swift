// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import TestedBackends
import Testing
import Torsion
@testable import TorsionHTTP
import TorsionTesting

/// What the simulator plays as well as the kernels.
let backends = BackendChoice.tested + [.simulated]

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

/// Answers with what it was asked, as `torsion echo --framing http` does.
func echoing() -> Responding {
    Responding { head, exchange in
        let line = "\(head.method) \(String(decoding: head.target))\n"
        let body = exchange.body.collect(limitBytes: 1 << 20)
        exchange.respond(
            when: body.addCallback { body in
                HTTPResponse(.ok, body: Bytes(line + String(decoding: body)))
            })
    }
}

/// Answers each request with its path.
func pathing() -> Responding {
    Responding { head, exchange in exchange.respond(.ok, body: Bytes(head.path)) }
}

/// A server in memory, whose client a test plays.
final class Client {
    let memory: MemoryTransport
    let clock: ManualClock
    private(set) var unhandled: [String] = []

    init(
        _ responder: any HTTPResponder, _ options: HTTPServerOptions = HTTPServerOptions(),
        roomBytes: Int = .max
    ) {
        clock = ManualClock()
        memory = MemoryTransport(
            serveHTTP(responder, options: options), clock: clock, roomBytes: roomBytes)
        clock.reactor.unhandledError = { [unowned self] in unhandled.append("\($0)") }
    }

    func send(_ text: String) {
        memory.receive(text)
        settle()
    }

    /// Lets what is planned for a later turn happen.
    func settle() { clock.advance(by: .zero) }

    /// What was answered since the last time.
    func answer() -> String { memory.takeText() }

    /// Sends, and takes what is answered.
    func ask(_ text: String) -> String {
        send(text)
        return answer()
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

func get(_ path: String, _ fields: String = "") -> String {
    "GET \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n"
}

func ok(_ body: String, _ fields: String = "") -> String {
    "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)"
}
