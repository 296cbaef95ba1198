// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct GatherResultsTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    // D13
    @Test func `values come in the order of the Deferreds`() {
        var seen: [[Int]] = []
        let members = (0..<3).map { _ in Deferred<Int>(on: reactor) }
        gatherResults(members, on: reactor).addCallback { seen.append($0) }
        members[2].succeed(2)
        members[0].succeed(0)
        #expect(seen.isEmpty)
        members[1].succeed(1)
        #expect(seen == [[0, 1, 2]])
    }

    // D13
    @Test func `none to wait for, and all there already, succeed at once`() {
        var seen: [[Int]] = []
        gatherResults([Deferred<Int>](), on: reactor).addCallback { seen.append($0) }
        let ready = [1, 2].map { Deferred.succeeded($0, on: reactor) }
        gatherResults(ready, on: reactor).addCallback { seen.append($0) }
        #expect(seen == [[], [1, 2]])
    }

    // D13
    @Test func `the first failure is that of the whole, and later results are dropped`() {
        var seen: [any Error] = []
        let members = (0..<3).map { _ in Deferred<Int>(on: reactor) }
        gatherResults(members, on: reactor).whenFailed { seen.append($0) }
        members[1].fail(Failed(number: 1))
        members[0].fail(Failed(number: 0))
        members[2].succeed(2)
        #expect(seen.map { $0 as? Failed } == [Failed(number: 1)])
        #expect(still.unhandled.isEmpty)
    }

    // D13
    @Test func `cancelling cancels what has no result yet`() {
        var cancelled: [Int] = []
        var seen: [any Error] = []
        let members = (0..<3).map { index in
            Deferred<Int>(on: reactor) { _ in cancelled.append(index) }
        }
        let all = gatherResults(members, on: reactor)
        all.whenFailed { seen.append($0) }
        members[1].succeed(1)
        // Whoever will fire a Deferred holds it; optimised code would release them here.
        withExtendedLifetime(members) { all.cancel() }
        #expect(cancelled == [0, 2])
        #expect(seen.count == 1)
        #expect(seen.first is CancellationError)
    }

    // D13
    @Test func `the first failure can cancel the others, before it is told`() {
        var log: [String] = []
        let members = (0..<3).map { index in
            Deferred<Int>(on: reactor) { _ in log.append("cancelled \(index)") }
        }
        gatherResults(members, on: reactor, atFirstFailure: .cancelOthers)
            .whenFailed { log.append("\($0)") }
        members[2].succeed(1)
        members[1].fail(Failed(number: 1))
        #expect(log == ["cancelled 0", "Failed(number: 1)"])
        #expect(still.unhandled.isEmpty)
    }

    @Test func `a failure that is there already cancels the others, the earlier and the later`() {
        var cancelled: [Int] = []
        var members = (0..<3).map { index in
            Deferred<Int>(on: reactor) { _ in cancelled.append(index) }
        }
        members[1] = .failed(Failed(), on: reactor)
        gatherResults(members, on: reactor, atFirstFailure: .cancelOthers).whenFailed { _ in }
        #expect(cancelled == [0, 2])
    }

    @Test(arguments: [true, false])
    func `nothing is left when the members are gone`(fires: Bool) {
        weak var whole: Deferred<[Int]>?
        do {
            let members = (0..<3).map { _ in Deferred<Int>(on: reactor) }
            let all = gatherResults(members, on: reactor)
            all.addCallback { _ in }
            whole = all
            if fires { for member in members { member.succeed(1) } }
        }
        #expect(whole == nil)
    }
}
