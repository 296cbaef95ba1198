// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion
@testable import TorsionHTTP
import TorsionTesting

/// Servers and clients in a simulated network.
@Suite struct SimulatedServerTests {
    /// Answers each request behind a delay of its own, some in pieces, some by tasks of time.
    private final class Delaying: HTTPResponder {
        private let dice: () -> Int

        init(_ dice: @escaping () -> Int) { self.dice = dice }

        func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
            let path = String(decoding: head.path)
            let reactor = exchange.reactor
            let kind = dice() % 5
            if kind == 0 { return exchange.respond(.ok, body: Bytes(path)) }
            let delay = Duration.milliseconds(dice() % 50)
            let body = exchange.body
            let pending = exchange.later()
            if kind == 1, head.hasBody {
                // Reads the body slowly, then answers with its length.
                reactor.callLater(delay) {
                    pending.respond(
                        when: body.collect(limitBytes: 1 << 20).addCallback {
                            HTTPResponse(.ok, body: Bytes("\(path)+\($0.count)"))
                        })
                }
                return
            }
            reactor.callLater(delay) {
                guard kind == 2 else { return pending.respond(.ok, body: Bytes(path)) }
                let writer = pending.begin(.ok)
                writer.write(path)
                reactor.callLater(delay) { writer.finish() }
            }
        }
    }

    /// Sends requests in random pieces, and may go away.
    private final class Caller: StreamProtocol {
        private var transport: (any StreamTransport)?
        private(set) var bytes: [UInt8] = []
        private(set) var isLost = false

        func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            self.bytes += bytes
        }

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            self.transport = nil
            isLost = true
        }

        func write(_ bytes: Bytes) { transport?.write(bytes) }
        func goAway() { transport?.abortConnection() }
    }

    /// The paths that were answered, in their order.
    private func answered(_ bytes: [UInt8]) -> [String] {
        String(decoding: bytes, as: UTF8.self).split(separator: "HTTP/1.1 200 OK\r\n").map {
            answer in
            let body = answer.firstRange(of: "\r\n\r\n").map { answer[$0.upperBound...] } ?? ""
            // A number behind a slash, in a chunk or not.
            let rest = body.drop { $0 != "/" }.dropFirst()
            return String(rest.prefix { $0.isNumber })
        }
    }

    @Test func `H-20: answers keep their order, for any delays, cuts, bodies and clients that go`()
        throws
    {
        for seed in TestScope.seeds(all: 10_000, few: 60, variable: "HTTP_SEEDS") {
            let world = SimulatedWorld(seed: seed, faults: .none)
            var dice = SeededGenerator(seed: seed)
            var serverDice = SeededGenerator(seed: seed &+ 1)
            try world.host("server").run { reactor in
                let responder = Delaying { Int.random(in: 0..<1_000, using: &serverDice) }
                try ServerEndpoint.tcp(port: 80)
                    .listen(on: reactor, http: HTTPServerOptions()) { responder }
            }
            try world.host("client").run { _ in }
            var callers: [(caller: Caller, count: Int, goes: Bool)] = []
            for _ in 0..<3 {
                let caller = Caller()
                ClientEndpoint.tcp(host: "server", port: 80)
                    .connect(on: world.host("client").reactor) { caller }.whenFailed { _ in }
                let count = Int.random(in: 1...8, using: &dice)
                var stream: [UInt8] = []
                for number in 0..<count {
                    let isLast = number == count - 1
                    let close = isLast ? "Connection: close\r\n" : ""
                    let size = Int.random(in: 0...2, using: &dice) * 700
                    let body = String(repeating: "b", count: size)
                    stream += Array(
                        "POST /\(number) HTTP/1.1\r\nHost: a\r\n\(close)Content-Length: \(size)\r\n\r\n\(body)"
                            .utf8)
                }
                let goes = Int.random(in: 0..<4, using: &dice) == 0
                var time = Duration.milliseconds(500)
                var start = 0
                let whole = Bytes(stream)
                while start < whole.count {
                    let end = min(whole.count, start + Int.random(in: 1...600, using: &dice))
                    let piece = whole[start..<end]
                    time += .milliseconds(Int.random(in: 0...20, using: &dice))
                    world.at(time) { caller.write(piece) }
                    start = end
                }
                if goes {
                    let gone = time + .milliseconds(Int.random(in: -200...50, using: &dice))
                    world.at(gone) { caller.goAway() }
                }
                callers.append((caller, count, goes))
            }
            try world.run(limit: .seconds(100)) { callers.allSatisfy { $0.caller.isLost } }
            for (caller, count, goes) in callers {
                let paths = answered(caller.bytes)
                let all = (0..<count).map { "\($0)" }
                #expect(
                    goes ? all.starts(with: paths.dropLast()) : paths == all,
                    "seed \(seed): \(paths) of \(count)")
            }
            try world.finish()
        }
    }

    @Test func `H-33: Date is that of the answer's second, and an idle server does nothing`() throws
    {
        let world = SimulatedWorld(seed: 1)
        try world.host("server").run { reactor in
            try ServerEndpoint.tcp(port: 80)
                .listen(on: reactor, http: HTTPServerOptions()) { pathing() }
        }
        try world.host("client").run { _ in }
        // No call is planned without a client.
        #expect(world.host("server").reactor.delayedCalls.isEmpty)
        let asker = Asker()
        ClientEndpoint.tcp(host: "server", port: 80).connect(on: world.host("client").reactor) {
            asker
        }.whenFailed { Issue.record($0) }
        try world.run { asker.transport != nil }
        for round in 1...3 {
            asker.transport?.write(get("/"))
            try world.run { asker.text.split(separator: "\r\n\r\n/").count == round }
            let now = try world.host("server").reactor.wallTime()
            let line = asker.text.split(separator: "\r\n").last { $0.hasPrefix("Date: ") }
            let date = try #require(line.flatMap { HTTPDate(Bytes(String($0.dropFirst(6))).span) })
            #expect(now.seconds - date.seconds <= 1 && now.seconds >= date.seconds)
            try world.run(for: .milliseconds(1_500))
        }
        asker.transport?.loseConnection()
        try world.run { asker.loss != nil }
        try world.run(for: .seconds(20))
        #expect(world.host("server").reactor.delayedCalls.isEmpty)
        try world.finish()
    }

    @Test func `H-40: at a stop requests in hand are answered, idle clients have 500 ms`() throws {
        let world = SimulatedWorld(seed: 2)
        var kept: [PendingExchange] = []
        try world.host("server").run { reactor in
            try ServerEndpoint.tcp(port: 80).listen(on: reactor, http: HTTPServerOptions()) {
                Responding { head, exchange in
                    if head.path == "/slow" { return kept.append(exchange.later()) }
                    exchange.respond(.ok, body: Bytes(head.path))
                }
            }
        }
        try world.host("client").run { _ in }
        let client = world.host("client").reactor
        let busy = Asker(), idle = Asker(), late = Asker()
        for asker in [busy, idle, late] {
            ClientEndpoint.tcp(host: "server", port: 80).connect(on: client) { asker }
                .whenFailed { Issue.record($0) }
            try world.run { asker.transport != nil }
            asker.transport?.write(get("/first"))
            try world.run { asker.text.hasSuffix("/first") }
        }
        busy.transport?.write(get("/slow"))
        try world.run { kept.count == 1 }
        let start = world.elapsed
        world.host("server").reactor.stop(within: .seconds(30))
        // Refused, from now on.
        let stranger = Asker()
        var wasRefused = false
        try world.run(for: .milliseconds(100))
        ClientEndpoint.tcp(host: "server", port: 80).connect(on: client) { stranger }
            .whenFailed { _ in wasRefused = true }
        late.transport?.write(get("/late"))
        try world.run { late.loss != nil && wasRefused }
        #expect(late.text.hasSuffix("/late") && late.text.contains("Connection: close\r\n"))
        try world.run { idle.loss != nil }
        #expect((.milliseconds(500))...(.milliseconds(700)) ~= world.elapsed - start)
        #expect(idle.loss == .closedByPeer && busy.loss == nil)
        try world.run(for: .seconds(5))
        kept[0].respond(.ok, body: "done")
        try world.run { busy.loss != nil }
        #expect(busy.text.contains("Connection: close\r\n") && busy.text.hasSuffix("done"))
        try world.run { !world.host("server").isRunning }
        try world.finish()
    }

    @Test func `records tell what became of each request`() throws {
        final class Records: HTTPServerObserver {
            var lines: [String] = []
            func requestDidEnd(_ record: HTTPRequestRecord) {
                let method = record.method.map { "\($0)" } ?? "-"
                let status = record.status.map { "\($0.code)" } ?? "-"
                lines.append(
                    "\(record.number) \(method) \(record.target) \(status) \(record.receivedByteCount)"
                        + " \(record.sentByteCount) \(record.duration.components.seconds)"
                        + (record.isWhole ? "" : " cut"))
            }
        }
        let records = Records()
        var options = HTTPServerOptions()
        options.observer = records
        var kept: PendingExchange?
        let client = Client(
            Responding { head, exchange in
                switch head.path {
                case "/later": kept = exchange.later()
                case "/body":
                    let body = exchange.body.collect(limitBytes: 10)
                    exchange.respond(when: body.addCallback { HTTPResponse(.ok, body: $0) })
                default: exchange.respond(.notFound)
                }
            }, options)
        client.send(get("/a?b"))
        client.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        client.send(get("/later"))
        client.clock.advance(by: .seconds(4))
        kept?.respond(.ok, body: "hi")
        client.settle()
        client.send("garbage, and nothing else\r\n\r\n")
        client.finish()
        let cut = Client(Responding { kept = $1.later() }, options)
        cut.send(get("/cut"))
        cut.memory.peerResets()
        cut.finish()
        #expect(
            records.lines == [
                "1 GET /a?b 404 0 0 0", "2 POST /body 200 3 3 0", "3 GET /later 200 0 2 4",
                "4 -  400 0 0 0", "1 GET /cut - 0 0 0 cut",
            ])
    }
}
