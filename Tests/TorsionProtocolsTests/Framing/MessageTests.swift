// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// What `ab3;`, `!` and `#5:hello` are.
private enum Item: Equatable {
    case word(String, Int)
    case bang
    case counted(String)
}

private struct BadItem: Error, Equatable {}

/// Needs a look beyond the end of a word, numbers, a delimiter and a count.
private struct ItemDecoder: MessageDecoder {
    var callCount = 0

    mutating func decode(_ reader: inout ByteReader) throws -> Item {
        callCount += 1
        switch try reader.peekByte() {
        case UInt8(ascii: "!"):
            try reader.skip(1)
            return .bang
        case UInt8(ascii: "#"):
            try reader.skip(1)
            let count = try reader.readDecimal(Int.self)
            try reader.expect(":")
            return .counted(String(decoding: try reader.readSpan(count)))
        case UInt8(ascii: "a")...UInt8(ascii: "z"):
            let word = String(decoding: try reader.readSpan { (97...122).contains($0) })
            let count = try reader.readDecimal(Int.self)
            try reader.expect(";")
            return .word(word, count)
        default:
            throw BadItem()
        }
    }
}

/// A count, then so many numbers of two bytes: used one by one.
private struct ListDecoder: MessageDecoder {
    private var missing: Int?
    private var numbers: [UInt16] = []
    var readCount = 0

    mutating func decode(_ reader: inout ByteReader) throws -> [UInt16] {
        if missing == nil {
            missing = Int(try reader.readInteger(UInt16.self))
            reader.commit()
        }
        while let count = missing, count > 0 {
            numbers.append(try reader.readInteger())
            readCount += 1
            reader.commit()
            missing = count - 1
        }
        defer { (missing, numbers) = (nil, []) }
        return numbers
    }
}

private func items(of pieces: [Bytes], limitBytes: Int = 64) throws -> [Item] {
    let messages = MessageBuffer(limitBytes: limitBytes)
    var decoder = ItemDecoder()
    var items: [Item] = []
    for piece in pieces {
        let used = try messages.decode(piece.span) { reader in
            items.append(try decoder.decode(&reader))
            return true
        }
        #expect(used == piece.count)
        messages.checkInvariants()
    }
    return items
}

@Suite struct MessageBufferTests {
    private static let text = Bytes("ab3;!#5:a!b;cxyz10;!!#0:z1;")
    private static let expected: [Item] = [
        .word("ab", 3), .bang, .counted("a!b;c"), .word("xyz", 10), .bang, .bang, .counted(""),
        .word("z", 1),
    ]

    @Test func `messages are the same however they are cut`() throws {
        for pieces in chunkings(of: Self.text) {
            #expect(try items(of: pieces) == Self.expected)
        }
    }

    @Test func `a message may end before what was needed to see its end`() throws {
        // Two digits end a number if a letter follows: then the letter is the next message's.
        for pieces in chunkings(of: Bytes("12a34b5c")) {
            let messages = MessageBuffer()
            var words: [String] = []
            for piece in pieces {
                _ = try messages.decode(piece.span) { reader in
                    let isDigit = (48...57).contains(try reader.peekByte())
                    let word = try reader.readSpan { (48...57).contains($0) == isDigit }
                    words.append(String(decoding: word))
                    return true
                }
            }
            #expect(words == ["12", "a", "34", "b", "5"])
            #expect(messages.takePartial() == "c")
        }
    }

    @Test func `a message of the limit passes, and one more byte does not`() throws {
        for pieces in chunkings(of: Bytes("#4:1234#5:12345")) {
            var passed: [Item] = []
            #expect(throws: MessageTooLong(byteCount: 8, limitBytes: 7)) {
                passed = []
                let messages = MessageBuffer(limitBytes: 7)
                var decoder = ItemDecoder()
                for piece in pieces {
                    _ = try messages.decode(piece.span) { reader in
                        passed.append(try decoder.decode(&reader))
                        return true
                    }
                    #expect(messages.partialByteCount <= 7)
                }
            }
            #expect(passed.first == .counted("1234"))
        }
    }

    @Test func `a length beyond the limit is refused before its bytes arrive`() {
        #expect(throws: MessageTooLong(byteCount: 1_000_009, limitBytes: 64)) {
            try items(of: ["#1000000:"])
        }
        // More than can be counted.
        let messages = MessageBuffer()
        #expect(throws: MessageTooLong(byteCount: .max, limitBytes: 65_536)) {
            try messages.decode(Bytes("12345678").span) { reader in
                _ = try reader.readSpan(try reader.readInteger(UInt64.self) | 1 << 63)
                return true
            }
        }
    }

    @Test func `a message of no bytes is refused`() {
        let messages = MessageBuffer()
        #expect(throws: EmptyMessage.self) { try messages.decode(Bytes("x").span) { _ in true } }
    }

    @Test func `what was committed is not read again`() throws {
        let bytes = Bytes([0, 3, 0, 1, 0, 2, 0, 3, 0, 0, 0, 1, 255, 254])
        for pieces in chunkings(of: bytes) {
            let messages = MessageBuffer(limitBytes: 2)
            var decoder = ListDecoder()
            var lists: [[UInt16]] = []
            for piece in pieces {
                _ = try messages.decode(piece.span) { reader in
                    lists.append(try decoder.decode(&reader))
                    return true
                }
                messages.checkInvariants()
                #expect(messages.partialByteCount < 2)
            }
            #expect(lists == [[1, 2, 3], [], [65_534]])
            #expect(decoder.readCount <= 4 + bytes.count)
        }
    }

    @Test func `a callback that says no stops behind its message`() throws {
        for pieces in chunkings(of: "ab3;!c1;") {
            let messages = MessageBuffer()
            var decoder = ItemDecoder()
            var seen: [Item] = []
            for var piece in pieces {
                while !piece.isEmpty {
                    let used = try messages.decode(piece.span) { reader in
                        seen.append(try decoder.decode(&reader))
                        return false
                    }
                    piece = piece[used...]
                }
            }
            #expect(seen == [.word("ab", 3), .bang, .word("c", 1)])
        }
    }

    // Work in the square of the length would be a million times half a megabyte.
    @Test(.timeLimit(.minutes(1)))
    func `a megabyte in single bytes is linear work`() throws {
        let messages = MessageBuffer(limitBytes: 2 << 20)
        let byte = Bytes("x"), end = Bytes("\r\n")
        var length = 0, calls = 0
        // Fewer: the test's own record of each error that is thrown takes most of the time.
        for _ in 0..<1 << 16 { _ = try messages.decode(byte.span) { try take(&$0) } }
        _ = try messages.decode(end.span) { try take(&$0) }
        #expect(length == 1 << 16 && calls <= 1 << 16 + 2)
        // With its length before it, it is looked at twice: at the length, and at the end.
        calls = 0
        _ = try messages.decode(Bytes([0, 16, 0, 0]).span) { try counted(&$0) }
        for _ in 0..<1 << 20 { _ = try messages.decode(byte.span) { try counted(&$0) } }
        #expect(calls == 2 && messages.partialByteCount == 0)

        func take(_ reader: inout ByteReader) throws -> Bool {
            calls += 1
            length = try reader.readSpan(until: "\r\n").byteCount
            return true
        }

        func counted(_ reader: inout ByteReader) throws -> Bool {
            calls += 1
            _ = try reader.readSpan(try reader.readInteger(UInt32.self))
            return true
        }
    }
}

/// Writes down its items, and does what some of them say.
private final class Items: MessageProtocol {
    let messages: MessageBuffer
    private var decoder = ItemDecoder()
    var seen: [Item] = []
    var raw = ""
    var loss: ConnectionLoss?
    var successor: Items?

    init(limitBytes: Int = 64) { messages = MessageBuffer(limitBytes: limitBytes) }

    func messageReceived(_ reader: inout ByteReader, from transport: any StreamTransport) throws {
        let item = try decoder.decode(&reader)
        seen.append(item)
        switch item {
        case .word("pause", _): transport.pauseProducing()
        case .word("close", _): transport.loseConnection()
        case .word("switch", _): transport.switchProtocol(to: successor!)
        case .word("raw", let count): messages.expect(rawBytes: count)
        default: break
        }
    }

    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        raw += String(decoding: bytes)
    }

    func messageTooLong(_ error: MessageTooLong, from transport: any StreamTransport) {
        transport.write("\(error)")
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { loss = why }
}

@Suite struct MessageProtocolTests {
    @Test func `pausing in mid-buffer keeps the rest for the resumption`() {
        for pieces in chunkings(of: "a1;pause1;b2;") {
            let proto = Items()
            let peer = MemoryTransport(proto)
            peer.receive(pieces: pieces)
            #expect(proto.seen == [.word("a", 1), .word("pause", 1)])
            peer.transport.resumeProducing()
            peer.clock.turn()
            #expect(proto.seen.last == .word("b", 2))
        }
    }

    @Test func `switching inside a message loses and doubles no byte`() {
        for pieces in chunkings(of: "a1;switch1;b2;!") {
            let proto = Items(), next = Items()
            proto.successor = next
            MemoryTransport(proto).receive(pieces: pieces)
            #expect(proto.seen == [.word("a", 1), .word("switch", 1)])
            #expect(next.seen == [.word("b", 2), .bang])
        }
    }

    @Test func `raw bytes that are expected come between messages`() {
        for pieces in chunkings(of: "raw3;!!!!a1;raw0;!") {
            let proto = Items()
            MemoryTransport(proto).receive(pieces: pieces)
            #expect(proto.raw == "!!!")
            #expect(
                proto.seen == [.word("raw", 3), .bang, .word("a", 1), .word("raw", 0), .bang])
        }
    }

    @Test func `closing inside a message drops what is behind it`() {
        let proto = Items()
        MemoryTransport(proto).receive("a1;close1;!")
        #expect(proto.seen == [.word("a", 1), .word("close", 1)] && proto.loss == .closedLocally)
    }

    @Test func `a message that is too long is answered, then the connection closes`() {
        for pieces in chunkings(of: "a1;#1000:more") {
            let proto = Items()
            let peer = MemoryTransport(proto)
            peer.receive(pieces: pieces)
            let error = MessageTooLong(byteCount: 1_006, limitBytes: 64)
            #expect(peer.takeText() == "\(error)")
            #expect(!peer.wasReset && proto.loss == .protocolFailed(error))
        }
    }

    @Test func `what the decoder throws ends the connection`() {
        let proto = Items()
        let peer = MemoryTransport(proto)
        peer.receive("a1;?")
        #expect(peer.wasReset && proto.loss == .protocolFailed(BadItem()))
    }

    @Test func `a message that has begun is a request, also if all its bytes are used`() throws {
        final class Lists: MessageProtocol {
            let messages = MessageBuffer()
            private var decoder = ListDecoder()
            func messageReceived(
                _ reader: inout ByteReader, from transport: any StreamTransport
            ) throws { _ = try decoder.decode(&reader) }
        }
        let proto = Lists()
        let peer = MemoryTransport(proto)
        #expect(proto.phase == .open)
        peer.receive(Bytes([0]))
        #expect(proto.phase == .request(number: 0))
        peer.receive(Bytes([1]))
        #expect(proto.phase == .request(number: 0))
        peer.receive(Bytes([1, 1]))
        #expect(proto.phase == .open)
    }
}
