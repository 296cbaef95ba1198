// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Who is here.
final class Room {
    var members: [ConnectionID: any StreamTransport] = [:]

    func tell(_ text: String, besides speaker: ConnectionID? = nil) {
        for (id, member) in members where id != speaker { member.write(text + "\r\n") }
    }
}

/// One member: the first line is a name, the others are for everybody else.
final class Chat: LineProtocol {
    let lines = LineDecoder(), room: Room
    private var name: String?

    init(_ room: Room) { self.room = room }
    func connectionMade(_ transport: any StreamTransport) { transport.write("Your name?\r\n") }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        let text = String(decoding: line)
        if let name { return room.tell("\(name): \(text)", besides: transport.id) }
        name = text
        room.members[transport.id] = transport
        room.tell("\(text) is here")
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        room.members[transport.id] = nil
        if let name { room.tell("\(name) has left") }
    }
}

Reactor.main { reactor in
    let room = Room()
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8008"
    try ServerEndpoint(parsing: place).listen(on: reactor) { Chat(room) }
}
