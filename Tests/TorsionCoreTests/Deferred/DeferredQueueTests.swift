// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

struct DeferredQueueTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    // D14
    @Test func `elements leave in the order in which they came`() throws {
        var seen: [Int] = []
        let queue = DeferredQueue<Int>(limit: 3, on: reactor)
        for number in 1...3 { try queue.put(number) }
        #expect(queue.count == 3)
        for _ in 1...3 { queue.get().addCallback { seen.append($0) } }
        #expect(seen == [1, 2, 3])
    }

    // D14
    @Test func `elements go to takers in the order in which they asked`() throws {
        var log: [String] = []
        let queue = DeferredQueue<Int>(limit: 3, on: reactor)
        for name in ["a", "b"] { queue.get().addCallback { log.append("\(name) \($0)") } }
        #expect(queue.waitingCount == 2)
        for number in 1...3 { try queue.put(number) }
        #expect(log == ["a 1", "b 2"])
        #expect(queue.count == 1)
    }

    @Test func `who asks again when it is served waits behind the others`() throws {
        var log: [String] = []
        let queue = DeferredQueue<Int>(limit: 0, on: reactor)
        queue.get().addCallback { number in
            log.append("a \(number)")
            queue.get().addCallback { log.append("a again \($0)") }
        }
        queue.get().addCallback { log.append("b \($0)") }
        for number in 1...3 { try queue.put(number) }
        #expect(log == ["a 1", "b 2", "a again 3"])
    }

    // D14
    @Test func `too many elements are an overflow, and are not kept`() throws {
        var seen: [Int] = []
        let queue = DeferredQueue<Int>(limit: 1, on: reactor)
        try queue.put(1)
        #expect(throws: QueueOverflow(limit: 1)) { try queue.put(2) }
        queue.get().addCallback { seen.append($0) }
        try queue.put(3)
        queue.get().addCallback { seen.append($0) }
        #expect(seen == [1, 3])
    }

    // D14
    @Test func `too many who wait are an underflow, and do not wait`() throws {
        var failures: [any Error] = []
        var seen: [Int] = []
        let queue = DeferredQueue<Int>(limit: 1, waitingLimit: 1, on: reactor)
        queue.get().addCallback { seen.append($0) }
        queue.get().whenFailed { failures.append($0) }
        #expect(failures.first as? QueueUnderflow == QueueUnderflow(waitingLimit: 1))
        try queue.put(1)
        #expect(seen == [1])
    }

    // D14
    @Test func `who is cancelled leaves the line, and loses no element`() throws {
        var log: [String] = []
        let queue = DeferredQueue<Int>(limit: 1, on: reactor)
        let first = queue.get()
        first.whenFailed { log.append("\(type(of: $0))") }
        queue.get().addCallback { log.append("second \($0)") }
        first.cancel()
        #expect(queue.waitingCount == 1)
        try queue.put(1)
        #expect(log == ["CancellationError", "second 1"])
    }

    @Test func `nothing is left of a queue with elements, or with a line`() throws {
        let census = Census()
        do {
            let full = DeferredQueue<Resident>(limit: 2, on: reactor)
            try full.put(Resident(census))
            let empty = DeferredQueue<Resident>(limit: 2, on: reactor)
            let resident = Resident(census)
            empty.get().addCallback { _ in resident.touch() }
            #expect(census.living == 2)
        }
        #expect(census.living == 0)
    }

    @Test func `a taker that was told by somebody else is found`() async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            let still = StillReactor()
            let queue = DeferredQueue<Int>(limit: 1, on: still.reactor)
            let waiter = queue.get()
            queue.checkInvariants()
            waiter.succeed(7)
            queue.checkInvariants()
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("one who was told already stands in the line"))
    }
}
