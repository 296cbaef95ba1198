// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct RaceTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    // D13
    @Test func `the first value wins, and the others are cancelled before it is told`() {
        var log: [String] = []
        let members = (0..<3).map { index in
            Deferred<Int>(on: reactor) { _ in log.append("cancelled \(index)") }
        }
        reactor.race(members).addCallback { log.append("\($0.index) gave \($0.value)") }
        members[0].fail(Failed())
        #expect(log.isEmpty)
        members[1].succeed(5)
        #expect(log == ["cancelled 2", "1 gave 5"])
        #expect(still.unhandled.isEmpty)
    }

    @Test func `a value that is there already wins over those before and behind it`() {
        var log: [String] = []
        let early = Deferred<Int>(on: reactor) { _ in log.append("early") }
        let late = Deferred<Int>(on: reactor) { _ in log.append("late") }
        let members = [
            early, .succeeded(1, on: reactor), .succeeded(2, on: reactor), late,
        ]
        reactor.race(members).addCallback { log.append("\($0.index) gave \($0.value)") }
        #expect(log == ["early", "late", "1 gave 1"])
    }

    @Test func `a late value of a loser without a canceller is dropped`() {
        var seen: [Int] = []
        let members = (0..<2).map { _ in Deferred<Int>(on: reactor) }
        reactor.race(members).addCallback { seen.append($0.value) }
        members[0].succeed(1)
        members[1].succeed(2)
        #expect(seen == [1])
    }

    // D13
    @Test func `a race that all lose, or nobody runs, fails with what they failed with`() {
        var counts: [Int] = []
        let members = (0..<2).map { _ in Deferred<Int>(on: reactor) }
        for members in [members, []] {
            reactor.race(members)
                .whenFailed { counts.append(try #require($0 as? FailureGroup).errors.count) }
        }
        #expect(counts == [0])
        members[0].fail(Failed())
        members[1].fail(Failed())
        #expect(counts == [0, 2])
    }

    // D13
    @Test func `cancelling cancels all who run`() {
        var cancelled: [Int] = []
        var seen: [any Error] = []
        let members = (0..<2).map { index in
            Deferred<Int>(on: reactor) { _ in cancelled.append(index) }
        }
        let whole = reactor.race(members)
        whole.whenFailed { seen.append($0) }
        withExtendedLifetime(members) { whole.cancel() }
        #expect(cancelled == [0, 1])
        #expect(seen.count == 1)
        #expect(seen.first is CancellationError)
    }

    @Test(arguments: [true, false])
    func `nothing is left of a race`(fires: Bool) {
        let census = Census()
        do {
            let members = (0..<3).map { _ in Deferred<Resident>(on: reactor) }
            let resident = Resident(census)
            reactor.race(members).addCallback { _ in resident.touch() }
            if fires { members[1].succeed(Resident(census)) }
        }
        #expect(census.living == 0)
    }
}
