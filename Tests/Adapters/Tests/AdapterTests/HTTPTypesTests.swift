// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import HTTPTypes
import Testing
import Torsion
import TorsionHTTP
import TorsionHTTPTypes
import TorsionTesting

/// The bridge to swift-http-types, over a connection in memory.
@Suite struct HTTPTypesTests {
    /// Keeps each request as a value, and answers with one.
    private final class Framework: HTTPResponder {
        var requests: [HTTPTypes.HTTPRequest] = []
        var answer: (borrowing RequestHead, consuming HTTPExchange) -> Void

        init(_ answer: @escaping (borrowing RequestHead, consuming HTTPExchange) -> Void) {
            self.answer = answer
        }

        func requestReceived(
            _ head: borrowing RequestHead, _ exchange: consuming HTTPExchange
        ) {
            requests.append(HTTPTypes.HTTPRequest(head))
            answer(head, exchange)
        }
    }

    private func ask(_ framework: Framework, _ text: String) -> String {
        let client = MemoryTransport(serveHTTP(framework))
        client.receive(text)
        let answer = client.takeText()
        client.peerResets()
        client.clock.advance(by: .seconds(100))
        return answer
    }

    @Test func `a head becomes a request, whatever the form of its target`() throws {
        let framework = Framework { $1.respond(.noContent) }
        let targets: [(String, HTTPTypes.HTTPRequest.Method, String?)] = [
            ("GET /a?b=c", .get, "/a?b=c"), ("GET http://x:80/p?q", .get, "/p?q"),
            ("OPTIONS *", .options, "*"), ("GET http://x", .get, "/"),
            ("PROPFIND /", .init("PROPFIND")!, "/"), ("CONNECT x:80", .connect, nil),
        ]
        for (line, method, path) in targets {
            let host = line.contains("x") ? (line.contains(":80") ? "x:80" : "x") : "a"
            _ = ask(
                framework,
                "\(line) HTTP/1.1\r\nHost: \(host)\r\nX-A: 1\r\naccept: b\r\nX-A: 2\r\n\r\n")
            let request = try #require(framework.requests.last)
            #expect(request.method == method && request.path == path, "\(line)")
            #expect(request.authority == host && request.scheme == "http", "\(line)")
            #expect(request.headerFields.count == 3)
            #expect(request.headerFields[values: .init("x-a")!] == ["1", "2"])
            #expect(request.headerFields[.accept] == "b")
        }
    }

    @Test func `bytes of a value that are not ASCII are kept`() throws {
        let framework = Framework { $1.respond(.noContent) }
        let client = MemoryTransport(serveHTTP(framework))
        client.receive(
            Bytes(Array("GET / HTTP/1.1\r\nHost: a\r\nX: ".utf8) + [0xe9, 13, 10, 13, 10]))
        let field = try #require(framework.requests.first?.headerFields.first)
        #expect(field.withUnsafeBytesOfValue { Array($0) } == [0xe9])
        var fields = HTTPFields()
        fields.append(field)
        let list = FieldList(fields)
        #expect(list.count == 1 && Array(list[0].value) == [0xe9])
        #expect(HTTPFields(list)[.init("X")!] != nil)
        client.peerResets()
        client.clock.advance(by: .seconds(100))
    }

    @Test func `a response is answered, its length and coding by the connection`() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        var response = HTTPTypes.HTTPResponse(status: .created)
        response.headerFields[.contentType] = "text/plain"
        response.headerFields[.contentLength] = "5"
        response.headerFields[.transferEncoding] = "gzip"
        let wanted = "HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n"
        let given = response
        let whole = Framework { $1.respond(given, body: "hello") }
        #expect(ask(whole, get) == wanted + "hello")
        let later = Framework { $1.later().respond(given, body: "hello") }
        #expect(ask(later, get) == wanted + "hello")
        let head = Framework { $1.respond(given) }
        #expect(ask(head, get.replacing("GET", with: "HEAD")) == wanted)
        let pieces = Framework { _, exchange in
            let writer = exchange.begin(given)
            writer.write("hel")
            writer.write("lo")
            writer.finish()
        }
        #expect(ask(pieces, get) == wanted + "hello")
        let hinted = Framework { _, exchange in
            exchange.inform(HTTPTypes.HTTPResponse(status: .earlyHints))
            exchange.respond(.ok)
        }
        #expect(ask(hinted, get).hasPrefix("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n"))
    }

    @Test func `a request becomes one of the client's`() throws {
        var request = HTTPTypes.HTTPRequest(
            method: .post, scheme: "http", authority: "a:8080", path: "/p?q",
            headerFields: [.accept: "b", .contentLength: "7"])
        let made = try ClientRequest(request, body: .bytes("x"))
        #expect(made.url == (try HTTPURL(parsing: "http://a:8080/p?q")) && made.method == .post)
        #expect(made.fields == [.accept: "b"])
        request.authority = nil
        #expect(throws: HTTPURLError.self) { try ClientRequest(request) }
        #expect(HTTPStatus(.init(code: 418)).code == 418)
        #expect(HTTPTypes.HTTPResponse.Status(HTTPStatus.notFound) == .notFound)
        #expect(HTTPMethod(HTTPTypes.HTTPRequest.Method.patch) == .patch)
    }
}
