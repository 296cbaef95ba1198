// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

final class Room { var members: [ConnectionID: any StreamTransport] = [:] }

final class Chat: StreamProtocol {
    private let room: Room
    init(_ room: Room) { self.room = room }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

Reactor.main { reactor in
    // Made here it belongs to the reactor.
    let room = Room()
    let endpoint = try ServerEndpoint(parsing: "tcp:8007")
    try endpoint.listen(on: reactor) { Chat(room) }
}
