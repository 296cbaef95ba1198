// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// One message of the room: Redis numbers them, and every node sends them in that order.
struct Message {
    let number: Int
    /// Made by its author, who may say the same message again if a connection was lost.
    let key: String
    /// The line that members get.
    let line: String

    /// Reads "NUMBER KEY TEXT".
    init?(_ line: String) {
        let words = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard words.count == 3, let number = Int(words[0]) else { return nil }
        (self.number, key, self.line) = (number, String(words[1]), line)
    }
}

/// What this node knows of the room: its own members, and the messages that were last.
final class Room {
    /// More messages than these that Redis has not taken are a reason to send their authors away.
    static let unsentLimit = 1_000
    static let logLimit = 1_000

    let name: String
    var members: [ConnectionID: Member] = [:]
    private(set) var log: [Message] = []
    /// Said here, and not seen in the log yet, in order.
    private(set) var unsent: [(key: String, text: String)] = []
    /// Carries messages to Redis, while there is a connection.
    var publish: ((_ key: String, _ text: String) -> Void)?

    init(_ name: String) { self.name = name }

    struct RedisIsAway: Error {}

    /// A member says something.
    ///
    /// It comes back as a message of the room, which is how its author knows that it has been said.
    func say(_ key: String, _ text: String) throws {
        guard unsent.count < Self.unsentLimit else { throw RedisIsAway() }
        unsent.append((key, text))
        publish?(key, text)
    }

    /// A message is in the log; one that this node has already is left out.
    func take(_ message: Message) {
        guard message.number > log.last?.number ?? 0 else { return }
        log.append(message)
        if log.count > Self.logLimit { log.removeFirst() }
        unsent.removeAll { $0.key == message.key }
        for member in members.values { member.send(message) }
    }
}

/// A client's connection.
///
///     HELLO 17            I have seen all up to message 17; 0 for somebody new
///     SAY KEY TEXT        once, or again with the same key
///
///     WELCOME NODE ADDRESS
///     18 KEY TEXT         each message once, in order
final class Member: LineProtocol {
    let lines = LineDecoder(limitBytes: 4_096)
    private let room: Room
    private var transport: (any StreamTransport)?
    private var lastNumber = 0

    init(_ room: Room) { self.room = room }

    struct Misunderstood: Error { let line: String }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        let line = String(decoding: line)
        let words = line.split(separator: " ", maxSplits: 2).map(String.init)
        switch (words.first, words.count) {
        case ("HELLO", 2):
            guard self.transport == nil, let number = Int(words[1]) else {
                throw Misunderstood(line: line)
            }
            self.transport = transport
            lastNumber = number
            room.members[transport.id] = self
            transport.write("WELCOME \(room.name) \(transport.peerAddress)\n")
            for message in room.log { send(message) }
        case ("SAY", 3):
            try room.say(words[1], words[2])
        default:
            throw Misunderstood(line: line)
        }
    }

    func send(_ message: Message) {
        guard message.number > lastNumber, let transport else { return }
        lastNumber = message.number
        transport.write("\(message.line)\n")
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        room.members[transport.id] = nil
        self.transport = nil
    }
}
