// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import TorsionCore
@testable import TorsionHTTP
import TorsionTesting

/// What becomes of a stream of one request, read in pieces.
struct Reading: Equatable, CustomStringConvertible {
    var head: CopiedRequestHead?
    var body: [UInt8] = []
    var trailers = FieldList()
    var error: RequestError?
    var isWhole = false
    /// Bytes that no error or request has used.
    var restByteCount = 0

    var description: String {
        "\(head.map { "\($0.method) \($0.target)" } ?? "none"), body \(Bytes(body)), "
            + "\(error.map { "\($0)" } ?? "no error"), \(isWhole ? "whole" : "cut"), rest \(restByteCount)"
    }

    private var decoder = ChunkedDecoder()
    private var held: HeldHead?
    private var expected: UInt64 = 0

    init(_ pieces: [Bytes], limits: HeadLimits = HeadLimits()) {
        for piece in pieces where error == nil { take(piece, limits) }
    }

    private mutating func take(_ piece: Bytes, _ limits: HeadLimits) {
        if isWhole { return restByteCount += piece.count }
        guard head == nil else { return takeBody(piece) }
        guard let held else { return takeFirst(piece, limits) }
        switch held.add(piece.span) {
        case .incomplete: break
        case .failed(let error): self.error = error
        case .complete:
            self.held = nil
            let facts = held.parser.facts
            held.withHead { note($0) }
            takeBody(Bytes(held.bytes)[facts.byteCount...])
        }
    }

    private mutating func takeFirst(_ piece: Bytes, _ limits: HeadLimits) {
        let slots = FieldSlots(capacity: limits.fieldCount)
        var parser = HeadParser(limits: limits)
        switch parser.parse(piece.span, slots.base) {
        case .incomplete: held = HeldHead(piece.span, limits: limits)
        case .failed(let error): self.error = error
        case .complete:
            let start = slots.base
            let fields = Span<FieldSlot>(
                _unsafeStart: start, count: Int(parser.facts.fieldCount))
            note(RequestHead(bytes: piece.span, slots: fields, facts: parser.facts))
            extendLifetime(slots)
            takeBody(piece[parser.facts.byteCount...])
        }
    }

    private mutating func note(_ head: borrowing RequestHead) {
        if head.facts.flags.contains(.expectsOther) { return error = .unknownExpectation }
        self.head = head.copied()
        expected = head.facts.contentLength
        isWhole = !head.hasBody
    }

    private mutating func takeBody(_ bytes: Bytes) {
        guard error == nil, let head else { return }
        guard !isWhole else { return restByteCount += bytes.count }
        guard head.contentLength == nil else {
            let count = Int(min(expected, UInt64(bytes.count)))
            body += bytes[..<count]
            expected -= UInt64(count)
            isWhole = expected == 0
            return restByteCount = bytes.count - count
        }
        do throws(RequestError) {
            var position = 0
            while let range = try decoder.next(bytes.span, &position) { body += bytes[range] }
            isWhole = decoder.isOver
            trailers = decoder.trailers
            restByteCount = bytes.count - position
        } catch {
            self.error = error
        }
    }

    static func == (left: Reading, right: Reading) -> Bool {
        left.head == right.head && left.body == right.body && left.trailers == right.trailers
            && left.error == right.error && left.isWhole == right.isWhole
            && left.restByteCount == right.restByteCount
    }
}

@Suite struct ParserTests {
    @Test func `H-2: each request of the corpus is accepted or refused as its section says`() {
        #expect(corpus.count >= 200)
        for request in corpus {
            let reading = Reading([Bytes(request.text)])
            let place = "\(request.section): \(Bytes(String(request.text.prefix(120))))"
            #expect(reading.error == request.error, "\(place)")
            #expect(reading.isWhole == (request.error == nil), "\(place)")
            if request.error == nil { #expect(reading.restByteCount == 0, "\(place)") }
        }
    }

    @Test func `H-1: a request is read the same however it is cut`() {
        for request in corpus where request.text.utf8.count < 400 {
            let bytes = Bytes(request.text)
            let whole = Reading([bytes])
            for pieces in chunkings(of: bytes) {
                var cut = Reading(pieces)
                // Of one that is refused, what is behind the error is not looked at.
                if whole.error != nil {
                    #expect(cut.error == whole.error, "\(bytes)")
                } else {
                    cut.restByteCount = whole.restByteCount
                    #expect(cut == whole, "\(bytes)")
                }
            }
        }
    }

    @Test func `H-1: a long request is read the same in single bytes, with linear work`() {
        for request in corpus where request.text.utf8.count >= 400 {
            let bytes = Bytes(request.text)
            let cut = Reading((0..<bytes.count).map { bytes[$0...$0] })
            #expect(cut.error == request.error, "\(request.section)")
        }
    }

    // Found by fuzzing: in one piece it was the target that was wrong.
    @Test func `H-1: a wrong request line beyond its limit is too long, however it is cut`() {
        var limits = HeadLimits()
        limits.requestLineByteCount = 66
        let filling = String(repeating: "F", count: 60)
        let request = Bytes("POST http:/\(filling)/[T:host: a\r\nX=L5: \r\n\r\n".utf8)
        for cut in 0...request.count {
            let reading = Reading([request[..<cut], request[cut...]], limits: limits)
            #expect(reading.error == .requestLineTooLong, "cut at \(cut)")
        }
    }

    // Found by fuzzing: byte by byte it was never refused, behind an empty line.
    @Test func `H-1: a request line without an end is refused at its limit`() {
        var limits = HeadLimits()
        limits.requestLineByteCount = 65
        for beginning in ["", "\r\n"] {
            let bytes = Bytes(beginning + "OPTIONS " + String(repeating: "*", count: 80))
            for pieces in [[bytes], (0..<bytes.count).map { bytes[$0...$0] }] {
                #expect(Reading(pieces, limits: limits).error == .requestLineTooLong)
            }
        }
    }

    // Found by fuzzing: the version was looked at where more came behind the line.
    @Test func `H-1: what is behind a request line does not change what is wrong with it`() {
        for line in ["GET / HTTP/0.0\n", "GET / HTTP/2.0\n", "GET / HTTP/1\n", "GET / HTTP/11\n"] {
            let alone = Reading([Bytes(line + ""), "Host: a\r\n\r\n"]).error
            #expect(
                alone == .badVersion && Reading([Bytes(line + "Host: a\r\n\r\n")]).error == alone)
        }
    }

    @Test func `H-1: any bytes in any cuts never trap, and are read the same`() {
        var dice = SeededGenerator(seed: 20)
        let words = [
            "GET ", "/", " HTTP/1.1", "\r\n", "Host: a", "\n", "\r", ":", " ", "Content-Length: 3",
            "Transfer-Encoding: chunked", "\0", "x", "3", "abc", "0", ";", "\u{e9}", "POST ", "\t",
            "\r\n\r\n", "Expect: 100-continue", "GET / HTTP/1.1\r\nHost: a\r\n",
        ]
        for _ in TestScope.seeds(all: 200_000, few: 3_000, variable: "HTTP_SEEDS") {
            var text = ""
            for _ in 0..<Int.random(in: 1...14, using: &dice) {
                text += words.randomElement(using: &dice)!
            }
            let bytes = Bytes(text)
            let cut = Int.random(in: 0...bytes.count, using: &dice)
            let whole = Reading([bytes])
            let halves = Reading([bytes[..<cut], bytes[cut...]].filter { !$0.isEmpty })
            let single = Reading((0..<bytes.count).map { bytes[$0...$0] })
            #expect(whole.error == halves.error && whole.error == single.error, "\(bytes)")
            if whole.error == nil {
                #expect(whole.head == halves.head && whole.head == single.head, "\(bytes)")
                #expect(whole.body == halves.body && whole.body == single.body, "\(bytes)")
            }
        }
    }

    @Test func `the usual names are found in any case, and no others are taken for them`() {
        for (number, text) in FieldName.spellings.enumerated().dropFirst() {
            let text = "\(text)"
            for spelling in [text, text.lowercased(), text.uppercased()] {
                #expect(FieldName(spelling)?.number == UInt8(number), "\(spelling)")
            }
            // What stands before it and behind it is no part of it.
            for (before, behind) in [("HTTP/1.1\r\n", ":"), ("xxxxxxxx", "x"), ("--------", "")] {
                let long = Bytes(before + text.lowercased() + behind)
                let found = long.span.withUnsafeBytes {
                    let start = $0.baseAddress!.assumingMemoryBound(to: UInt8.self)
                    let name = start + before.utf8.count
                    return FieldNameTable.shared.known(from: name, to: name + text.utf8.count)
                }
                #expect(found == UInt8(number), "\(text)")
            }
            for (index, byte) in text.utf8.enumerated() {
                var other = Array(text.utf8)
                other[index] = byte == UInt8(ascii: "-") ? 13 : byte ^ 0x01
                let name = Bytes(other)
                if name.span.equalsIgnoringCase(text) { continue }
                let table = FieldNameTable.shared
                #expect(table.number(of: name.span) != UInt8(number), "\(name)")
            }
        }
        let other = "X-Other"
        #expect(FieldName(other) == "x-oTHER")
        #expect(FieldName(other)?.description == "X-Other")
        for text in ["a b", "", "a:", String(repeating: "a", count: 256)] {
            #expect(FieldName(text) == nil)
        }
    }

    @Test func `a head's parts are where they are`() {
        let text =
            "GET http://b:8/p/q?r=s HTTP/1.1\r\nhost: a\r\nX-A:  1 \r\ncookie: x\r\nX-a: 2\r\n\r\n"
        let head = Reading([Bytes(text)]).head!
        #expect(head.method == .get && head.path == "/p/q" && head.query == "r=s")
        #expect(head.authority == "b:8" && head.target == "http://b:8/p/q?r=s")
        #expect(
            head.fields.map { "\($0.name)=\($0.value)" } == [
                "Host=a", "X-A=1", "Cookie=x", "X-a=2",
            ])
        #expect(head.fields.all("x-A") == ["1", "2"])
        #expect(head.fields["COOKIE"] == "x")
        let short = Reading(["GET /?x HTTP/1.1\r\nHost: a:1\r\n\r\n"]).head!
        #expect(short.path == "/" && short.query == "x" && short.authority == "a:1")
        let connect = Reading(["CONNECT a:443 HTTP/1.1\r\nHost: b\r\n\r\n"]).head!
        #expect(connect.authority == "a:443")
        let bare = Reading(["GET http://a?b HTTP/1.1\r\nHost: b\r\n\r\n"]).head!
        #expect(bare.path == "/" && bare.query == "b" && bare.authority == "a")
    }

    @Test func `a list of fields sets, replaces and keeps its order`() {
        var fields: FieldList = [.contentType: "a", "X": "1", .vary: "b", "x": "2"]
        fields["x"] = "3"
        #expect(fields.map { "\($0.name):\($0.value)" } == ["Content-Type:a", "x:3", "Vary:b"])
        fields[.vary] = nil
        fields[.etag] = "\"e\""
        #expect(fields.count == 3 && fields[.etag] == "\"e\"" && fields[.vary] == nil)
        #expect(HTTPStatus.notFound.description == "404 Not Found")
        #expect(HTTPStatus(299).description == "299")
        #expect(HTTPMethod("GET") == .get && HTTPMethod("get") != .get && HTTPMethod("a b") == nil)
    }

    @Test func `dates are written and read in each of three forms`() {
        let date = HTTPDate(seconds: 784_111_777)
        #expect(date.description == "Sun, 06 Nov 1994 08:49:37 GMT")
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            #expect(HTTPDate(Bytes(text).span) == date, "\(text)")
        }
        for text in [
            "", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT", "784111777",
            "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 00 Nov 1994 08:49:37 GMT", ",", "Sun",
            "Sun Nov",
        ] {
            #expect(HTTPDate(Bytes(text).span) == nil, "\(text)")
        }
        for seconds: Int64 in [0, 951_782_400, 951_868_800, 4_107_542_400, -1, 253_402_300_799] {
            let date = HTTPDate(seconds: seconds)
            #expect(HTTPDate(date.bytes.span) == date, "\(date)")
        }
        #expect(HTTPDate(seconds: 951_782_400).description == "Tue, 29 Feb 2000 00:00:00 GMT")
    }
}
