// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct DeferredWaitingTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    // D4
    @Test func `a returned Deferred that has a result is waited for without delay`() {
        var seen: [Int] = []
        let reactor = reactor
        Deferred.succeeded(1, on: reactor)
            .addCallback { value in Deferred.succeeded(value + 1, on: reactor) }
            .addCallback { value in seen.append(value) }
        #expect(seen == [2])
    }

    // D4
    @Test func `a returned Deferred is waited for until it fires`() {
        var seen: [Int] = []
        let inner = Deferred<Int>(on: reactor)
        Deferred.succeeded(1, on: reactor)
            .addCallback { _ in inner }
            .addCallback { value in seen.append(value) }
        #expect(seen.isEmpty)
        inner.succeed(3)
        #expect(seen == [3])
    }

    // D4
    @Test(arguments: [true, false])
    func `a returned Deferred that fails takes the errback path`(firesFirst: Bool) {
        var log: [String] = []
        let source = Deferred<Int>(on: reactor)
        let inner = Deferred<Int>(on: reactor)
        source
            .addCallback { _ in inner }
            .addCallback { _ in log.append("not reached") }
            .whenFailed { error in log.append("\(error)") }
        if firesFirst { inner.fail(Failed(number: 4)) }
        source.succeed(1)
        if !firesFirst { inner.fail(Failed(number: 4)) }
        #expect(log == ["Failed(number: 4)"])
        #expect(still.unhandled.isEmpty)
    }

    // D4
    @Test func `waiting nests`() {
        var log: [String] = []
        let innermost = Deferred<String>(on: reactor)
        let middle = Deferred<Void>(on: reactor)
        let outer = Deferred<Void>(on: reactor)
        outer
            .addCallback { middle.addCallback { innermost } }
            .addCallback { log.append($0) }
        outer.succeed()
        middle.succeed()
        #expect(log.isEmpty)
        innermost.succeed("deep")
        #expect(log == ["deep"])
    }

    // D4
    @Test func `errbacks and addBoth can return a Deferred`() {
        var seen: [Int] = []
        let first = Deferred<Int>(on: reactor)
        let second = Deferred<Int>(on: reactor)
        let third = Deferred<Int>(on: reactor)
        Deferred<Int>.failed(Failed(), on: reactor)
            .addErrback { _ in first }
            .addErrback(of: Failed.self) { _ in second }
            .addBoth { _ in third }
            .addCallback { seen.append($0) }
        first.fail(Failed())
        second.succeed(2)
        #expect(seen.isEmpty)
        third.succeed(3)
        #expect(seen == [3])
    }

    // D5
    @Test func `the stack stays flat for a chain of 100,000 made before firing`() {
        let source = Deferred<Int>(on: reactor)
        var end = source
        for _ in 0..<100_000 { end = end.addCallback { value in value + 1 } }
        var result = 0
        end.addCallback { value in result = value }
        source.succeed(0)
        #expect(result == 100_000)
    }

    // D5
    @Test func `the stack stays flat for a chain of 100,000 made after firing`() {
        var end = Deferred.succeeded(0, on: reactor)
        for _ in 0..<100_000 { end = end.addCallback { value in value + 1 } }
        var result = 0
        end.addCallback { value in result = value }
        #expect(result == 100_000)
    }

    // D5
    @Test func `the stack stays flat for 100,000 Deferreds that wait for one another`() {
        let innermost = Deferred<Int>(on: reactor)
        // Each waits for the one made before it.
        var end = innermost
        for _ in 0..<100_000 {
            let inner = end
            end = Deferred.succeeded((), on: reactor).addCallback { inner }
        }
        var result = 0
        end.addCallback { value in result = value }
        innermost.succeed(5)
        #expect(result == 5)
    }

    // D5
    @Test func `the stack stays flat for 100,000 callbacks that return ready Deferreds`() {
        let reactor = reactor
        let source = Deferred<Int>(on: reactor)
        var end = source
        for _ in 0..<100_000 {
            end = end.addCallback { value in Deferred.succeeded(value + 1, on: reactor) }
        }
        var result = 0
        end.addCallback { value in result = value }
        source.succeed(0)
        #expect(result == 100_000)
    }

    // D5
    @Test func `the stack stays flat when a chain of 500,000 is released unfired`() {
        let census = Census()
        do {
            let source = Deferred<Int>(on: reactor)
            var end = source
            for _ in 0..<500_000 {
                let resident = Resident(census)
                end = end.addCallback { value in
                    resident.touch()
                    return value
                }
            }
            #expect(census.living == 500_000)
        }
        #expect(census.living == 0)
    }
}
