// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Synchronization
import Testing

@_spi(Backend) @testable import TorsionCore

@Suite struct InboxTests {
    private let inbox = Inbox()
    private let log = Log()

    private func call(_ number: Int) -> Bool {
        inbox.append(.always { [log] reactor in log.note(reactor == nil ? -number : number) })
    }

    private func runAll(on reactor: Reactor?) {
        var batch = CallChain()
        var jobs: [QueuedJob] = []
        inbox.take(into: &batch, jobs: &jobs)
        while let call = batch.popFirst() { call(reactor) }
    }

    @Test func `calls come out in the order in which they went in, once`() {
        for number in 1...5 { #expect(call(number)) }
        #expect(!inbox.isEmpty)
        let host = StillReactor()
        runAll(on: host.reactor)
        #expect(inbox.isEmpty)
        runAll(on: host.reactor)
        #expect(log.numbers == [1, 2, 3, 4, 5])
    }

    @Test func `a burst of calls keeps its order, and what is left of one is let go`() {
        for number in 1...1_000 { _ = call(number) }
        let host = StillReactor()
        runAll(on: host.reactor)
        // Into the block that was left, and beyond it.
        for number in 1_001...1_700 { _ = call(number) }
        runAll(on: host.reactor)
        #expect(log.numbers == Array(1...1_700))
        weak let held: Log? = leave(1_000)
        #expect(held == nil)
    }

    /// Queues calls that hold an object, in a chain that nobody empties.
    private func leave(_ count: Int) -> Log {
        let log = Log()
        var chain = CallChain()
        for _ in 0..<count { chain.append(.always { _ in log.note(0) }) }
        #expect(chain.popFirst() != nil)
        return log
    }

    @Test func `many calls wake the reactor once, and again when they were taken`() {
        let waker = CountingWaker()
        inbox.open(waker: waker)
        for number in 1...1_000 { _ = call(number) }
        #expect(waker.count.load(ordering: .relaxed) == 1)
        runAll(on: nil)
        _ = call(1)
        #expect(waker.count.load(ordering: .relaxed) == 2)
    }

    @Test func `a closed inbox refuses calls and never wakes, and keeps those it accepted`() {
        let waker = CountingWaker()
        inbox.open(waker: waker)
        _ = call(1)
        inbox.close()
        #expect(!call(2))
        #expect(waker.count.load(ordering: .relaxed) == 1)
        let host = StillReactor()
        runAll(on: host.reactor)
        #expect(log.numbers == [1])
        inbox.open(waker: waker)
        #expect(call(3))
    }

    @Test func `calls that will not run are told so when the reactor is released`() {
        _ = call(1)
        _ = call(2)
        #expect(inbox.abandon().isEmpty)
        #expect(log.numbers == [-1, -2])
        #expect(!call(3))
    }
}

/// Notes numbers on any thread.
private final class Log: Sendable {
    private let state = Lock<[Int]>([])

    var numbers: [Int] { state.withLock { $0 } }

    func note(_ number: Int) { state.withLock { $0.append(number) } }
}

/// Counts how often it was used.
private final class CountingWaker: BackendWaker {
    let count = Atomic(0)

    func wake() { count.wrappingAdd(1, ordering: .relaxed) }
}
