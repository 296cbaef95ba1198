// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// Keeps what was said, and tells it to everybody.
final class ChatRoom {
    private(set) var history: [String] = []
    private var members: [ChatMember] = []
    private var lastNumbers: [String: Int] = [:]
    /// The planted bug is to leave this out.
    let knowsNumbers: Bool

    init(knowsNumbers: Bool) { self.knowsNumbers = knowsNumbers }

    func enter(_ member: ChatMember, seen: Int, _ transport: any StreamTransport) {
        for line in history.dropFirst(seen) { transport.write(line + "\n") }
        members.append(member)
    }

    func leave(_ member: ChatMember) { members.removeAll { $0 === member } }

    /// A client that heard no answer says it again.
    func say(_ line: String, by name: String, number: Int) {
        if knowsNumbers, number <= lastNumbers[name, default: 0] { return }
        lastNumbers[name] = number
        history.append(line)
        for member in members { member.transport?.write(line + "\n") }
    }
}

/// The server's end of a connection: `hello NAME SEEN`, then `say NAME NUMBER TEXT`.
final class ChatMember: LineProtocol {
    let lines = LineDecoder()
    let room: ChatRoom
    var transport: (any StreamTransport)?

    init(_ room: ChatRoom) { self.room = room }

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        let words = String(decoding: line).split(separator: " ").map(String.init)
        guard words.count > 2 else { return transport.abortConnection() }
        if words[0] == "hello" { return room.enter(self, seen: Int(words[2]) ?? 0, transport) }
        room.say(words.dropFirst().joined(separator: " "), by: words[1], number: Int(words[2])!)
        transport.write("ack \(words[2])\n")
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        room.leave(self)
    }
}

/// Somebody who chats over one connection after the other.
final class Chatter {
    let name: String
    let reactor: Reactor
    var seen: [String] = []
    var unanswered: [String] = []
    var transport: (any StreamTransport)?

    init(_ name: String, on reactor: Reactor) {
        self.name = name
        self.reactor = reactor
        connect()
    }

    func say(_ number: Int) {
        unanswered.append("say \(name) \(number) hi")
        transport?.write(unanswered.last! + "\n")
    }

    func connect() {
        ClientEndpoint.tcp(host: "server", port: 4_000).connect(on: reactor) { [self] in
            ChatLink(self)
        }.whenFailed { [self] _ in connectLater() }
    }

    func connectLater() { reactor.callLater(.seconds(1)) { [self] in connect() } }
}

/// The client's end of one connection.
final class ChatLink: LineProtocol {
    let lines = LineDecoder()
    let chatter: Chatter

    init(_ chatter: Chatter) { self.chatter = chatter }

    func connectionMade(_ transport: any StreamTransport) {
        chatter.transport = transport
        transport.write("hello \(chatter.name) \(chatter.seen.count)\n")
        for line in chatter.unanswered { transport.write(line + "\n") }
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        if !line.starts(with: "ack ") { return chatter.seen.append(String(decoding: line)) }
        let number = String(decoding: line).dropFirst(4)
        chatter.unanswered.removeAll { $0 == "say \(chatter.name) \(number) hi" }
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        chatter.transport = nil
        chatter.connectLater()
    }
}

// snippet: chat
struct SaidTwice: Error { let line: String }

/// Three hosts say three lines each, at any time, on a network that breaks for a minute.
func chat(in world: SimulatedWorld, _ room: ChatRoom) throws {
    try world.host("server").run { reactor in
        try reactor.listen(on: .ipv4(.any, port: 4_000)) { _ in ChatMember(room) }
    }
    var chatters: [Chatter] = []
    for name in ["ann", "bob", "cho"] {
        try world.host(name).run { reactor in
            let chatter = Chatter(name, on: reactor)
            chatters.append(chatter)
            for number in 1...3 {
                reactor.callLater(.seconds(number * 5 + world.dice.below(5))) {
                    chatter.say(number)
                }
            }
        }
    }
    world.always {
        for (index, line) in room.history.enumerated() where room.history[..<index].contains(line) {
            throw SaidTwice(line: line)
        }
    }
    world.at(.seconds(60)) { world.network.endFaults() }
    try world.run {
        room.history.count == 9
            && chatters.allSatisfy { $0.seen == room.history && $0.unanswered.isEmpty }
    }
}

// snippet end

// snippet: search
@Test func `everybody reads every line once, whatever the network does`() throws {
    try simulate("chat", seeds: 1...200) { try chat(in: $0, ChatRoom(knowsNumbers: true)) }
}

// snippet end

@Test func `a room that forgets numbers is found by seed`() throws {
    let found = #expect(throws: SimulationFailure.self) {
        try simulate("chat", seeds: 1...200) { try chat(in: $0, ChatRoom(knowsNumbers: false)) }
    }
    let failure = try #require(found)
    #expect(failure.error.hasPrefix("SaidTwice"))
    #expect(failure.faults.count <= 2, "\(failure)")
}
