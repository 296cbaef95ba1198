// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

struct LoopingCallTests {
    let clock = ManualClock()
    var reactor: Reactor { clock.reactor }

    /// Seconds since the clock's start.
    private var time: Int { Int((clock.now.nanoseconds - 1_000_000_000) / 1_000_000_000) }

    /// What ended a loop.
    final class Ending {
        var text: String?
        func watch(_ done: Deferred<Void>) {
            done.addCallbacks { [self] in
                text = "stopped"
            } onFailure: { [self] in
                text = "\($0)"
            }
        }
    }

    // K1
    @Test func `it is called at once, then at whole intervals from its start`() {
        var times: [Int] = []
        let loop = LoopingCall(on: reactor) { times.append(time) }
        loop.start(every: .seconds(3))
        #expect(times == [0])
        clock.advance(by: .seconds(10))
        #expect(times == [0, 3, 6, 9])
        #expect(loop.isRunning)
        loop.stop()
        clock.advance(by: .seconds(10))
        #expect(times == [0, 3, 6, 9])
        #expect(reactor.statistics.delayedCalls == 0)
    }

    @Test func `it may begin after an interval`() {
        var times: [Int] = []
        let loop = LoopingCall(on: reactor) { times.append(time) }
        loop.start(every: .seconds(3), first: .afterInterval)
        clock.advance(by: .seconds(7))
        #expect(times == [3, 6])
        loop.stop()
    }

    // K1
    @Test func `a Deferred is waited for, what was missed is skipped, and the rest is aligned`() {
        var calls: [[Int]] = []
        var works: [Deferred<Void>] = []
        let loop = LoopingCall.counting(on: reactor) { count in
            calls.append([time, count])
            works.append(Deferred<Void>(on: reactor))
            return works[works.count - 1]
        }
        loop.start(every: .seconds(2))
        clock.advance(by: .seconds(5))
        #expect(calls == [[0, 1]])
        works[0].succeed()
        #expect(calls.count == 1)
        clock.advance(by: .seconds(1))
        #expect(calls == [[0, 1], [6, 3]])
        works[1].succeed()
        clock.advance(by: .seconds(2))
        #expect(calls == [[0, 1], [6, 3], [8, 1]])
        #expect(loop.skippedCount == 2)
        loop.stop()
        works[2].succeed()
    }

    @Test func `an interval of zero calls once a turn`() {
        var count = 0
        let loop = LoopingCall(on: reactor) { count += 1 }
        loop.start(every: .zero)
        clock.turn()
        clock.turn()
        #expect(count == 3)
        loop.stop()
    }

    // K1
    @Test func `it can be stopped inside its call, and started again`() {
        let ending = Ending()
        var count = 0
        var loop: LoopingCall?
        loop = LoopingCall(on: reactor) {
            count += 1
            if count.isMultiple(of: 2) {
                loop?.stop()
                #expect(loop?.isRunning == false)
            }
        }
        for round in 1...2 {
            ending.text = nil
            if let loop { ending.watch(loop.start(every: .seconds(1))) }
            #expect(ending.text == nil)
            clock.advance(by: .seconds(5))
            #expect(ending.text == "stopped")
            #expect(count == 2 * round)
        }
        loop = nil
    }

    @Test func `stopping while a Deferred is waited for ends when that does`() {
        let ending = Ending()
        let work = Deferred<Int>(on: reactor)
        let loop = LoopingCall(on: reactor) { work }
        ending.watch(loop.start(every: .seconds(1)))
        loop.stop()
        #expect(ending.text == nil)
        work.succeed(1)
        #expect(ending.text == "stopped")
        #expect(reactor.statistics.delayedCalls == 0)
    }

    @Test(arguments: [true, false])
    func `an error ends it, whether thrown or given later`(throwing: Bool) {
        let ending = Ending()
        var count = 0
        let loop = LoopingCall(on: reactor) { () throws -> Deferred<Void> in
            count += 1
            if count < 3 { return .succeeded((), on: reactor) }
            if throwing { throw Failed(number: 3) }
            return reactor.deferLater(.seconds(1)) { throw Failed(number: 3) }
        }
        ending.watch(loop.start(every: .seconds(1)))
        clock.advance(by: .seconds(9))
        #expect(ending.text == "Failed(number: 3)")
        #expect(count == 3)
        #expect(!loop.isRunning)
    }

    @Test func `a reset puts the next call one interval on, and aligns to it`() {
        var times: [Int] = []
        let loop = LoopingCall(on: reactor) { times.append(time) }
        loop.start(every: .seconds(3))
        clock.advance(by: .seconds(4))
        loop.reset()
        clock.advance(by: .seconds(7))
        #expect(times == [0, 3, 7, 10])
        loop.stop()
    }

    // K1
    @Test func `a reset inside the call counts from then`() {
        var calls: [[Int]] = []
        var loop: LoopingCall?
        loop = LoopingCall.counting(on: reactor) { count in
            calls.append([time, count])
            return reactor.deferLater(.seconds(2)) { if calls.count == 1 { loop?.reset() } }
        }
        loop?.start(every: .seconds(5))
        clock.advance(by: .seconds(13))
        #expect(calls == [[0, 1], [7, 1], [12, 1]])
        loop?.stop()
        clock.advance(by: .seconds(2))
        loop = nil
    }

    @Test func `cancelling drops the call that is due, or cancels what is waited for`() {
        let ending = Ending()
        var cancelled = 0
        var works: [Deferred<Void>] = []
        let loop = LoopingCall(on: reactor) {
            works.append(Deferred<Void>(on: reactor) { _ in cancelled += 1 })
            return works[works.count - 1]
        }
        let waiting = loop.start(every: .seconds(1))
        ending.watch(waiting)
        waiting.cancel()
        #expect(cancelled == 1)
        #expect(ending.text == "CancellationError()")
        let scheduled = loop.start(every: .seconds(1), first: .afterInterval)
        ending.watch(scheduled)
        scheduled.cancel()
        clock.advance(by: .seconds(5))
        #expect(works.count == 1)
        #expect(!loop.isRunning)
    }

    @Test func `nothing is left of a loop that has ended`() {
        let census = Census()
        do {
            let resident = Resident(census)
            let loop = LoopingCall(on: reactor) { resident.touch() }
            loop.start(every: .seconds(1)).addCallback { resident.touch() }
            clock.advance(by: .seconds(3))
            loop.stop()
        }
        #expect(census.living == 0)
    }

    @Test func `starting what has not ended traps`() async {
        await #expect(processExitsWith: .failure) {
            let loop = LoopingCall(on: ManualClock().reactor) {}
            loop.start(every: .seconds(1))
            loop.start(every: .seconds(1))
        }
    }

    @Test func `a loop whose next call was taken away is found`() async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            let clock = ManualClock()
            let loop = LoopingCall(on: clock.reactor) {}
            loop.checkInvariants()
            loop.start(every: .seconds(1))
            loop.checkInvariants()
            clock.reactor.delayedCalls[0].cancel()
            loop.checkInvariants()
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("waits for a call that will not come"))
    }

    @Test func `a loop inside its call is not between two`() async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            let clock = ManualClock()
            var check = {}
            let loop = LoopingCall(on: clock.reactor) { check() }
            check = { loop.checkInvariants() }
            loop.start(every: .seconds(1))
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("waits for a call that has returned"))
    }
}
