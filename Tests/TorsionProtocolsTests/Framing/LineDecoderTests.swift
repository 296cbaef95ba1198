// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// The lines of pieces that are decoded one after the other, or the error.
private func lines(
    of pieces: [Bytes], by decoder: LineDecoder = LineDecoder()
) throws -> [String] {
    var lines: [String] = []
    for piece in pieces {
        let used = try decoder.decode(piece.span) { line in
            lines.append(String(decoding: line))
            return true
        }
        #expect(used == piece.count)
        decoder.checkInvariants()
    }
    return lines
}

/// What bytes are as lines under both terminators, and what stays held.
struct LineVector: CustomTestStringConvertible, Sendable {
    let text: String
    let loose: [String]
    let looseHeld: Int
    let strict: [String]
    let strictHeld: Int

    var testDescription: String { text.debugDescription }

    static let all = [
        LineVector(text: "a\r\n", loose: ["a"], looseHeld: 0, strict: ["a"], strictHeld: 0),
        LineVector(text: "\r\n", loose: [""], looseHeld: 0, strict: [""], strictHeld: 0),
        LineVector(text: "\n", loose: [""], looseHeld: 0, strict: [], strictHeld: 1),
        LineVector(text: "\r", loose: [], looseHeld: 1, strict: [], strictHeld: 1),
        LineVector(text: "\r\r\n", loose: ["\r"], looseHeld: 0, strict: ["\r"], strictHeld: 0),
        LineVector(
            text: "\r\n\n\r\n", loose: ["", "", ""], looseHeld: 0, strict: ["", "\n"], strictHeld: 0
        ),
        LineVector(
            text: "a\nb\rc\r\nd", loose: ["a", "b\rc"], looseHeld: 1, strict: ["a\nb\rc"],
            strictHeld: 1),
        LineVector(
            text: "a\n\n\r\n\r", loose: ["a", "", ""], looseHeld: 1, strict: ["a\n\n"],
            strictHeld: 1),
        LineVector(
            text: "\0\r\n\u{7f}é\n", loose: ["\0", "\u{7f}é"], looseHeld: 0, strict: ["\0"],
            strictHeld: 4),
    ]
}

@Suite struct LineDecoderTests {
    @Test(arguments: LineVector.all)
    func `a vector gives its lines however it is cut`(vector: LineVector) throws {
        for pieces in chunkings(of: Bytes(vector.text)) {
            let loose = LineDecoder()
            #expect(try lines(of: pieces, by: loose) == vector.loose)
            #expect(loose.partialByteCount == vector.looseHeld)
            let strict = LineDecoder(terminator: .carriageReturnLineFeed)
            #expect(try lines(of: pieces, by: strict) == vector.strict)
            #expect(strict.partialByteCount == vector.strictHeld)
        }
    }

    @Test(arguments: [LineDecoder.Terminator.lineFeed, .carriageReturnLineFeed])
    func `a line of the limit passes and one more byte does not`(
        terminator: LineDecoder.Terminator
    ) throws {
        for pieces in chunkings(of: "1234\r\n5678\r\n") {
            let decoder = LineDecoder(limitBytes: 4, terminator: terminator)
            #expect(try lines(of: pieces, by: decoder) == ["1234", "5678"])
        }
        for (text, byteCount) in [
            ("12345\r\n", 5), ("1234\r\n12345\r\n", 5), ("123\r45\r\n", 6), ("1234\r5", 6),
        ] {
            for pieces in chunkings(of: Bytes(text)) {
                let decoder = LineDecoder(limitBytes: 4, terminator: terminator)
                // As much of it as was there, which the cuts decide.
                #expect {
                    try lines(of: pieces, by: decoder)
                } throws: { error in
                    guard let error = error as? LineTooLong else { return false }
                    return error.limitBytes == 4 && (5...byteCount).contains(error.byteCount)
                }
            }
        }
    }

    @Test(arguments: [
        (Bytes([0]), "a\0\0b c\0", ["a", "", "b c"], 0),
        ("\r\n\r\n", "a\r\nb\r\n\r\n\r\n\r\n\r\nc", ["a\r\nb", ""], 3),
        ("aab", "aaabaabxaaab", ["a", "", "xa"], 0),
        ("END", "ENENDENDEN", ["EN", ""], 2),
    ])
    func `any bytes end a line, however it is cut`(
        end: Bytes, text: String, expected: [String], held: Int
    ) throws {
        for pieces in chunkings(of: Bytes(text)) {
            let decoder = LineDecoder(terminator: .bytes(end))
            #expect(try lines(of: pieces, by: decoder) == expected)
            #expect(decoder.partialByteCount == held)
        }
    }

    @Test func `the limit counts no byte of an end of any bytes`() throws {
        for pieces in chunkings(of: "1234<->12<34<->") {
            let decoder = LineDecoder(limitBytes: 5, terminator: .bytes("<->"))
            #expect(try lines(of: pieces, by: decoder) == ["1234", "12<34"])
        }
        for text in ["123456<->", "12345<-x", "12345<xy"] {
            for pieces in chunkings(of: Bytes(text)) {
                let decoder = LineDecoder(limitBytes: 5, terminator: .bytes("<->"))
                #expect {
                    try lines(of: pieces, by: decoder)
                } throws: { error in
                    guard let error = error as? LineTooLong else { return false }
                    return (6...8).contains(error.byteCount) && error.limitBytes == 5
                }
                #expect(decoder.partialByteCount <= 7)
            }
        }
    }

    @Test func `a line that is too long says how much of it was there`() {
        let decoder = LineDecoder(limitBytes: 4)
        #expect(throws: LineTooLong(byteCount: 9, limitBytes: 4)) {
            try lines(of: [Bytes("ok\n123456789\r")], by: decoder)
        }
        let sentence = "the peer sent a line of at least 9 bytes; 4 are allowed"
        #expect("\(LineTooLong(byteCount: 9, limitBytes: 4))" == sentence)
    }

    @Test func `no more than the limit and one byte is ever held`() {
        let decoder = LineDecoder(limitBytes: 10)
        var most = 0
        #expect(throws: LineTooLong.self) {
            while true {
                _ = try decoder.decode(Bytes("x").span) { _ in true }
                most = max(most, decoder.partialByteCount)
            }
        }
        #expect(most == 11)
    }

    @Test func `a callback that says no stops behind its line`() throws {
        let decoder = LineDecoder()
        let bytes = Bytes("a\nstop\nb\nc")
        let used = try decoder.decode(bytes.span) { $0 != "stop" }
        #expect(used == 7 && decoder.partialByteCount == 0)
        #expect(try lines(of: [bytes[used...]], by: decoder) == ["b"])
        #expect(decoder.partialByteCount == 1)
    }

    @Test func `what a callback throws reaches the caller, and the decoder can be used on`() throws
    {
        struct Mishap: Error {}
        let decoder = LineDecoder()
        _ = try decoder.decode(Bytes("be").span) { _ in true }
        #expect(throws: Mishap.self) {
            try decoder.decode(Bytes("gun\n").span) { _ in throw Mishap() }
        }
        #expect(try lines(of: ["next\n"], by: decoder) == ["next"])
    }

    @Test func `the callback may use the decoder that called it`() throws {
        for pieces in chunkings(of: "outer\nlast\n") {
            let decoder = LineDecoder()
            var seen: [String] = []
            for piece in pieces {
                _ = try decoder.decode(piece.span) { line in
                    seen.append(String(decoding: line))
                    #expect(decoder.partialByteCount == 0 && decoder.takePartial().isEmpty)
                    guard line == "outer" else { return true }
                    seen += try lines(of: ["in", "ner\nmore\n"], by: decoder)
                    // The line that is being shown was not overwritten.
                    seen.append(String(decoding: line))
                    return true
                }
            }
            #expect(seen == ["outer", "inner", "more", "outer", "last"])
        }
    }

    @Test func `a raw decoder takes nothing`() throws {
        let decoder = LineDecoder()
        decoder.isRaw = true
        let used = try decoder.decode(Bytes("a\n").span) { _ in true }
        #expect(used == 0)
    }

    @Test func `a held beginning can be taken out once`() throws {
        let decoder = LineDecoder()
        #expect(try lines(of: ["a\nbe", "gin"], by: decoder) == ["a"])
        #expect(decoder.takePartial() == "begin")
        #expect(decoder.partialByteCount == 0 && decoder.takePartial().isEmpty)
        #expect(try lines(of: ["b\n"], by: decoder) == ["b"])
    }

    // Work in the square of the length would be a million times half a megabyte.
    @Test(.timeLimit(.minutes(1)))
    func `a megabyte in single bytes is linear work`() throws {
        let decoder = LineDecoder(limitBytes: 1 << 20, terminator: .carriageReturnLineFeed)
        let byte = Bytes("\n"), end = Bytes("\r\n")
        var length = 0
        for _ in 0..<1 << 20 { _ = try decoder.decode(byte.span) { _ in false } }
        _ = try decoder.decode(end.span) { line in
            length = line.byteCount
            return true
        }
        #expect(length == 1 << 20)
    }
}
