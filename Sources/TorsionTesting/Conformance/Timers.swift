// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

extension ConformanceSuite {
    static let timers = [
        timersInOrder, movedCalls, zeroDelay, timersBesideInput, distantDeadlines, timerErrors,
        aMillion,
    ]

    // R6
    static let timersInOrder = Check("delayed calls run in the order of deadline, then of making") {
        backend in
        let world = try World(backend)
        var order: [Int] = []
        let start = world.reactor.now
        world.reactor.callLater(.milliseconds(20)) { order.append(3) }
        world.reactor.callLater(.milliseconds(5)) { order.append(1) }
        world.reactor.callLater(.milliseconds(5)) { order.append(2) }
        let cancelled = world.reactor.callLater(.milliseconds(1)) { order.append(0) }
        try expect(cancelled.cancel())
        try expect(!cancelled.cancel())
        try world.run { order.count == 3 }
        try expectEqual(order, [1, 2, 3])
        try expect(world.reactor.now >= start.advanced(by: .milliseconds(20)), "too early")
        try world.finish()
    }

    // R6
    static let movedCalls = Check(
        "a delayed call can be moved and cancelled until it runs, and not inside itself"
    ) { backend in
        let world = try World(backend)
        var order: [String] = []
        var inside: DelayedCall?
        inside = world.reactor.callLater(.milliseconds(2)) {
            order.append("inside")
            let answers = [
                inside?.isActive, inside?.cancel(), inside?.delay(by: .zero),
                inside?.reset(after: .zero),
            ]
            if answers != [false, false, false, false] { throw Mishap() }
        }
        let reset = world.reactor.callLater(.seconds(60)) { order.append("reset") }
        let delayed = world.reactor.callLater(.milliseconds(1)) { order.append("delayed") }
        let dropped = world.reactor.callLater(.milliseconds(3)) { order.append("dropped") }
        // Equal deadlines run in the order in which they were set.
        let equal = world.reactor.callLater(.milliseconds(4)) { order.append("equal") }
        try expect(reset.isActive && reset.reset(after: .milliseconds(4)))
        try expect(delayed.delay(by: .milliseconds(9)) && delayed.isActive)
        try expect(equal.deadline == reset.deadline, "unequal")
        // One drops another that is due in the same turn, after a wait that was too long.
        world.reactor.callLater(.milliseconds(3)) { try expect(dropped.cancel()) }
            .reset(after: .milliseconds(2))
        try world.run { order.count == 4 }
        try expectEqual(order, ["inside", "equal", "reset", "delayed"])
        for call in [reset, delayed, dropped] {
            try expect(!call.isActive && !call.cancel() && !call.reset(after: .zero))
        }
        inside = nil
        try world.finish()
    }

    // R5
    static let zeroDelay = Check("a call without delay runs in a later turn, never inline") {
        backend in
        let world = try World(backend)
        var turns: [UInt64] = []
        world.reactor.callLater(.zero) { [reactor = world.reactor] in
            turns.append(reactor.statistics.turns)
            reactor.callLater(.zero) { turns.append(reactor.statistics.turns) }
            turns.append(0)
        }
        try expectEqual(turns, [])
        try world.run { turns.count == 3 }
        try expect(turns[1] == 0 && turns[2] > turns[0], "\(turns)")
        try world.finish()
    }

    // R5
    static let timersBesideInput = Check("input is served between endless calls without delay") {
        backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        var isOver = false
        func again() { world.reactor.callLater(.zero) { if !isOver { again() } } }
        again()
        client.transport.write("hello")
        try world.run { server.text == "hello" }
        isOver = true
        client.transport?.abortConnection()
        try world.run { server.loss != nil && world.reactor.statistics.delayedCalls == 0 }
        try world.finish()
    }

    // R7
    static let distantDeadlines = Check("a very distant deadline neither overflows nor runs") {
        backend in
        let world = try World(backend)
        var hasRun = false
        let calls = [Duration.seconds(1_000_000_000_000), .seconds(Int64.max), .seconds(86_400)].map
        {
            world.reactor.callLater($0) { hasRun = true }
        }
        world.run(for: .milliseconds(5))
        try expect(!hasRun)
        calls.forEach { $0.cancel() }
        try world.finish()
    }

    // R8
    static let timerErrors = Check("an error in a delayed call is reported, and the rest go on") {
        backend in
        let world = try World(backend)
        var seen: [UnhandledError] = []
        world.reactor.unhandledError = { seen.append($0) }
        var hasRun = false
        world.reactor.callLater(.zero) { throw Mishap() }
        world.reactor.callLater(.zero) { hasRun = true }
        try world.run { hasRun }
        try expect(seen.count == 1 && seen[0].error is Mishap, "\(seen)")
        try world.finish()
    }

    // R7
    static let aMillion = Check(
        "a million calls, made and cancelled, leave nothing behind", isSlow: true
    ) {
        backend in
        let world = try World(backend)
        weak var witness: Recorder?
        do {
            let held = Recorder()
            witness = held
            for batch in 0..<100 {
                let calls = (0..<10_000).map { number in
                    world.reactor.callLater(.milliseconds(number * (batch + 1))) {
                        held.note(.made)
                    }
                }
                for call in calls { call.cancel() }
            }
        }
        try expectEqual(world.reactor.statistics.delayedCalls, 0)
        // What a cancelled call captured goes with it, not when it would have been due.
        try expect(witness == nil, "a closure is still held")
        try world.finish()
    }
}
