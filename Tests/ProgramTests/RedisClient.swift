// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

/// What a Redis server answers: RESP, https://redis.io/docs/latest/develop/reference/protocol-spec/.
indirect enum RedisReply: Equatable {
    case status(String)
    case error(String)
    case number(Int)
    case text(Bytes?)
    case array([RedisReply])
}

/// Takes one reply, with the replies inside it.
struct RedisReplyDecoder: MessageDecoder {
    func decode(_ reader: inout ByteReader) throws -> RedisReply { try decode(&reader, depth: 0) }

    private func decode(_ reader: inout ByteReader, depth: Int) throws -> RedisReply {
        guard depth < 8 else { throw ByteReaderError.invalid(.end, position: reader.position) }
        switch try reader.readByte() {
        case UInt8(ascii: "+"): return .status(String(decoding: try reader.readLine()))
        case UInt8(ascii: "-"): return .error(String(decoding: try reader.readLine()))
        case UInt8(ascii: ":"): return .number(try readNumber(&reader))
        case UInt8(ascii: "$"):
            let count = try readNumber(&reader)
            guard count >= 0 else { return .text(nil) }
            let text = try reader.readBytes(count)
            try reader.expect("\r\n")
            return .text(text)
        case UInt8(ascii: "*"):
            var replies: [RedisReply] = []
            for _ in 0..<max(0, try readNumber(&reader)) {
                replies.append(try decode(&reader, depth: depth + 1))
            }
            return .array(replies)
        default: throw ByteReaderError.invalid(.literal, position: reader.position - 1)
        }
    }

    private func readNumber(_ reader: inout ByteReader) throws -> Int {
        let number = try reader.readDecimal(Int.self)
        try reader.expect("\r\n")
        return number
    }
}

/// Sends commands, any number at once, and gives each the reply that is its own.
final class RedisClient: MessageProtocol {
    let messages = MessageBuffer(limitBytes: 16 << 20)
    private let decoder = RedisReplyDecoder()
    private var transport: (any StreamTransport)!
    private var waiting: [Deferred<RedisReply>] = []

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func send(_ words: String...) -> Deferred<RedisReply> {
        transport.write { writer in
            writer.write("*\(words.count)\r\n")
            for word in words { writer.write("$\(word.utf8.count)\r\n\(word)\r\n") }
        }
        // Cancelled or not, its reply comes: whoever is cancelled stays in the line.
        let reply = Deferred<RedisReply>(on: transport.reactor)
        waiting.append(reply)
        return reply
    }

    func messageReceived(_ reader: inout ByteReader, from transport: any StreamTransport) throws {
        let reply = try decoder.decode(&reader)
        guard !waiting.isEmpty else { return transport.abortConnection() }
        waiting.removeFirst().succeed(reply)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        let unanswered = waiting
        waiting = []
        for reply in unanswered { reply.fail(why) }
    }

    func close() { transport.loseConnection() }
}
