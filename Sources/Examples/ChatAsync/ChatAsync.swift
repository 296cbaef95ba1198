// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Who is there; it belongs to one reactor, whose tasks share it without a lock.
final class Room {
    private var members: [ConnectionID: AsyncConnection] = [:]

    /// Keeps a member until it leaves, and hands on each of its lines.
    func serve(_ member: AsyncConnection) async throws {
        members[member.id] = member
        defer { members[member.id] = nil }
        try await member.write("welcome, \(members.count) here\r\n")
        for try await line in member.lines() {
            say("\(member.peerAddress): \(String(decoding: line))\r\n", from: member)
        }
    }

    /// A member that does not read is disconnected at a limit, and nobody waits for it.
    private func say(_ text: String, from speaker: AsyncConnection) {
        for (id, member) in members where id != speaker.id { member.transport.write(text) }
    }
}

// The body is a task: the program runs until it returns or throws, or until SIGINT or SIGTERM.
Reactor.main { reactor in
    let room = Room()
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8008"
    let endpoint = try ServerEndpoint(parsing: place)
    try await endpoint.serve(on: reactor) { try await room.serve($0) }
}
