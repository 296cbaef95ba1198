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

    @Test func `losing sends, shuts down and is over, and the stream lingers`() {
        var machine = open()
        #expect(machine.loseConnection() == .finish)
        #expect(!machine.acceptsWrites && !machine.deliversReads && machine.discardsReads)
        #expect(machine.flushed() == .shutdownAndLinger)
        #expect(machine.isClosed && machine.flushed() == .none)
    }

    @Test func `what is abandoned sends, and is reset behind that`() {
        var machine = open()
        #expect(machine.abandon() == .stopProducerAndFinish)
        #expect(!machine.acceptsWrites && machine.discardsReads)
        #expect(machine.loseConnection() == .none && machine.abandon() == .none)
        #expect(machine.readEnded(isHalfCloseable: false) == .none)
        #expect(!machine.discardsReads, "there is nothing more to read")
        #expect(machine.flushed() == .lingerAndReset)

        var closing = open()
        _ = closing.loseConnection()
        #expect(closing.abandon() == .stopProducerAndFinish)
        #expect(closing.flushed() == .lingerAndReset)

        var half = open()
        _ = half.loseWriteConnection()
        _ = half.flushed()
        #expect(half.abandon() == .reset(.aborted), "a FIN was sent already")
    }

    @Test func `a stream that breaks with input unread delivers that, then the loss`() {
        var machine = open()
        #expect(machine.broke(hasInput: true) == .deliverRest)
        #expect(machine.deliversReads && machine.deliversUnread && !machine.acceptsWrites)
        #expect(machine.broke(hasInput: true) == .none, "a second error of the same break")
        #expect(machine.loseWriteConnection() == .none)
        #expect(machine.readEnded(isHalfCloseable: true) == .close(.failed))

        var empty = open()
        #expect(empty.broke(hasInput: false) == .close(.failed))

        var given = open()
        _ = given.broke(hasInput: true)
        #expect(given.loseConnection() == .close(.failed), "the reason stays that it broke")

        var closing = open()
        _ = closing.loseConnection()
        #expect(closing.broke(hasInput: true) == .close(.failed), "nobody wants it any more")
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

    @Test func `losing after the write end waits for nothing`() {
        var machine = open()
        _ = machine.loseWriteConnection()
        _ = machine.flushed()
        #expect(machine.loseConnection() == .linger)
        #expect(machine.isClosed)
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
        { $0.failed() }, { $0.deadlinePassed() }, { $0.broke(hasInput: true) },
        { $0.broke(hasInput: false) }, { $0.abandon() },
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
        case .close, .reset, .linger, .lingerAndReset, .shutdownAndLinger: true
        case .none, .announceReadClosed, .finish, .stopProducerAndFinish, .flush,
            .shutdownAndAnnounce, .deliverRest:
            false
        }
    }
}
