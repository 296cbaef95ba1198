// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// The messages of pieces, and how many bytes are held behind them.
private func messages<Decoder: MessageDecoder>(
    of pieces: [Bytes], by decoder: Decoder
) throws -> (messages: [Decoder.Message], held: Int) {
    var decoder = decoder
    var messages: [Decoder.Message] = []
    let buffer = MessageBuffer(limitBytes: 1 << 20)
    for piece in pieces {
        _ = try buffer.decode(piece.span) { reader in
            messages.append(try decoder.decode(&reader))
            return true
        }
        buffer.checkInvariants()
    }
    return (messages, buffer.partialByteCount)
}

/// What async code reads by is what callbacks read by.
@Suite struct AsyncMessagesTests {
    // L1
    @Test(arguments: LineVector.all)
    func `lines for tasks are those for callbacks, however they are cut`(vector: LineVector) throws
    {
        for pieces in chunkings(of: Bytes(vector.text)) {
            let loose = try messages(of: pieces, by: LineMessages())
            #expect(loose.messages.map { String(decoding: $0) } == vector.loose)
            #expect(loose.held == vector.looseHeld)
            let strict = try messages(
                of: pieces, by: LineMessages(terminator: .carriageReturnLineFeed))
            #expect(strict.messages.map { String(decoding: $0) } == vector.strict)
            #expect(strict.held == vector.strictHeld)
        }
    }

    // L1
    @Test(arguments: FrameVector.all)
    func `frames for tasks are those for callbacks, however they are cut`(
        vector: FrameVector
    ) throws {
        for pieces in chunkings(of: vector.bytes) {
            let frames = try messages(of: pieces, by: FrameMessages(vector.format))
            #expect(frames.messages == vector.frames && frames.held == vector.held)
        }
    }

    // L1
    @Test(arguments: BrokenVector.all)
    func `what breaks a format is an error for tasks, too`(vector: BrokenVector) {
        for pieces in chunkings(of: vector.bytes) {
            #expect(throws: vector.error) {
                try messages(of: pieces, by: FrameMessages(vector.format))
            }
        }
    }

    @Test(arguments: [LineDecoder.Terminator.lineFeed, .carriageReturnLineFeed, .bytes("<->")])
    func `a line of the limit passes for tasks, and one more byte does not`(
        terminator: LineDecoder.Terminator
    ) throws {
        let end =
            switch terminator {
            case .bytes(let bytes): bytes
            case .lineFeed, .carriageReturnLineFeed: Bytes("\r\n")
            }
        let decoder = LineMessages(limitBytes: 4, terminator: terminator)
        for pieces in chunkings(of: "1234" + end + "5678" + end) {
            #expect(try messages(of: pieces, by: decoder).messages == ["1234", "5678"])
        }
        for pieces in chunkings(of: "12345" + end) {
            #expect(throws: LineTooLong(byteCount: 5, limitBytes: 4)) {
                try messages(of: pieces, by: decoder)
            }
        }
    }
}
