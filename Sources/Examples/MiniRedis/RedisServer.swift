// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// The server's end of a connection: takes commands and answers them.
final class RedisServer: MessageProtocol {
    /// The longest command, in bytes: more ends the connection.
    static let limitBytes = 1 << 20
    private static let argumentLimit = 1_024
    private static let channelLimit = 64

    let messages = MessageBuffer(limitBytes: limitBytes)
    private let store: Store
    /// Where the words of the present command lie; kept, so that a command costs no allocation.
    @exclusivity(unchecked) private var words: [Range<Int>] = []
    @exclusivity(unchecked) private var channels: [Bytes] = []

    init(_ store: Store) { self.store = store }

    func connectionMade(_ transport: any StreamTransport) {
        // While more than the high mark waits for a slow client, no further command of it is read.
        transport.registerProducer(transport)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        for channel in channels { store.unsubscribe(transport, from: channel) }
    }

    func messageTooLong(_ error: MessageTooLong, from transport: any StreamTransport) {
        transport.write("-ERR Protocol error: \(error)\r\n")
    }

    func messageReceived(_ reader: inout ByteReader, from transport: any StreamTransport) throws {
        words.removeAll(keepingCapacity: true)
        do {
            try readWords(&reader)
        } catch {
            if case .needsMore = error as? ByteReaderError { throw error }
            transport.write("-ERR Protocol error: \(error)\r\n")
            _ = reader.readRest()
            return transport.loseConnection(because: error)
        }
        guard !words.isEmpty else { return }
        do throws(Refusal) { try answer(reader.bytes, transport) } catch {
            transport.write("-\(error.rawValue)\r\n")
        }
    }

    /// Reads an array of texts, or a line of words.
    private func readWords(_ reader: inout ByteReader) throws {
        guard try reader.peekByte() == UInt8(ascii: "*") else { return try readLine(&reader) }
        try reader.skip(1)
        for _ in 0..<(try readCount(&reader, limit: Self.argumentLimit)) {
            try reader.expect("$")
            let length = try readCount(&reader, limit: Self.limitBytes)
            let start = reader.position
            try reader.skip(length)
            words.append(start..<reader.position)
            try reader.expect("\r\n")
        }
    }

    private func readCount(_ reader: inout ByteReader, limit: Int) throws -> Int {
        let start = reader.position
        let count = try reader.readDecimal(Int.self)
        try reader.expect("\r\n")
        guard (0...limit).contains(count) else {
            throw ByteReaderError.invalid(.range, position: start)
        }
        return count
    }

    private func readLine(_ reader: inout ByteReader) throws {
        let start = reader.position
        var line = try reader.readLine().reader
        while let word = try line.readWord() {
            let end = start + line.position
            words.append(end - word.byteCount..<end)
        }
    }

    private func answer(_ bytes: RawSpan, _ transport: any StreamTransport) throws(Refusal) {
        let name = bytes.extracting(words[0])
        if name.equalsIgnoringCase("PING") {
            try expectWords(1...2)
            ping(bytes, transport)
        } else if name.equalsIgnoringCase("SUBSCRIBE") {
            try expectWords(2...Self.channelLimit + 1)
            try subscribe(bytes, transport)
        } else if !channels.isEmpty {
            throw .subscribed
        } else if name.equalsIgnoringCase("GET") {
            try expectWords(2...2)
            write(store.value(of: word(1, bytes)), transport)
        } else if name.equalsIgnoringCase("SET") {
            try expectWords(3...3)
            guard store.set(word(1, bytes), to: word(2, bytes)) else { throw .outOfMemory }
            transport.write("+OK\r\n")
        } else if name.equalsIgnoringCase("INCR") {
            try expectWords(2...2)
            write(Int(try store.increment(word(1, bytes))), transport)
        } else if name.equalsIgnoringCase("EXPIRE") {
            try expectWords(3...3)
            guard let seconds = Int(decimal: word(2, bytes)), abs(seconds) < 1 << 31 else {
                throw .notANumber
            }
            write(store.expire(word(1, bytes), afterSeconds: seconds) ? 1 : 0, transport)
        } else if name.equalsIgnoringCase("PUBLISH") {
            try expectWords(3...3)
            write(store.publish(word(2, bytes), to: word(1, bytes)), transport)
        } else {
            throw .unknownCommand
        }
    }

    private func expectWords(_ counts: ClosedRange<Int>) throws(Refusal) {
        guard counts.contains(words.count) else { throw .wrongArgumentCount }
    }

    @_lifetime(copy bytes)
    private func word(_ number: Int, _ bytes: RawSpan) -> RawSpan {
        bytes.extracting(words[number])
    }

    private func ping(_ bytes: RawSpan, _ transport: any StreamTransport) {
        if channels.isEmpty, words.count == 1 { return transport.write("+PONG\r\n") }
        let text = words.count == 2 ? word(1, bytes) : RawSpan()
        transport.write { writer in
            if !channels.isEmpty { writer.write("*2\r\n$4\r\npong\r\n") }
            writer.writeBulk(text)
        }
    }

    private func subscribe(_ bytes: RawSpan, _ transport: any StreamTransport) throws(Refusal) {
        for number in 1..<words.count {
            let channel = Bytes(word(number, bytes))
            if !channels.contains(channel) {
                guard channels.count < Self.channelLimit else { throw .tooManyChannels }
                channels.append(channel)
                store.subscribe(transport, to: channel)
            }
            transport.write { writer in
                writer.write("*3\r\n$9\r\nsubscribe\r\n")
                writer.writeBulk(channel.span)
                writer.write(":\(channels.count)\r\n")
            }
        }
    }

    private func write(_ number: Int, _ transport: any StreamTransport) {
        transport.write(":\(number)\r\n")
    }

    private func write(_ value: Bytes?, _ transport: any StreamTransport) {
        guard let value else { return transport.write("$-1\r\n") }
        guard value.count > 4_096 else {
            return transport.write { $0.writeBulk(value.span) }
        }
        // A long value is queued without a copy.
        transport.write("$\(value.count)\r\n")
        transport.write(value)
        transport.write("\r\n")
    }
}
