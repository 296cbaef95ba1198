// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Sends what one member says to all others.
final class Chat: StreamProtocol {
    private var members: [ConnectionID: any StreamTransport] = [:]

    func connectionMade(_ transport: any StreamTransport) {
        members[transport.id] = transport
        transport.write("welcome, you are one of \(members.count)\n")
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        for member in members.values where member.id != transport.id { member.write(bytes) }
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        members[transport.id] = nil
        print("a member has left: \(why)")
    }
}

Reactor.main { reactor in
    let chat = Chat()  // One object for all connections, as in the last chapter.
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8007"
    let port = try ServerEndpoint(parsing: place).listen(on: reactor) { chat }
    print("listening on \(port.localAddress), backend \(reactor.backendName)")
}
