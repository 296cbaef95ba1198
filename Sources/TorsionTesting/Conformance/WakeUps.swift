// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Synchronization
@_spi(Backend) internal import TorsionCore

extension ConformanceSuite {
    static let wakeUps = [
        inOrder, burst, beforeTurning, threadCallErrors, remoteObjects, wakesAWait,
    ]

    // R4
    static let inOrder = Check("calls from eight threads run in the order of each, never inline") {
        backend in
        let world = try World(backend)
        let handle = world.reactor.remote
        let seen = Lock([[Int]](repeating: [], count: 8))
        let threads = (0..<8).map { thread in
            Thread {
                for number in 0..<500 {
                    handle.callFromThread { _ in seen.withLock { $0[thread].append(number) } }
                }
            }
        }
        world.runWithoutLimit { seen.withLock { $0.allSatisfy { $0.count == 500 } } }
        threads.forEach { $0.join() }
        try expect(seen.withLock { $0.allSatisfy { $0 == Array(0..<500) } }, "out of order")
        try world.finish()
    }

    // R4
    static let burst = Check("ten thousand calls in a burst are all run") { backend in
        let world = try World(backend)
        let handle = world.reactor.remote
        let count = Atomic(0)
        for _ in 0..<10_000 {
            try expect(handle.callFromThread { _ in count.wrappingAdd(1, ordering: .relaxed) })
        }
        try expectEqual(count.load(ordering: .relaxed), 0)
        try world.run { count.load(ordering: .relaxed) == 10_000 }
        try world.finish()
    }

    // R4
    static let beforeTurning = Check("a call made before the first turn runs in it") { backend in
        let world = try World(backend)
        let hasRun = Atomic(false)
        let handle = world.reactor.remote
        Thread { handle.callFromThread { _ in hasRun.store(true, ordering: .releasing) } }.join()
        try world.run { hasRun.load(ordering: .acquiring) }
        try world.finish()
    }

    // R8
    static let threadCallErrors = Check(
        "an error in a call from a thread is reported, and the rest go on"
    ) { backend in
        let world = try World(backend)
        var seen: [UnhandledError] = []
        world.reactor.unhandledError = { seen.append($0) }
        let hasRun = Atomic(false)
        let handle = world.reactor.remote
        Thread {
            handle.callFromThread { _ in throw Mishap() }
            handle.callFromThread { _ in hasRun.store(true, ordering: .releasing) }
        }.join()
        try world.run { hasRun.load(ordering: .acquiring) }
        try expect(seen.count == 1 && seen[0].error is Mishap, "\(seen)")
        try world.finish()
    }

    static let remoteObjects = Check(
        "a remote object is kept by its handle, and released on the reactor"
    ) {
        backend in
        let world = try World(backend)
        let released = Lock<UInt>(0)
        final class Held {
            let onEnd: () -> Void
            init(_ onEnd: @escaping () -> Void) { self.onEnd = onEnd }
            deinit { onEnd() }
        }
        var handle: Remote<Held>? = world.reactor.remote(
            to: Held { released.withLock { $0 = Thread.current } })
        let calls = Atomic(0)
        let sent = handle!
        handle = nil
        let thread = Thread {
            sent.callFromThread { _ in calls.wrappingAdd(1, ordering: .relaxed) }
        }
        world.runWithoutLimit { calls.load(ordering: .relaxed) == 1 }
        thread.join()
        try expectEqual(released.withLock { $0 }, 0)
        _ = consume sent
        try world.run { released.withLock { $0 } != 0 }
        try expectEqual(released.withLock { $0 }, Thread.current)
        try world.finish()
    }

    static let wakesAWait = Check("a call from a thread ends a wait without limit") { backend in
        let world = try World(backend)
        let hasRun = Atomic(false)
        let handle = world.reactor.remote
        let thread = Thread {
            handle.callFromThread { _ in hasRun.store(true, ordering: .releasing) }
        }
        world.runWithoutLimit { hasRun.load(ordering: .acquiring) }
        thread.join()
        try world.finish()
    }
}
