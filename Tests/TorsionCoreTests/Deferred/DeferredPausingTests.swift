// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct DeferredPausingTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    // D6
    @Test func `a paused Deferred keeps its result until it is resumed as often`() {
        var seen: [Int] = []
        let source = Deferred<Int>(on: reactor)
        source.addCallback { seen.append($0) }
        source.pause()
        source.pause()
        source.succeed(1)
        source.resume()
        #expect(seen.isEmpty)
        source.resume()
        #expect(seen == [1])
    }

    @Test func `a callback added to a paused Deferred with a result waits too`() {
        var seen: [Int] = []
        let source = Deferred.succeeded(1, on: reactor)
        source.pause()
        source.addCallback { seen.append($0) }
        #expect(seen.isEmpty)
        source.resume()
        #expect(seen == [1])
    }

    // D6
    @Test func `pausing in the middle of a chain lets what is before it run`() {
        var log: [String] = []
        let source = Deferred<Void>(on: reactor)
        let middle = source.addCallback { log.append("before") }
        middle.addCallback { log.append("after") }
        middle.pause()
        source.succeed()
        #expect(log == ["before"])
        middle.resume()
        #expect(log == ["before", "after"])
    }

    // D6
    @Test func `whoever waits for a paused Deferred waits until it is resumed`() {
        var seen: [Int] = []
        let inner = Deferred.succeeded(1, on: reactor)
        inner.pause()
        Deferred.succeeded((), on: reactor)
            .addCallback { inner }
            .addCallback { seen.append($0) }
        #expect(seen.isEmpty)
        inner.resume()
        #expect(seen == [1])
    }

    @Test func `cancelling what is paused keeps the cancellation until it is resumed`() {
        var log: [String] = []
        let source = Deferred<Int>(on: reactor) { _ in log.append("cancelled") }
        source.pause()
        source.whenFailed { log.append("\(type(of: $0))") }
        source.cancel()
        #expect(log == ["cancelled"])
        source.resume()
        #expect(log == ["cancelled", "CancellationError"])
    }

    @Test func `a callback may pause its own result`() {
        var log: [String] = []
        let source = Deferred<Void>(on: reactor)
        var link: Deferred<Void>?
        link = source.addCallback {
            link?.pause()
            log.append("first")
        }
        link?.addCallback { log.append("second") }
        source.succeed()
        #expect(log == ["first"])
        link?.resume()
        #expect(log == ["first", "second"])
        link = nil
    }
}
