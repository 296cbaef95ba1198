// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionTesting

@testable import TorsionCore

/// Between a transport and the tasks that use it.
@Suite struct ConnectionMailboxTests {
    /// A reader whose connection is full waits for room.
    ///
    /// It then asked for more before it took what had arrived meanwhile, which so came behind what
    /// arrived later, or was lost.
    @Test func `issue 7: what arrives while the reader waits for room comes first`() {
        let clock = ManualClock(), mailbox = ConnectionMailbox()
        let memory = MemoryTransport(mailbox, clock: clock, roomBytes: 0)
        let connection = AsyncConnection(mailbox)
        memory.transport.watermarks = Watermarks(low: 0, high: 1)
        var log: [String] = []
        connection.transport.write("more than there is room for")
        clock.turn()
        clock.reactor.spawn {
            for try await bytes in connection.inbound { log.append(String(decoding: bytes)) }
        }
        clock.turn()
        memory.receive("first")
        #expect(log == [] && !memory.isReading)
        memory.drain()
        clock.turn()
        memory.receive("second")
        clock.turn()
        #expect(log == ["first", "second"])
        memory.peerCloses()
        clock.turn()
        connection.close()
        clock.turn()
        let figures = clock.reactor.statistics
        #expect(figures.openConnections == 0 && figures.tasks == 0 && figures.suspendedTasks == 0)
    }
}
