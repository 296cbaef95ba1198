// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct DeferredSemaphoreTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    // D14
    @Test func `so many have a place, the others get theirs in the order in which they came`() {
        var log: [Int] = []
        let semaphore = DeferredSemaphore(count: 2, on: reactor)
        for number in 1...4 { semaphore.acquire().addCallback { log.append(number) } }
        #expect(log == [1, 2])
        #expect(semaphore.waitingCount == 2)
        semaphore.release()
        #expect(log == [1, 2, 3])
        semaphore.release()
        semaphore.release()
        #expect(log == [1, 2, 3, 4])
        #expect(semaphore.freeCount == 1)
    }

    // D14
    @Test func `who asks while a place goes to another waits behind it`() {
        var log: [String] = []
        let semaphore = DeferredSemaphore(count: 1, on: reactor)
        _ = semaphore.acquire()
        semaphore.acquire().addCallback {
            log.append("first in the line")
            semaphore.acquire().addCallback { log.append("who came late") }
        }
        semaphore.acquire().addCallback { log.append("second in the line") }
        semaphore.release()
        #expect(log == ["first in the line"])
        semaphore.release()
        semaphore.release()
        #expect(log == ["first in the line", "second in the line", "who came late"])
    }

    // D14
    @Test func `who is cancelled leaves the line without a place`() {
        var log: [String] = []
        let semaphore = DeferredSemaphore(count: 1, on: reactor)
        _ = semaphore.acquire()
        let second = semaphore.acquire()
        second.whenFailed { log.append("\(type(of: $0))") }
        semaphore.acquire().addCallback { log.append("third") }
        second.cancel()
        #expect(semaphore.waitingCount == 1)
        semaphore.release()
        #expect(log == ["CancellationError", "third"])
        semaphore.release()
        #expect(semaphore.freeCount == 1)
    }

    @Test func `a run gives its place back when its Deferred fires, whatever with`() {
        var seen: [Int] = []
        let semaphore = DeferredSemaphore(count: 1, on: reactor)
        let work = (0..<3).map { _ in Deferred<Int>(on: reactor) }
        for one in work {
            semaphore.run { one }.addBoth { seen.append((try? $0.get()) ?? -1) }
        }
        semaphore.run { () throws -> Deferred<Int> in throw Failed(number: 4) }
        #expect(semaphore.waitingCount == 3)
        work[0].succeed(1)
        work[1].fail(Failed())
        #expect(seen == [1, -1])
        work[2].succeed(3)
        #expect(seen == [1, -1, 3])
        #expect(semaphore.freeCount == 1)
        #expect(still.unhandled.map { $0.error as? Failed } == [Failed(number: 4)])
    }

    @Test func `cancelling a run leaves the line, or cancels its work`() {
        var log: [String] = []
        let semaphore = DeferredSemaphore(count: 1, on: reactor)
        let work = Deferred<Void>(on: reactor) { _ in log.append("work cancelled") }
        let first = semaphore.run { work }
        let second = semaphore.run {
            log.append("not reached")
            return work
        }
        second.cancel()
        #expect(log.isEmpty)
        first.cancel()
        #expect(log == ["work cancelled"])
        #expect(semaphore.freeCount == 1)
    }

    @Test func `a hundred thousand runs in a line keep the stack flat`() {
        var count = 0
        let reactor = reactor
        let semaphore = DeferredSemaphore(count: 1, on: reactor)
        _ = semaphore.acquire()
        for _ in 0..<100_000 {
            semaphore.run {
                count += 1
                return Deferred.succeeded((), on: reactor)
            }
        }
        semaphore.release()
        #expect(count == 100_000)
    }

    @Test func `nothing is left of a semaphore that is let go with a line`() {
        let census = Census()
        do {
            let semaphore = DeferredSemaphore(count: 1, on: reactor)
            let resident = Resident(census)
            let work = Deferred<Void>(on: reactor)
            let later = Deferred<Void>(on: reactor)
            semaphore.run { work }.addCallback { resident.touch() }
            semaphore.run { later }.addCallback { resident.touch() }
            semaphore.acquire().addCallback { resident.touch() }
        }
        #expect(census.living == 0)
    }

    @Test func `giving back more than was taken traps`() async {
        await #expect(processExitsWith: .failure) {
            let still = StillReactor()
            let semaphore = DeferredSemaphore(count: 1, on: still.reactor)
            _ = semaphore.acquire()
            semaphore.release()
            semaphore.release()
        }
    }

    @Test func `a waiter that was told by somebody else is found`() async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            let still = StillReactor()
            let semaphore = DeferredSemaphore(count: 1, on: still.reactor)
            semaphore.acquire().addCallback { semaphore.release() }
            semaphore.checkInvariants()
            _ = semaphore.acquire()
            let waiter = semaphore.acquire()
            semaphore.checkInvariants()
            waiter.succeed()
            semaphore.checkInvariants()
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("one who was told already stands in the line"))
    }

    @Test func `a place that is being handed over belongs to nobody`() async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            let still = StillReactor()
            let semaphore = DeferredSemaphore(count: 1, on: still.reactor)
            _ = semaphore.acquire()
            semaphore.acquire().addCallback {
                semaphore.release()
                semaphore.checkInvariants()
            }
            semaphore.release()
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("1 places were given back to nobody"))
    }
}
