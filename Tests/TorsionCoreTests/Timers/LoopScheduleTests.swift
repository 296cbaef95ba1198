// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

struct LoopScheduleTests {
    private func at(_ seconds: Double) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: UInt64(seconds * 1e9))
    }

    @Test func `each call is one interval on, and what was skipped is counted`() {
        var schedule = LoopSchedule(start: at(10), interval: .seconds(2), callsAtStart: true)
        #expect(schedule.take(at: at(10)) == 1)
        #expect(schedule.next(after: at(10.5)) == at(12))
        #expect(schedule.take(at: at(12.1)) == 1)
        // Exactly on an interval, the next one is meant.
        #expect(schedule.next(after: at(14)) == at(16))
        #expect(schedule.take(at: at(19)) == 3)
        #expect(schedule.next(after: at(19)) == at(20))
        #expect(schedule.skippedCount == 2)
    }

    @Test func `a first call after the interval counts one`() {
        var schedule = LoopSchedule(start: at(10), interval: .seconds(2), callsAtStart: false)
        #expect(schedule.next(after: at(10)) == at(12))
        #expect(schedule.take(at: at(12)) == 1)
    }

    @Test func `an interval of zero is always due, and skips nothing`() {
        var schedule = LoopSchedule(start: at(1), interval: .zero, callsAtStart: true)
        #expect(schedule.take(at: at(1)) == 1)
        #expect(schedule.next(after: at(5)) == at(5))
        #expect(schedule.take(at: at(100)) == 1)
        #expect(schedule.skippedCount == 0)
    }

    @Test func `an interval longer than time is never due again`() {
        let schedule = LoopSchedule(
            start: at(1), interval: .seconds(Int64.max), callsAtStart: true)
        #expect(schedule.next(after: at(2)) == .distantFuture)
    }
}
