// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Synchronization
import Testing

@testable import TorsionCore

/// Awaiting Deferreds, and Deferreds of async code.
@Suite struct AwaitTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    private func turn(_ count: Int = 2) {
        for _ in 0..<count { reactor.turn(until: reactor.now) }
    }

    @Test func `a result is awaited, whether it is there or comes later`() {
        let later = Deferred<Int>(on: reactor)
        let ready = Deferred.succeeded(1, on: reactor)
        var results: [Int] = []
        let sum = reactor.spawn { () -> Int in
            let first = try await ready.value
            results.append(first)
            let second = try await later.value
            results.append(second)
            return first + second
        }
        sum.addCallback { results.append($0) }
        turn()
        #expect(results == [1])
        later.succeed(2)
        turn()
        #expect(results == [1, 2, 3])
    }

    @Test
    func `a failure is thrown where it is awaited, and what a task throws fails its Deferred`() {
        let failing = Deferred<Int>(on: reactor)
        var caught: [Failed] = []
        reactor.spawn { _ = try await failing.value }
            .addErrback(of: Failed.self) { caught.append($0) }
        turn()
        failing.fail(Failed(number: 4))
        turn()
        #expect(caught == [Failed(number: 4)])
        reactor.spawn { throw Failed(number: 5) }
        turn()
        #expect(still.unhandled.count == 1)
        #expect(still.unhandled.first?.place?.contains("AwaitTests") == true)
    }

    // D5
    @Test func `awaiting a hundred thousand ready values keeps the stack flat`() {
        let reactor = reactor
        var sum = 0
        var deepest = UInt.max
        var highest: UInt = 0
        reactor.spawn {
            for number in 0..<100_000 {
                sum += try await Deferred.succeeded(number, on: reactor).value
                let here = stackAddress()
                deepest = min(deepest, here)
                highest = max(highest, here)
            }
        }
        turn()
        #expect(sum == 4_999_950_000)
        // The address sanitizer keeps what a function's locals point to elsewhere. There the stack
        // itself is the check: a hundred thousand frames overflow it.
        let isElsewhere = dlsym(nil, "__asan_init") != nil
        #expect(isElsewhere || highest - deepest < 4_096)
    }

    // D15
    @Test func `cancelling a task cancels the Deferred that it awaits, and that may be caught`() {
        var isCancelled = false
        let reactor = reactor
        let slow = Deferred<Int>(on: reactor) { _ in isCancelled = true }
        let task = reactor.spawn { () -> String in
            do {
                return "\(try await slow.value)"
            } catch is CancellationError {
                return try await Deferred.succeeded("caught", on: reactor).value
            }
        }
        var result = ""
        let end = task.addCallback { result = $0 }
        turn()
        end.cancel()
        turn()
        #expect(isCancelled && result == "caught")
    }

    @Test func `a canceller that gives a value ends the wait with it`() {
        let slow = Deferred<Int>(on: reactor) { $0.succeed(7) }
        var result = 0
        let task = reactor.spawn { result = try await slow.value }
        turn()
        task.cancel()
        turn()
        #expect(result == 7)
    }

    @Test func `cancelling the Deferred throws where it is awaited`() {
        let slow = Deferred<Int>(on: reactor)
        var caught = 0
        reactor.spawn {
            do { _ = try await slow.value } catch is CancellationError { caught += 1 }
        }
        turn()
        slow.cancel()
        turn()
        #expect(caught == 1)
        // The late result of a Deferred without a canceller is dropped.
        slow.succeed(1)
    }

    @Test func `cancelling goes through tasks that await one another`() {
        let reactor = reactor
        let innermost = Deferred<Void>(on: reactor)
        let inner = reactor.spawn { try await innermost.value }
        let outer = reactor.spawn { try await inner.value }
        var outcome: Result<Void, any Error>?
        outer.addBoth { outcome = $0 }
        turn()
        outer.cancel()
        turn(4)
        #expect(throws: CancellationError.self) { try outcome?.get() }
        #expect(!innermost.isPending && reactor.statistics.tasks == 0)
    }

    @Test func `a task that is cancelled already cancels what it begins to await`() {
        let reactor = reactor
        var wasCancelled = false
        let task = reactor.spawn {
            await reactor.yield()
            try await Deferred<Void>(on: reactor) { _ in wasCancelled = true }.value
        }
        task.cancel()
        turn(4)
        #expect(wasCancelled && reactor.statistics.tasks == 0)
    }

    @Test func `a Deferred that is released unfired fails whoever awaits it`() {
        var source: Deferred<Int>? = Deferred(on: reactor)
        let end = source!.addCallback { $0 + 1 }
        var caught = false
        reactor.spawn {
            do { _ = try await end.value } catch is DeferredAbandoned { caught = true }
        }
        turn()
        #expect(!caught)
        source = nil
        turn()
        #expect(caught)
        withExtendedLifetime(end) {}
    }

    @Test func `the end of a reactor fails every wait, also one that begins then`() {
        let reactor = reactor
        var ends: [String] = []
        for number in 0..<3 {
            reactor.spawn {
                for _ in 0..<3 {
                    do {
                        try await Deferred<Void>(on: reactor).value
                    } catch is ReactorStopped {
                        ends.append("\(number)")
                    }
                }
            }
        }
        turn()
        #expect(reactor.statistics.suspendedTasks == 3)
        reactor.shutDown()
        #expect(ends.sorted() == ["0", "0", "0", "1", "1", "1", "2", "2", "2"])
        #expect(reactor.statistics.suspendedTasks == 0 && reactor.statistics.tasks == 0)
        #expect(still.unhandled.isEmpty)
    }

    @Test func `a task that never gives up does not keep the reactor from ending`() {
        let reactor = reactor
        let flag = Flag()
        let task = reactor.spawn { while !flag.isSet { await Task.yield() } }
        var error: (any Error)?
        task.whenFailed { error = $0 }
        turn()
        reactor.shutDown()
        #expect(error is ReactorStopped)
        // It goes on elsewhere until it ends by itself.
        flag.set()
    }

    @Test func `nothing is left of tasks that ended`() {
        let census = Census()
        let reactor = reactor
        for _ in 0..<10 {
            let resident = Resident(census)
            let pause = Deferred<Void>(on: reactor)
            let task = reactor.spawn { () -> Resident in
                resident.touch()
                try await pause.value
                return resident
            }
            turn()
            pause.succeed()
            turn()
            #expect(!task.isPending)
        }
        #expect(census.living == 0)
    }

    @Test func `a Deferred of a task that runs elsewhere arrives on the reactor, and cancels it`()
        async
    {
        let reactor = reactor
        let task = Task.detached { 5 }
        let deferred = Deferred(awaiting: task, on: reactor)
        var result = 0
        let end = deferred.addCallback { result = $0 }
        while end.isPending {
            reactor.turn(until: reactor.now)
            await Task.yield()
        }
        #expect(result == 5)
        let endless = Task.detached { try await Task.sleep(for: .seconds(3_600)) }
        let other = Deferred(awaiting: endless, on: reactor)
        reactor.turn(until: reactor.now)
        var outcome: Result<Void, any Error>?
        other.addBoth { outcome = $0 }.cancel()
        while outcome == nil {
            reactor.turn(until: reactor.now)
            await Task.yield()
        }
        #expect(throws: CancellationError.self) { try outcome?.get() }
    }
}

/// What one thread sets and another sees.
private final class Flag: Sendable {
    private let value = Atomic(false)

    var isSet: Bool { value.load(ordering: .relaxed) }

    func set() { value.store(true, ordering: .relaxed) }
}

/// About where the stack ends.
@inline(never)
private func stackAddress() -> UInt {
    var here: UInt8 = 0
    return withUnsafePointer(to: &here) { UInt(bitPattern: $0) }
}
