// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

private func at(_ nanoseconds: UInt64) -> MonotonicInstant {
    MonotonicInstant(nanoseconds: nanoseconds)
}

extension TimerWheel {
    /// One turn at `now`: all payloads that are due.
    fileprivate mutating func turn(at now: MonotonicInstant) -> [Payload] {
        let sequence = newestSequence
        var payloads: [Payload] = []
        while let payload = popDue(at: now, scheduledUpTo: sequence) { payloads.append(payload) }
        return payloads
    }
}

/// One tick in nanoseconds.
private let tick: UInt64 = 1 << 20

@Suite struct TimerWheelTests {
    @Test func `an empty wheel has nothing due and nothing to wait for`() {
        var wheel = TimerWheel<Int>()
        #expect(wheel.turn(at: .distantFuture) == [])
        #expect(wheel.nextWakeup == nil)
        #expect(wheel.nextDeadline == nil)
        #expect(wheel.count == 0)
    }

    @Test func `a timer is due at its deadline and not a nanosecond before`() {
        for deadline in [0, 1, tick - 1, tick, tick + 1, 1 << 40, UInt64.max] {
            var wheel = TimerWheel<Int>()
            let key = wheel.schedule(7, at: at(deadline))
            #expect(wheel.nextWakeup == at(deadline))
            #expect(wheel.nextDeadline == at(deadline))
            if deadline > 0 { #expect(wheel.turn(at: at(deadline - 1)) == []) }
            #expect(wheel.isActive(key) == true)
            #expect(wheel.turn(at: at(deadline)) == [7])
            #expect(wheel.isActive(key) == false)
            #expect(wheel.count == 0)
        }
    }

    @Test func `equal deadlines come in the order made`() {
        var wheel = TimerWheel<Int>()
        for number in 0..<100 { _ = wheel.schedule(number, at: at(5 * tick)) }
        #expect(wheel.turn(at: at(5 * tick)) == Array(0..<100))
    }

    @Test func `deadlines within one tick come in their order`() {
        var wheel = TimerWheel<Int>()
        for number in [3, 1, 2, 0] { _ = wheel.schedule(number, at: at(tick + UInt64(number))) }
        #expect(wheel.turn(at: at(tick + 2)) == [0, 1, 2])
        #expect(wheel.nextWakeup == at(tick + 3))
        #expect(wheel.turn(at: at(tick + 3)) == [3])
    }

    @Test func `a timer crosses the boundary of each level exactly`() {
        for level in 0..<8 {
            let boundary = UInt64(1) << UInt64(20 + 6 * level)
            for deadline in [boundary - 1, boundary, boundary + 1, 63 &* boundary] {
                var wheel = TimerWheel<UInt64>()
                _ = wheel.schedule(deadline, at: at(deadline))
                _ = wheel.schedule(deadline + 1, at: at(deadline + 1))
                #expect(wheel.turn(at: at(deadline - 1)) == [])
                #expect(wheel.turn(at: at(deadline)) == [deadline])
                #expect(wheel.turn(at: at(deadline + 1)) == [deadline + 1])
            }
        }
    }

    @Test func `stepping through a long wait wakes for no level`() {
        var wheel = TimerWheel<Int>()
        _ = wheel.schedule(1, at: at(1 << 50))
        _ = wheel.schedule(2, at: at(3))
        #expect(wheel.turn(at: at(3)) == [2])
        #expect(wheel.nextWakeup == at(1 << 50))
    }

    @Test func `after the first of many is cancelled the wake-ups are few`() {
        var wheel = TimerWheel<Int>()
        let first = wheel.schedule(1, at: at(1 << 60))
        _ = wheel.schedule(2, at: at((1 << 60) + 1_000_000 * tick))
        #expect(wheel.cancel(first) == 1)
        var wakeups = 0
        while wheel.count > 0, let wakeup = wheel.nextWakeup {
            _ = wheel.turn(at: wakeup)
            wakeups += 1
        }
        #expect(wakeups <= 9)
    }

    @Test func `a timer started for now or before belongs to a later turn`() {
        var wheel = TimerWheel<String>()
        _ = wheel.schedule("first", at: at(5))
        _ = wheel.schedule("second", at: at(10))
        let sequence = wheel.newestSequence
        #expect(wheel.popDue(at: at(20), scheduledUpTo: sequence) == "first")
        _ = wheel.schedule("later", at: at(0))
        #expect(wheel.popDue(at: at(20), scheduledUpTo: sequence) == "second")
        #expect(wheel.popDue(at: at(20), scheduledUpTo: sequence) == nil)
        #expect(wheel.nextWakeup == at(0))
        #expect(wheel.turn(at: at(20)) == ["later"])
    }

    @Test func `a turn that time passes in keeps out what it started`() {
        var wheel = TimerWheel<String>()
        for name in ["a", "b", "c"] { _ = wheel.schedule(name, at: at(tick)) }
        let sequence = wheel.newestSequence
        #expect(wheel.popDue(at: at(tick), scheduledUpTo: sequence) == "a")
        _ = wheel.schedule("far", at: at(3 * tick))
        _ = wheel.schedule("near", at: at(0))
        #expect(wheel.popDue(at: at(9 * tick), scheduledUpTo: sequence) == "b")
        #expect(wheel.popDue(at: at(9 * tick), scheduledUpTo: sequence) == "c")
        #expect(wheel.popDue(at: at(9 * tick), scheduledUpTo: sequence) == nil)
        #expect(wheel.turn(at: at(9 * tick)) == ["near", "far"])
    }

    @Test func `a rescheduled timer goes behind those with its new deadline`() {
        var wheel = TimerWheel<Int>()
        let first = wheel.schedule(1, at: at(tick))
        _ = wheel.schedule(2, at: at(9 * tick))
        #expect(wheel.reschedule(first, to: at(9 * tick)) == true)
        #expect(wheel.deadline(of: first) == at(9 * tick))
        #expect(wheel.turn(at: at(8 * tick)) == [])
        #expect(wheel.turn(at: at(9 * tick)) == [2, 1])
    }

    @Test func `a timer can be cancelled and moved in every state`() {
        var wheel = TimerWheel<Int>()
        let key = wheel.schedule(1, at: at(tick))
        let other = wheel.schedule(2, at: at(tick + 1))
        let early = wheel.schedule(3, at: at(0))
        #expect(wheel.cancel(early) == 3)  // Among the early ones.
        #expect(wheel.turn(at: at(tick - 1)) == [])
        #expect(wheel.turn(at: at(tick)) == [1])
        #expect(wheel.reschedule(other, to: at(1 << 30)) == true)  // In the heap.
        #expect(wheel.turn(at: at(tick + 1)) == [])
        #expect(wheel.reschedule(other, to: at(2 << 30)) == true)  // In a list of the wheel.
        #expect(wheel.cancel(other) == 2)
        for key in [key, other, early] {
            #expect(wheel.cancel(key) == nil)
            #expect(wheel.reschedule(key, to: at(0)) == false)
            #expect(wheel.deadline(of: key) == nil)
        }
        #expect(wheel.count == 0)
    }

    @Test func `a key of the past never names a later timer`() {
        var wheel = TimerWheel<Int>()
        let old = wheel.schedule(1, at: at(0))
        _ = wheel.cancel(old)
        let new = wheel.schedule(2, at: at(0))
        #expect(old.slot == new.slot)
        #expect(wheel.cancel(old) == nil)
        #expect(wheel.isActive(new) == true)
    }

    @Test func `after all are removed their keys name nothing, old or new`() {
        var wheel = TimerWheel<Int>()
        let keys = [0, tick, 1 << 50].map { wheel.schedule(1, at: at($0)) }
        _ = wheel.turn(at: at(0))
        let payloads = wheel.removeAll()
        #expect(payloads == [1, 1])
        #expect(wheel.count == 0)
        #expect(wheel.nextWakeup == nil)
        let new = wheel.schedule(2, at: at(tick))
        for key in keys { #expect(wheel.cancel(key) == nil) }
        #expect(wheel.deadline(of: new) == at(tick))
    }

    @Test func `all keys are listed, wherever their timers are`() {
        var wheel = TimerWheel<Int>()
        var keys: Set<TimerKey> = []
        for deadline in [0, tick, tick + 1, 1 << 30, 1 << 50, UInt64.max] {
            keys.insert(wheel.schedule(0, at: at(deadline)))
        }
        #expect(Set(wheel.activeKeys) == keys)
        _ = wheel.turn(at: at(tick))
        #expect(wheel.activeKeys.count == 4)
    }

    @Test(.tags(.slow)) func `a million scheduled and cancelled leave no memory behind`() {
        var wheel = TimerWheel<Int>()
        let lasting = wheel.schedule(-1, at: at(1 << 55))
        let keys = (0..<1_000_000).map { wheel.schedule($0, at: at(UInt64($0) &* 977 &* tick)) }
        #expect(wheel.slab.capacity >= 1_000_000)
        for key in keys { _ = wheel.cancel(key) }
        // Chunks of 512. The first has the timer that goes on; the second was the first to be empty,
        // and one empty chunk is kept for what comes; the last has the place that was freed last,
        // which is kept for the next timer and counts as used until another place is freed.
        #expect(wheel.slab.capacity == 3 * 512)
        // However it goes on, there are no more than two beside those that have timers.
        for _ in 0..<2_000 {
            let few = (0..<3).map { wheel.schedule($0, at: at(tick)) }
            for key in few { _ = wheel.cancel(key) }
            #expect(wheel.slab.capacity <= 3 * 512)
        }
        #expect(wheel.isActive(lasting) == true)
    }

    @Test func `payloads are let go when they leave, and with the wheel`() {
        final class Counted {
            let drop: () -> Void
            init(_ drop: @escaping () -> Void) { self.drop = drop }
            deinit { drop() }
        }
        var dropped = 0
        do {
            var wheel = TimerWheel<Counted>()
            let key = wheel.schedule(Counted { dropped += 1 }, at: at(5))
            _ = wheel.schedule(Counted { dropped += 1 }, at: at(6))
            _ = wheel.schedule(Counted { dropped += 1 }, at: at(1 << 60))
            _ = wheel.cancel(key)
            #expect(dropped == 1)
            _ = wheel.turn(at: at(6))
            #expect(dropped == 2)
        }
        #expect(dropped == 3)
    }

    @Test func `a turn that allows less than the last one traps`() async {
        await #expect(processExitsWith: .failure) {
            var wheel = TimerWheel<Int>()
            _ = wheel.popDue(at: at(0), scheduledUpTo: 5)
            _ = wheel.popDue(at: at(0), scheduledUpTo: 4)
        }
    }
}
