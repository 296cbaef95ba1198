// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Synchronization
import Testing

@testable import TorsionCore

/// Where jobs run, and when.
@Suite struct JobQueueTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    private func turn(_ count: Int = 1) {
        for _ in 0..<count { reactor.turn(until: reactor.now) }
    }

    @Test func `a task starts in a later phase and never inline`() {
        var log: [String] = []
        reactor.callLater(.zero) { [reactor] in
            reactor.spawn { log.append("task") }
            log.append("callback")
        }
        turn()
        #expect(log == ["callback", "task"])
    }

    @Test func `jobs run after calls, after timers and after input, in the order they got ready`() {
        var log: [String] = []
        let reactor = reactor
        reactor.remote.callFromThread { reactor in
            nonisolated(unsafe) let reactor = reactor
            reactor.spawn { _ = 0 }
        }
        reactor.callLater(.zero) { log.append("timer") }
        let first = reactor.spawn { log.append("first") }
        reactor.spawn { log.append("second") }
        _ = first
        turn()
        #expect(log == ["first", "second", "timer"])
        #expect(reactor.statistics.jobs >= 3)
    }

    @Test func `tasks that are always ready starve neither timers nor calls`() {
        var isDone = false
        var rounds = 0
        let reactor = reactor
        for _ in 0..<3 {
            reactor.spawn {
                while !isDone {
                    rounds += 1
                    await reactor.yield()
                }
            }
        }
        turn()
        let limit = JobQueue.limitBetweenWaits
        // Two phases: up to the first wait, and behind it.
        #expect(rounds >= limit - 10 && rounds <= 2 * limit)
        reactor.callLater(.zero) { isDone = true }
        turn(3)
        #expect(isDone && reactor.statistics.tasks == 0)
    }

    @Test func `with jobs left the wait does not block`() {
        let reactor = reactor
        var isDone = false
        reactor.spawn { while !isDone { await reactor.yield() } }
        let start = reactor.now
        // A still backend's time jumps to the deadline that a turn waits for.
        reactor.turn(until: start.advanced(by: .seconds(5)))
        #expect(reactor.now == start)
        isDone = true
        turn(2)
    }

    @Test func `an actor lives on the reactor, and is entered from a callback without a job`()
        throws
    {
        let ledger = Ledger(reactor.executor)
        var sums: [Int] = []
        let reactor = reactor
        reactor.spawn {
            for number in 1...3 { sums.append(await ledger.add(number)) }
        }
        turn(2)
        #expect(sums == [1, 3, 6])
        var seen = 0
        reactor.callLater(.zero) { seen = ledger.assumeIsolated { $0.sum } }
        turn(2)
        #expect(seen == 6)
    }

    @Test func `a job that comes after the reactor's end runs all the same`() async {
        let still = StillReactor()
        let ledger = Ledger(still.reactor.executor)
        still.reactor.turn(until: still.reactor.now)
        still.reactor.shutDown()
        let sum = await ledger.add(5)
        #expect(sum == 5)
        // And for a reactor that was never turned and is gone.
        let orphan = Ledger(StillReactor().reactor.executor)
        #expect(await orphan.add(7) == 7)
    }

    @Test func `a reactor that runs again takes its jobs back`() async {
        let ledger = Ledger(reactor.executor)
        turn()
        reactor.shutDown()
        #expect(await ledger.add(1) == 1)
        turn()
        var sum = 0
        reactor.spawn { sum = await ledger.add(1) }
        turn(3)
        #expect(sum == 2)
    }

    @Test func `jobs from elsewhere wake the reactor once, and again when they were taken`() {
        let waker = WakeCount()
        let inbox = Inbox()
        inbox.open(waker: waker)
        let executor = ReactorExecutor(inbox: inbox)
        // No thread runs this executor, so every one is elsewhere.
        var calls = CallChain()
        for round in 1...2 {
            for _ in 0..<1_000 { Task(executorPreference: executor) {} }
            #expect(waker.count == round)
            var jobs: [QueuedJob] = []
            inbox.take(into: &calls, jobs: &jobs)
            executor.queue.bind()
            executor.queue.append(contentsOf: jobs)
            executor.queue.renewBudget()
            #expect(executor.queue.run() == 1_000)
            executor.queue.unbind()
        }
    }
}

/// An actor on a reactor.
private actor Ledger {
    nonisolated let executor: ReactorExecutor
    private(set) var sum = 0

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(_ executor: ReactorExecutor) { self.executor = executor }

    func add(_ number: Int) -> Int {
        sum += number
        return sum
    }
}

private final class WakeCount: BackendWaker {
    private let wakes = Atomic(0)

    var count: Int { wakes.load(ordering: .relaxed) }

    func wake() { wakes.wrappingAdd(1, ordering: .relaxed) }
}
