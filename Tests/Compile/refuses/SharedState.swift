// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

final class Room { var members: [ConnectionID: any StreamTransport] = [:] }

final class Chat: StreamProtocol {
    private let room: Room
    init(_ room: Room) { self.room = room }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

// Each thread of a group runs the closure, so all would share what it captures.
func serve() throws {
    let room = Room()
    try ReactorGroup.run(count: 4) { reactor in
        let endpoint = try ServerEndpoint(parsing: "tcp:8007")
        // expect: capture of 'room' with non-Sendable type 'Room'
        try endpoint.listen(on: reactor) { Chat(room) }
    }
}
