// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct DeferredListTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    /// Pending Deferreds, each of which notes that it was cancelled.
    final class Members {
        var cancelled: [Int] = []
        var all: [Deferred<Int>] = []

        init(_ count: Int, on reactor: Reactor) {
            all = (0..<count).map { index in
                Deferred<Int>(on: reactor) { [unowned self] _ in cancelled.append(index) }
            }
        }
    }

    /// What a result was: a value, `Failed`'s number negated, or 0 for a cancellation.
    private func number(_ result: Result<Int, any Error>) -> Int {
        do { return try result.get() } catch { return -((error as? Failed)?.number ?? 0) }
    }

    // MARK: All results

    // D13
    @Test func `all results come, in the order of the list, values and errors`() {
        var seen: [[Int]] = []
        let members = Members(3, on: reactor)
        DeferredList(members.all, on: reactor).results()
            .addCallback { seen.append($0.map(number)) }
        members.all[2].succeed(3)
        members.all[0].fail(Failed(number: 1))
        #expect(seen.isEmpty)
        members.all[1].succeed(2)
        #expect(seen == [[-1, 2, 3]])
        #expect(still.unhandled.isEmpty)
    }

    // D13
    @Test func `an empty list has all results, and all values, at once`() {
        var counts: [Int] = []
        let none = DeferredList<Int>([], on: reactor)
        none.results().addCallback { counts.append($0.count) }
        none.values().addCallback { counts.append($0.count) }
        #expect(counts == [0, 0])
    }

    // D13
    @Test func `cancelling cancels what has no result yet, and the rest is kept`() {
        var seen: [[Int]] = []
        let members = Members(3, on: reactor)
        let whole = DeferredList(members.all, on: reactor).results()
        whole.addCallback { seen.append($0.map(number)) }
        members.all[1].succeed(5)
        whole.cancel()
        #expect(members.cancelled == [0, 2])
        #expect(seen == [[0, 5, 0]])
    }

    @Test func `cancelling a member is a result like any other`() {
        var seen: [[Int]] = []
        let members = Members(2, on: reactor)
        DeferredList(members.all, on: reactor).results()
            .addCallback { seen.append($0.map(number)) }
        members.all[0].cancel()
        members.all[1].succeed(1)
        #expect(seen == [[0, 1]])
    }

    @Test func `cancelling with a paused member fails, and what comes later is dropped`() {
        var failures = 0
        let paused = Deferred<Int>(on: reactor)
        paused.pause()
        let whole = DeferredList([paused], on: reactor).results()
        whole.addErrback(of: CancellationError.self) { _ in
            failures += 1
            return []
        }
        whole.cancel()
        #expect(failures == 1)
        paused.resume()
        #expect(failures == 1)
    }

    // MARK: The first value

    // D13
    @Test func `the first value comes with its place, and the others run on`() {
        var seen: [Int] = []
        let members = Members(3, on: reactor)
        let whole = DeferredList(members.all, on: reactor).firstValue()
        whole.addCallback { index, value in seen += [index, value] }
        members.all[0].fail(Failed())
        members.all[2].succeed(7)
        #expect(seen == [2, 7])
        #expect(members.all[1].isPending)
        members.all[1].succeed(8)
        whole.cancel()
        #expect(seen == [2, 7])
        #expect(members.cancelled.isEmpty)
    }

    // D13
    @Test func `if all fail, or there is none, the first value is a FailureGroup`() {
        var groups: [FailureGroup] = []
        let members = Members(2, on: reactor)
        for list in [members.all, []] {
            DeferredList(list, on: reactor).firstValue()
                .whenFailed { groups.append(try #require($0 as? FailureGroup)) }
        }
        #expect(groups.count == 1)
        members.all[1].fail(Failed(number: 2))
        members.all[0].fail(Failed(number: 1))
        #expect(groups.count == 2)
        #expect(groups.first?.errors.isEmpty == true)
        #expect(groups.last?.errors.compactMap { ($0 as? Failed)?.number } == [1, 2])
    }

    @Test func `cancelling before the first value is a cancellation`() {
        var seen: [any Error] = []
        let members = Members(2, on: reactor)
        let whole = DeferredList(members.all, on: reactor).firstValue()
        whole.whenFailed { seen.append($0) }
        whole.cancel()
        #expect(members.cancelled == [0, 1])
        #expect(seen.count == 1)
        #expect(seen.first is CancellationError)
    }

    @Test func `a canceller that gives a value wins`() {
        var seen: [Int] = []
        let first = Deferred<Int>(on: reactor)
        let second = Deferred<Int>(on: reactor) { $0.succeed(4) }
        let whole = DeferredList([first, second], on: reactor).firstValue()
        whole.addCallback { index, value in seen += [index, value] }
        whole.cancel()
        #expect(seen == [1, 4])
    }

    // MARK: All values

    // D13
    @Test func `the first failure comes with its place, and a cancellation as it is`() {
        var seen: [any Error] = []
        for number in [1, 0] {
            let members = Members(2, on: reactor)
            DeferredList(members.all, on: reactor).values().whenFailed { seen.append($0) }
            if number > 0 {
                members.all[1].fail(Failed(number: 1))
            } else {
                members.all[1].cancel()
            }
            members.all[0].fail(Failed(number: 9))
        }
        let failure = seen.first as? FirstFailure
        #expect(failure?.index == 1)
        #expect(failure?.error as? Failed == Failed(number: 1))
        #expect(seen.count == 2)
        #expect(seen.last is CancellationError)
        #expect(still.unhandled.isEmpty)
    }

    // MARK: What is left

    @Test(arguments: ["fired", "gone", "cancelled", "half"])
    func `nothing is left of a list`(end: String) {
        let census = Census()
        do {
            let members = (0..<3).map { _ in
                let resident = Resident(census)
                return Deferred<Resident>(on: reactor) { _ in resident.touch() }
            }
            let resident = Resident(census)
            let whole = DeferredList(members, on: reactor).results()
            whole.addCallback { _ in resident.touch() }
            switch end {
            case "fired": for member in members { member.succeed(Resident(census)) }
            case "cancelled": withExtendedLifetime(members) { whole.cancel() }
            case "half": members[1].succeed(Resident(census))
            default: break
            }
        }
        #expect(census.living == 0)
    }
}
