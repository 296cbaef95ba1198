// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

/// A callback that returns a Deferred is waited for, whichever verb follows.
///
/// Each chain here would also compile, or nearly, if it were not: the type checker chooses the
/// overloads of a whole chain at once. And each closure is one that it must accept as it is.
struct AddCallbackOverloadTests {
    let still = StillReactor()
    let inner: Deferred<String>
    let source: Deferred<Int>

    init() {
        inner = Deferred(on: still.reactor)
        source = Deferred.succeeded(1, on: still.reactor)
    }

    private func greet(_ number: Int) -> Deferred<String> { inner }
    private func log(_ error: any Error) {}

    /// `inner` was hung behind something: it takes no second callback, it was not just a value.
    private func expectWaiting(_ end: AnyDeferred) {
        #expect(end.isPending)
        inner.succeed("answer")
        #expect(!end.isPending)
    }

    @Test func `with nothing behind it`() {
        expectWaiting(source.addCallback { greet($0) })
    }

    @Test func `in a closure of several statements`() {
        expectWaiting(
            source.addCallback { number in
                guard number > 0 else { throw Failed() }
                return greet(number)
            })
    }

    @Test func `in a closure that chooses`() {
        expectWaiting(source.addCallback { if $0 > 1 { greet(1) } else { greet(2) } })
    }

    @Test func `given as a function`() {
        expectWaiting(source.addCallback(greet))
    }

    @Test func `before whenFailed`() {
        var failures = 0
        source.addCallback { greet($0) }.whenFailed { _ in failures += 1 }
        inner.fail(Failed())
        #expect(failures == 1)
    }

    @Test func `before an errback that reports and recovers`() {
        expectWaiting(
            source.addCallback { greet($0) }.addErrback { error in
                log(error)
                return "nobody"
            })
    }

    @Test func `before an errback that returns a Deferred`() {
        expectWaiting(source.addCallback { greet($0) }.addErrback { _ in greet(0) })
    }

    @Test func `before an errback that only throws`() {
        expectWaiting(source.addCallback { greet($0) }.addErrback { error in throw error })
    }

    @Test func `before an errback for one type`() {
        expectWaiting(source.addCallback { greet($0) }.addErrback(of: Failed.self) { _ in "x" })
    }

    @Test func `before a callback that ignores its value`() {
        expectWaiting(source.addCallback { greet($0) }.addCallback { _ in })
    }

    @Test func `before a callback that prints its value`() {
        var seen: [Any] = []
        expectWaiting(source.addCallback { greet($0) }.addCallback { seen.append($0) })
        #expect(seen as? [String] == ["answer"])
    }

    @Test func `before addBoth`() {
        expectWaiting(source.addCallback { greet($0) }.addBoth { _ in })
    }

    @Test func `before a timeout`() {
        expectWaiting(source.addCallback { greet($0) }.addTimeout(.seconds(5)).addCallback { _ in })
    }

    @Test func `and an errback on a Deferred without a value may just report`() {
        var reports = 0
        Deferred<Void>.failed(Failed(), on: still.reactor).addErrback { _ in reports += 1 }
        #expect(reports == 1)
    }

    @Test func `closures of several statements without a return give no value`() {
        var count = 0
        let end: Deferred<Void>? = Deferred.succeeded((), on: still.reactor)
            .addCallback {
                count += 1
                count += 1
            }
            .addErrback { error in
                log(error)
                log(error)
            }
            .addBoth { _ in
                count += 1
                count += 1
            }
            .addCallback {
                count += 1
                count += 1
            }
        #expect(end?.isPending == false)
        #expect(count == 6)
    }
}
