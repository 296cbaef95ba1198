// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

/// What a wheel must do, done slowly: an array that is searched.
private struct SlowTimers {
    struct Timer {
        var deadline: UInt64
        var sequence: UInt64
        var key: TimerKey
        var payload: Int
    }

    var timers: [Timer] = []

    /// The timer to give out next among those that the turn may see.
    func next(at now: UInt64, scheduledUpTo sequence: UInt64) -> Int? {
        timers.indices.filter { timers[$0].deadline <= now && timers[$0].sequence <= sequence }
            .min {
                let (left, right) = (timers[$0], timers[$1])
                return (left.deadline, left.sequence) < (right.deadline, right.sequence)
            }
    }
}

/// A wheel and its model, driven alike.
private struct TwoWheels: ~Copyable {
    var wheel = TimerWheel<Int>()
    var model = SlowTimers()
    var random: SplitMix64
    var now: UInt64 = 0
    var made = 0
    var limit: UInt64 = 0

    init(seed: UInt64) {
        random = SplitMix64(state: seed)
        now = seed % 3 == 0 ? 0 : random.next() >> UInt64.random(in: 1...44, using: &random)
    }

    /// A deadline of any order of magnitude, sometimes past, sometimes the same as another.
    mutating func deadline() -> UInt64 {
        let distance = random.next() >> UInt64.random(in: 0...63, using: &random)
        switch Int.random(in: 0..<8, using: &random) {
        case 0: return now - min(now, distance)
        case 1: return now
        case 2: return model.timers.randomElement(using: &random)?.deadline ?? now
        case 3: return .max - distance
        default: return now.addingReportingOverflow(distance >> 8).partialValue
        }
    }

    mutating func step() {
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<4: schedule()
        case 4: cancel()
        case 5: reschedule()
        case 6: beginTurn()
        case 7: passTime()
        default: pop()
        }
    }

    mutating func schedule() {
        let deadline = deadline()
        made += 1
        let key = wheel.schedule(made, at: MonotonicInstant(nanoseconds: deadline))
        model.timers.append(
            .init(deadline: deadline, sequence: wheel.newestSequence, key: key, payload: made))
    }

    mutating func cancel() {
        guard let index = model.timers.indices.randomElement(using: &random) else { return }
        let timer = model.timers.remove(at: index)
        #expect(wheel.cancel(timer.key) == timer.payload)
        #expect(wheel.cancel(timer.key) == nil)
    }

    mutating func reschedule() {
        guard let index = model.timers.indices.randomElement(using: &random) else { return }
        let deadline = deadline()
        let key = model.timers[index].key
        #expect(wheel.reschedule(key, to: MonotonicInstant(nanoseconds: deadline)) == true)
        model.timers[index].deadline = deadline
        model.timers[index].sequence = wheel.newestSequence
    }

    /// Mostly as a reactor does it; a wheel allows any limit that does not go back.
    mutating func beginTurn() {
        let newest = wheel.newestSequence
        let isWhole = Int.random(in: 0..<4, using: &random) > 0
        limit = isWhole ? newest : UInt64.random(in: limit...newest, using: &random)
    }

    mutating func passTime() {
        if Bool.random(using: &random), let next = wheel.nextWakeup {
            now = max(now, next.nanoseconds)
        } else {
            let step = random.next() >> UInt64.random(in: 16...63, using: &random)
            now = now.addingReportingOverflow(step).overflow ? .max : now + step
        }
    }

    mutating func pop() {
        let expected = model.next(at: now, scheduledUpTo: limit)
        let payload = wheel.popDue(
            at: MonotonicInstant(nanoseconds: now), scheduledUpTo: limit)
        #expect(payload == expected.map { model.timers[$0].payload })
        if let expected { model.timers.remove(at: expected) }
    }

    mutating func check() {
        let next = model.timers.map(\.deadline).min()
        #expect(wheel.count == model.timers.count)
        #expect(wheel.nextDeadline?.nanoseconds == next)
        let wakeup = wheel.nextWakeup?.nanoseconds
        #expect((wakeup ?? 0) <= next ?? 0)
        #expect((wakeup == nil) == (next == nil))
        #expect(Set(wheel.activeKeys) == Set(model.timers.map(\.key)))
        for timer in model.timers {
            #expect(wheel.deadline(of: timer.key)?.nanoseconds == timer.deadline)
        }
    }
}

@Suite struct TimerWheelModelTests {
    @Test(.tags(.slow), arguments: 1...60 as ClosedRange<UInt64>)
    func `a wheel does what a searched array does`(seed: UInt64) {
        var wheels = TwoWheels(seed: seed)
        for step in 0..<400 {
            wheels.step()
            if step % 16 == 0 { wheels.check() }
        }
        // To the end of time, everything comes out.
        wheels.now = .max
        wheels.limit = wheels.wheel.newestSequence
        for _ in 0...wheels.model.timers.count { wheels.pop() }
        wheels.check()
        #expect(wheels.wheel.count == 0)
    }
}
