// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion
import TorsionTLS

#if TLS
/// What the connections share.
final class Room { var members: [ConnectionID: any StreamTransport] = [:] }

/// Sends each line to everybody else in the room, encrypted.
final class Chat: LineProtocol {
    let lines = LineDecoder()
    private let room: Room

    init(_ room: Room) { self.room = room }

    func connectionMade(_ transport: any StreamTransport) {
        room.members[transport.id] = transport
        let version = transport.security?.version ?? "nothing"
        transport.write("welcome by \(version), you are one of \(room.members.count)\r\n")
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
    let endpoints = EndpointParser.standard.addingTLS(else: try SelfSignedIdentity().identity)
    let place = CommandLine.arguments.dropFirst().first ?? "tls:8443"
    let port = try endpoints.server(parsing: place).listen(on: reactor) { Chat(room) }
    print("listening on \(port.localAddress)")
}
#endif
