// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

@Suite struct NextTurnTests {
    private static let past = MonotonicInstant(nanoseconds: 0)

    @Test func `the next turn waits for nothing if a call is due`() {
        let clock = ManualClock()
        #expect(clock.reactor.nextTurn == nil)
        let call = clock.reactor.callLater(.zero) {}
        #expect(clock.reactor.nextTurn == Self.past)
        call.cancel()
        // What a timer makes may be due before its turn waits.
        var turns: [MonotonicInstant?] = []
        clock.reactor.callLater(.zero) {
            clock.reactor.callLater(.zero) {}
            turns.append(clock.reactor.nextTurn)
        }
        clock.advance(by: .zero)
        #expect(turns == [Self.past])
    }

    @Test func `the next turn waits until a call is due`() {
        let clock = ManualClock()
        clock.reactor.callLater(.nanoseconds(1)) {}
        #expect(clock.reactor.nextTurn == clock.now.advanced(by: .nanoseconds(1)))
        clock.reactor.callLater(.zero) {}
        #expect(clock.reactor.nextTurn == Self.past)
    }
}
