// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionTesting

@testable import TorsionCore

struct RetryTests {
    let clock = ManualClock()
    var reactor: Reactor { clock.reactor }
    let steady = RetryPolicy(
        attemptLimit: 4, firstDelay: .seconds(1), factor: 3, longestDelay: .seconds(5), jitter: 0)

    private var time: Int { Int((clock.now.nanoseconds - 1_000_000_000) / 1_000_000_000) }

    @Test func `it tries until it succeeds, after delays that grow up to a limit`() {
        var times: [Int] = []
        var seen: [Int] = []
        reactor.retry(steady) { () throws -> Deferred<Int> in
            times.append(time)
            if times.count == 1 { throw Failed() }
            if times.count == 2 { return .failed(Failed(), on: reactor) }
            return reactor.deferLater(.seconds(1)) { () throws -> Int in
                if times.count == 3 { throw Failed() }
                return 9
            }
        }
        .addCallback { seen.append($0) }
        #expect(times == [0])
        clock.advance(by: .seconds(60))
        // One second, three, and five instead of nine behind an attempt that took one.
        #expect(times == [0, 1, 4, 10])
        #expect(seen == [9])
        #expect(reactor.statistics.delayedCalls == 0)
    }

    @Test func `the last error is told when the attempts are used up`() {
        var attempts = 0
        var failures: [Failed] = []
        reactor.retry(steady) { () throws -> Deferred<Int> in
            attempts += 1
            throw Failed(number: attempts)
        }
        .whenFailed { failures.append($0 as? Failed ?? Failed()) }
        clock.advance(by: .seconds(60))
        #expect(attempts == 4)
        #expect(failures == [Failed(number: 4)])
    }

    @Test func `a permanent error, and a cancellation, end it at once`() {
        var policy = steady
        policy.isPermanent = { ($0 as? Failed)?.number == 2 }
        for error in [Failed(number: 2), CancellationError()] as [any Error] {
            var attempts = 0
            var failures = 0
            reactor.retry(policy) { () throws -> Deferred<Int> in
                attempts += 1
                throw attempts == 1 ? Failed(number: 1) : error
            }
            .whenFailed { _ in failures += 1 }
            clock.advance(by: .seconds(60))
            #expect(attempts == 2)
            #expect(failures == 1)
        }
    }

    @Test func `cancelling cancels the attempt, or the delay`() {
        for inDelay in [true, false] {
            var log: [String] = []
            let work = Deferred<Int>(on: reactor) { _ in log.append("attempt cancelled") }
            let whole = reactor.retry(steady) { () throws -> Deferred<Int> in
                if inDelay { throw Failed() }
                return work
            }
            whole.whenFailed { log.append("\(type(of: $0))") }
            whole.cancel()
            clock.advance(by: .seconds(60))
            #expect(log == (inDelay ? [] : ["attempt cancelled"]) + ["CancellationError"])
            #expect(reactor.statistics.delayedCalls == 0)
        }
    }

    @Test func `what an attempt's canceller gives is the result, and is not tried again`() {
        var seen: [Int] = []
        for number in [3, -4] {
            let work = Deferred<Int>(on: reactor) { deferred in
                if number > 0 {
                    deferred.succeed(number)
                } else {
                    deferred.fail(Failed(number: number))
                }
            }
            let whole = reactor.retry(steady) { work }
            whole.addCallbacks {
                seen.append($0)
            } onFailure: {
                seen.append(($0 as? Failed)?.number ?? 0)
            }
            whole.cancel()
        }
        clock.advance(by: .seconds(60))
        #expect(seen == [3, -4])
        #expect(reactor.statistics.delayedCalls == 0)
    }

    @Test func `the same seed gives the same delays, and another gives others`() {
        func delays(_ seed: UInt64) -> [Duration] {
            var backoff = Backoff(RetryPolicy(attemptLimit: 20, seed: seed), on: reactor)
            var delays: [Duration] = []
            while let delay = backoff.failed() { delays.append(delay) }
            return delays
        }
        #expect(delays(1) == delays(1))
        #expect(delays(1) != delays(2))
        #expect(delays(1).count == 19)
        var whole = Duration.milliseconds(500)
        for delay in delays(3) {
            #expect(delay <= whole)
            #expect(delay >= whole / 2)
            whole = min(whole * 2, .seconds(60))
        }
    }

    @Test func `without a seed each draws another, and a driver's seed repeats all`() {
        func draw(_ seed: UInt64?) -> [UInt64] {
            reactor.chance = seed.map(SeededGenerator.init(seed:))
            return (0..<3).map { _ in reactor.drawSeed() }
        }
        #expect(Set(draw(nil)).count == 3)
        #expect(draw(5) == draw(5))
        #expect(draw(5) != draw(6))
    }

    @Test func `twenty thousand attempts without a delay keep the stack and the memory flat`() {
        let census = Census()
        var most = 0
        var attempts = 0
        let policy = RetryPolicy(firstDelay: .zero, jitter: 0)
        _ = reactor.retry(policy) { () -> Deferred<Resident> in
            attempts += 1
            let resident = Resident(census)
            most = max(most, census.living)
            guard attempts < 20_000 else { return .succeeded(resident, on: reactor) }
            return Deferred<Resident>.failed(Failed(), on: reactor)
                .addErrback { error in
                    withExtendedLifetime(resident) {}; throw error
                }
        }
        while attempts < 20_000 { clock.turn() }
        #expect(most <= 2)
        #expect(census.living == 0)
    }
}
