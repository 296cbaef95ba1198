// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct DeferredLockTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    // D14
    @Test func `one holds it at a time, in the order in which they came`() {
        var log: [Int] = []
        let lock = DeferredLock(on: reactor)
        #expect(!lock.isLocked)
        for number in 1...3 { lock.acquire().addCallback { log.append(number) } }
        #expect(log == [1])
        #expect(lock.isLocked)
        #expect(lock.waitingCount == 2)
        lock.release()
        lock.release()
        #expect(log == [1, 2, 3])
        lock.release()
        #expect(!lock.isLocked)
    }

    @Test func `a run holds it until its Deferred fires`() {
        var log: [String] = []
        let lock = DeferredLock(on: reactor)
        let work = Deferred<Void>(on: reactor)
        lock.run { work }
        lock.run {
            log.append("second")
            return Deferred.succeeded((), on: lock.reactor)
        }
        #expect(log.isEmpty)
        work.succeed()
        #expect(log == ["second"])
        #expect(!lock.isLocked)
    }

    @Test func `releasing what nobody holds traps`() async {
        await #expect(processExitsWith: .failure) {
            DeferredLock(on: StillReactor().reactor).release()
        }
    }

    @Test func `a waiter that was told by somebody else is found`() async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            let still = StillReactor()
            let lock = DeferredLock(on: still.reactor)
            _ = lock.acquire()
            let waiter = lock.acquire()
            lock.checkInvariants()
            waiter.succeed()
            lock.checkInvariants()
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("one who was told already stands in the line"))
    }
}
