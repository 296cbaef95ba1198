// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct DeferredCancellingTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    // D7
    @Test func `without a canceller it fails now, and the first late result is dropped`() {
        var failures: [any Error] = []
        let source = Deferred<Int>(on: reactor)
        source.whenFailed { failures.append($0) }
        source.cancel()
        #expect(failures.count == 1)
        #expect(failures.first is CancellationError)
        source.succeed(1)
        #expect(failures.count == 1)
    }

    // D8
    @Test func `a canceller that fires nothing is followed by CancellationError`() {
        var log: [String] = []
        let source = Deferred<Int>(on: reactor) { _ in log.append("cancelled") }
        source.whenFailed { log.append("\(type(of: $0))") }
        source.cancel()
        source.cancel()
        #expect(log == ["cancelled", "CancellationError"])
    }

    // D8
    @Test func `a canceller may give a value`() {
        var seen: [Int] = []
        let source = Deferred<Int>(on: reactor) { $0.succeed(9) }
        source.addCallback { seen.append($0) }
        source.cancel()
        #expect(seen == [9])
    }

    // D8
    @Test func `a canceller may give an error, and cancel again without effect`() {
        var seen: [Failed] = []
        var runs = 0
        let source = Deferred<Int>(on: reactor) { deferred in
            runs += 1
            deferred.cancel()
            deferred.fail(Failed(number: 3))
        }
        source.addErrback(of: Failed.self) { error in
            seen.append(error)
            return 0
        }
        source.cancel()
        #expect(seen == [Failed(number: 3)])
        #expect(runs == 1)
    }

    // D9
    @Test func `cancelling after a result does nothing`() {
        var cancelled = 0
        var seen: [Int] = []
        let source = Deferred<Int>(on: reactor) { _ in cancelled += 1 }
        source.succeed(1)
        source.cancel()
        let end = source.addCallback { seen.append($0) }
        end.cancel()
        source.cancel()
        #expect(seen == [1])
        #expect(cancelled == 0)
    }

    // D9
    @Test func `cancelling goes up the chain to the source`() {
        var log: [String] = []
        let source = Deferred<Int>(on: reactor) { _ in log.append("source cancelled") }
        let end =
            source
            .addCallback { value in value + 1 }
            .addErrback(of: CancellationError.self) { _ in 0 }
            .addCallback { value in log.append("went on with \(value)") }
        end.cancel()
        #expect(log == ["source cancelled", "went on with 0"])
    }

    // D9
    @Test func `cancelling reaches the Deferred that is waited for`() {
        var log: [String] = []
        let inner = Deferred<Int>(on: reactor) { _ in log.append("inner cancelled") }
        let source = Deferred<Void>(on: reactor) { _ in log.append("source cancelled") }
        let end = source.addCallback { inner.addCallback { $0 } }.addCallback { _ in }
        end.whenFailed { log.append("\(type(of: $0))") }
        source.succeed()
        source.cancel()
        #expect(log.isEmpty)
        end.cancel()
        #expect(log == ["inner cancelled", "CancellationError"])
    }

    @Test func `a callback cannot cancel the result that it computes`() {
        var seen: [Int] = []
        let source = Deferred<Int>(on: reactor)
        var link: Deferred<Int>?
        link = source.addCallback { value in
            link?.cancel()
            return value
        }
        link?.addCallback { seen.append($0) }
        source.succeed(1)
        #expect(seen == [1])
        link = nil
    }

    @Test func `the end of a chain whose source is gone can be cancelled`() {
        var failures: [any Error] = []
        var source: Deferred<Int>? = Deferred(on: reactor)
        let end = source?.addCallback { $0 + 1 }.addCallback { $0 + 1 }
        end?.whenFailed { failures.append($0) }
        source = nil
        #expect(failures.isEmpty)
        end?.cancel()
        #expect(failures.first is CancellationError)
    }

    @Test func `cancelling a result whose source is gone does nothing`() {
        var seen: [Int] = []
        let end = Deferred.succeeded(1, on: reactor).addCallback { $0 + 1 }
        for _ in 0..<100 { Deferred<Int>(on: reactor).cancel() }
        end.cancel()
        end.addCallback { seen.append($0) }
        #expect(seen == [2])
    }

    @Test func `a cancellation that nobody handled is not reported`() {
        let source = Deferred<Int>(on: reactor)
        source.addCallback { $0 + 1 }
        source.cancel()
        #expect(still.unhandled.isEmpty)
    }
}
