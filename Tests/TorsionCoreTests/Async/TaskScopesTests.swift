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

    // Case W9.
    @Test func `cancelAll ends the group without an error`() throws {
        let reactor = reactor
        var ticks = 0
        let task = reactor.spawn {
            try await reactor.withServingGroup { group in
                group.spawn {
                    while true {
                        try await reactor.sleep(for: .seconds(1))
                        ticks += 1
                    }
                }
                try await reactor.sleep(for: .milliseconds(2_500))
                group.cancelAll()
                return "done"
            }
        }
        clock.turn()
        clock.advance(by: .seconds(3))
        for _ in 0..<3 { clock.turn() }
        #expect(try result(of: task) == "done")
        #expect(ticks == 2)
        try checkClean(reactor)
    }

    @Test func `an error of a member that was cancelled by the group is still an error`() throws {
        let reactor = reactor
        let task = reactor.spawn {
            try await reactor.withServingGroup { group in
                group.spawn {
                    do { try await reactor.sleep(for: .seconds(60)) } catch {
                        throw Failed(number: 7)
                    }
                }
                try await reactor.sleep(for: .seconds(1))
                group.cancelAll()
            }
        }
        clock.turn()
        clock.advance(by: .seconds(1))
        for _ in 0..<3 { clock.turn() }
        #expect(try failure(of: task) as? Failed == Failed(number: 7))
    }

    @Test func `background work ends with its body`() throws {
        let reactor = reactor
        var log: [String] = []
        let task = reactor.spawn {
            let value = try await reactor.withBackground {
                defer { log.append("background ended") }
                while true {
                    try await reactor.sleep(for: .seconds(1))
                    log.append("tick")
                }
            } while: {
                try await reactor.sleep(for: .milliseconds(2_500))
                return 42
            }
            log.append("value")
            return value
        }
        clock.turn()
        clock.advance(by: .seconds(3))
        for _ in 0..<3 { clock.turn() }
        #expect(log == ["tick", "tick", "background ended", "value"])
        #expect(try result(of: task) == 42)
        try checkClean(reactor)
    }

    @Test func `an error of background work cancels its body, and one of the body ends both`()
        throws
    {
        let reactor = reactor
        var log: [String] = []
        let first = reactor.spawn {
            try await reactor.withBackground {
                try await reactor.sleep(for: .seconds(1))
                throw Failed(number: 1)
            } while: {
                defer { log.append("body ended") }
                try await reactor.sleep(for: .seconds(60))
            }
        }
        let second = reactor.spawn {
            try await reactor.withBackground {
                defer { log.append("background ended") }
                try await reactor.sleep(for: .seconds(60))
            } while: {
                try await reactor.sleep(for: .seconds(2))
                throw Failed(number: 2)
            }
        }
        // What has ended leaves the body alone.
        let third = reactor.spawn {
            try await reactor.withBackground {
            } while: {
                try await reactor.sleep(for: .seconds(3))
            }
        }
        clock.turn()
        for _ in 0..<3 { clock.advance(by: .seconds(1)) }
        for _ in 0..<3 { clock.turn() }
        #expect(try failure(of: first) as? Failed == Failed(number: 1))
        #expect(try failure(of: second) as? Failed == Failed(number: 2))
        try result(of: third)
        #expect(log == ["body ended", "background ended"])
        try checkClean(reactor)
    }

    @Test func `cancelling the caller cancels body and background, and is thrown`() throws {
        let reactor = reactor
        let task = reactor.spawn {
            try await reactor.withBackground {
                try await reactor.sleep(for: .seconds(60))
            } while: {
                try await reactor.sleep(for: .seconds(60))
            }
        }
        clock.turn()
        task.cancel()
        for _ in 0..<6 { clock.turn() }
        #expect(try failure(of: task) is CancellationError)
        try checkClean(reactor)
    }

    @Test func `a task takes elements of a queue in order, and leaves the line when cancelled`()
        throws
    {
        let reactor = reactor
        let queue = DeferredQueue<Int>(limit: 10, on: reactor)
        var taken: [Int] = []
        try queue.put(1)
        let task = reactor.spawn { for try await number in queue { taken.append(number) } }
        clock.turn()
        try queue.put(2)
        try queue.put(3)
        clock.turn()
        #expect(taken == [1, 2, 3] && queue.waitingCount == 1)
        task.cancel()
        for _ in 0..<3 { clock.turn() }
        #expect(queue.waitingCount == 0)
        try queue.put(4)
        #expect(queue.count == 1 && taken == [1, 2, 3])
        #expect(try failure(of: task) is CancellationError)
    }
}
