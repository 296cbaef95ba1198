// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

/// Structured tasks of a reactor, on a clock that is moved by hand.
@Suite struct TaskScopesTests {
    let clock = ManualClock()
    var reactor: Reactor { clock.reactor }

    private struct Failed: Error, Equatable { var number = 0 }

    @Test func `a task sleeps by the reactor's clock`() {
        var times: [Int] = []
        let reactor = reactor
        for seconds in [3, 1, 2] {
            reactor.spawn {
                try await reactor.sleep(for: .seconds(seconds))
                times.append(seconds)
            }
        }
        clock.turn()
        clock.advance(by: .milliseconds(2_500))
        #expect(times == [1, 2])
        clock.advance(by: .seconds(1))
        #expect(times == [1, 2, 3] && reactor.statistics.delayedCalls == 0)
    }

    @Test func `a sleep that is cancelled ends at once and leaves no timer`() {
        let reactor = reactor
        let task = reactor.spawn { try await reactor.sleep(for: .seconds(60)) }
        clock.turn()
        #expect(reactor.statistics.delayedCalls == 1)
        task.cancel()
        clock.turn()
        clock.turn()
        #expect(reactor.statistics.tasks == 0 && reactor.statistics.delayedCalls == 0)
    }

    @Test func `a timeout cancels what takes too long, and leaves the rest alone`() {
        let reactor = reactor
        var log: [String] = []
        reactor.spawn {
            do {
                try await reactor.withTimeout(.seconds(1)) {
                    defer { log.append("ended") }
                    try await reactor.sleep(for: .seconds(10))
                }
            } catch let error as TimeoutError {
                log.append("\(error)")
            }
            let quick = try await reactor.withTimeout(.seconds(1)) { "quick" }
            log.append(quick)
        }
        clock.turn()
        clock.advance(by: .seconds(2))
        clock.turn()
        #expect(log == ["ended", "no result within 1.0 seconds", "quick"])
        #expect(reactor.statistics.delayedCalls == 0)
    }

    @Test func `two run concurrently, and both values come`() {
        let reactor = reactor
        var pair: (Int, String)?
        reactor.spawn {
            pair = try await reactor.concurrently(
                {
                    try await reactor.sleep(for: .seconds(1))
                    return 1
                },
                {
                    try await reactor.sleep(for: .seconds(1))
                    return "two"
                })
        }
        clock.turn()
        clock.advance(by: .seconds(1))
        clock.turn()
        #expect(pair?.0 == 1 && pair?.1 == "two")
    }

    @Test func `the first failure cancels the other, which is waited for`() {
        let reactor = reactor
        var log: [String] = []
        reactor.spawn {
            do {
                _ = try await reactor.concurrently(
                    {
                        defer { log.append("slow ended") }
                        try await reactor.sleep(for: .seconds(60))
                    },
                    {
                        try await reactor.sleep(for: .seconds(1))
                        throw Failed(number: 3)
                    })
            } catch let error as Failed {
                log.append("failed \(error.number)")
            }
        }
        clock.turn()
        clock.advance(by: .seconds(1))
        for _ in 0..<3 { clock.turn() }
        #expect(log == ["slow ended", "failed 3"])
        #expect(reactor.statistics.tasks == 0)
    }

    @Test func `cancelling goes into a group, and a late member is cancelled at once`() {
        let reactor = reactor
        var log: [String] = []
        let task = reactor.spawn {
            try await reactor.withServingGroup { group in
                for number in 0..<3 {
                    group.spawn {
                        do { try await reactor.sleep(for: .seconds(60)) } catch {
                            log.append("member \(number)")
                            if number == 0 {
                                group.spawn {
                                    do { try await reactor.sleep(for: .seconds(60)) } catch {
                                        log.append("late member")
                                    }
                                }
                            }
                        }
                    }
                }
                #expect(group.count == 3)
            }
        }
        var error: (any Error)?
        task.whenFailed { error = $0 }
        clock.turn()
        task.cancel()
        for _ in 0..<6 { clock.turn() }
        #expect(log == ["member 0", "member 1", "member 2", "late member"])
        #expect(error is CancellationError && reactor.statistics.tasks == 0)
    }
}
