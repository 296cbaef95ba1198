// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
import Torsion
import TorsionTesting

@Suite struct ClockAndChanceTests {
    @Test func `the time of day is the machine's`() throws {
        let reactor = Reactor(backend: .epoll)
        defer { reactor.shutDown() }
        let before = time(nil)
        let found = try reactor.wallTime()
        let after = time(nil)
        // `time(2)` may lag behind by the length of a tick.
        #expect(Int64(before) - 1 <= found.seconds && found.seconds <= Int64(after) + 1)
        #expect((0..<1_000_000_000).contains(found.nanoseconds))
    }

    @Test func `random bytes differ, and none is a length too`() throws {
        let reactor = Reactor(backend: .epoll)
        defer { reactor.shutDown() }
        let first = try reactor.randomBytes(count: 32), second = try reactor.randomBytes(count: 32)
        #expect(first.count == 32 && first != second && Set(first).count > 1)
        #expect(try reactor.randomBytes(count: 0).isEmpty)
    }

    @Test func `a reactor without services says that it knows neither`() {
        let reactor = Reactor(backend: .epoll, services: nil)
        defer { reactor.shutDown() }
        #expect(throws: IOError.self) { try reactor.wallTime() }
        #expect(throws: IOError.self) { try reactor.randomBytes(count: 1) }
    }

    @Test func `in a simulation both follow from the seed and the world's clock`() throws {
        func look(seed: UInt64) throws -> ([UInt8], WallTime, WallTime) {
            let world = SimulatedWorld(seed: seed)
            let reactor = world.host("one").reactor
            var bytes: [UInt8] = []
            var times: [WallTime] = []
            try world.host("one").run { reactor in
                bytes = try reactor.randomBytes(count: 16)
                times.append(try reactor.wallTime())
                reactor.callLater(.seconds(90)) { times.append(try! reactor.wallTime()) }
            }
            try world.run { times.count == 2 }
            _ = reactor
            return (bytes, times[0], times[1])
        }
        let first = try look(seed: 5), again = try look(seed: 5), other = try look(seed: 6)
        #expect(first == again && first.0 != other.0)
        #expect(first.2.seconds - first.1.seconds == 90)
    }

    private final class Counter: ReactorCompanion {
        var count = 0
        init(on reactor: Reactor) {}
    }

    @Test func `a companion is one for each reactor, and goes with its run`() {
        let left = Reactor(backend: .epoll), right = Reactor(backend: .epoll)
        defer { right.shutDown() }
        left.companion(of: Counter.self).count = 5
        #expect(left.companion(of: Counter.self).count == 5)
        #expect(right.companion(of: Counter.self).count == 0)
        weak let released = left.companion(of: Counter.self)
        left.shutDown()
        #expect(released == nil)
    }
}
