// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct DeferredLifetimeTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    /// Makes a chain whose callbacks, canceller and results all own a resident, ends it by `end`,
    /// and says how many residents are left while the ends of the chain are still held.
    private func left(after end: (Deferred<Resident>) -> Void) -> (held: Int, released: Int) {
        let census = Census()
        weak var source: Deferred<Resident>?
        var held = 0
        do {
            let resident = Resident(census)
            let reactor = reactor
            var itself: Deferred<Resident>?
            let made = Deferred<Resident>(on: reactor) { _ in
                resident.touch()
                _ = itself
            }
            itself = made
            source = made
            let tail =
                made
                .addCallback { value in
                    Deferred.succeeded(value, on: reactor)
                }
                .addCallback { _ in Resident(census).touch() }
                .addErrback { _ in resident.touch() }
            end(made)
            itself = nil
            tail.whenFailed { _ in resident.touch() }
        }
        held = census.living
        #expect(source == nil)
        return (held, census.living)
    }

    // D10
    @Test func `nothing is left after success`() {
        let census = Census()
        let left = left { $0.succeed(Resident(census)) }
        #expect(left.released == 0)
        #expect(census.living == 0)
    }

    // D10
    @Test func `nothing is left after failure`() {
        #expect(left { $0.fail(Failed()) }.released == 0)
    }

    // D10
    @Test func `nothing is left after cancelling`() {
        #expect(left { $0.cancel() }.released == 0)
    }

    // D10
    @Test func `nothing is left of a chain that nobody fires`() {
        #expect(left { _ in }.released == 0)
    }

    @Test func `what a callback captured is released when it has run`() {
        let census = Census()
        let source = Deferred<Void>(on: reactor)
        let resident = Resident(census)
        let end = source.addCallback { [resident] in resident.touch() }
        source.succeed()
        #expect(census.living == 1)
        withExtendedLifetime((source, end)) {}
    }

    @Test func `a canceller is released with the first result`() {
        let census = Census()
        let source: Deferred<Void>
        do {
            let resident = Resident(census)
            source = Deferred<Void>(on: reactor) { _ in resident.touch() }
        }
        #expect(census.living == 1)
        source.succeed()
        #expect(census.living == 0)
    }

    // D12
    @Test func `a failure that nobody handled is reported once, with the place`() throws {
        do {
            let source = Deferred<Int>(on: reactor, file: "Here.swift", line: 41)
            source.fail(Failed(number: 1))
            #expect(still.unhandled.isEmpty)
        }
        #expect(still.unhandled.count == 1)
        let report = try #require(still.unhandled.first)
        #expect(report.error as? Failed == Failed(number: 1))
        #expect(report.place == "Here.swift:41")
    }

    // D12
    @Test func `a chain reports its failure once, at its end`() {
        do {
            let source = Deferred<Int>(on: reactor)
            source.addCallback { $0 }.addCallback(file: "End.swift", line: 3) { $0 }
            source.fail(Failed())
        }
        #expect(still.unhandled.map(\.place) == ["End.swift:3"])
    }

    // D12
    @Test func `a failure that was handled or handed on is not reported`() {
        do {
            Deferred<Int>.failed(Failed(), on: reactor).addErrback { _ in 0 }
            Deferred<Int>.failed(Failed(), on: reactor).whenFailed { _ in }
            Deferred<Int>.failed(Failed(), on: reactor).addBoth { _ in }
            let inner = Deferred<Int>.failed(Failed(), on: reactor)
            Deferred.succeeded((), on: reactor).addCallback { inner }.whenFailed { _ in }
        }
        #expect(still.unhandled.isEmpty)
    }

    @Test func `what whenFailed throws is reported`() {
        Deferred<Int>.failed(Failed(number: 1), on: reactor)
            .whenFailed { _ in throw Failed(number: 2) }
        #expect(still.unhandled.map { $0.error as? Failed } == [Failed(number: 2)])
    }

    @Test func `a failure that is held back by a pause for ever is reported`() {
        do {
            let source = Deferred<Int>(on: reactor)
            source.pause()
            source.whenFailed { _ in }
            source.fail(Failed())
        }
        #expect(still.unhandled.count == 1)
    }

    /// As large as a value in place can be, larger, and with more alignment than one has in place.
    private struct Pair { var first: Resident, second: Resident, third = 0 }
    private struct Large { var pair: Pair, rest = (1, 2, 3) }
    private struct Aligned { var lanes = SIMD4<Double>(1, 2, 3, 4) }

    private func check<Value>(_ make: () -> Value, _ census: Census, _ look: (Value) -> Bool) {
        do {
            let untaken = Deferred<Value>(on: reactor)
            untaken.succeed(make())
            let handedOn = Deferred<Value>(on: reactor)
            let end = handedOn.addErrback { throw $0 }.addCallback { $0 }
            handedOn.succeed(make())
            var seen: Value?
            end.addCallback { seen = $0 }
            #expect(seen.map(look) == true)
            Deferred.succeeded(make(), on: reactor).addCallback { _ in }
        }
        #expect(census.living == 0)
    }

    @Test func `a value of any size is kept until it is taken, and released if it never is`() {
        let census = Census()
        func pair() -> Pair { Pair(first: Resident(census), second: Resident(census), third: 7) }
        check({ Resident(census) }, census) { _ in census.living > 0 }
        check(pair, census) { $0.third == 7 }
        check({ Large(pair: pair()) }, census) { $0.pair.third + $0.rest.2 == 10 }
        check({ Aligned() }, census) { $0.lanes.sum() == 10 }
        check({ [Resident(census)] as [Resident]? }, census) { $0?.count == 1 }
        check({ Resident(census) as Any }, census) { $0 is Resident }
    }
}
