// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// The node's connection to Redis, which numbers the messages, keeps the last of them, and tells all
/// nodes of each.
///
/// It speaks RESP3, in which what is published comes between the answers to commands.
///
/// - SeeAlso: https://redis.io/docs/latest/develop/reference/protocol-spec/
final class RedisLink: MessageProtocol {
    /// Runs as one: a key that comes again, from an author who had no answer, is said once.
    private static let script = """
        if redis.call('SET', KEYS[1] .. ':said:' .. ARGV[1], 1, 'NX', 'EX', 600) then
            local number = redis.call('INCR', KEYS[1] .. ':number')
            local line = number .. ' ' .. ARGV[1] .. ' ' .. ARGV[2]
            redis.call('RPUSH', KEYS[1] .. ':log', line)
            redis.call('LTRIM', KEYS[1] .. ':log', -\(Room.logLimit), -1)
            redis.call('PUBLISH', KEYS[1], line)
        end
        """

    let messages = MessageBuffer(limitBytes: 8 << 20)
    private let room: Room
    private var transport: (any StreamTransport)?
    /// Fires when this node has what was said before.
    private var joining: Deferred<Void>?
    private var hasLog = false

    init(_ room: Room) { self.room = room }

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    /// Follows the room.
    ///
    /// The log is asked for behind the subscription, so that nothing falls between.
    func join() -> Deferred<Void> {
        let joining = Deferred<Void>(on: transport!.reactor)
        self.joining = joining
        send("HELLO", "3")
        send("SUBSCRIBE", "chat")
        send("LRANGE", "chat:log", "0", "-1")
        return joining
    }

    private func send(_ words: String...) {
        transport?.write { writer in
            writer.write("*\(words.count)\r\n")
            for word in words { writer.write("$\(word.utf8.count)\r\n\(word)\r\n") }
        }
    }

    private func publish(_ key: String, _ text: String) {
        send("EVAL", Self.script, "1", "chat", key, text)
    }

    func messageReceived(_ reader: inout ByteReader, from transport: any StreamTransport) throws {
        switch try Reply(&reader) {
        case .error(let text): throw RedisError(text: text)
        case .published(let parts) where hasLog && parts.first == .text("message"):
            if case .text(let line) = parts.last { take(line) }
        case .list(let log):
            // The only command whose answer is a list.
            hasLog = true
            for case .text(let line) in log { take(line) }
            begin()
        default: break
        }
    }

    private func take(_ line: String) {
        if let message = Message(line) { room.take(message) }
    }

    /// What an earlier connection may not have delivered is said again.
    private func begin() {
        for (key, text) in room.unsent { publish(key, text) }
        room.publish = { [unowned self] in publish($0, $1) }
        joining?.succeed()
        joining = nil
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        if hasLog { room.publish = nil }
        self.transport = nil
        joining?.fail(why)
        joining = nil
    }
}

struct RedisError: Error { let text: String }

/// What Redis answers.
enum Reply: Equatable {
    case text(String)
    case error(String)
    case list([Reply])
    case published([Reply])
    /// Of the answers to `HELLO` and `EVAL` only the end matters.
    case other

    /// Reads one reply with those inside it, at most three deep.
    init(_ reader: inout ByteReader, depth: Int = 3) throws {
        let kind = try reader.readByte()
        let line = String(decoding: try reader.readLine())
        switch kind {
        case UInt8(ascii: "-"): self = .error(line)
        case UInt8(ascii: "$"):
            guard let count = Int(line), count >= 0 else {
                self = .other
                return
            }
            self = .text(try reader.readString(count))
            try reader.expect("\r\n")
        case UInt8(ascii: "*"), UInt8(ascii: ">"), UInt8(ascii: "%"):
            let isMap = kind == UInt8(ascii: "%")
            guard depth > 0, let count = Int(line), (0...100_000).contains(count) else {
                throw RedisError(text: "not expected: \(line)")
            }
            var parts: [Reply] = []
            for _ in 0..<count * (isMap ? 2 : 1) {
                parts.append(try Reply(&reader, depth: depth - 1))
            }
            self = isMap ? .other : kind == UInt8(ascii: ">") ? .published(parts) : .list(parts)
        default: self = .other
        }
    }
}
