// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

struct DeferLaterTests {
    let clock = ManualClock()
    var reactor: Reactor { clock.reactor }

    @Test func `it gives what its closure gives, at its time and never inline`() {
        var seen: [String] = []
        reactor.deferLater(.zero) { seen.append("at once") }
        reactor.deferLater(.seconds(2)) { "value" }.addCallback { seen.append($0) }
        reactor.deferLater(.seconds(1)) { () throws -> Int in throw Failed(number: 1) }
            .whenFailed { seen.append("\($0)") }
        #expect(seen.isEmpty)
        clock.advance(by: .seconds(1))
        #expect(seen == ["at once", "Failed(number: 1)"])
        clock.advance(by: .seconds(1))
        #expect(seen == ["at once", "Failed(number: 1)", "value"])
    }

    @Test func `a Deferred is waited for`() {
        var seen: [Int] = []
        reactor.deferLater(.seconds(1)) { reactor.deferLater(.seconds(1)) { 7 } }
            .addCallback { seen.append($0) }
        clock.advance(by: .milliseconds(1_999))
        #expect(seen.isEmpty)
        clock.advance(by: .milliseconds(1))
        #expect(seen == [7])
    }

    @Test func `cancelling drops the call and what it captured`() {
        let census = Census()
        var failures = 0
        do {
            let resident = Resident(census)
            let deferred = reactor.deferLater(.seconds(1)) { resident.touch() }
            deferred.whenFailed { _ in failures += 1 }
            deferred.cancel()
        }
        #expect(failures == 1)
        #expect(reactor.statistics.delayedCalls == 0)
        #expect(census.living == 0)
    }
}
