// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
@testable import TorsionHTTP
import TorsionTesting

/// A host that serves by tasks, and one whose clients a test plays.
private final class Site {
    let world = SimulatedWorld(seed: 3)
    private(set) var hasEnded = false
    private(set) var port: ListeningPort?

    init(
        _ handle:
            nonisolated(nonsending) @escaping (HTTPRequest, AsyncExchange) async throws -> Void
    ) throws {
        try world.host("server").run { reactor in
            reactor.spawn { [self] in
                try await ServerEndpoint.tcp(port: 80).serveHTTP(
                    on: reactor, whenListening: { self.port = $0 }, handle)
                hasEnded = true
            }
        }
        try world.host("client").run { _ in }
    }

    func connect() throws -> Asker {
        let asker = Asker()
        ClientEndpoint.tcp(host: "server", port: 80).connect(on: world.host("client").reactor) {
            asker
        }.whenFailed { Issue.record($0) }
        try world.run { asker.transport != nil }
        return asker
    }
}

final class Asker: StreamProtocol {
    private(set) var transport: (any StreamTransport)?
    private(set) var text = ""
    private(set) var loss: ConnectionLoss?

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        text += String(decoding: bytes)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        self.transport = nil
    }
}

@Suite struct AsyncTests {
    private struct Mishap: Error {}

    @Test func `a task answers the requests of a connection, one by one`() throws {
        let site = try Site { request, answer in
            switch request.path {
            case "/body":
                var text = ""
                for try await piece in request.body { text += String(decoding: piece) }
                try await answer.respond(.ok, body: Bytes(text))
            case "/stream":
                let writer = answer.begin(.ok)
                for _ in 0..<20 {
                    try await writer.write(Bytes([UInt8](repeating: 120, count: 20_000)))
                }
                writer.finish()
            case "/own": throw HTTPResponse(.forbidden)
            case "/silent": break
            default: try await answer.respond(.ok, body: request.target)
            }
        }
        let asker = try site.connect()
        asker.transport?.write(get("/a?b") + get("/c"))
        try site.world.run { asker.text.hasSuffix("/c") }
        #expect(asker.text.contains("\r\n\r\n/a?bHTTP/1.1 200 OK"))
        asker.transport?.write("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        try site.world.run(for: .seconds(1))
        asker.transport?.write("def" + get("/own"))
        try site.world.run { asker.text.contains("403") }
        #expect(asker.text.contains("\r\n\r\nabcdefHTTP/1.1 403"))
        let before = asker.text.utf8.count
        asker.transport?.write(get("/stream", "Connection: close\r\n"))
        try site.world.run { asker.loss != nil }
        #expect(asker.text.utf8.count > before + 400_000 && asker.text.hasSuffix("\r\n0\r\n\r\n"))
        try site.world.finish()
        #expect(site.hasEnded)
    }

    @Test func `a task that throws or says nothing is answered for, and reported`() throws {
        let site = try Site { request, _ in if request.path == "/throw" { throw Mishap() } }
        let asker = try site.connect()
        asker.transport?.write(get("/throw"))
        try site.world.run { asker.text.contains("500") }
        asker.transport?.write(get("/silent"))
        try site.world.run { asker.text.split(separator: "HTTP/1.1 500").count == 2 }
        #expect(asker.loss == nil)
        #expect(site.world.unhandled.count == 2)
        #expect(throws: CheckFailure.self) { try site.world.finish() }
    }

    @Test func `a client that goes away cancels its task`() throws {
        var isCancelled = false
        let site = try Site { _, answer in
            do { try await answer.exchange.reactor.sleep(for: .seconds(1_000)) } catch {
                isCancelled = true
                throw error
            }
        }
        let asker = try site.connect()
        asker.transport?.write(get("/"))
        try site.world.run(for: .seconds(1))
        asker.transport?.abortConnection()
        try site.world.run { isCancelled }
        try site.world.finish()
        #expect(site.hasEnded)
    }

    @Test func `H-40: at the end a request in hand is answered, with Connection close`() throws {
        let site = try Site { request, answer in
            try await answer.exchange.reactor.sleep(for: .seconds(2))
            try await answer.respond(.ok, body: "done")
        }
        let asker = try site.connect(), idle = try site.connect()
        idle.transport?.write(get("/"))
        try site.world.run(for: .seconds(3))
        asker.transport?.write(get("/"))
        try site.world.run(for: .seconds(1))
        _ = site.port?.stopListening()
        try site.world.run { asker.loss != nil && idle.loss != nil }
        #expect(asker.text.contains("Connection: close\r\n") && asker.text.hasSuffix("done"))
        try site.world.finish()
        #expect(site.hasEnded)
    }
}
