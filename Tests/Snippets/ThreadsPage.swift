// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion

// snippet: blocking
/// Adds up numbers far away from the reactor's thread.
func slowSum(to limit: Int, on reactor: Reactor) -> Deferred<Int> {
    // The closure is Sendable: the compiler refuses one that touches what belongs to the reactor.
    reactor.deferToThread { (1...limit).reduce(0, +) }
}
// snippet end

// snippet: room
/// Belongs to its reactor, so it needs no lock.
final class Room {
    private(set) var lines: [String] = []
    func say(_ line: String) { lines.append(line) }
}

/// Lets any thread speak in a room.
struct Megaphone: Sendable {
    private let room: Remote<Room>

    init(_ room: Room, on reactor: Reactor) { self.room = reactor.remote(to: room) }

    /// Returns at once; the room hears it in a later turn.
    func say(_ line: String) { room.callFromThread { $0.say(line) } }

    /// Asks the room, and waits without holding a thread.
    func lineCount() async throws -> Int { try await room.run { $0.lines.count } }
}
// snippet end

@Test func `work leaves the reactor's thread, and its result comes back`() throws {
    let room = Room()
    try Reactor.run(signals: .ignore) { reactor in
        let megaphone = Megaphone(room, on: reactor)
        slowSum(to: 1_000, on: reactor)
            .addCallback { sum in
                #expect(sum == 500_500)
                reactor.callInThread { megaphone.say("hello") }
            }
            .whenFailed { Issue.record("\($0)") }
        Task.detached {
            while try await megaphone.lineCount() == 0 { await Task.yield() }
            megaphone.say("and bye")
        }
        let look = LoopingCall(on: reactor) { if room.lines.count == 2 { reactor.stop() } }
        look.start(every: .milliseconds(1)).whenFailed { Issue.record("\($0)") }
    }
    #expect(room.lines == ["hello", "and bye"])
}
