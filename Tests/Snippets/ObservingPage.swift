// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion

// snippet: inspect
/// The peers that do not read what they are sent, the worst first.
func slowReaders(on reactor: Reactor) -> [String] {
    reactor.inspect().connections
        .filter { $0.pendingBytes > 64 * 1024 }
        .sorted { $0.pendingBytes > $1.pendingBytes }
        .map { "\($0.peer): \($0.pendingBytes) bytes, \($0.protocolType ?? "no protocol")" }
}
// snippet end

// snippet: pauses
/// The connections that do not read, and why: "1.17: consumer connection 1.18 for 12 s".
func standing(on reactor: Reactor) -> [String] {
    reactor.inspect().connections.flatMap { connection in
        connection.pauses.map { pause in
            "\(connection.id): \(pause.cause) \(pause.by ?? "") for \(Int(pause.seconds)) s"
        }
    }
}
// snippet end

// snippet: slow
/// Tells of callbacks that take longer than a tenth of a second, also of one that hangs for good.
func watchOver(_ reactor: Reactor, log: @escaping (String) -> Void) throws {
    reactor.slowEventLimit = .milliseconds(100)
    reactor.slowEvent = { event in log("\(event)") }
    try reactor.watchSlowEvents(longerThan: .seconds(1))
}
// snippet end

// snippet: admin
/// Lets an operator ask, and drop everybody from a room.
func openAdminSocket(at path: String, for rooms: Rooms, on reactor: Reactor) throws {
    var admin = try AdminEndpoint(parsing: "unix:\(path):mode=600")
    admin.add("empty", help: "ROOM: drops everybody from it") { words, reactor in
        try Rooms.of(reactor).empty(words.first ?? "")
    }
    try admin.listen(on: reactor)
}
// snippet end

/// Who is where.
final class Rooms: ReactorCompanion {
    private var members: [String: Int] = ["lobby": 3]

    init(on reactor: Reactor) {}

    static func of(_ reactor: Reactor) -> Rooms { reactor.companion(of: Rooms.self) }

    struct NoRoom: Error {}

    func empty(_ name: String) throws -> Int {
        guard let count = members.removeValue(forKey: name) else { throw NoRoom() }
        return count
    }
}

@Test func `a slow callback is told, and an operator empties a room`() throws {
    var told: [String] = []
    var answers = ""
    let path = "/tmp/torsion-snippet-\(UInt64.random(in: 0 ... .max)).admin"
    final class Asking: StreamProtocol {
        let onText: (String) -> Void
        init(_ onText: @escaping (String) -> Void) { self.onText = onText }
        func connectionMade(_ transport: any StreamTransport) {
            transport.write("empty lobby\nempty lobby\n")
        }
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            onText(String(decoding: bytes))
        }
    }
    try Reactor.run(signals: .ignore) { reactor in
        try watchOver(reactor) { told.append($0) }
        try openAdminSocket(at: path, for: Rooms.of(reactor), on: reactor)
        #expect(slowReaders(on: reactor) == [])
        reactor.callLater(.zero) {
            let clock = ContinuousClock()
            let end = clock.now + .milliseconds(120)
            while clock.now < end {}
        }
        ClientEndpoint.unix(path: path).connect(on: reactor) {
            Asking { text in
                answers += text
                if answers.utf8.count(where: { $0 == UInt8(ascii: "\n") }) == 2 { reactor.stop() }
            }
        }.whenFailed { Issue.record("\($0)") }
    }
    #expect(answers == "{\"ok\":3}\n{\"error\":\"NoRoom()\"}\n")
    #expect(told.contains { $0.contains("was held for ") && $0.contains("a delayed call") })
}
