// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

@testable import TorsionProtocols

@Suite struct TimeoutStateMachineTests {
    private static func instant(_ seconds: UInt64) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: seconds * 1_000_000_000)
    }

    private static let all = Timeouts(
        handshake: .seconds(10), request: .seconds(30), idle: .seconds(20))

    /// The seconds of the deadline, and its kind.
    private static func deadline(_ machine: TimeoutStateMachine) -> String {
        machine.deadline.map { "\($0.instant.nanoseconds / 1_000_000_000) \($0.of)" } ?? "none"
    }

    @Test func `the first byte ends the handshake of who says nothing of one`() {
        var machine = TimeoutStateMachine(Self.all, at: Self.instant(100))
        #expect(Self.deadline(machine) == "110 handshaking")
        machine.enter(.open, at: Self.instant(105))
        #expect(Self.deadline(machine) == "110 handshaking")
        machine.noteReceived(at: Self.instant(105))
        machine.enter(.open, at: Self.instant(105))
        #expect(Self.deadline(machine) == "125 idle")
    }

    @Test func `bytes do not move the deadline of a handshake or a request, but do that of idling`()
    {
        var machine = TimeoutStateMachine(Self.all, at: Self.instant(100))
        machine.noteReceived(at: Self.instant(109))
        machine.enter(.handshaking, at: Self.instant(109))
        #expect(Self.deadline(machine) == "110 handshaking")
        machine.enter(.request(number: 0), at: Self.instant(109))
        #expect(Self.deadline(machine) == "129 idle")
        for second: UInt64 in 110..<139 {
            machine.noteReceived(at: Self.instant(second))
            machine.enter(.request(number: 0), at: Self.instant(second))
        }
        #expect(Self.deadline(machine) == "139 request")
    }

    @Test func `each request has its own time`() {
        var machine = TimeoutStateMachine(Timeouts(request: .seconds(30)), at: Self.instant(100))
        machine.noteReceived(at: Self.instant(100))
        machine.enter(.request(number: 0), at: Self.instant(100))
        #expect(Self.deadline(machine) == "130 request")
        machine.enter(.request(number: 1), at: Self.instant(120))
        #expect(Self.deadline(machine) == "150 request")
        machine.enter(.open, at: Self.instant(121))
        #expect(Self.deadline(machine) == "none")
    }

    @Test func `forgiven time does not count`() {
        var machine = TimeoutStateMachine(Self.all, at: Self.instant(100))
        machine.noteReceived(at: Self.instant(100))
        machine.enter(.request(number: 0), at: Self.instant(100))
        machine.forgive(at: Self.instant(115))
        #expect(Self.deadline(machine) == "135 idle")
        machine.noteActivity(at: Self.instant(134))
        #expect(Self.deadline(machine) == "145 request")
    }

    @Test func `a timeout that is not positive is a mistake`() async {
        await #expect(processExitsWith: .failure) { _ = Timeouts(idle: .zero) }
        await #expect(processExitsWith: .failure) { _ = Timeouts(request: .seconds(-1)) }
    }
}
