// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import TorsionCore
@testable import TorsionHTTP
import TorsionTesting

/// What becomes of the answer to one request, read in pieces, behind which the server ends.
struct AnswerReading: Equatable, CustomStringConvertible {
    var heads: [ResponseHead] = []
    var body: [UInt8] = []
    var trailers = FieldList()
    var error: ResponseError?
    var isWhole = false
    /// Bytes behind the answer.
    var rest: [UInt8] = []

    var description: String {
        "\(heads.map(\.status)), body of \(body.count), \(error.map { "\($0)" } ?? "no error"), "
            + "\(isWhole ? "whole" : "cut"), rest \(Bytes(rest))"
    }

    init(
        _ pieces: [Bytes], _ method: HTTPMethod = .get, mayUpgrade: Bool = false,
        limits: HeadLimits = HeadLimits()
    ) {
        var reader = AnswerReader(limits: limits)
        reader.begin(method, mayUpgrade: mayUpgrade)
        do throws(ResponseError) {
            for piece in pieces {
                var position = 0
                while let event = try reader.next(piece.span, &position) { note(event, piece) }
                rest += piece[position...]
            }
            if !isWhole, try reader.inputEnded() { isWhole = true }
            trailers = reader.trailers
        } catch {
            self.error = error
        }
    }

    private mutating func note(_ event: AnswerReader.Event, _ piece: Bytes) {
        switch event {
        case .head(let head): heads.append(head)
        case .body(let range): body += piece[range]
        case .end: isWhole = true
        }
    }

    var outcome: Answer.Outcome {
        if let error { return .error(error) }
        return .body(String(decoding: Bytes(body)), status: heads.last?.status.code ?? 0)
    }
}

@Suite struct AnswerTests {
    @Test func `H-50: each of the answers of a malicious server is an error or the right body`() {
        #expect(answers.count >= 50)
        for answer in answers {
            let reading = AnswerReading([Bytes(answer.text)], answer.method)
            #expect(reading.outcome == answer.outcome, "\(Bytes(String(answer.text.prefix(100))))")
            #expect(reading.error != nil || reading.isWhole && reading.rest.isEmpty)
        }
    }

    @Test func `H-50: an answer is read the same however it is cut`() {
        for answer in answers {
            let bytes = Bytes(answer.text)
            let whole = AnswerReading([bytes], answer.method)
            let single = (0..<bytes.count).map { bytes[$0...$0] }
            for pieces in bytes.count < 400 ? chunkings(of: bytes) : [single] {
                let cut = AnswerReading(pieces, answer.method)
                #expect(cut.outcome == whole.outcome, "\(Bytes(String(answer.text.prefix(100))))")
                if whole.error == nil { #expect(cut == whole) }
            }
        }
    }

    @Test func `H-50: any bytes in any cuts never trap, and are read the same`() {
        var dice = SeededGenerator(seed: 50)
        let words = [
            "HTTP/1.1 200 OK", "HTTP/1.1 100 C", "HTTP/1.0 204", "\r\n", "\n", "\r", ":", " ", "0",
            "Content-Length: 3", "Transfer-Encoding: chunked", "abc", "3", ";", "\u{e9}", "\0",
            "\r\n\r\n", "HTTP/1.1 101 U\r\n\r\n", "Connection: close", "HTTP/2.0", "200", "\t",
        ]
        let methods: [HTTPMethod] = [.get, .head, .connect]
        for _ in TestScope.seeds(all: 200_000, few: 3_000, variable: "HTTP_SEEDS") {
            var text = ""
            for _ in 0..<Int.random(in: 1...14, using: &dice) {
                text += words.randomElement(using: &dice)!
            }
            let bytes = Bytes(text)
            let method = methods.randomElement(using: &dice)!
            let mayUpgrade = Bool.random(using: &dice)
            let cut = Int.random(in: 0...bytes.count, using: &dice)
            let whole = AnswerReading([bytes], method, mayUpgrade: mayUpgrade)
            for pieces in [
                [bytes[..<cut], bytes[cut...]].filter { !$0.isEmpty },
                (0..<bytes.count).map { bytes[$0...$0] },
            ] {
                let other = AnswerReading(pieces, method, mayUpgrade: mayUpgrade)
                #expect(other.outcome == whole.outcome && other.rest == whole.rest, "\(bytes)")
            }
        }
    }

    @Test func `the parts of an answer's head are where they are`() throws {
        let text =
            "HTTP/1.1 404 Not here|Connection: x, Close|keep-alive: max=3, timeout=7|X-A:  1 ||"
        let bytes = Bytes(decoded(text))
        let head = try #require(AnswerReading([bytes]).heads.first)
        #expect(head.status == .notFound && head.reason == "Not here" && head.minorVersion == 1)
        #expect(head.closes && head.keepAliveTimeout == .seconds(7))
        #expect(head.fields["x-a"] == "1" && head.fields.count == 3)
        let older = AnswerReading([Bytes(decoded("HTTP/1.0 200 OK|Connection: Keep-Alive||"))])
        #expect(older.heads.first?.closes == false)
        #expect(AnswerReading([Bytes(decoded("HTTP/1.0 200 OK||"))]).heads.first?.closes == true)
    }

    @Test func `what follows a change of protocol is not the reader's`() {
        let bytes = Bytes(decoded("HTTP/1.1 101 Yes|Upgrade: x|Connection: upgrade||HTTP/1.1 200"))
        let upgraded = AnswerReading([bytes], mayUpgrade: true)
        #expect(upgraded.error == nil && upgraded.rest == Array("HTTP/1.1 200".utf8))
        let tunnel = AnswerReading([Bytes(decoded("HTTP/1.1 200 OK||abc"))], .connect)
        #expect(tunnel.error == nil && tunnel.rest == Array("abc".utf8))
        let refused = AnswerReading(
            [Bytes(decoded("HTTP/1.1 403 No|Content-Length: 2||ab"))], .connect)
        #expect(refused.outcome == .body("ab", status: 403))
    }

    @Test func `H-52: a second answer is left over`() {
        let one = decoded("HTTP/1.1 200 OK|Content-Length: 2||ab")
        let reading = AnswerReading([Bytes(one + one)])
        #expect(reading.outcome == .body("ab") && reading.rest == Array(one.utf8))
    }
}

@Suite struct URLTests {
    @Test func `a URL is read into its parts, and written again`() throws {
        for (text, host, port, target, authority) in [
            ("http://a", "a", 80, "/", "a"),
            ("HTTP://A.Example:80/", "a.example", 80, "/", "a.example"),
            ("https://a:8443/b?c#d", "a", 8443, "/b?c", "a:8443"),
            ("ws://a?b", "a", 80, "/?b", "a"),
            ("wss://[::1]/x", "::1", 443, "/x", "[::1]"),
            ("http://[::1]:81", "::1", 81, "/", "[::1]:81"),
            ("http://127.0.0.1:/a//b", "127.0.0.1", 80, "/a//b", "127.0.0.1"),
            ("http://a#b?c", "a", 80, "/", "a"),
        ] {
            let url = try HTTPURL(parsing: text)
            #expect(url.host == host && url.port == UInt16(port) && url.authority == authority)
            #expect(url.target == Bytes(target), "\(text)")
            #expect(try HTTPURL(parsing: "\(url)") == url)
        }
    }

    @Test func `what two readers could understand in two ways is no URL`() {
        for text in [
            "", "a", "http:", "http:/a", "http:a", "http://", "http:///a", "ftp://a", "http://:80/",
            "http://a:0/", "http://a:65536/", "http://a:+80", "http://a b/", "http://a/\u{e9}",
            "http://a/ ",
            "http://u@a/", "http://u:p@a/", "http://a\\@b/", "http://a\\b", "http://[::1",
            "http://[a]/",
            "http://a%2fb/", "http://a,b/", "http://a/\r\nHost: b", "//a/b", " http://a",
            "http://[::1%25eth0]/",
        ] {
            #expect(throws: HTTPURLError.self, "\(text)") { try HTTPURL(parsing: text) }
        }
    }

    @Test func `a reference is resolved as RFC 3986 §5.4 says`() throws {
        let base = try HTTPURL(parsing: "http://a/b/c/d;p?q")
        for (reference, wanted) in [
            ("g", "http://a/b/c/g"), ("./g", "http://a/b/c/g"), ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"), ("//g", "http://g/"), ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"), ("#s", "http://a/b/c/d;p?q"), ("g#s", "http://a/b/c/g"),
            (";x", "http://a/b/c/;x"), ("", "http://a/b/c/d;p?q"), (".", "http://a/b/c/"),
            ("..", "http://a/b/"), ("../g", "http://a/b/g"), ("../..", "http://a/"),
            ("../../../g", "http://a/g"), ("/./g", "http://a/g"), ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."), ("..g", "http://a/b/c/..g"), ("./../g", "http://a/b/g"),
            ("g/../h", "http://a/b/c/h"), ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://b:1/x", "https://b:1/x"),
        ] {
            #expect("\(try base.resolving(reference))" == wanted, "\(reference)")
        }
        #expect(throws: HTTPURLError.self) { try base.resolving("mailto:a") }
        #expect(throws: HTTPURLError.self) { try base.resolving("a b") }
        #expect(base.isOfSameOrigin(as: try HTTPURL(parsing: "ws://A:80/")))
        #expect(!base.isOfSameOrigin(as: try HTTPURL(parsing: "https://a:80/")))
    }
}
