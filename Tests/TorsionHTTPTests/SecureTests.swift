// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionHTTP
import TorsionTLS
import TorsionTesting

#if TLS

/// Hello, a file, and how many bytes were sent.
private final class Site: HTTPResponder {
    private let files: FileResponder

    init(folder: String) { files = FileResponder(folder: folder) }

    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        switch head.path {
        case "/": exchange.respond(.ok, body: "hello")
        case "/up":
            let body = exchange.body.collect(limitBytes: 1 << 20)
            exchange.respond(
                when: body.addCallback { HTTPResponse(.ok, body: Bytes("\($0.count)")) })
        default: files.requestReceived(head, exchange)
        }
    }
}

/// Sends all of its requests at once, and keeps what is answered until the server closes.
private final class Asking: StreamProtocol {
    private let requests: Bytes
    private(set) var answers: [UInt8] = []
    private let done: () -> Void

    init(_ requests: Bytes, _ done: @escaping () -> Void) {
        self.requests = requests
        self.done = done
    }

    func connectionMade(_ transport: any StreamTransport) { transport.write(requests) }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) { answers += bytes }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        #expect(why.isClean, "\(why)")
        done()
    }
}

@Suite struct SecureTests {
    @Test(arguments: BackendChoice.tested)
    func `over TLS a kept connection answers pipelined requests, uploads and files with ranges`(
        backend: BackendChoice
    ) throws {
        let folder = TemporaryFolder()
        let count = 300_000
        let content = [UInt8].pattern(count: count, seed: 5)
        let file = try #require(fopen(folder.path + "/a.bin", "w"))
        fwrite(content, 1, count, file)
        fclose(file)
        let host = "HTTP/1.1\r\nHost: localhost\r\n"
        var requests = Array("GET / \(host)\r\nGET / \(host)\r\nHEAD /a.bin \(host)\r\n".utf8)
        requests += "GET /a.bin \(host)Range: bytes=100000-200000\r\n\r\n".utf8
        requests += "POST /up \(host)Content-Length: \(count)\r\n\r\n".utf8 + content
        requests += "GET /a.bin \(host)\r\nGET /none \(host)\r\n".utf8
        requests += "GET / \(host)Connection: close\r\n\r\n".utf8
        var answers: [UInt8] = []
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            reactor.unhandledError = { Issue.record("\($0)") }
            let plain = ServerEndpoint.tcp(port: 0, interface: .loopback)
            let port = try plain.tls(TestedTLS.contexts.server)
                .listen(on: reactor, http: HTTPServerOptions()) { Site(folder: folder.path) }
            var client: Asking!
            client = Asking(Bytes(requests)) {
                answers = client.answers
                reactor.stop(within: .seconds(5))
            }
            try ClientEndpoint.address(port.localAddress)
                .tls(TestedTLS.contexts.client, serverName: "localhost")
                .connect(on: reactor) { client }
                .whenFailed {
                    Issue.record("\($0)")
                    reactor.stop()
                }
        }
        var rest = answers[...]
        func next(_ status: Int, _ body: [UInt8], isHead: Bool = false) throws {
            let end = try #require(rest.firstRange(of: Array("\r\n\r\n".utf8)))
            let head = String(decoding: rest[..<end.lowerBound], as: UTF8.self)
            #expect(head.hasPrefix("HTTP/1.1 \(status) "), "\(head)")
            #expect(head.contains("\r\nContent-Length: \(body.count)"), "\(head)")
            let sent = isHead ? [] : body
            #expect(rest[end.upperBound...].starts(with: sent), "\(head)")
            rest = rest[end.upperBound...].dropFirst(sent.count)
        }
        try next(200, Array("hello".utf8))
        try next(200, Array("hello".utf8))
        try next(200, content, isHead: true)
        try next(206, Array(content[100_000...200_000]))
        try next(200, Array("\(count)".utf8))
        try next(200, content)
        try next(404, [])
        try next(200, Array("hello".utf8))
        #expect(rest.isEmpty)
    }
}

#endif
