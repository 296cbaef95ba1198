// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionHTTP
import TorsionTesting

@testable import TorsionOperations

/// What an operator asks, and a load balancer.
@Suite struct AdminTests {
    private let folder = TemporaryFolder()

    /// Asks an endpoint in the same reactor, line by line.
    private func ask(
        _ lines: String, at address: SocketAddress, on reactor: Reactor,
        _ body: @escaping ([String]) throws -> Void
    ) {
        let client = Client()
        let count = lines.utf8.count { $0 == UInt8(ascii: "\n") }
        client.onText = { text in
            guard text.utf8.count(where: { $0 == UInt8(ascii: "\n") }) == count else { return }
            client.onText = { _ in }
            do { try body(text.split(separator: "\n").map(String.init)) } catch {
                Issue.record("\(error)")
            }
            reactor.stop()
        }
        ClientEndpoint.address(address).connect(on: reactor) { client }
            .addCallback { $0.transport?.write(lines) }.orIssue()
    }

    @Test(arguments: BackendChoice.tested)
    func `an operator gets a line of JSON for each line`(backend: BackendChoice) throws {
        var answers: [String] = []
        var isMeasuring = false
        var limit: Duration?
        try run(on: backend) { reactor in
            var admin = try AdminEndpoint(parsing: "unix:" + folder.file("admin"))
            admin.add("greet", help: "says hello") { words, _ in ["hello": words] }
            let port = try admin.listen(on: reactor)
            let lines =
                "ready\nmeasure on\nslow 250\nslow never\ngreet a \"b\"\nnonsense\nhelp\ninspect\n"
            ask(lines, at: port.localAddress, on: reactor) {
                answers = $0
                isMeasuring = reactor.isMeasuring
                limit = reactor.slowEventLimit
            }
        }
        try #require(answers.count == 8)
        #expect(answers[0] == #"{"ok":true}"#)
        #expect(answers[1] == #"{"ok":true}"# && isMeasuring)
        #expect(answers[2] == #"{"ok":"250"}"# && limit == .milliseconds(250))
        #expect(answers[3] == #"{"error":"slow takes 1 to 86400000 milliseconds, or off"}"#)
        #expect(answers[4] == #"{"ok":{"hello":["a","\"b\""]}}"#)
        #expect(
            answers[5]
                == #"{"error":"no command \"nonsense\"; there are help, greet, inspect, measure, ready, slow"}"#
        )
        #expect(answers[6].hasPrefix(#"{"ok":{"greet":"says hello","inspect":"what is open"#))
        #expect(answers[7].hasPrefix(#"{"ok":{"reactor":"#))
        #expect(answers[7].contains(#""backend":"\#(backend.name)","isReady":true"#))
        #expect(answers[7].contains(#""protocolType":"TorsionOperationsTests.Client""#))
    }

    @Test(arguments: BackendChoice.tested)
    func `the socket's file is for its user alone, and nobody is answered over TCP`(
        backend: BackendChoice
    ) throws {
        let client = Client()
        try run(on: backend) { reactor in
            let path = folder.file("admin")
            try AdminEndpoint(parsing: "unix:" + path).listen(on: reactor)
            #expect(mode(of: path) == 0o600)
            let open = try AdminEndpoint(ServerEndpoint.anywhere).listen(on: reactor)
            ClientEndpoint.address(open.localAddress).connect(on: reactor) { client }
                // The reset may come with the connection.
                .addCallback { $0.transport?.write("inspect\n") }
                .whenFailed { _ in reactor.stop() }
            client.onLoss = { reactor.stop() }
        }
        #expect(client.text == "" && client.loss?.isClean != true)
    }

    @Test(arguments: BackendChoice.tested)
    func `of many questions that come at once one is answered in a turn`(
        backend: BackendChoice
    ) throws {
        let turns = Lock<Set<Int>>([])
        var answers: [String] = []
        try run(on: backend) { reactor in
            var admin = try AdminEndpoint(parsing: "unix:" + folder.file("admin"))
            admin.add("note", help: "notes the turn") { _, reactor in
                turns.withLock { $0.insert(Int(reactor.statistics.turns)).inserted }
            }
            let port = try admin.listen(on: reactor)
            ask(String(repeating: "note\n", count: 40), at: port.localAddress, on: reactor) {
                answers = $0
            }
        }
        #expect(answers == [String](repeating: #"{"ok":true}"#, count: 40))
    }

    @Test func `a value is written as JSON has it`() throws {
        struct Inner: Encodable { var none: Int?; var some: Double? = 0.5 }
        struct Outer: Encodable {
            let text = "a\"\\\n\u{1}ä"
            let whole = 3.0
            let infinite = Double.infinity
            let list: [Inner] = [Inner()]
            let numbers: [String: [Int8]] = ["a": [-1, 2]]
            let empty: [Int] = []
            let flag = true
        }
        let text = try JSONValue(encoding: Outer()).text
        #expect(
            text
                == #"{"text":"a\"\\\n\u0001ä","whole":3,"infinite":null,"list":[{"some":0.5}],"numbers":{"a":[-1,2]},"empty":[],"flag":true}"#
        )
    }

    /// Requests over one connection, and the statuses of the answers.
    private func statuses(
        _ requests: [String], at address: SocketAddress, on reactor: Reactor,
        _ body: @escaping ([String]) -> Void
    ) {
        let client = Client()
        client.onLoss = {
            body(
                client.text.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("HTTP/1.1 ") }
                    .map {
                        String($0.dropFirst("HTTP/1.1 ".count).prefix(3))
                    })
        }
        ClientEndpoint.address(address).connect(on: reactor) { client }.addCallback { client in
            for (index, path) in requests.enumerated() {
                let last = index == requests.count - 1 ? "Connection: close\r\n" : ""
                client.transport?.write("GET \(path) HTTP/1.1\r\nHost: a\r\n\(last)\r\n")
            }
        }.orIssue()
    }

    @Test(arguments: BackendChoice.tested)
    func `a load balancer hears at once that a stop has begun, and that the program lives`(
        backend: BackendChoice
    ) throws {
        var before: [String] = [], unwell: [String] = [], after: [String] = []
        try run(on: backend) { reactor in
            var reason: String?
            let port = try HealthEndpoint(ServerEndpoint.anywhere).listen(on: reactor) { reason }
            let paths = ["/live", "/ready", "/elsewhere"]
            reactor.callLater(.milliseconds(1)) {
                statuses(paths, at: port.localAddress, on: reactor) { answers in
                    before = answers
                    reason = "no database"
                    statuses(paths, at: port.localAddress, on: reactor) { answers in
                        unwell = answers
                        reason = nil
                        reactor.stop(lameDuck: .milliseconds(200), within: .seconds(5))
                        statuses(paths, at: port.localAddress, on: reactor) { after = $0 }
                    }
                }
            }
        }
        #expect(before == ["200", "200", "404"])
        #expect(unwell == ["200", "503", "404"])
        #expect(after == ["200", "503", "404"])
    }

    @Test func `health stands before the responder of a program`() throws {
        final class Hello: HTTPResponder {
            func requestReceived(
                _ head: borrowing RequestHead, _ exchange: consuming HTTPExchange
            ) { exchange.respond(.created) }
        }
        var answers: [String] = []
        try run(on: .epoll) { reactor in
            let port = try ServerEndpoint.anywhere.listen(on: reactor, http: HTTPServerOptions()) {
                HealthResponder(before: Hello())
            }
            reactor.callLater(.milliseconds(1)) {
                statuses(["/ready", "/hello"], at: port.localAddress, on: reactor) {
                    answers = $0
                    reactor.stop()
                }
            }
        }
        #expect(answers == ["200", "201"])
    }
}
