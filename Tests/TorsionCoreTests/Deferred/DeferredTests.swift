// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct DeferredTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    // D2
    @Test func `callbacks run in the order of the chain, each once`() {
        var log: [String] = []
        let source = Deferred<Int>(on: reactor)
        source
            .addCallback { value in
                log.append("first \(value)")
                return value * 2
            }
            .addCallback { value in log.append("second \(value)") }
        #expect(log.isEmpty)
        source.succeed(21)
        #expect(log == ["first 21", "second 42"])
    }

    // D2
    @Test func `a callback that is added after the result runs at once`() {
        var seen: [Int] = []
        Deferred.succeeded(1, on: reactor)
            .addCallback { value in seen.append(value) }
            .addCallback { seen.append(2) }
        #expect(seen == [1, 2])
    }

    @Test func `what a callback throws goes past callbacks to the next errback`() {
        var log: [String] = []
        let source = Deferred<Int>(on: reactor)
        source
            .addErrback { _ in
                log.append("not reached")
                return 0
            }
            .addCallback { value -> Int in throw Failed(number: value) }
            .addCallback { value in
                log.append("not reached")
                return value
            }
            .addErrback(of: CancellationError.self) { _ in 1 }
            .addErrback(of: Failed.self) { error in error.number + 1 }
            .addCallback { value in log.append("recovered with \(value)") }
        source.succeed(7)
        #expect(log == ["recovered with 8"])
    }

    @Test func `an errback that throws replaces the error`() {
        var seen: [Failed] = []
        Deferred<Int>.failed(Failed(number: 1), on: reactor)
            .addErrback { _ in throw Failed(number: 2) }
            .whenFailed { error in seen.append(error as? Failed ?? Failed(number: -1)) }
        #expect(seen == [Failed(number: 2)])
    }

    @Test func `addBoth is given either result`() {
        var seen: [Bool] = []
        func look(_ result: Result<Int, any Error>) {
            if case .success = result { seen.append(true) } else { seen.append(false) }
        }
        Deferred.succeeded(1, on: reactor).addBoth(look)
        Deferred.failed(Failed(), on: reactor).addBoth(look)
        #expect(seen == [true, false])
    }

    @Test func `whenFailed drops a value and ends the chain`() {
        var failures = 0
        let good = Deferred<String>(on: reactor)
        good.whenFailed { _ in failures += 1 }
        good.succeed("fine")
        #expect(failures == 0)
        let bad = Deferred<String>(on: reactor)
        bad.whenFailed { _ in failures += 1 }
        bad.fail(Failed())
        #expect(failures == 1)
    }

    // D3
    @Test func `a callback added inside a running one waits its turn`() {
        var log: [String] = []
        let source = Deferred<Void>(on: reactor)
        var link: Deferred<Void>?
        link = source.addCallback {
            log.append("begin")
            link?.addCallback { log.append("added inside") }
            log.append("end")
        }
        source.succeed()
        #expect(log == ["begin", "end", "added inside"])
        link = nil
    }

    // D3
    @Test func `a chain fired inside a callback of another runs at once`() {
        var log: [String] = []
        let inner = Deferred<Void>(on: reactor)
        inner.addCallback { log.append("inner") }
        let outer = Deferred<Void>(on: reactor)
        outer.addCallback {
            log.append("begin")
            inner.succeed()
            log.append("end")
        }
        outer.succeed()
        #expect(log == ["begin", "inner", "end"])
    }

    @Test func `a value may be optional, void, or large`() {
        var seen: [String] = []
        Deferred<Int?>.succeeded(nil, on: reactor).addCallback { seen.append("\($0 as Any)") }
        Deferred.succeeded((1, 2, 3, 4, "five", "six"), on: reactor)
            .addCallback { seen.append($0.5) }
        #expect(seen == ["nil", "six"])
    }
}
