// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct AddCallbacksTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    @Test func `one of the two runs, and gives the result`() {
        var seen: [String] = []
        let good = Deferred<Int>(on: reactor)
        let bad = Deferred<Int>(on: reactor)
        for source in [good, bad] {
            source
                .addCallbacks {
                    "value \($0)"
                } onFailure: {
                    "error \($0)"
                }
                .addCallback { seen.append($0) }
        }
        good.succeed(1)
        bad.fail(Failed(number: 2))
        #expect(seen == ["value 1", "error Failed(number: 2)"])
    }

    @Test func `what the first throws does not reach the second`() {
        var seen: [Failed] = []
        Deferred.succeeded(1, on: reactor)
            .addCallbacks { _ throws -> Int in
                throw Failed(number: 1)
            } onFailure: { _ in
                Issue.record("not reached")
                return 0
            }
            .whenFailed { seen.append($0 as? Failed ?? Failed()) }
        #expect(seen == [Failed(number: 1)])
    }

    @Test func `a Deferred that either returns is waited for, and cancelling reaches it`() {
        var seen: [Int] = []
        let first = Deferred<Int>(on: reactor)
        let second = Deferred<Int>(on: reactor)
        let source = Deferred.succeeded((), on: reactor)
        let end =
            source
            .addCallbacks {
                first
            } onFailure: { _ in
                first
            }
            .addCallbacks { _ in
                second
            } onFailure: { _ in
                second
            }
        end.addBoth { seen.append((try? $0.get()) ?? -1) }
        first.fail(Failed())
        #expect(seen.isEmpty)
        #expect(second.isPending)
        second.cancel()
        #expect(seen == [-1])
    }

    @Test func `nothing is left of either when one has run`() {
        let census = Census()
        do {
            let resident = Resident(census)
            Deferred.succeeded((), on: reactor)
                .addCallbacks {
                    resident.touch()
                } onFailure: { _ in
                    resident.touch()
                }
        }
        #expect(census.living == 0)
    }
}
