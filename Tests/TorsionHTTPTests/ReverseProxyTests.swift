// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion
@testable import TorsionHTTP
import TorsionTesting

/// A client, a reverse proxy and an origin, each on a host of its own.
private final class Chain {
    let world: SimulatedWorld
    private(set) var proxy: ReverseProxy!
    private(set) var upstream: HTTPClient!
    private(set) var failures: [any Error] = []
    private(set) var conversations: [Conversation] = []

    init(
        seed: UInt64 = 1, _ options: HTTPClientOptions = HTTPClientOptions(),
        origin responder: (any HTTPResponder)? = nil,
        script: @escaping (Conversation) -> Void = { _ in }
    ) throws {
        world = SimulatedWorld(seed: seed, faults: .none)
        try world.host("origin").run { [self] reactor in
            if let responder {
                try ServerEndpoint.tcp(port: 80)
                    .listen(on: reactor, http: HTTPServerOptions()) { responder }
                return
            }
            try ServerEndpoint.tcp(port: 80).listen(on: reactor) {
                let one = Conversation(self.conversations.count + 1, script)
                self.conversations.append(one)
                return one
            }
        }
        try world.host("proxy").run { [self] reactor in
            upstream = HTTPClient(on: reactor, options: options)
            proxy = ReverseProxy(
                to: try HTTPURL(parsing: "http://origin"), by: upstream, name: "here")
            proxy.whenFailed = { [unowned self] in failures.append($0) }
            try ServerEndpoint.tcp(port: 80)
                .listen(on: reactor, http: HTTPServerOptions()) { [proxy] in proxy }
        }
        try world.host("client").run { _ in }
    }

    func connect() throws -> Asker {
        let asker = Asker()
        ClientEndpoint.tcp(host: "proxy", port: 80).connect(on: world.host("client").reactor) {
            asker
        }.whenFailed { Issue.record($0) }
        try world.run { asker.transport != nil }
        return asker
    }

    /// What is answered to one request on a connection of its own, without the server's own lines.
    func ask(_ request: String) throws -> String {
        let asker = try connect()
        asker.transport?.write(decoded(request))
        asker.transport?.loseWriteConnection()
        try world.run { asker.loss != nil }
        return withoutServerLines(asker.text)
    }

    func finish() throws {
        upstream.closeIdleConnections()
        for one in conversations { one.transport?.abortConnection() }
        try world.run(for: .seconds(61))
        #expect(upstream.connectionCount == 0)
        try world.finish()
    }
}

private func withoutServerLines(_ text: String) -> String {
    text.split(separator: "\r\n", omittingEmptySubsequences: false)
        .filter { !$0.hasPrefix("Date: ") && $0 != "Connection: close" }.joined(separator: "\r\n")
}

@Suite struct ReverseProxyTests {
    @Test func `H-93: fields of one connection stay on it, and Via is added, both ways`() throws {
        let chain = try Chain { conversation in
            conversation.answer(
                "HTTP/1.1 200 OK|Content-Length: 2|Connection: x-secret, Keep-Alive|X-Secret: 1|"
                    + "Keep-Alive: timeout=5|Trailer: a|Upgrade: h2c|Server: it|Via: 1.0 there|"
                    + "Proxy-Connection: close||ok")
        }
        let answer = try chain.ask(
            "GET /a?b HTTP/1.1|Host: example.org|Connection: close, X-Hop , te|X-Hop: 1|TE: trailers|"
                + "Upgrade: h2c|Keep-Alive: 5|Proxy-Connection: keep-alive|Accept: */*|Via: 1.1 before||"
        )
        #expect(
            chain.conversations[0].text
                == decoded(
                    "GET /a?b HTTP/1.1|Host: example.org|Accept: */*|Via: 1.1 before|Via: 1.1 here||"
                ))
        #expect(
            answer
                == decoded(
                    "HTTP/1.1 200 OK|Server: it|Via: 1.0 there|Via: 1.1 here|Content-Length: 2||ok")
        )
        try chain.finish()
    }

    @Test func `H-93: how a body is framed is decided anew on each side`() throws {
        var answer = "HTTP/1.1 200 OK|Transfer-Encoding: chunked||2;x=y|ab|1|c|0|T: u||"
        let chain = try Chain { conversation in
            let text = conversation.text
            let isWhole =
                text.hasSuffix("0\r\n\r\n") || text.hasSuffix("hello")
                || text.hasPrefix("GET") && text.hasSuffix("\r\n\r\n")
                || text.hasPrefix("HEAD")
            if isWhole { conversation.answer(answer) }
        }
        let chunked = try chain.ask(
            "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3;e=f|abc|2|de|0||")
        #expect(
            chain.conversations[0].text
                == decoded(
                    "POST / HTTP/1.1|Host: a|Via: 1.1 here|Transfer-Encoding: chunked||3|abc|2|de|0||"
                ))
        #expect(
            chunked
                == decoded(
                    "HTTP/1.1 200 OK|Via: 1.1 here|Transfer-Encoding: chunked||2|ab|1|c|0|T: u||"))
        chain.upstream.closeIdleConnections()
        // To a client of HTTP/1.0, to the connection's end; from one, by its length.
        let older = try chain.ask("POST / HTTP/1.0|Content-Length: 5||hello")
        #expect(older == decoded("HTTP/1.1 200 OK|Via: 1.1 here||abc"))
        #expect(chain.conversations[1].text.hasPrefix("POST / HTTP/1.1\r\nHost: origin\r\n"))
        chain.upstream.closeIdleConnections()
        answer = "HTTP/1.1 200 OK|Content-Length: 5||"
        let head = try chain.ask("HEAD http://b.example?x HTTP/1.1|Host: a||")
        #expect(head == decoded("HTTP/1.1 200 OK|Via: 1.1 here|Content-Length: 5||"))
        #expect(
            chain.conversations[2].text
                == decoded("HEAD /?x HTTP/1.1|Host: b.example|Via: 1.1 here||"))
        try chain.finish()
    }

    @Test func `H-94: three hops with a slow reader, each within its mark and a write`() throws {
        let count = 8 << 20
        var origin: (any StreamTransport)?
        let chain = try Chain { conversation in
            origin = conversation.transport
            conversation.answer("HTTP/1.1 200 OK|Content-Length: \(count)||")
            conversation.transport?.write(Bytes([UInt8](repeating: 120, count: count)))
        }
        let asker = try chain.connect()
        asker.transport?.write(get("/"))
        asker.transport?.pauseProducing()
        var most = 0
        chain.world.always {
            let figures = chain.world.host("proxy").reactor.statistics
            most = max(most, figures.queuedBytes)
        }
        try chain.world.run(for: .seconds(20))
        // The origin waits: its server has nearly everything still.
        #expect(origin!.pendingByteCount > count / 2)
        let marks = Watermarks()
        #expect(most <= marks.high + 256 * 1024, "\(most)")
        asker.transport?.resumeProducing()
        try chain.world.run { asker.text.utf8.count > count }
        asker.transport?.loseConnection()
        try chain.finish()
    }

    @Test func `H-94: an upload waits for an origin that reads slowly`() throws {
        var isSlow = true
        let chain = try Chain { if isSlow { $0.transport?.pauseProducing() } }
        let asker = try chain.connect()
        let count = 4 << 20
        asker.transport?.write("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \(count)\r\n\r\n")
        asker.transport?.write(Bytes([UInt8](repeating: 120, count: count)))
        try chain.world.run(for: .seconds(5))
        #expect(asker.transport!.pendingByteCount > count / 4)
        isSlow = false
        chain.conversations[0].transport?.resumeProducing()
        try chain.world.run { chain.conversations[0].text.utf8.count > count }
        chain.conversations[0].answer("HTTP/1.1 200 OK|Content-Length: 2||ok")
        try chain.world.run { asker.text.hasSuffix("ok") }
        asker.transport?.loseConnection()
        try chain.finish()
    }

    @Test func `what the origin does wrong is 502 or 504 by its cause, or the connection's end`()
        throws
    {
        var options = HTTPClientOptions()
        options.headTimeout = .seconds(3)
        options.connectionLimit = 1
        options.waitingTimeout = .seconds(1)
        let chain = try Chain(options) { conversation in
            switch conversation.wholePath {
            case "/bad": conversation.answer("HTTP/2.0 200|Content-Length: 0||")
            case "/gone": conversation.transport?.abortConnection()
            case "/cut": conversation.answer("HTTP/1.1 200 OK|Content-Length: 9||some")
            default: break
            }
            if conversation.wholePath == "/cut" { conversation.transport?.loseConnection() }
        }
        func status(_ path: String) throws -> Substring? {
            try chain.ask("GET \(path) HTTP/1.1|Host: a||").split(separator: "\r\n").first
        }
        #expect(try status("/bad") == "HTTP/1.1 502 Bad Gateway")
        #expect(try status("/gone") == "HTTP/1.1 502 Bad Gateway")
        #expect(try status("/silent") == "HTTP/1.1 504 Gateway Timeout")
        // While the one connection is busy.
        let busy = try chain.connect()
        busy.transport?.write(get("/silent"))
        try chain.world.run { chain.upstream.connectionCount == 1 }
        #expect(try status("/waits") == "HTTP/1.1 503 Service Unavailable")
        try chain.world.run { busy.text.contains("504") }
        busy.transport?.loseConnection()
        // Of an answer that breaks off no part is taken for the whole.
        let cut = try chain.connect()
        cut.transport?.write(get("/cut"))
        try chain.world.run { cut.loss != nil }
        #expect(cut.text.hasSuffix("some") && !cut.loss!.isClean)
        #expect(chain.failures.count == 6)
        chain.world.host("origin").reactor.stop(within: .zero)
        try chain.world.run(for: .seconds(1))
        #expect(try status("/") == "HTTP/1.1 502 Bad Gateway")
        #expect(try status("/")?.contains("502") == true)
        try chain.world.run(for: .seconds(61))
    }

    @Test func `a client that goes away ends its request to the origin`() throws {
        let chain = try Chain { _ in }
        let asker = try chain.connect()
        asker.transport?.write(get("/"))
        try chain.world.run { chain.conversations.first?.requestCount == 1 }
        asker.transport?.abortConnection()
        try chain.world.run { chain.conversations[0].loss != nil }
        #expect(chain.failures.isEmpty)
        try chain.finish()
    }

    // Found by simulation: the writer went in the middle of a change of what held it.
    @Test func `a client that goes in the middle of a body ends that of the origin`() throws {
        let chain = try Chain { conversation in
            guard conversation.text.hasPrefix("GET") else { return }
            conversation.answer("HTTP/1.1 200 OK|Content-Length: 8000000||")
            conversation.transport?.write(Bytes([UInt8](repeating: 120, count: 8_000_000)))
        }
        for request in [get("/"), "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsome"] {
            let asker = try chain.connect()
            asker.transport?.write(request)
            let isGet = request.hasPrefix("GET")
            try chain.world.run {
                let arrived = chain.conversations.last?.text ?? ""
                return isGet ? asker.text.count > 100_000 : arrived.hasSuffix("some")
            }
            asker.transport?.abortConnection()
            try chain.world.run { chain.conversations.last?.loss != nil }
            #expect(chain.upstream.connectionCount == 0)
        }
        try chain.finish()
    }

    // The operator read `badChunkSize`, and a client that ended inside its body got 502.
    @Test func `that a client breaks its body off says nothing of the origin`() throws {
        let chain = try Chain { _ in }
        let refusal = decoded("HTTP/1.1 400 Bad Request|Content-Length: 0||")
        #expect(try chain.ask("PUT / HTTP/1.1|Host: a|Content-Length: 9||some") == refusal)
        let chunked = "PUT / HTTP/1.1|Host: a|Transfer-Encoding: chunked||4|some|x||"
        #expect(try chain.ask(chunked) == refusal)
        let asker = try chain.connect()
        asker.transport?.write("PUT /gone HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsome")
        func origin() -> Conversation? {
            chain.conversations.first { $0.text.hasPrefix("PUT /gone") }
        }
        try chain.world.run { origin()?.text.hasSuffix("some") ?? false }
        asker.transport?.abortConnection()
        try chain.world.run { origin()?.loss != nil }
        #expect(chain.failures.isEmpty, "\(chain.failures)")
        try chain.finish()
    }

    // RFC 9112 §3.2.4 and RFC 9110 §7.6.2.
    @Test func `OPTIONS of a whole server is an asterisk, and Max-Forwards is counted`() throws {
        let chain = try Chain { $0.answer("HTTP/1.1 204 No||") }
        func passed(_ request: String) throws -> String? {
            let answer = try chain.ask(request)
            #expect(answer == decoded("HTTP/1.1 204 No Content|Via: 1.1 here||"))
            chain.upstream.closeIdleConnections()
            return chain.conversations.last?.text
        }
        #expect(
            try passed("OPTIONS http://b.example HTTP/1.1|Host: a|Max-Forwards: 3||")
                == decoded("OPTIONS * HTTP/1.1|Host: b.example|Max-Forwards: 2|Via: 1.1 here||"))
        #expect(
            try passed("OPTIONS http://b.example?x HTTP/1.1|Host: a||")
                == decoded("OPTIONS /?x HTTP/1.1|Host: b.example|Via: 1.1 here||"))
        // Other methods do not count.
        #expect(
            try passed("GET / HTTP/1.1|Host: a|Max-Forwards: 0||")
                == decoded("GET / HTTP/1.1|Host: a|Max-Forwards: 0|Via: 1.1 here||"))
        let last = "Host: a|Max-Forwards: 0||"
        #expect(try chain.ask("OPTIONS * HTTP/1.1|\(last)") == decoded("HTTP/1.1 204 No Content||"))
        #expect(try chain.ask("TRACE / HTTP/1.1|\(last)").hasPrefix("HTTP/1.1 501 "))
        #expect(chain.conversations.count == 3)
        try chain.finish()
    }

    @Test func `interim answers and 304 pass, CONNECT does not`() throws {
        let chain = try Chain { conversation in
            conversation.answer(
                "HTTP/1.1 103 Hints|Link: x||HTTP/1.1 304 No|ETag: \"e\"|Content-Length: 9||")
        }
        #expect(
            try chain.ask("GET / HTTP/1.1|Host: a||")
                == decoded(
                    "HTTP/1.1 103 Early Hints|Link: x|Via: 1.1 here||HTTP/1.1 304 Not Modified|"
                        + "ETag: \"e\"|Via: 1.1 here||"))
        #expect(try chain.ask("CONNECT a:1 HTTP/1.1|Host: a||").hasPrefix("HTTP/1.1 501 "))
        #expect(try chain.ask("OPTIONS * HTTP/1.1|Host: a||").contains(" 304 "))
        #expect(chain.conversations[0].text.contains("OPTIONS * HTTP/1.1\r\n"))
        try chain.finish()
    }

    @Test func `a stop carries what was upgraded on, until its time is up`() throws {
        let chain = try Chain { conversation in
            if conversation.requestCount == 1, !conversation.text.hasSuffix("more") {
                conversation.answer("HTTP/1.1 101 Yes|Upgrade: chat|Connection: upgrade||welcome")
            } else {
                conversation.answer(" and more")
            }
        }
        let asker = try chain.connect()
        asker.transport?.write(get("/", "Connection: Upgrade\r\nUpgrade: chat\r\n"))
        try chain.world.run { asker.text.hasSuffix("welcome") }
        chain.world.host("proxy").reactor.stop(within: .seconds(30))
        try chain.world.run(for: .seconds(20))
        #expect(asker.loss == nil)
        asker.transport?.write("more")
        try chain.world.run { asker.text.hasSuffix("welcome and more") || asker.loss != nil }
        #expect(asker.text.hasSuffix("welcome and more"))
        try chain.world.run { asker.loss != nil }
        #expect(chain.world.elapsed >= .seconds(30) && chain.world.elapsed < .seconds(40))
        try chain.world.finish()
    }

    @Test func `an upgrade is passed on, with what comes right behind it, both ways`() throws {
        let chain = try Chain { conversation in
            if conversation.text.contains("plain") {
                return conversation.answer("HTTP/1.1 200 OK|Content-Length: 2||no")
            }
            if conversation.requestCount == 1, !conversation.text.hasSuffix("bye") {
                conversation.answer(
                    "HTTP/1.1 101 Yes|Upgrade: chat|Connection: upgrade|X: y||welcome")
            }
            if conversation.text.hasSuffix("bye") { conversation.transport?.loseConnection() }
        }
        let asker = try chain.connect()
        let fields = "Connection: Upgrade\r\nUpgrade: chat\r\n"
        asker.transport?.write(get("/", fields) + "hello ")
        try chain.world.run { asker.text.hasSuffix("welcome") }
        #expect(
            withoutServerLines(asker.text)
                == decoded(
                    "HTTP/1.1 101 Switching Protocols|X: y|Via: 1.1 here|Upgrade: chat|"
                        + "Connection: Upgrade||welcome"))
        asker.transport?.write("bye")
        try chain.world.run { asker.loss != nil }
        #expect(
            chain.conversations[0].text
                == decoded(
                    "GET / HTTP/1.1|Host: a|Via: 1.1 here|Connection: Upgrade|Upgrade: chat||hello bye"
                ))
        #expect(chain.upstream.connectionCount == 0)
        // HTTP/2 would carry requests that nobody in front of the origin sees.
        let h2c = "Connection: upgrade, HTTP2-Settings|Upgrade: x, H2C|HTTP2-Settings: x|"
        #expect(try chain.ask("GET /plain HTTP/1.1|Host: a|\(h2c)|").hasSuffix("no"))
        #expect(
            chain.conversations[1].text == decoded("GET /plain HTTP/1.1|Host: a|Via: 1.1 here||"))
        // One that is refused leaves the connection usable.
        #expect(
            try chain.ask("GET /plain HTTP/1.1|Host: a|Connection: upgrade|Upgrade: x||")
                .hasSuffix("no"))
        try chain.finish()
    }

    @Test func `the origin learns of the client if it is to be told`() throws {
        let chain = try Chain { conversation in
            conversation.answer("HTTP/1.1 200 OK|Content-Length: 2||ok")
        }
        chain.proxy.tellsClient = true
        _ = try chain.ask("GET / HTTP/1.1|Host: a|X-Forwarded-For: 1.2.3.4||")
        let address = chain.world.host("client").address
        #expect(
            chain.conversations[0].text
                == decoded(
                    "GET / HTTP/1.1|Host: a|X-Forwarded-For: \(address)|Via: 1.1 here|"
                        + "X-Forwarded-Proto: http||"))
        try chain.finish()
    }

    @Test(arguments: backends)
    func `a proxy stands before a server over sockets of every kind`(backend: BackendChoice) throws
    {
        var bodies: [String] = []
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            let origin = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor, http: HTTPServerOptions()) { echoing() }
            let proxy = ReverseProxy(
                to: try HTTPURL(parsing: "http://\(origin.localAddress)"),
                by: HTTPClient(on: reactor))
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor, http: HTTPServerOptions()) { proxy }
            let client = HTTPClient(on: reactor)
            let big = Bytes([UInt8](repeating: 120, count: 500_000))
            client.post("http://\(port.localAddress)/a", body: big)
                .addCallback { $0.body.collect(limitBytes: 1 << 20) }
                .addCallback { body in
                    bodies.append("\(body.count)")
                    return client.get("http://\(port.localAddress)/b")
                }
                .addCallback { $0.body.collect(limitBytes: 1 << 20) }
                .addBoth { result in
                    if case .success(let body) = result { bodies.append(String(decoding: body)) }
                    if case .failure(let error) = result { Issue.record(error) }
                    reactor.stop(within: .seconds(5))
                }
        }
        #expect(bodies == ["500008", "GET /b\n"])
    }
}
