// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

@Suite struct ConnectionStateMachineTests {
    private func open() -> ConnectionStateMachine {
        var machine = ConnectionStateMachine()
        machine.opened()
        return machine
    }

    @Test func `losing sends, shuts down, drains to the peer's end, then closes`() {
        var machine = open()
        #expect(machine.loseConnection() == .finish)
        #expect(!machine.acceptsWrites && !machine.deliversReads && machine.discardsReads)
        #expect(machine.flushed() == .shutdownAndDrain)
        #expect(machine.flushed() == .none)
        #expect(machine.readEnded(isHalfCloseable: false) == .close(.locally))
    }

    @Test func `the peer's end closes once the queue has left, and is the reason`() {
        var machine = open()
        #expect(machine.readEnded(isHalfCloseable: false) == .stopProducerAndFinish)
        #expect(!machine.discardsReads, "there is nothing more to read")
        #expect(machine.loseConnection() == .none)
        #expect(machine.flushed() == .close(.byPeer))
    }

    @Test func `a half-closeable protocol writes on after the peer's end`() {
        var machine = open()
        #expect(machine.readEnded(isHalfCloseable: true) == .announceReadClosed)
        #expect(machine.acceptsWrites && !machine.deliversReads)
        #expect(machine.readEnded(isHalfCloseable: true) == .none)
        #expect(machine.loseConnection() == .finish)
        #expect(machine.flushed() == .close(.locally))
    }

    @Test func `after both halves have ended, in either order, the connection closes`() {
        var writeFirst = open()
        #expect(writeFirst.loseWriteConnection() == .flush)
        #expect(writeFirst.flushed() == .shutdownAndAnnounce)
        #expect(writeFirst.deliversReads && !writeFirst.acceptsWrites)
        #expect(writeFirst.readEnded(isHalfCloseable: true) == .close(.byPeer))

        var readFirst = open()
        #expect(readFirst.readEnded(isHalfCloseable: true) == .announceReadClosed)
        #expect(readFirst.loseWriteConnection() == .finish)
        #expect(readFirst.flushed() == .close(.byPeer))
    }

    @Test func `losing after the write end only waits for the peer`() {
        var machine = open()
        _ = machine.loseWriteConnection()
        _ = machine.flushed()
        #expect(machine.loseConnection() == .finish)
        #expect(!machine.awaitsFlush, "the outgoing direction was shut down already")
        #expect(machine.readEnded(isHalfCloseable: true) == .close(.locally))
    }

    @Test func `a connection that is lost while it opens is reset`() {
        var machine = ConnectionStateMachine()
        #expect(machine.loseConnection() == .reset(.locally))
        #expect(machine.isClosed)
    }

    @Test func `opening twice traps`() async {
        await #expect(processExitsWith: .failure) {
            var machine = ConnectionStateMachine()
            machine.opened()
            machine.opened()
        }
    }

    // MARK: All sequences

    private typealias Event =
        @Sendable (inout ConnectionStateMachine)
        -> ConnectionStateMachine.Action

    private static let events: [Event] = [
        { $0.readEnded(isHalfCloseable: false) }, { $0.readEnded(isHalfCloseable: true) },
        { $0.flushed() }, { $0.loseConnection() }, { $0.loseWriteConnection() }, { $0.abort() },
        { $0.failed() }, { $0.deadlinePassed() },
    ]

    @Test func `whatever happens in whatever order, it ends once, and nothing follows`() {
        visit(open(), depth: 5)
    }

    private func visit(_ machine: ConnectionStateMachine, depth: Int) {
        check(machine)
        guard depth > 0, !machine.isClosed else { return }
        for event in Self.events {
            var next = machine
            let action = event(&next)
            if isEnd(action) != next.isClosed { Issue.record("\(machine.state) → \(action)") }
            if machine.acceptsWrites == false, next.acceptsWrites {
                Issue.record("\(machine.state): writing was allowed again")
            }
            visit(next, depth: depth - 1)
        }
    }

    private func check(_ machine: ConnectionStateMachine) {
        if machine.deliversReads, machine.discardsReads { Issue.record("\(machine.state)") }
        guard machine.isClosed else { return closes(machine) }
        for event in Self.events {
            var next = machine
            if event(&next) != .none { Issue.record("something followed the end") }
        }
    }

    /// Losing, an empty queue and the peer's end lead out of every state.
    private func closes(_ machine: ConnectionStateMachine) {
        var next = machine
        let actions = [
            next.loseConnection(), next.flushed(), next.readEnded(isHalfCloseable: true),
            next.flushed(),
        ]
        if actions.count(where: isEnd) != 1 || !next.isClosed {
            Issue.record("\(machine.state) does not end: \(actions)")
        }
    }

    private func isEnd(_ action: ConnectionStateMachine.Action) -> Bool {
        switch action {
        case .close, .reset: true
        case .none, .announceReadClosed, .finish, .stopProducerAndFinish, .flush,
            .shutdownAndAnnounce, .shutdownAndDrain:
            false
        }
    }
}
