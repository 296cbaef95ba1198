// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion
@testable import TorsionHTTP
import TorsionTesting

@Suite struct ClientTests {
    @Test func `requests are written as they should be, and go out on one connection`() throws {
        let site = try ClientSite(script: answering())
        #expect(try site.ask("/one?a=b").text == "/one?a=b")
        let post = ClientRequest(
            try site.url("/two"), method: .post, fields: [.contentType: "text/plain"],
            body: .bytes("hello"))
        let second = site.send(post)
        try site.world.run { second.isOver }
        #expect(site.conversations.count == 1 && site.client.idleConnectionCount == 1)
        #expect(
            site.conversations[0].text
                == decoded(
                    "GET /one?a=b HTTP/1.1|Host: server||POST /two HTTP/1.1|Host: server|"
                        + "Content-Type: text/plain|Content-Length: 5||hello"))
        try site.finish()
    }

    @Test func `H-50: each answer of a malicious server is an error or the body, in time`() throws {
        for (index, answer) in answers.enumerated() {
            for isSlow in [false, true] {
                var options = HTTPClientOptions()
                options.headTimeout = .seconds(3)
                let site = try ClientSite(seed: UInt64(index), options) { conversation in
                    guard isSlow else {
                        conversation.transport?.write(answer.text)
                        conversation.transport?.loseConnection()
                        return
                    }
                    // Never ends, so that what the end would show takes its time to be seen.
                    conversation.transport?.write(answer.text)
                }
                let outcome = site.send(ClientRequest(try site.url("/"), method: answer.method))
                try site.world.run(limit: .seconds(100)) { outcome.isOver }
                let place = "\(Bytes(String(answer.text.prefix(80)))) \(isSlow)"
                switch answer.outcome {
                case .body(let text, _):
                    if isSlow, outcome.error is HTTPTimeout { break }
                    #expect(outcome.text == text, "\(place): \(outcome.error as Any)")
                case .error(let error):
                    if isSlow, outcome.error is HTTPTimeout { break }
                    #expect(outcome.error as? ResponseError == error, "\(place)")
                }
                #expect(site.world.elapsed < .seconds(40), "\(place)")
                try site.finish()
            }
        }
    }

    @Test func `H-51: a reset is no end of a body that lasts until the connection closes`() throws {
        let site = try ClientSite { conversation in
            conversation.answer("HTTP/1.1 200 OK||some of it")
        }
        let whole = try site.get("/"), cut = try site.get("/")
        try site.world.run { whole.head != nil && cut.head != nil }
        site.conversations[0].transport?.loseConnection()
        site.conversations[1].transport?.abortConnection()
        try site.world.run { whole.isOver && cut.isOver }
        let outcomes = [whole, cut]
        #expect(outcomes.compactMap(\.text) == ["some of it"])
        #expect(outcomes.compactMap { $0.error as? ConnectionLoss }.count == 1)
        try site.finish()
    }

    @Test func `H-52: what nobody asked for ends the connection, and is nobody's answer`() throws {
        var isLate = false
        let site = try ClientSite { conversation in
            let one = "HTTP/1.1 200 OK|Content-Length: 1||\(conversation.number)"
            conversation.answer(isLate ? one : one + one)
        }
        #expect(try site.ask("/").text == "1")
        isLate = true
        #expect(try site.ask("/").text == "2")
        #expect(site.client.idleConnectionCount == 1)
        site.conversations[1].answer("HTTP/1.1 200 OK|Content-Length: 1||x")
        try site.world.run { site.client.connectionCount == 0 }
        #expect(try site.ask("/").text == "3")
        try site.finish()
    }

    @Test func `H-53: the connection used last is used first, and an idle one is closed`() throws {
        var held: [Conversation] = []
        let site = try ClientSite { held.append($0) }
        for path in ["/a", "/b", "/c"] { try site.get(path) }
        try site.world.run { held.count == 3 }
        let order = held
        for conversation in order {
            answering("Keep-Alive: timeout=5|")(conversation)
            try site.world.run(for: .milliseconds(100))
        }
        #expect(site.client.idleConnectionCount == 3)
        try site.get("/d")
        try site.world.run { held.count == 4 }
        #expect(held[3] === order[2])
        answering()(held[3])
        // A second before the server would.
        try site.world.run(for: .milliseconds(4_100))
        #expect(site.client.idleConnectionCount == 1)
        try site.world.run(for: .seconds(30))
        #expect(site.client.connectionCount == 0 && site.outcomes.allSatisfy(\.isOver))
        try site.finish()
    }

    @Test func `H-54: an idempotent request is sent once more where the server had gone`() throws {
        // Answers each first request, and resets at each second one.
        let site = try ClientSite { conversation in
            if conversation.requestCount == 1 { return answering()(conversation) }
            conversation.transport?.abortConnection()
        }
        #expect(try site.ask("/a").text == "/a")
        #expect(try site.ask("/b").text == "/b")
        #expect(site.conversations.count == 2)
        // What is not idempotent is not sent again.
        let post = site.send(ClientRequest(try site.url("/c"), method: .post))
        try site.world.run { post.isOver }
        #expect(post.error is ConnectionLoss && site.conversations.count == 2)
        // Nor on a connection of its own, nor behind a byte of an answer.
        let fresh = try ClientSite { $0.transport?.abortConnection() }
        #expect(try fresh.ask("/").error is ConnectionLoss && fresh.conversations.count == 1)
        let begun = try ClientSite { conversation in
            if conversation.requestCount == 1 { return answering()(conversation) }
            conversation.answer("HTTP/1.1")
            conversation.transport?.loseConnection()
        }
        #expect(try begun.ask("/a").text == "/a")
        #expect(try begun.ask("/b").error as? ResponseError == .truncated)
        #expect(begun.conversations.count == 1)
        for site in [site, fresh, begun] { try site.finish() }
    }

    @Test func `H-54: it is sent once more only once`() throws {
        var isGoing = false
        let site = try ClientSite { conversation in
            if isGoing { return conversation.transport!.abortConnection() }
            answering()(conversation)
        }
        #expect(try site.ask("/a").text == "/a")
        isGoing = true
        #expect(try site.ask("/b").error is ConnectionLoss)
        #expect(site.conversations.count == 2)
        try site.finish()
    }

    @Test func `H-55: interim answers are told, and at most 16 of them`() throws {
        var count = 16
        let site = try ClientSite { conversation in
            let hint = "HTTP/1.1 103 Hints|Link: x||"
            conversation.answer(String(repeating: hint, count: count))
            answering()(conversation)
        }
        var hints = 0
        var request = ClientRequest(try site.url("/a"))
        request.informed = { hints += $0.fields[.link] == "x" ? 1 : 0 }
        let outcome = site.send(request)
        try site.world.run { outcome.isOver }
        #expect(outcome.text == "/a" && hints == 16)
        count = 17
        #expect(try site.ask("/b").error as? ResponseError == .tooManyInterimAnswers)
        try site.finish()
    }

    @Test func `H-56: cancelling closes: while connecting, waiting, asking and reading`() throws {
        var options = HTTPClientOptions()
        options.connectionLimit = 1
        var isStreaming = false
        let site = try ClientSite(options) { conversation in
            if isStreaming { conversation.answer("HTTP/1.1 200 OK|Content-Length: 99999999||some") }
        }
        let connecting = try site.get("/")
        connecting.cancel()
        #expect(connecting.error is CancellationError && site.client.connectionCount == 0)
        let asking = try site.get("/"), waiting = try site.get("/")
        try site.world.run { site.conversations.last?.requestCount == 1 }
        waiting.cancel()
        #expect(waiting.error is CancellationError)
        let conversation = site.conversations.last
        asking.cancel()
        try site.world.run { conversation?.loss != nil }
        #expect(asking.error is CancellationError && site.client.connectionCount == 0)
        isStreaming = true
        let reading = try site.get("/")
        try site.world.run { reading.head != nil }
        reading.cancel()
        #expect(site.client.connectionCount == 0 && reading.error is CancellationError)
        try site.finish()
    }

    @Test func `H-57: requests wait for a connection in order, and not for ever`() throws {
        var options = HTTPClientOptions()
        options.connectionLimit = 2
        options.waitingTimeout = .seconds(5)
        options.waitingLimit = 3
        var paths: [Substring] = []
        let site = try ClientSite(options) { conversation in
            let path = conversation.wholePath ?? ""
            paths.append(path)
            guard !path.hasPrefix("/stuck") else { return }
            conversation.transport?.reactor.callLater(.milliseconds(50)) {
                answering()(conversation)
            }
        }
        for path in ["/1", "/2", "/3", "/4", "/5", "/6"] { try site.get(path) }
        let last = site.outcomes[5]
        #expect(last.error as? HTTPClientError == .tooManyWaiting(limit: 3))
        try site.world.run { site.outcomes.allSatisfy(\.isOver) }
        #expect(
            paths.sorted() == ["/1", "/2", "/3", "/4", "/5"] && paths[2...] == ["/3", "/4", "/5"])
        #expect(site.conversations.count == 2)
        for path in ["/stuck1", "/stuck2", "/late"] { try site.get(path) }
        try site.world.run { site.outcomes.last!.isOver }
        #expect((site.outcomes.last?.error as? HTTPTimeout)?.step == .waiting)
        try site.world.run { site.outcomes.allSatisfy(\.isOver) }
        try site.finish()
    }

    @Test func `H-58: an answer that came before the break is delivered`() throws {
        // Answers in the middle of a body, and goes.
        let site = try ClientSite { conversation in
            guard conversation.text.utf8.count > 20_000, conversation.transport != nil else {
                return
            }
            conversation.answer("HTTP/1.1 413 No|Content-Length: 3|Connection: close||big")
            conversation.transport?.loseConnection()
        }
        let body = Bytes([UInt8](repeating: 120, count: 1 << 20))
        let bytes = site.send(
            ClientRequest(try site.url("/"), method: .post, body: .bytes(body)))
        let source = site.send(
            ClientRequest(
                try site.url("/"), method: .post, body: .source(Endless(on: site.reactor))))
        try site.world.run { bytes.isOver && source.isOver }
        for outcome in [bytes, source] {
            #expect(
                outcome.head?.status == .contentTooLarge && outcome.text == "big",
                "\(outcome.error as Any)")
        }
        #expect(site.client.connectionCount == 0)
        try site.finish()
    }

    @Test func `each timeout by itself`() throws {
        var options = HTTPClientOptions()
        options.headTimeout = .seconds(2)
        options.bodyTimeout = .seconds(3)
        options.sendTimeout = .seconds(4)
        let site = try ClientSite(options) { conversation in
            if conversation.text.hasPrefix("POST") { conversation.transport?.pauseProducing() }
            if conversation.text.hasPrefix("GET /drip") {
                // A head that comes byte by byte is one that does not come.
                var rest = Substring("HTTP/1.1 200 OK\r\nA: b" + String(repeating: "c", count: 90))
                func drip() {
                    conversation.transport?.write(String(rest.removeFirst()))
                    if rest.isEmpty { return }
                    conversation.transport?.reactor.callLater(.milliseconds(300)) { drip() }
                }
                drip()
            }
            guard conversation.text.hasPrefix("GET /body") else { return }
            conversation.answer("HTTP/1.1 200 OK|Content-Length: 9||some")
        }
        func step(_ outcome: ClientSite.Outcome) throws -> HTTPTimeout.Step? {
            let start = site.world.elapsed
            try site.world.run { outcome.isOver }
            let error = try #require(outcome.error as? HTTPTimeout)
            let elapsed = site.world.elapsed - start
            #expect(elapsed >= error.limit && elapsed < error.limit * 3, "\(error): \(elapsed)")
            return error.step
        }
        #expect(try step(site.get("/head")) == .head)
        #expect(try step(site.get("/drip")) == .head)
        #expect(try step(site.get("/body")) == .body)
        let much = Bytes([UInt8](repeating: 0, count: 8 << 20))
        let post = ClientRequest(try site.url("/"), method: .post, body: .bytes(much))
        #expect(try step(site.send(post)) == .sending)
        // While nobody asks for the body no time counts.
        let unread = try site.get("/body", collects: false)
        try site.world.run(for: .seconds(20))
        #expect(unread.error == nil && site.client.connectionCount == 1)
        unread.release()
        try site.world.run(for: .seconds(4))
        #expect(site.client.connectionCount == 0)
        try site.finish()
    }

    @Test func `what nobody reads is read past if it is short, else its connection is closed`()
        throws
    {
        let site = try ClientSite { conversation in
            let isLong = conversation.text.contains("/long")
            let isChunked = conversation.text.contains("/chunks")
            if isChunked {
                conversation.answer("HTTP/1.1 200 OK|Transfer-Encoding: chunked||4|some|0||")
            } else {
                let count = isLong ? 100_000 : 10_000
                conversation.answer("HTTP/1.1 200 OK|Content-Length: \(count)||")
                conversation.transport?.write(String(repeating: "x", count: count))
            }
        }
        for path in ["/short", "/chunks"] {
            let outcome = try site.get(path, collects: false)
            try site.world.run { outcome.head != nil }
            outcome.release()
            try site.world.run { site.client.idleConnectionCount == 1 }
        }
        #expect(site.conversations.count == 1)
        let outcome = try site.get("/long", collects: false)
        try site.world.run { outcome.head != nil }
        outcome.release()
        try site.world.run { site.client.connectionCount == 0 }
        #expect(site.conversations[0].transport != nil)
        try site.finish()
    }

    @Test func `a body comes no faster than it is read, and goes no faster than it is taken`()
        throws
    {
        let count = 4 << 20
        let site = try ClientSite { conversation in
            if conversation.text.contains("PUT ") {
                return conversation.transport!.pauseProducing()
            }
            conversation.answer("HTTP/1.1 200 OK|Content-Length: \(count)||")
            conversation.transport?.write(Bytes([UInt8](repeating: 120, count: count)))
        }
        let outcome = try site.get("/", collects: false)
        try site.world.run { outcome.head != nil }
        try site.world.run(for: .seconds(5))
        // Most of it is still at the server.
        #expect(site.conversations[0].transport!.pendingByteCount > count / 2)
        let body = try #require(outcome.response).body.collect(limitBytes: count)
        var size = 0
        body.addCallback { size = $0.count }.whenFailed { Issue.record($0) }
        try site.world.run { size == count }
        outcome.release()
        let source = Endless(on: site.reactor)
        let upload = site.send(
            ClientRequest(try site.url("/"), method: .put, body: .source(source)))
        try site.world.run(for: .seconds(5))
        #expect(source.isPaused && source.writtenByteCount < 2 << 20)
        upload.cancel()
        try site.world.run { source.hasStopped }
        try site.finish()
    }

    @Test
    func `a body of a source goes in chunks, or as long as announced, or ends the connection`()
        throws
    {
        let site = try ClientSite { conversation in
            if conversation.text.hasSuffix("0\r\n\r\n") || conversation.text.hasSuffix("abcabc") {
                conversation.answer("HTTP/1.1 200 OK|Content-Length: 2||ok")
            }
        }
        func put(_ pieces: [Bytes], _ count: Int?) throws -> ClientSite.Outcome {
            let source = Pieces(pieces, on: site.reactor)
            let outcome = site.send(
                ClientRequest(
                    try site.url("/"), method: .put, body: .source(source, byteCount: count)))
            try site.world.run { outcome.isOver }
            return outcome
        }
        #expect(try put(["abc", "abc"], nil).text == "ok")
        #expect(
            site.conversations[0].text.hasSuffix(
                decoded("Transfer-Encoding: chunked||3|abc|3|abc|0||")))
        #expect(try put(["abc", "abc"], 6).text == "ok")
        #expect(site.conversations[0].text.hasSuffix(decoded("Content-Length: 6||abcabc")))
        #expect(
            try put(["abc"], 6).error as? AnswerError == .bodyTooShort(announced: 6, written: 3))
        #expect(try put(["abc", "abc"], 4).error as? AnswerError == .bodyTooLong(announced: 4))
        #expect(site.client.connectionCount == 0)
        try site.finish()
    }

    @Test func `what must not be on the wire does not get there`() throws {
        let site = try ClientSite(script: answering())
        for fields: FieldList in [
            ["X": "a\r\nY: b"], ["X": "a\0"], [.host: "a b"], [.host: "a\r\n"],
        ] {
            let outcome = try site.get("/", fields)
            #expect(outcome.error is HTTPClientError, "\(fields)")
        }
        for name: FieldName in [.contentLength, .transferEncoding] {
            #expect(
                try site.get("/", [name: "5"]).error as? HTTPClientError == .reservedField(name))
        }
        var error: (any Error)?
        site.client.get("https://server/").whenFailed { error = $0 }
        #expect("\(try #require(error))".contains("import it, and make the client by"))
        site.client.get("nothing").whenFailed { error = $0 }
        #expect(error is HTTPURLError && site.conversations.isEmpty)
        let host: FieldList = [.host: "other:8"]
        try site.get("/", host)
        try site.world.run { site.outcomes.last!.isOver }
        #expect(site.conversations[0].text == decoded("GET / HTTP/1.1|Host: other:8||"))
        try site.finish()
    }

    @Test func `redirects are followed only when asked, within limits, with care`() throws {
        func site(_ redirects: HTTPClientOptions.Redirects) throws -> ClientSite {
            var options = HTTPClientOptions()
            options.redirects = redirects
            return try ClientSite(options) { conversation in
                guard let path = conversation.wholePath else { return }
                let parts = path.split(separator: "/", maxSplits: 1)
                if let code = parts.first.flatMap({ Int($0) }) {
                    let place = parts.count > 1 ? parts[1] : ""
                    return conversation.answer(
                        "HTTP/1.1 \(code) Go|Location: \(place)|Content-Length: 2||no")
                }
                answering()(conversation)
            }
        }
        let plain = try site(.deliver)
        #expect(try plain.ask("/302//end").head?.status == .found)
        let following = try site(.follow(limit: 2))
        #expect(try following.ask("/302//end?a").text == "/end?a")
        #expect(
            try following.ask("/302//302//302//end").error as? HTTPClientError
                == .tooManyRedirects(limit: 2))
        #expect(
            try following.ask("/302/ftp://a/").error as? HTTPClientError == .badRedirect("ftp://a/")
        )
        #expect(
            try following.ask("/302/ws://server/").error as? HTTPClientError
                == .badRedirect("ws://server/"))
        #expect(try following.ask("/304//end").head?.status == .notModified)
        // A method that is kept, and one that is not.
        for (code, line) in [(307, "POST /end"), (303, "GET /end"), (302, "GET /end")] {
            let outcome = following.send(
                ClientRequest(
                    try following.url("/\(code)//end"), method: .post,
                    fields: [.authorization: "secret", .contentType: "a/b"], body: .bytes("body")))
            try following.world.run { outcome.isOver }
            #expect(outcome.text == "/end")
            let last = try #require(
                following.conversations.map(\.text).compactMap { text in
                    text.firstRange(of: line).map { text[$0.lowerBound...] }
                }.last)
            #expect(last.contains("Authorization: secret"))
            #expect(last.contains("Content-Type") == (code == 307))
            for conversation in following.conversations {
                conversation.transport?.abortConnection()
            }
            try following.world.run { following.client.connectionCount == 0 }
        }
        // Another origin, the same machine: what is secret stays.
        let address = "\(following.world.host("server").address)"
        let outcome = try following.get(
            "/302/http://\(address)/end", [.authorization: "secret", .cookie: "c", "X": "y"])
        try following.world.run { outcome.isOver }
        let last = following.conversations.last!.text
        #expect(last == decoded("GET /end HTTP/1.1|Host: \(address)|X: y||"))
        for site in [plain, following] { try site.finish() }
    }

    @Test func `at a stop what is under way is answered, and idle connections are closed`() throws {
        var held: Conversation?
        let site = try ClientSite { conversation in
            if conversation.text.contains("/slow") { return held = conversation }
            answering()(conversation)
        }
        let slow = try site.get("/slow")
        try site.world.run { held != nil }
        #expect(try site.ask("/quick").text == "/quick" && site.client.idleConnectionCount == 1)
        site.reactor.stop(within: .seconds(30))
        try site.world.run { site.client.idleConnectionCount == 0 }
        #expect(site.client.connectionCount == 1 && !slow.isOver)
        answering()(held!)
        try site.world.run { slow.isOver && !site.reactor.isRunning }
        #expect(slow.text == "/slow" && site.client.connectionCount == 0)
    }

    @Test func `a client that is released closes what is idle, and what is under way goes on`()
        throws
    {
        let world = SimulatedWorld(seed: 4, faults: .none)
        var conversations: [Conversation] = []
        try world.host("server").run { reactor in
            try ServerEndpoint.tcp(port: 80).listen(on: reactor) {
                let one = Conversation(1, answering())
                conversations.append(one)
                return one
            }
        }
        try world.host("client").run { _ in }
        weak var remembered: HTTPClient?
        var text: String?
        do {
            let client = HTTPClient(on: world.host("client").reactor)
            remembered = client
            client.get("http://server/a").addCallback { $0.body.collect(limitBytes: 10) }
                .addCallback { text = String(decoding: $0) }.whenFailed { Issue.record($0) }
        }
        #expect(remembered != nil)
        try world.run { text == "/a" && conversations.first?.loss != nil }
        #expect(remembered == nil)
        try world.finish()
    }

    @Test(arguments: backends)
    func `a client speaks to the server over sockets of every kind`(backend: BackendChoice) throws {
        var bodies: [String] = []
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor, http: HTTPServerOptions()) { echoing() }
            let client = HTTPClient(on: reactor)
            let url = "http://\(port.localAddress)"
            let big = String(repeating: "x", count: 300_000)
            client.get(url + "/a").addCallback { $0.body.collect(limitBytes: 100) }
                .addCallback { body in
                    bodies.append(String(decoding: body))
                    let source = Pieces(
                        [Bytes(big), Bytes(big)], on: reactor)
                    return client.send(
                        ClientRequest(
                            try HTTPURL(parsing: url + "/b"), method: .post, body: .source(source)))
                }
                .addCallback { $0.body.collect(limitBytes: 1 << 20) }
                .addCallback { body in
                    bodies.append("\(body.count)")
                    #expect(client.connectionCount == 1)
                }
                .addBoth { result in
                    if case .failure(let error) = result { Issue.record(error) }
                    reactor.stop(within: .seconds(5))
                }
        }
        #expect(bodies == ["GET /a\n", "600008"])
    }

    @Test func `a task reads an answer's pieces, and sends those of a sequence`() throws {
        let world = SimulatedWorld(seed: 5)
        try world.host("server").run { reactor in
            try ServerEndpoint.tcp(port: 80)
                .listen(on: reactor, http: HTTPServerOptions()) { echoing() }
        }
        var text = ""
        try world.host("client").run { reactor in
            reactor.spawn {
                let client = HTTPClient(on: reactor)
                let pieces = AsyncStream<Bytes> { stream in
                    for piece in ["one ", "two ", "three"] as [Bytes] { stream.yield(piece) }
                    stream.finish()
                }
                let source = SequenceSource(pieces, on: reactor)
                let request = ClientRequest(
                    try HTTPURL(parsing: "http://server/a"), method: .put, body: .source(source))
                let response = try await client.send(request).value
                for try await piece in response.body { text += String(decoding: piece) }
            }
        }
        try world.run { text.hasSuffix("three") }
        #expect(text == "PUT /a\none two three")
        try world.finish()
    }
}

/// Bytes without an end.
final class Endless: ByteSource, PushProducer {
    private(set) var isPaused = false
    private(set) var hasStopped = false
    private(set) var writtenByteCount = 0
    private let reactor: Reactor
    private var consumer: (any Consumer)?

    init(on reactor: Reactor) { self.reactor = reactor }

    func pipe(to consumer: any Consumer) -> Deferred<Int> {
        self.consumer = consumer
        consumer.registerProducer(self)
        go()
        return Deferred<Int>(on: reactor)
    }

    private func go() {
        guard !isPaused, !hasStopped, let consumer else { return }
        consumer.write(Bytes([UInt8](repeating: 121, count: 10_000)))
        writtenByteCount += 10_000
        reactor.callLater(.zero) { self.go() }
    }

    func pauseProducing() { isPaused = true }

    func resumeProducing() {
        isPaused = false
        go()
    }

    func stopProducing() {
        hasStopped = true
        consumer = nil
    }
}

/// A body in given pieces, each in a turn of its own.
final class Pieces: ByteSource, PullProducer {
    private var pieces: [Bytes]
    private var written = 0
    private var consumer: (any Consumer)?
    private let result: Deferred<Int>

    init(_ pieces: [Bytes], on reactor: Reactor) {
        self.pieces = pieces
        result = Deferred(on: reactor)
    }

    func pipe(to consumer: any Consumer) -> Deferred<Int> {
        self.consumer = consumer
        consumer.registerProducer(self)
        return result
    }

    func produceMore() {
        guard !pieces.isEmpty else {
            let consumer = consumer.take()
            consumer?.unregisterProducer()
            consumer?.finishConsuming()
            return result.succeed(written)
        }
        let piece = pieces.removeFirst()
        written += piece.count
        consumer?.write(piece)
    }

    func stopProducing() {
        consumer = nil
        result.fail(PipeBroken(byteCount: written))
    }
}
