// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import CCallFaults
import Glibc
import Testing
import Torsion

/// What a newer kernel has is done without where it is missing, or where a profile forbids it.
@Suite struct OlderKernelTests {
    /// epoll_pwait2(2), whose number is the same on every architecture that Swift runs on.
    private static let preciseWait = 441

    /// A reactor that waits for a fraction of a millisecond, under a kernel that has no such wait.
    private static func waitRefused(with error: Int32) throws {
        guard torsion_refuse_call(preciseWait, error) == 0 else { exit(Status.noFilter) }
        let reactor = try Reactor.turned(by: "epoll")
        let start = reactor.now
        var due: [Duration] = []
        for microseconds in [400, 1_200, 2_500] {
            _ = reactor.callLater(.microseconds(microseconds)) {
                due.append(start.duration(to: reactor.now))
            }
        }
        guard reactor.turn(until: { due.count == 3 }) else { exit(Status.late) }
        guard due[0] >= .microseconds(400), due[1] >= .microseconds(1_200),
            due[2] >= .microseconds(2_500)
        else { exit(Status.early) }
        reactor.shutDown()
    }

    private enum Status {
        static let noFilter: Int32 = 20
        static let late: Int32 = 21
        static let early: Int32 = 22
    }

    @Test func `epoll waits in milliseconds where the kernel has no finer wait`() async {
        await #expect(processExitsWith: .success) { try Self.waitRefused(with: ENOSYS) }
    }

    @Test func `epoll waits in milliseconds where a profile forbids the finer wait`() async {
        await #expect(processExitsWith: .success) { try Self.waitRefused(with: EPERM) }
    }
}
