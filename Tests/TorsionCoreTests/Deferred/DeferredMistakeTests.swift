// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

/// What only the caller can have done wrong stops the program, and names the place.
struct DeferredMistakeTests {
    private func expectPlace(_ result: ExitTest.Result?) {
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("Here.swift:41"), "\(text)")
    }

    // D1
    @Test func `firing twice traps`() async {
        expectPlace(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let still = StillReactor()
                let source = Deferred<Int>(on: still.reactor, file: "Here.swift", line: 41)
                source.succeed(1)
                source.fail(Failed())
            })
    }

    // D7
    @Test func `a second late result after cancelling traps`() async {
        expectPlace(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let still = StillReactor()
                let source = Deferred<Int>(on: still.reactor, file: "Here.swift", line: 41)
                source.cancel()
                source.succeed(1)
                source.succeed(2)
            })
    }

    // D8
    @Test func `a late result after a canceller traps`() async {
        expectPlace(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let still = StillReactor()
                let source = Deferred<Int>(on: still.reactor, file: "Here.swift", line: 41) { _ in }
                source.cancel()
                source.succeed(1)
            })
    }

    @Test func `a second callback on one Deferred traps`() async {
        expectPlace(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let still = StillReactor()
                let source = Deferred<Int>(on: still.reactor, file: "Here.swift", line: 41)
                source.addCallback { $0 }
                source.addCallback { $0 }
            })
    }

    @Test func `a second callback traps after the first has run, too`() async {
        expectPlace(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let still = StillReactor()
                let source = Deferred<Int>.succeeded(
                    1, on: still.reactor, file: "Here.swift", line: 41)
                source.addCallback { $0 }
                source.addCallback { $0 }
            })
    }

    @Test func `firing the result of a callback traps`() async {
        expectPlace(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let still = StillReactor()
                let source = Deferred<Int>(on: still.reactor)
                source.addCallback(file: "Here.swift", line: 41) { $0 }.succeed(1)
            })
    }

    @Test func `resuming what is not paused traps`() async {
        expectPlace(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let still = StillReactor()
                Deferred<Int>(on: still.reactor, file: "Here.swift", line: 41).resume()
            })
    }

    @Test func `returning the Deferred of one's own result traps`() async {
        expectPlace(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let still = StillReactor()
                let source = Deferred<Int>(on: still.reactor)
                var link: Deferred<Int>?
                link = source.addCallback(file: "Here.swift", line: 41) { value in
                    link ?? Deferred.succeeded(value, on: still.reactor)
                }
                source.succeed(1)
            })
    }

    @Test func `returning a Deferred of another reactor traps`() async {
        expectPlace(
            await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
                let still = StillReactor()
                let other = StillReactor()
                let foreign = Deferred<Int>(on: other.reactor, file: "Here.swift", line: 41)
                Deferred.succeeded((), on: still.reactor).addCallback { foreign }
            })
    }
}
