// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// What the connections share: one thread runs them all, so it needs no lock.
final class Room {
    var members: [ConnectionID: any StreamTransport] = [:]
}

/// Sends each line to everybody else in the room.
final class Chat: LineProtocol {
    let lines = LineDecoder()
    private let room: Room

    init(_ room: Room) { self.room = room }

    func connectionMade(_ transport: any StreamTransport) {
        room.members[transport.id] = transport
        transport.write("welcome, you are one of \(room.members.count)\r\n")
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        let text = "\(transport.peerAddress): \(String(decoding: line))\r\n"
        for (id, member) in room.members where id != transport.id { member.write(text) }
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        room.members[transport.id] = nil
    }
}

Reactor.main { reactor in
    let room = Room()
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8008"
    let port = try ServerEndpoint(parsing: place).listen(on: reactor) { Chat(room) }
    print("listening on \(port.localAddress)")
}
