// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

final class Room {
    var members: [ConnectionID: any StreamTransport] = [:]
    func tell(_ text: String, besides speaker: ConnectionID? = nil) {
        for (id, member) in members where id != speaker { member.write(text + "\r\n") }
    }
}
/// One member: a queue of the lines that were said, and a talk that takes them from it.
final class Chat: LineProtocol {
    let lines = LineDecoder(), room: Room, said: DeferredQueue<String>
    private var talk: Deferred<Void>?
    init(_ room: Room, _ reactor: Reactor) {
        (self.room, said) = (room, DeferredQueue(limit: 1_000, on: reactor))
    }
    func connectionMade(_ transport: any StreamTransport) {
        transport.write("Your name?\r\n")
        talk = said.get().addCallback { [self, id = transport.id] name in
            room.members[id] = transport
            room.tell("\(name) is here")
            // A loop: of a chain that calls itself, each end would wait for the next.
            return LoopingCall(on: transport.reactor) { [self] in
                said.get().addCallback { [self] in room.tell("\(name): \($0)", besides: id) }
            }.start(every: .zero).addBoth { [self] _ in
                room.members[id] = nil
                room.tell("\(name) has left")
            }
        }
    }
    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        try said.put(String(decoding: line))
    }
    func connectionLost(_ why: ConnectionLoss, from _: any StreamTransport) { talk?.cancel() }
}
Reactor.main { reactor in
    let (room, place) = (Room(), CommandLine.arguments.last!)
    try ServerEndpoint(parsing: place).listen(on: reactor) { Chat(room, reactor) }
}
