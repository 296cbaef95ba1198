// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct MaybeDeferredTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    private func check(_ number: Int) throws -> Int {
        guard number > 0 else { throw Failed(number: number) }
        return number
    }

    @Test func `a value and an error that is thrown are results`() {
        var seen: [Int] = []
        var failures: [Failed] = []
        for number in [1, 0] {
            reactor.maybeDeferred { try check(number) }
                .addCallback { seen.append($0) }
                .whenFailed { failures.append($0 as? Failed ?? Failed(number: -1)) }
        }
        #expect(seen == [1])
        #expect(failures == [Failed(number: 0)])
    }

    @Test func `a Deferred is that Deferred, and an error before it is its failure`() {
        var seen: [Int] = []
        var failures = 0
        let inner = Deferred<Int>(on: reactor)
        for number in [1, 0] {
            reactor.maybeDeferred {
                _ = try check(number)
                return inner
            }
            .addCallback { seen.append($0) }
            .whenFailed { _ in failures += 1 }
        }
        #expect(failures == 1)
        #expect(seen.isEmpty)
        inner.succeed(3)
        #expect(seen == [3])
    }
}
