// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

struct DeferredEventTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    @Test func `all who wait go on in their order, and who comes later goes on at once`() {
        let event = DeferredEvent(on: reactor)
        var log: [Int] = []
        for number in 0..<3 { event.wait().addCallback { log.append(number) } }
        #expect(event.waitingCount == 3 && log.isEmpty)
        event.set()
        event.set()
        event.wait().addCallback { log.append(3) }
        #expect(log == [0, 1, 2, 3] && event.isSet && event.waitingCount == 0)
        event.checkInvariants()
    }

    @Test func `who is cancelled leaves the line, and nobody else`() {
        let event = DeferredEvent(on: reactor)
        var log: [Int] = []
        let waits = (0..<3).map { number in event.wait().addCallback { log.append(number) } }
        waits[1].cancel()
        #expect(event.waitingCount == 2)
        event.checkInvariants()
        event.set()
        #expect(log == [0, 2])
    }

    @Test func `who waits behind a clear inside a callback is of the next time`() {
        let event = DeferredEvent(on: reactor)
        var log: [String] = []
        var again: Deferred<Void>?
        event.wait().addCallback {
            log.append("first")
            event.clear()
            again = event.wait().addCallback { log.append("again") }
        }
        let second = event.wait().addCallback { log.append("second") }
        event.set()
        #expect(log == ["first", "second"] && event.waitingCount == 1)
        second.cancel()
        event.checkInvariants()
        event.set()
        #expect(log == ["first", "second", "again"])
        #expect(again?.isPending == false)
    }

    @Test func `two results of different types come together`() throws {
        let number = Deferred<Int>(on: reactor), text = Deferred<String>(on: reactor)
        let both = gatherResults(number, text)
        text.succeed("two")
        #expect(both.isPending)
        number.succeed(1)
        let pair = try result(of: both)
        #expect(pair == (1, "two"))
    }

    @Test func `the first failure of two is the failure of both, and the other may be cancelled`()
        throws
    {
        struct Failed: Error {}
        var cancelled = 0
        let number = Deferred<Int>(on: reactor) { _ in cancelled += 1 }
        let text = Deferred<String>(on: reactor)
        let both = gatherResults(number, text, atFirstFailure: .cancelOthers)
        text.fail(Failed())
        #expect(try failure(of: both) is Failed)
        #expect(cancelled == 1)
        let third = Deferred<Int>(on: reactor) { _ in cancelled += 1 }
        let fourth = Deferred<String>(on: reactor) { _ in cancelled += 1 }
        let whole = gatherResults(third, fourth)
        whole.cancel()
        #expect(cancelled == 3)
        #expect(try failure(of: whole) is CancellationError)
    }

    @Test func `what is ignored is not reported`() {
        struct Failed: Error {}
        var reports = 0
        reactor.unhandledError = { _ in reports += 1 }
        Deferred<Int>.failed(Failed(), on: reactor).ignore()
        Deferred<Int>.succeeded(1, on: reactor).ignore()
        #expect(reports == 0)
        _ = Deferred<Int>.failed(Failed(), on: reactor)
        #expect(reports == 1)
    }
}
