// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionHTTP

/// A request, and what has to become of it.
struct Request {
    /// Where the rule stands.
    let section: String
    let text: String
    /// `nil` for one that is accepted.
    let error: RequestError?
}

/// A line's end stands as `|`, a bare CR as `^`, a bare LF as `~`, NUL as a backtick; a backslash takes the
/// next character as it is.
func decoded(_ text: String) -> String {
    var result = ""
    var isEscaped = false
    for character in text {
        switch character {
        case _ where isEscaped:
            result.append(character)
            isEscaped = false
        case "\\": isEscaped = true
        case "|": result += "\r\n"
        case "^": result += "\r"
        case "~": result += "\n"
        case "`": result += "\0"
        default: result.append(character)
        }
    }
    return result
}

private struct Rows {
    var requests: [Request] = []

    mutating func add(_ section: String, _ error: RequestError?, _ texts: [String]) {
        requests += texts.map { Request(section: section, text: decoded($0), error: error) }
    }

    /// Request lines, in front of a head that is right.
    mutating func lines(_ section: String, _ error: RequestError?, _ lines: [String]) {
        add(section, error, lines.map { $0 + "|Host: a|Accept: */*||" })
    }

    /// Field lines, in a head that is right.
    mutating func fields(_ section: String, _ error: RequestError?, _ lines: [String]) {
        add(section, error, lines.map { "GET / HTTP/1.1|Host: a|" + $0 + "|Accept: */*||" })
    }

    mutating func hosts(_ section: String, _ error: RequestError?, _ hosts: [String]) {
        add(section, error, hosts.map { "GET / HTTP/1.1|Host: " + $0 + "|Accept: */*||" })
    }

    /// Bodies in chunks.
    mutating func chunks(_ section: String, _ error: RequestError?, _ bodies: [String]) {
        let head = "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||"
        add(section, error, bodies.map { head + $0 })
    }
}

/// Written for this package; sections are those of RFC 9112 unless they say else.
let corpus: [Request] = {
    var rows = Rows()
    addRequestLines(&rows)
    addFields(&rows)
    addFraming(&rows)
    addChunks(&rows)
    return rows.requests
}()

private func addRequestLines(_ rows: inout Rows) {
    rows.lines(
        "3", nil,
        [
            "GET / HTTP/1.1", "HEAD / HTTP/1.1", "OPTIONS / HTTP/1.1", "DELETE /a HTTP/1.1",
            "PATCH /a HTTP/1.1", "TRACE / HTTP/1.1", "GET / HTTP/1.0", "PROPFIND /a HTTP/1.1",
            "M-SEARCH /a HTTP/1.1", "get / HTTP/1.1", "!#$%&'*+-._ / HTTP/1.1", "A / HTTP/1.1",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1", "|GET / HTTP/1.1",
        ])
    rows.lines(
        "3.1; RFC 9110 9.1", .badMethod,
        [
            " / HTTP/1.1", "G ET / HTTP/1.1".replacing(" ET", with: "(ET"), "GET: / HTTP/1.1",
            "G\"T / HTTP/1.1", "GE`T / HTTP/1.1", "G\u{e9}T / HTTP/1.1",
            "GET/ HTTP/1.1".replacing("GET/", with: "G/T /"),
            "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1", "GET\t/ HTTP/1.1",
            "\u{7f}GET / HTTP/1.1",
            "{GET} / HTTP/1.1", "||GET / HTTP/1.1", "~GET / HTTP/1.1", "^GET / HTTP/1.1",
            "GETTINGNOWHERE", "  GET / HTTP/1.1", "\t", "@GET / HTTP/1.1", "GET|/ HTTP/1.1",
        ])
    rows.lines(
        "3.2", nil,
        [
            "GET /a/b%20c HTTP/1.1", "GET /?q HTTP/1.1", "GET /a?b=c&d=%zz HTTP/1.1",
            "GET //a HTTP/1.1", "GET /a//b/../c HTTP/1.1", "GET /;a=b HTTP/1.1",
            "GET /a?x={y}\\|z HTTP/1.1", "GET /~a HTTP/1.1".replacing("~", with: "\\~"),
            "GET http://a/ HTTP/1.1", "GET http://a HTTP/1.1", "GET HTTP://A:80/b?c HTTP/1.1",
            "GET http://a?b HTTP/1.1", "GET https://a.b/ HTTP/1.1", "GET http://[::1]:8/ HTTP/1.1",
            "OPTIONS * HTTP/1.1", "OPTIONS http://a HTTP/1.1", "CONNECT a:443 HTTP/1.1",
            "CONNECT 127.0.0.1:80 HTTP/1.1", "CONNECT [::1]:443 HTTP/1.1",
            "GET /a:b@c HTTP/1.1", "GET /* HTTP/1.1", "GET /\\^\\` HTTP/1.1",
        ])
    rows.lines(
        "3.2", .badTarget,
        [
            "GET  / HTTP/1.1", "GET a HTTP/1.1", "GET * HTTP/1.1", "POST * HTTP/1.1",
            "GET a:443 HTTP/1.1", "CONNECT / HTTP/1.1", "CONNECT a HTTP/1.1",
            "CONNECT a: HTTP/1.1", "CONNECT http://a/ HTTP/1.1", "CONNECT * HTTP/1.1",
            "GET /a#b HTTP/1.1", "GET http:///a HTTP/1.1", "GET http://u@a/ HTTP/1.1",
            "GET http://a:b/ HTTP/1.1", "GET http:/a HTTP/1.1", "GET :// HTTP/1.1",
            "GET 1http://a/ HTTP/1.1", "GET http://:80/ HTTP/1.1", "GET /\u{e9} HTTP/1.1",
            "GET /a`b HTTP/1.1", "GET /a\u{7f} HTTP/1.1", "GET /a\tb HTTP/1.1", "GET ?a HTTP/1.1",
            "GET /a", "GET /a^b HTTP/1.1", "GET \\\\ HTTP/1.1", "OPTIONS ** HTTP/1.1",
            "GET http://a:65536/ HTTP/1.1", "CONNECT a:443/ HTTP/1.1", "GET /\u{1} HTTP/1.1",
        ])
    rows.lines(
        "2.3", .badVersion,
        [
            "GET / ", "GET / HTTP/1.1 ", "GET /  HTTP/1.1", "GET / HTTP/1", "GET / http/1.1",
            "GET / HTTP/11", "GET / HTTP/1.1x", "GET / HTTP 1.1", "GET / HTTP/1,1",
            "GET / HTTP/a.b", "GET / HTTP/1.10", "GET / HTTP/01.1", "GET / HTTP/+1.1",
            "GET / HTTP/1.1^", "GET / FTP/1.1", "GET / /a HTTP/1.1", "GET / HTTPS/1.1",
            "GET / HTTP/1.1`",
        ])
    rows.lines(
        "2.3; RFC 9110 15.6.6", .unsupportedVersion,
        ["GET / HTTP/2.0", "GET / HTTP/0.9", "GET / HTTP/2.1", "GET / HTTP/3.0", "PRI * HTTP/2.0"]
            .map { $0.replacing("PRI *", with: "PRI /") })
    // As if they were 1.1, whose rules hold for them.
    rows.lines("RFC 9110 2.5", nil, ["GET / HTTP/1.2", "GET / HTTP/1.9"])
    rows.add("RFC 9110 2.5; 3.2", .missingHost, ["GET / HTTP/1.2||"])
    rows.add(
        "2.2", .badVersion, ["GET / HTTP/1.1~Host: a||", "GET / HTTP/1.1~Host: a~~ and more"])
    rows.add("2.2", nil, ["|GET / HTTP/1.1|Host: a||", "GET / HTTP/1.0||", "POST / HTTP/1.0||"])
}

private func addFields(_ rows: inout Rows) {
    rows.fields(
        "5; RFC 9110 5.1, 5.5", nil,
        [
            "X: y", "X:y", "X:", "X: ", "X:\ty\t", "X:   y   ", "X: y z", "X: y\tz",
            "x-long-name-of-more-than-thirty-two-bytes-here: y", "X: \u{e9}", "X: \"y\"",
            "X: :", "X: a:b", "!#$%&'*+-._\\`\\|\\~: y", "1: 2", "accept: a", "ACCEPT: b",
            "X: y|X: z", "Cookie: a=b; c=\"d\"", "X: \\\\", "X: ,,", "Te: trailers",
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64)", "X: y|Y: z|Z: ", "Expect: 100-continue",
            "EXPECT: 100-Continue", "Connection: close", "Connection: ,Keep-Alive , x",
            "Upgrade: websocket", "Trailer: X", "Content-Length: 0", "Accept-: x",
        ])
    rows.fields(
        "5.1", .badFieldName,
        [
            "X : y", "X\t: y", ": y", "X", "X y: z", "X(: y", "X\u{e9}: y", "X`: y", "X/Y: z",
            "X,Y: z", "\"X\": y", "X@Y: z", "{X}: y", "Host : b", "Content-Length : 1",
            "Transfer-Encoding : chunked", "[X]: y", "X;: y", "=: y", "X^: y", "X~: y",
            String(repeating: "x", count: 256) + ": y", "X\u{7f}: y", "Content-Length\u{b}: 1",
        ])
    rows.fields(
        "5.2", .foldedField,
        [" X: y", "\tX: y", "X: y| z", "X: y|\tz", "Connection:| close", "X: y| "])
    rows.add(
        "2.2", .foldedField, ["GET / HTTP/1.1| Host: a||", "GET / HTTP/1.1|\tX: y|Host: a||"])
    rows.fields(
        "RFC 9110 5.5", .badFieldValue,
        ["X: a`b", "X: `", "X: \u{1}", "X: a\u{7f}", "X: a\u{b}b", "X: \u{1b}[m", "X: a\u{8}"])
    // Of a name that is known, before, in and behind the words of eight bytes in which it is read.
    rows.fields(
        "RFC 9110 5.5", .badFieldValue,
        ["`", "1234567`", "12345678`", "123456789`", "1234567`9", "123456789012345`7"].flatMap {
            ["Accept: \($0)", "Accept: \($0.replacing("`", with: "\u{7f}"))"]
        })
    rows.fields(
        "RFC 9110 5.5", nil,
        [
            "\t", "1\t2", "12345678\t", "1234567\t8",
            "123456789\t\u{e9}\u{ff}~".replacing("~", with: ""),
        ]
        .map { "Accept: \($0)" })
    rows.fields(
        "2.2", .bareCarriageReturn,
        ["Accept: ^", "Accept: 1234567^", "Accept: 12345678^", "Accept: 12345678^9"])
    rows.fields("2.2", .bareLineFeed, ["Accept: ~", "Accept: 1234567~", "Accept: 12345678~9"])
    rows.fields(
        "2.2", .bareCarriageReturn,
        ["X: a^b", "X: ^", "X: a^Y: b", "X: a^^~".replacing("~", with: ""), "^x"])
    rows.fields("2.2", .bareLineFeed, ["X: a~Y: b", "X: ~", "X: y~", "X: a~ b"])
    rows.add("2.2", .bareLineFeed, ["GET / HTTP/1.1|Host: a~~", "GET / HTTP/1.1|Host: a~|"])
    rows.add("2.2", .bareLineFeed, ["GET / HTTP/1.1|Host: a|~"])
    rows.fields("5.2; 6.1", .badTransferEncoding, ["Transfer-Encoding:| chunked"])
    rows.hosts(
        "3.2; RFC 9110 7.2", nil,
        [
            "a", "a.b", "a:80", "127.0.0.1", "[::1]", "[::1]:80", "a:", "A-b.C", "", "a_b", "a.",
            "x%41", "a!$&'()*+;=b", "[2001:db8::1]", "a:0", "a:65535", "\\~a", "[v1.a]",
            "[vF0.a:b]:80", "[V1.a!$&'()*+;=]",
        ])
    rows.hosts(
        "3.2; RFC 9110 7.2", .badHost,
        [
            "a b", "a/b", "u@a", "a:b", "a:80:80", ":80", "[::1", "::1", "[a]", "a,b", "a\\\\b",
            "a?b", "a#b", "http://a", "a:65536", "a:123456", "\u{e9}", "%4", "%zz", "a\"b",
            "<a>", "[::1]x", "[::1]:x", "a:+1", "[fe80::1%25a]", "a\tb",
            "[v.a]", "[v1.]", "[v1a]", "[vg.a]", "[v1.a/b]", "[v1.a,b]", "[v1.%41]", "[v1.a]x",
        ])
    rows.add(
        "3.2", .missingHost,
        [
            "GET / HTTP/1.1||", "GET / HTTP/1.1|X-Host: a||", "GET http://a/ HTTP/1.1||",
            "OPTIONS * HTTP/1.1|Accept: a||",
        ])
    rows.add(
        "3.2", .manyHosts,
        [
            "GET / HTTP/1.1|Host: a|Host: a||", "GET / HTTP/1.1|Host: a|Host: b||",
            "GET / HTTP/1.1|Host: a|X: y|hOST: a||", "GET / HTTP/1.0|Host: a|Host: a||",
        ])
    rows.fields("5.4 (a limit)", .tooManyFields, [String(repeating: "X: y|", count: 99) + "Z: z"])
    rows.fields("5.4 (a limit)", nil, [String(repeating: "X: y|", count: 97) + "Z: z"])
    rows.lines(
        "3 (a limit)", .requestLineTooLong,
        ["GET /" + String(repeating: "a", count: 8 * 1024) + " HTTP/1.1"])
    rows.lines(
        "3 (a limit)", nil, ["GET /" + String(repeating: "a", count: 8 * 1024 - 16) + " HTTP/1.1"])
    rows.fields(
        "5.4 (a limit)", .headTooLong,
        [
            "X: " + String(repeating: "a", count: 32 * 1024),
            String(repeating: "X: " + String(repeating: "a", count: 997) + "|", count: 33) + "Y: z",
        ])
}

private func addFraming(_ rows: inout Rows) {
    let post = "POST / HTTP/1.1|Host: a|"
    rows.add(
        "6.2", nil,
        [
            post + "Content-Length: 0||", post + "Content-Length: 5||12345", post + "|",
            post + "content-length:5||12345", post + "Content-Length: 0005  ||12345",
            post + "Content-Length: 5||1~345", "GET / HTTP/1.1|Host: a|Content-Length: 1||x",
            "POST / HTTP/1.0|Content-Length: 2||ab", "HEAD / HTTP/1.1|Host: a|Content-Length: 1||x",
        ])
    rows.add(
        "6.3; RFC 9110 8.6", .badContentLength,
        [
            "+5", "-5", " ", "", "5 5", "5,5", "5, 5", "0x5", "5;", "5.0", "five", "\"5\"", "5x",
            "99999999999999999999", "1_0", "\u{0665}", "5\t5", "1e1",
        ].map { post + "Content-Length: " + $0 + "||12345" })
    rows.add(
        "6.3", .badContentLength,
        [
            post + "Content-Length: 5|Content-Length: 5||12345",
            post + "Content-Length: 5|Content-Length: 6||12345",
            post + "Content-Length: 0|X: y|CONTENT-LENGTH: 0||",
        ])
    rows.add(
        "6.1", .badTransferEncoding,
        [
            "gzip", "identity", "gzip, chunked", "chunked, gzip", "chunked, chunked", "chunked,",
            ",chunked", "xchunked", "chunked;q=1", "\"chunked\"", "", "chunke", "chunked chunked",
            "\u{6b}chunked", "deflate",
        ].map { post + "Transfer-Encoding: " + $0 + "||0||" })
    rows.add(
        "6.1", .badTransferEncoding,
        [
            post + "Transfer-Encoding: chunked|Transfer-Encoding: chunked||0||",
            post + "Transfer-Encoding: chunked|Transfer-Encoding: identity||0||",
            "POST / HTTP/1.0|Host: a|Transfer-Encoding: chunked||0||",
        ])
    rows.add(
        "6.3", .contentLengthWithTransferEncoding,
        [
            post + "Content-Length: 5|Transfer-Encoding: chunked||0||",
            post + "Transfer-Encoding: chunked|Content-Length: 5||0||",
            post + "Transfer-Encoding: chunked|X: y|Content-Length: 0||0||",
        ])
    rows.fields(
        "RFC 9110 10.1.1", .unknownExpectation,
        ["Expect: 200-ok", "Expect: 100-continue, x", "Expect:"])
    rows.add("RFC 9110 10.1.1", nil, ["GET / HTTP/1.0|Expect: anything||"])
}

private func addChunks(_ rows: inout Rows) {
    rows.chunks(
        "7.1", nil,
        [
            "0||", "5|12345|0||", "1|a|2|bc|0||", "A|0123456789|0||", "a|0123456789|000||",
            "0000000000000005|12345|0||", "5;a|12345|0||", "5;a=b|12345|0||",
            "5; a = b ;c=\"d\\\\\"e\"|12345|0||", "5 ;a|12345|0;last||", "5\t;\ta|12345|0||",
            "2|\\|\\~|0||", "2|||0||", "0|X: y||", "0|X: y|Z: \u{e9}||", "0|x-checksum:||",
            "5;a=\"|\"|12345|0||".replacing("\"|\"", with: "\"x\t \""), "5;!#=$|12345|0||",
        ])
    rows.chunks(
        "7.1", .badChunkSize,
        [
            "|0||", "x|", "-1|", "+5|12345|0||", "0x5|12345|0||", " 5|12345|0||", "5x|12345|0||",
            "5,|12345|0||", "00000000000000005|12345|0||", "fffffffffffffffff|", ";a|", "g||",
            "5~12345|0||",
            "5_0|", "`0||", "\u{e9}|", "=|",
        ])
    rows.chunks("2.2", .bareCarriageReturn, ["5^12345|0||", "5^^", "0^|", "5;a^12345|0||"])
    rows.chunks(
        "7.1.1", .badChunkExtension,
        [
            "5;|12345|0||", "5 |12345|0||", "5;a=|12345|0||", "5;a b|12345|0||", "5;a~12345|0||",
            "5;a=\"b|12345|0||", "5;a=\"b\"c|12345|0||", "5;a=b=c|12345|0||", "5;=b|12345|0||",
            "5;a\u{1}|12345|0||", "5;a,b|12345|0||", "5;a=\"\u{7f}\"|12345|0||", "5 x|12345|0||",
            "5;a |12345|0||", "5;;a|12345|0||",
        ])
    rows.chunks(
        "7.1.1 (a limit)", .chunkExtensionsTooLong,
        ["5;" + String(repeating: "a", count: 17 * 1024) + "|12345|0||"])
    rows.chunks(
        "7.1", .badChunkEnd,
        ["5|123456|0||", "5|12345~0||", "5|12345^x0||", "5|123450||", "4|12345|0||", "1|a |0||"])
    rows.chunks(
        "7.1.2; RFC 9110 6.5.1", .forbiddenTrailer,
        [
            "0|Content-Length: 5||", "0|Transfer-Encoding: chunked||", "0|Host: a||",
            "0|connection: close||", "0|TE: x||", "0|Trailer: x||", "0|Upgrade: x||",
            "0|Expect: x||",
        ])
    rows.chunks("7.1.2", .badFieldName, ["0|X||", "0|X : y||", "0|: y||", "0|GET / HTTP/1.1||"])
    rows.chunks("7.1.2", .badFieldValue, ["0|X: `||", "0|X: a\u{1}||", "0|X: a^b||"])
    rows.chunks("7.1.2", .foldedField, ["0| X: y||", "0|X: y| z||"])
    rows.chunks("2.2", .bareLineFeed, ["0|~", "0|X: y~|", "0|X: y~X: z||"])
    rows.chunks(
        "7.1.2 (a limit)", .trailersTooLong,
        ["0|X: " + String(repeating: "a", count: 9 * 1024) + "||"])
}
