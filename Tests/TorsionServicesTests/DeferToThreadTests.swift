// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Synchronization
import Testing
import TorsionCore

@testable import TorsionServices

struct Mishap: Error, Equatable {
    var number = 0
}

@Suite struct DeferToThreadTests {
    // R9
    @Test(arguments: hosts)
    func `work runs on other threads, and its results arrive on the reactor`(host: String) throws {
        var seen: [Int] = []
        try run(host) { reactor in
            let handle = reactor.remote
            let results = (0..<20).map { number in
                reactor.deferToThread { () throws -> Int in
                    // On the reactor's own thread this would throw.
                    let isRunning = try handle.blockingCallFromThread { $0.isRunning }
                    guard isRunning, number != 7 else { throw Mishap(number: -number) }
                    return number
                }
            }
            DeferredList(results, on: reactor).results().addCallback { results in
                // On another thread the reactor would trap.
                reactor.stop()
                seen = results.map { result in
                    do { return try result.get() } catch { return (error as? Mishap)?.number ?? 99 }
                }
            }
        }
        #expect(seen == (0..<20).map { $0 == 7 ? -7 : $0 })
    }

    @Test func `no more threads work at a time than the limit says, and as many can`() throws {
        let running = Atomic(0)
        let most = Atomic(0)
        let meeting = NativeSemaphore()
        try run("libuv") { reactor in
            try reactor.threads.limit = 2
            let results = (0..<40).map { number in
                reactor.deferToThread {
                    let count = running.wrappingAdd(1, ordering: .relaxed).newValue
                    most.max(count, ordering: .relaxed)
                    // The first two meet, so there are two.
                    if number == 0 { meeting.wait() }
                    if number == 1 { meeting.signal() }
                    running.wrappingSubtract(1, ordering: .relaxed)
                }
            }
            gatherResults(results, on: reactor).addBoth { _ in reactor.stop() }
        }
        #expect(most.load(ordering: .relaxed) == 2)
    }

    @Test func `work that is cancelled before it begins never begins, later its result is dropped`()
        throws
    {
        let hasBegun = NativeSemaphore()
        let blocked = NativeSemaphore()
        let begun = Lock<[Int]>([])
        var log: [String] = []
        try run("epoll") { reactor in
            try reactor.threads.limit = 1
            let works = (0..<3).map { number in
                reactor.deferToThread {
                    begun.withLock { $0.append(number) }
                    guard number == 0 else { return }
                    hasBegun.signal()
                    blocked.wait()
                }
            }
            for (number, work) in works.enumerated() {
                work.addCallbacks {
                    log.append("\(number) done")
                } onFailure: {
                    log.append("\(number) \(type(of: $0))")
                }
                .addCallback { if number == 2 { reactor.stop() } }
            }
            hasBegun.wait()
            works[0].cancel()
            works[1].cancel()
            blocked.signal()
        }
        #expect(log == ["0 CancellationError", "1 CancellationError", "2 done"])
        #expect(begun.withLock { $0 } == [0, 2])
    }

    @Test(arguments: hosts)
    func `a stop waits for what has begun, and joins the threads`(host: String) throws {
        final class Held: Sendable {}
        weak var held: Held?
        var log: [String] = []
        let reactor = try makeReactor(host)
        for round in 1...2 {
            try reactor.run(signals: .ignore) { reactor in
                let object = Held()
                held = object
                let begun = NativeSemaphore()
                let handle = reactor.remote
                reactor.deferToThread {
                    // The reactor answers although it is stopping.
                    _ = try handle.blockingCallFromThread { $0.stop(within: .zero) }
                    begun.wait()
                    _ = try handle.blockingCallFromThread { $0.isRunning }
                    return withExtendedLifetime(object) { round }
                }
                .addCallback { log.append("round \($0)") }
                reactor.addTrigger(.during, .shutdown) { begun.signal() }
            }
            #expect(held == nil)
        }
        #expect(log == ["round 1", "round 2"])
        #expect(reactor.statistics.openHandles == 0)
    }

    @Test func `without gracePeriod what has not begun does not begin, and fails`() throws {
        let begun = Atomic(0)
        var failures: [any Error] = []
        try run("libuv") { reactor in
            try reactor.threads.limit = 1
            let blocked = NativeSemaphore()
            for _ in 0..<10 {
                reactor.deferToThread {
                    begun.wrappingAdd(1, ordering: .relaxed)
                    blocked.wait()
                }
                .whenFailed { failures.append($0) }
            }
            reactor.addTrigger(.after, .shutdown) {
                reactor.deferToThread {}.whenFailed { failures.append($0) }
            }
            // In stopping, when no further work begins.
            reactor.addTrigger(.during, .shutdown) {
                reactor.callLater(.milliseconds(1)) { blocked.signal() }
            }
            reactor.stop(within: .zero)
        }
        #expect(begun.load(ordering: .relaxed) <= 1)
        #expect(failures.count >= 10)
        #expect(failures.allSatisfy { $0 is ReactorStopped })
    }

    @Test func `a reactor turned by hand waits for its threads when it is shut down`() throws {
        let reactor = try makeReactor("epoll")
        var seen: [Int] = []
        let handle = reactor.remote
        reactor.deferToThread {
            // Refused or answered, but never waited for in vain.
            _ = try? handle.blockingCallFromThread { $0.isRunning }
            return 5
        }
        .addCallbacks {
            seen.append($0)
        } onFailure: { _ in
            seen.append(0)
        }
        reactor.shutDown()
        #expect(seen.count == 1)
        #expect(reactor.statistics.openHandles == 0)
    }

    @Test func `what a call in a thread throws is reported, with the place`() throws {
        var reports: [String] = []
        let reactor = try makeReactor("libuv")
        reactor.unhandledError = { reports.append("\($0.place ?? "") \($0.error)") }
        try reactor.run(signals: .ignore) { reactor in
            reactor.callInThread(file: "Here.swift", line: 4) { throw Mishap(number: 1) }
            reactor.deferToThread {}.addBoth { _ in reactor.stop() }
        }
        #expect(reports == ["Here.swift:4 Mishap(number: 1)"])
    }
}
