// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct DeferredTimeoutTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    /// What came out at the end of a chain.
    final class Outcome {
        var values: [Int] = []
        var errors: [any Error] = []

        func watch(_ deferred: Deferred<Int>) {
            deferred.addBoth { [self] result in
                switch result {
                case .success(let value): values.append(value)
                case .failure(let error): errors.append(error)
                }
            }
        }
    }

    // D11
    @Test func `a result in time goes through, and the timer is gone`() {
        let outcome = Outcome()
        let source = Deferred<Int>(on: reactor)
        outcome.watch(source.addTimeout(.seconds(5)))
        #expect(reactor.statistics.delayedCalls == 1)
        still.advance(by: .seconds(4))
        source.succeed(1)
        #expect(outcome.values == [1])
        #expect(reactor.statistics.delayedCalls == 0)
    }

    // D11
    @Test func `a failure in time goes through, and the timer is gone`() {
        let outcome = Outcome()
        let source = Deferred<Int>(on: reactor)
        outcome.watch(source.addTimeout(.seconds(5)))
        source.fail(Failed())
        #expect(outcome.errors.first is Failed)
        #expect(reactor.statistics.delayedCalls == 0)
    }

    @Test func `a result that is there already needs no timer`() {
        Deferred.succeeded(1, on: reactor).addTimeout(.seconds(5))
        #expect(reactor.statistics.delayedCalls == 0)
    }

    // D11
    @Test func `too late is a TimeoutError, and the work is cancelled`() {
        let outcome = Outcome()
        var cancelled = 0
        let source = Deferred<Int>(on: reactor) { _ in cancelled += 1 }
        outcome.watch(source.addTimeout(.seconds(5)))
        still.advance(by: .seconds(5))
        #expect(outcome.errors.first as? TimeoutError == TimeoutError(limit: .seconds(5)))
        #expect(cancelled == 1)
    }

    // D11
    @Test func `what a canceller gives at the timeout goes through as it is`() {
        let values = Outcome()
        let errors = Outcome()
        let one = Deferred<Int>(on: reactor) { $0.succeed(7) }
        let other = Deferred<Int>(on: reactor) { $0.fail(Failed(number: 7)) }
        values.watch(one.addTimeout(.seconds(1)))
        errors.watch(other.addTimeout(.seconds(1)))
        still.advance(by: .seconds(1))
        #expect(values.values == [7])
        #expect(errors.errors.first as? Failed == Failed(number: 7))
    }

    // D11
    @Test func `a cancellation by somebody else stays one`() {
        let outcome = Outcome()
        let source = Deferred<Int>(on: reactor)
        outcome.watch(source.addTimeout(.seconds(5)))
        source.cancel()
        #expect(outcome.errors.first is CancellationError)
        #expect(reactor.statistics.delayedCalls == 0)
    }

    // D11
    @Test(arguments: [(1, 5), (5, 1)])
    func `of two timeouts the shorter one is told`(inner: Int, outer: Int) {
        let outcome = Outcome()
        let source = Deferred<Int>(on: reactor)
        outcome.watch(
            source.addTimeout(.seconds(inner)).addCallback { $0 }.addTimeout(.seconds(outer)))
        still.advance(by: .seconds(10))
        #expect(outcome.errors.first as? TimeoutError == TimeoutError(limit: .seconds(1)))
        #expect(outcome.errors.count == 1)
        #expect(reactor.statistics.delayedCalls == 0)
    }

    @Test func `a timeout cancels the Deferred that a callback returned`() {
        let outcome = Outcome()
        let inner = Deferred<Int>(on: reactor)
        let source = Deferred<Void>(on: reactor)
        outcome.watch(source.addCallback { inner }.addTimeout(.seconds(2)))
        source.succeed()
        still.advance(by: .seconds(2))
        #expect(outcome.errors.first is TimeoutError)
        inner.succeed(1)
    }

    @Test func `a timeout says so for a chain whose source is gone`() {
        let outcome = Outcome()
        outcome.watch(Deferred<Int>(on: reactor).addTimeout(.seconds(2)))
        still.advance(by: .seconds(2))
        #expect(outcome.errors.first is TimeoutError)
    }

    @Test func `what is added behind a timeout has no limit`() {
        let outcome = Outcome()
        let later = Deferred<Int>(on: reactor)
        let source = Deferred<Int>(on: reactor)
        outcome.watch(source.addTimeout(.seconds(1)).addCallback { _ in later })
        source.succeed(1)
        still.advance(by: .seconds(100))
        later.succeed(2)
        #expect(outcome.values == [2])
    }
}
