// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Synchronization
import Testing
import TorsionTesting

@_spi(Backend) @testable import TorsionCore

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

/// How much a task may write before others have their turn.
@Suite struct WritingTaskTests {
    /// A connection whose peer takes everything at once.
    private func connect(_ clock: ManualClock) -> (AsyncConnection, MemoryTransport) {
        var connection: AsyncConnection?
        let peer = MemoryTransport(
            ConnectionMailbox { connection = AsyncConnection($0) }, clock: clock)
        // The mailbox calls its closure at `connectionMade`.
        return (connection!, peer)
    }

    // Case W3
    @Test(arguments: [1, 1_000, 100_000])
    func `a task that writes in a loop writes so much in a turn`(byteCount: Int) throws {
        let clock = ManualClock()
        let (connection, peer) = connect(clock)
        var count = 0
        var isOver = false
        let task = clock.reactor.spawn {
            let piece = Bytes([UInt8](repeating: 7, count: byteCount))
            while !isOver {
                try await connection.write(piece)
                count += 1
            }
        }
        var before = 0
        for _ in 0..<5 {
            clock.turn()
            #expect(count > before, "it goes on in each turn")
            #expect((count - before) * (byteCount + 1024) <= 9 << 20)
            before = count
        }
        #expect(count < 50_000)
        _ = peer.takeBytes()
        isOver = true
        clock.turn()
        #expect(!task.isPending)
        peer.peerCloses()
    }

    // Case W3
    @Test func `a task whose peer has gone is told in the next turn`() {
        let clock = ManualClock()
        let (connection, peer) = connect(clock)
        var count = 0
        var error: (any Error)?
        clock.reactor.spawn {
            while true {
                try await connection.write("x")
                count += 1
            }
        }.whenFailed { error = $0 }
        clock.turn()
        peer.peerResets()
        clock.turn()
        #expect(error is ConnectionLoss)
        #expect(count < 50_000)
    }

    // Case W3
    @Test func `a task that writes in a loop hears that it was cancelled`() {
        let clock = ManualClock()
        let (connection, peer) = connect(clock)
        var error: (any Error)?
        let task = clock.reactor.spawn { while true { try await connection.write("x") } }
        task.whenFailed { error = $0 }
        clock.turn()
        task.cancel()
        for _ in 0..<3 { clock.turn() }
        #expect(error is CancellationError)
        peer.peerCloses()
    }

    @Test func `a sequence that never waits leaves others their turn`() {
        let clock = ManualClock()
        let sink = MemoryTransport(Quiet(), clock: clock)
        SequenceSource(Endless(), on: clock.reactor).pipe(to: sink.transport)
            .whenFailed { _ in }
        var most = 0
        for _ in 0..<3 {
            clock.turn()
            most = max(most, sink.takeBytes().count)
        }
        #expect(1...50_000 ~= most)
        sink.peerResets()
    }

    private final class Quiet: StreamProtocol {
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
    }

    /// Single bytes, without end.
    private struct Endless: AsyncSequence, AsyncIteratorProtocol {
        func makeAsyncIterator() -> Endless { self }
        mutating func next() async -> Bytes? { Bytes([7]) }
    }
}
