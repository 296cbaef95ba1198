// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

@Suite struct ManualClockTests {
    // K2
    @Test func `advancing stops at each deadline in order`() {
        let clock = ManualClock()
        let start = clock.now
        var times: [Duration] = []
        func note() { times.append(start.duration(to: clock.now)) }
        clock.reactor.callLater(.seconds(1)) {
            note()
            clock.reactor.callLater(.seconds(1)) { note() }
        }
        clock.reactor.callLater(.seconds(3)) { note() }
        clock.advance(by: .seconds(10))
        #expect(times == [.seconds(1), .seconds(2), .seconds(3)])
        #expect(start.duration(to: clock.now) == .seconds(10))
    }

    // Case W11
    @Test func `a call that always schedules another one does not hold time up`() {
        let clock = ManualClock()
        let start = clock.now
        var spins = 0
        var isOver = false
        var times: [Duration] = []
        func spin() {
            spins += 1
            if !isOver { clock.reactor.callLater(.zero) { spin() } }
        }
        spin()
        for second in 1...3 {
            clock.reactor.callLater(.seconds(second)) {
                times.append(start.duration(to: clock.now))
            }
        }
        clock.advance(by: .milliseconds(2_500))
        // At four instants: the start, each second, and the end.
        #expect(spins == 1 + 4 * ManualClock.turnsAtOneInstant)
        #expect(times == [.seconds(1), .seconds(2)])
        #expect(start.duration(to: clock.now) == .milliseconds(2_500))
        isOver = true
        clock.advance(by: .milliseconds(500))
        #expect(times.count == 3)
    }

    @Test func `calls without delay that follow each other run in one advance`() {
        let clock = ManualClock()
        var count = 0
        func next() {
            count += 1
            if count < 500 { clock.reactor.callLater(.zero) { next() } }
        }
        next()
        clock.advance(by: .zero)
        #expect(count == 500)
    }

    // R6
    @Test func `a call can be moved, and is not active inside itself`() {
        let clock = ManualClock()
        var order: [Int] = []
        var inside: DelayedCall?
        inside = clock.reactor.callLater(.seconds(1)) {
            order.append(1)
            #expect(inside?.isActive == false && inside?.cancel() == false)
            #expect(inside?.reset(after: .seconds(1)) == false)
        }
        let moved = clock.reactor.callLater(.seconds(1)) { order.append(2) }
        #expect(moved.reset(after: .seconds(2)) && moved.delay(by: .seconds(1)))
        clock.reactor.callLater(.seconds(2)) { order.append(3) }
        clock.advance(by: .seconds(2))
        #expect(order == [1, 3])
        clock.advance(by: .seconds(1))
        #expect(order == [1, 3, 2])
        #expect(clock.reactor.delayedCalls.isEmpty)
        inside = nil
    }
}

@Suite struct MemoryTransportTests {
    private final class Room { var members: [ConnectionID: any StreamTransport] = [:] }

    /// The chat of the README.
    private final class Chat: LineProtocol {
        let lines = LineDecoder()
        let room: Room

        init(_ room: Room) { self.room = room }

        func connectionMade(_ transport: any StreamTransport) {
            room.members[transport.id] = transport
        }

        func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
            let text = "\(transport.peerAddress): \(String(decoding: line))\r\n"
            for (id, member) in room.members where id != transport.id { member.write(text) }
        }

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            room.members[transport.id] = nil
        }
    }

    @Test func `a line reaches the other member`() {
        let room = Room(), clock = ManualClock()
        let ann = MemoryTransport(Chat(room), clock: clock)
        let bob = MemoryTransport(Chat(room), clock: clock)
        ann.receive("hi\r\n")
        #expect(bob.takeText().hasSuffix(": hi\r\n"))
        #expect(ann.takeText().isEmpty)
        bob.peerCloses()
        #expect(room.members.count == 1)
        ann.peerResets()
        #expect(room.members.isEmpty)
        #expect(clock.reactor.statistics.liveTransports == 2, "held by the two of this test")
    }

    @Test func `an idle connection can be timed out on the clock`() {
        final class Idle: StreamProtocol {
            var loss: ConnectionLoss?
            func connectionMade(_ transport: any StreamTransport) {
                transport.reactor.callLater(.seconds(60)) { transport.loseConnection() }
            }
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
            func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
                loss = why
            }
        }
        let idle = Idle()
        let peer = MemoryTransport(idle)
        peer.clock.advance(by: .seconds(59))
        #expect(!peer.hasEnded)
        peer.clock.advance(by: .seconds(1))
        // The peer never ends its side, which is no affair of the protocol's.
        #expect(peer.hasEnded && idle.loss == .closedLocally)
    }
}
