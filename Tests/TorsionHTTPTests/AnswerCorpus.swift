// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionHTTP

/// An answer of a server, behind which it closes, and what has to become of it.
struct Answer {
    let text: String
    let method: HTTPMethod
    let outcome: Outcome

    enum Outcome: Equatable {
        case body(String, status: Int = 200)
        case error(ResponseError)
    }

    /// Written as in the corpus of requests.
    init(_ text: String, _ outcome: Outcome, method: HTTPMethod = .get) {
        self.text = decoded(text)
        self.method = method
        self.outcome = outcome
    }
}

private func head(_ fields: String) -> String { "HTTP/1.1 200 OK|\(fields)||" }
private func chunks(_ body: String) -> String { head("Transfer-Encoding: chunked") + body }
private func long(_ text: String, _ count: Int) -> String { String(repeating: text, count: count) }

/// What a malicious or broken server may send.
let answers: [Answer] =
    [
        // First lines: RFC 9112 §4.
        Answer("HTTP/2.0 200|Content-Length: 0||", .error(.unsupportedVersion)),
        Answer("HTTP/2 200 OK|Content-Length: 0||", .error(.badVersion)),
        Answer("HTTP/2.1 200 OK|Content-Length: 0||", .error(.unsupportedVersion)),
        Answer("HTTP/0.9 200 OK|Content-Length: 0||", .error(.unsupportedVersion)),
        Answer("http/1.1 200 OK|Content-Length: 0||", .error(.badVersion)),
        Answer("ICY 200 OK|Content-Length: 0||", .error(.badVersion)),
        Answer("<html>a page without a head</html>|", .error(.badVersion)),
        // Shorter than any head: known with the line's end.
        Answer("junk|", .error(.badVersion)),
        Answer("|", .error(.badVersion)),
        Answer("a~", .error(.bareLineFeed)),
        Answer("HTTP/1.1 2|", .error(.badVersion)),
        Answer("HTTP/1.1 099|", .error(.badStatus)),
        Answer("HTTP/1.1 200|", .error(.truncated)),
        Answer(" HTTP/1.1 200 OK|Content-Length: 0||", .error(.badVersion)),
        Answer("|HTTP/1.1 200 OK|Content-Length: 0||", .error(.badVersion)),
        Answer("HTTP/1.1  200 OK|Content-Length: 0||", .error(.badStatus)),
        Answer("HTTP/1.1\t200 OK|Content-Length: 0||", .error(.badVersion)),
        Answer("HTTP/1.1 099 No|Content-Length: 0||", .error(.badStatus)),
        Answer("HTTP/1.1 600 No|Content-Length: 0||", .error(.badStatus)),
        Answer("HTTP/1.1 +20 No|Content-Length: 0||", .error(.badStatus)),
        Answer("HTTP/1.1 2000 OK|Content-Length: 0||", .error(.badStatus)),
        Answer("HTTP/1.1 20 OK|Content-Length: 0||", .error(.badStatus)),
        Answer("HTTP/1.1 200OK|Content-Length: 0||", .error(.badStatus)),
        Answer("HTTP/1.1 200 O`K|Content-Length: 0||", .error(.badReason)),
        Answer("HTTP/1.1 200 O^K|Content-Length: 0||", .error(.badReason)),
        Answer("HTTP/1.1 200 OK~Content-Length: 0||", .error(.bareLineFeed)),
        Answer(
            "HTTP/1.1 200 " + long("a", 9_000) + "|Content-Length: 0||", .error(.statusLineTooLong)),
        Answer("HTTP/1.1 200 " + long("a", 70_000), .error(.statusLineTooLong)),
        Answer("HTTP/1.1 200 |Content-Length: 2||ab", .body("ab")),
        Answer("HTTP/1.1 200|Content-Length: 2||ab", .body("ab")),
        Answer("HTTP/1.1 200 \u{e9} is no matter|Content-Length: 2||ab", .body("ab")),
        Answer("HTTP/1.0 200 OK|Content-Length: 2||ab", .body("ab")),
        // Fields: RFC 9112 §5.
        Answer(head("Content-Length: 0|Na me: x"), .error(.badFieldName)),
        Answer(head("Content-Length : 0"), .error(.badFieldName)),
        Answer(head("Content-Length: 0|: x"), .error(.badFieldName)),
        Answer(head("Content-Length: 0|no colon"), .error(.badFieldName)),
        Answer(head("Content-Length: 0|A: x`y"), .error(.badFieldValue)),
        Answer(head("Content-Length: 0|A: x^y"), .error(.bareCarriageReturn)),
        Answer(head("Content-Length: 0|A: x| folded"), .error(.foldedField)),
        Answer(head(" Content-Length: 0"), .error(.foldedField)),
        Answer(head("Content-Length: 0~A: x"), .error(.bareLineFeed)),
        Answer(head("Content-Length: 0|" + long("A: b|", 101) + "C: d"), .error(.tooManyFields)),
        Answer(head("Content-Length: 0|A: " + long("b", 40_000)), .error(.headTooLong)),
        Answer("HTTP/1.1 200 OK|A: " + long("b", 80_000), .error(.headTooLong)),
        Answer("HTTP/1.1 200 OK|" + long("A: " + long("b", 400) + "|", 90), .error(.headTooLong)),
        Answer(head("Host: a|Host: b, c|Expect: what|Content-Length: 2") + "ab", .body("ab")),
        // Lengths: RFC 9112 §6.3.
        Answer(head("Content-Length: +5") + "hello", .error(.badContentLength)),
        Answer(head("Content-Length: -5") + "hello", .error(.badContentLength)),
        Answer(head("Content-Length: 5, 5") + "hello", .error(.badContentLength)),
        Answer(head("Content-Length: 5|Content-Length: 5") + "hello", .error(.badContentLength)),
        Answer(head("Content-Length: 5|Content-Length: 6") + "hello", .error(.badContentLength)),
        Answer(head("Content-Length: 0x5") + "hello", .error(.badContentLength)),
        Answer(head("Content-Length: 5 5") + "hello", .error(.badContentLength)),
        Answer(head("Content-Length:") + "hello", .error(.badContentLength)),
        Answer(head("Content-Length: 99999999999999999999") + "a", .error(.badContentLength)),
        Answer(head("Content-Length: 18446744073709551621") + "hello", .error(.badContentLength)),
        Answer(head("Content-Length: 6") + "hello", .error(.truncated)),
        Answer(head("Content-Length: 999999999999999999") + "hello", .error(.truncated)),
        Answer(head("Content-Length: 5") + "hello", .body("hello")),
        Answer(head("Content-Length: 005") + "hello", .body("hello")),
        Answer(
            head("Content-Length: 5|Transfer-Encoding: chunked") + "5|hello|0||",
            .error(.contentLengthWithTransferEncoding)),
        Answer(
            head("Transfer-Encoding: chunked|Content-Length: 5") + "5|hello|0||",
            .error(.contentLengthWithTransferEncoding)),
        Answer(head("Transfer-Encoding: gzip, chunked") + "0||", .error(.badTransferEncoding)),
        Answer(head("Transfer-Encoding: gzip") + "ab", .error(.badTransferEncoding)),
        Answer(head("Transfer-Encoding: identity") + "ab", .error(.badTransferEncoding)),
        Answer(head("Transfer-Encoding: xchunked") + "0||", .error(.badTransferEncoding)),
        Answer(
            head("Transfer-Encoding: chunked|Transfer-Encoding: chunked") + "0||",
            .error(.badTransferEncoding)),
        Answer(
            "HTTP/1.0 200 OK|Transfer-Encoding: chunked||2|ab|0||", .error(.badTransferEncoding)),
        // Chunks: RFC 9112 §7.1.
        Answer(chunks("5|hello|0||"), .body("hello")),
        Answer(chunks("2;a=b|he|3|llo|0|X: y||"), .body("hello")),
        Answer(chunks("5|hello|0|"), .error(.truncated)),
        Answer(chunks("5|hello|"), .error(.truncated)),
        Answer(chunks("5|hel"), .error(.truncated)),
        Answer(chunks("5|hello"), .error(.truncated)),
        Answer(chunks(""), .error(.truncated)),
        Answer(chunks("4|hello|0||"), .error(.badChunkEnd)),
        Answer(chunks("g|hello|0||"), .error(.badChunkSize)),
        Answer(chunks("-5|hello|0||"), .error(.badChunkSize)),
        Answer(chunks("+5|hello|0||"), .error(.badChunkSize)),
        Answer(chunks("0x5|hello|0||"), .error(.badChunkSize)),
        Answer(chunks("|hello|0||"), .error(.badChunkSize)),
        Answer(chunks("00000000000000005|hello|0||"), .error(.badChunkSize)),
        Answer(chunks("ffffffffffffffff|hello"), .error(.truncated)),
        Answer(chunks("5~hello|0||"), .error(.badChunkSize)),
        Answer(chunks("5^hello|0||"), .error(.bareCarriageReturn)),
        Answer(chunks("5;a=`|hello|0||"), .error(.badChunkExtension)),
        Answer(chunks("5;" + long("a", 20_000)), .error(.chunkExtensionsTooLong)),
        Answer(chunks("0|" + long("A: b|", 120)), .error(.trailersTooLong)),
        Answer(chunks("0|A: " + long("b", 9_000)), .error(.trailersTooLong)),
        Answer(chunks("2|ab|0|Content-Length: 9||"), .error(.forbiddenTrailer)),
        Answer(chunks("2|ab|0|A b||"), .error(.badFieldName)),
        // To the connection's end.
        Answer("HTTP/1.1 200 OK||hello", .body("hello")),
        Answer("HTTP/1.0 200 OK||", .body("")),
        Answer("HTTP/1.1 200 OK|Connection: close|Server: x||", .body("")),
        // No body, whatever the head says.
        Answer("HTTP/1.1 204 No|Content-Length: 5||", .body("", status: 204)),
        Answer("HTTP/1.1 304 No|Content-Length: 5||", .body("", status: 304)),
        Answer(head("Content-Length: 5"), .body(""), method: .head),
        Answer(head("Transfer-Encoding: chunked"), .body(""), method: .head),
        // Interim answers: RFC 9110 §15.2.
        Answer("HTTP/1.1 100 Continue||HTTP/1.1 200 OK|Content-Length: 2||ab", .body("ab")),
        Answer("HTTP/1.1 103 Hints|Link: x||" + head("Content-Length: 2") + "ab", .body("ab")),
        Answer(long("HTTP/1.1 102 Wait||", 16) + head("Content-Length: 2") + "ab", .body("ab")),
        Answer(
            long("HTTP/1.1 102 Wait||", 17) + head("Content-Length: 2") + "ab",
            .error(.tooManyInterimAnswers)),
        Answer(long("HTTP/1.1 100 Continue||", 5_000), .error(.tooManyInterimAnswers)),
        Answer("HTTP/1.1 101 Switch|Upgrade: x|Connection: upgrade||", .error(.unexpectedUpgrade)),
        // Cut.
        Answer("", .error(.truncated)),
        Answer("H", .error(.truncated)),
        Answer("HTTP/1.1 200 OK", .error(.truncated)),
        Answer("HTTP/1.1 200 OK|Content-Length: 0|", .error(.truncated)),
        Answer("HTTP/1.1 100 Continue||", .error(.truncated)),
    ]
