// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionHTTP
import TorsionTesting

// snippet: Server
final class Front: HTTPResponder {
    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        switch head.path {
        case "/": exchange.respond(.ok, [.contentType: "text/plain"], body: "Hello, World!")
        default: exchange.respond(.notFound)
        }
    }
}

func greet(on reactor: Reactor) throws {
    try ServerEndpoint.tcp(port: 8080).listen(on: reactor, http: HTTPServerOptions()) { Front() }
}
// snippet end

func ask(_ name: String, on reactor: Reactor) -> Deferred<Bytes> {
    .succeeded(Bytes(name), on: reactor)
}

// snippet: Later
final class Lookup: HTTPResponder {
    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        // The head is gone when the answer comes: copy what you need of it.
        let name = String(decoding: head.path)
        let row = ask(name, on: exchange.reactor)
        exchange.respond(when: row.addCallback { row in HTTPResponse(.ok, body: row) })
    }
}
// snippet end

// snippet: Body
final class Sum: HTTPResponder {
    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        let body = exchange.body.collect(limitBytes: 64 * 1024)
        exchange.respond(
            when: body.addCallback { body in
                let sum = body.reduce(0) { $0 + Int($1) }
                return HTTPResponse(.ok, body: Bytes("\(sum)\n"))
            })
    }
}
// snippet end

// snippet: Stream
final class Ticks: HTTPResponder {
    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        let reactor = exchange.reactor
        let writer = exchange.begin(.ok, [.contentType: "text/event-stream"])
        tick(writer, on: reactor)
    }

    private func tick(_ writer: ResponseWriter, on reactor: Reactor) {
        // The client may have gone.
        guard writer.isOpen else { return }
        writer.write("data: tick\n\n")
        reactor.callLater(.seconds(1)) { self.tick(writer, on: reactor) }
    }
}
// snippet end

// snippet: Async
func serveByTasks(on reactor: Reactor) async throws {
    try await ServerEndpoint.tcp(port: 8080).serveHTTP(on: reactor) { request, answer in
        var count = 0
        for try await piece in request.body { count += piece.count }
        try await answer.respond(.ok, body: Bytes("\(count) bytes to \(request.path)\n"))
    }
}
// snippet end

@Test func `the guide's responder answers without a socket`() {
    // snippet: Test
    let client = MemoryTransport(serveHTTP(Front()))
    client.receive("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
    #expect(client.takeText().hasSuffix("\r\n\r\nHello, World!"))
    // snippet end
    client.receive("POST /x HTTP/1.1\r\nHost: example.org\r\n\r\n")
    #expect(client.takeText().hasPrefix("HTTP/1.1 404 Not Found\r\n"))
    client.peerCloses()
    let sum = MemoryTransport(serveHTTP(Sum()))
    sum.receive("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nAB")
    #expect(sum.takeText().hasSuffix("\r\n\r\n131\n"))
    sum.peerCloses()
    let lookup = MemoryTransport(serveHTTP(Lookup()))
    lookup.receive("GET /name HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(lookup.takeText().hasSuffix("\r\n\r\n/name"))
    lookup.peerCloses()
}
