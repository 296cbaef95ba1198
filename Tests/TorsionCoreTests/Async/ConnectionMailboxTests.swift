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

    // Work in the square of the length would be a million times half a megabyte.
    @Test(.timeLimit(.minutes(1)))
    func `a megabyte in single bytes is linear work`() throws {
        var buffer = InputBuffer()
        var attempt = DecodingAttempt(limitBytes: 2 << 20)
        let byte = Bytes("x")
        for number in 1...1 << 20 {
            buffer.append(byte.span)
            // Not each time: the test's record of each error that is thrown takes most of the time.
            guard number % 16 == 0 else { continue }
            let line = try buffer.takeMessage(&attempt) { try $0.readSpan(until: 10).byteCount }
            #expect(line == nil)
        }
        buffer.append(Bytes("\nrest").span)
        let line = try buffer.takeMessage(&attempt) { try $0.readSpan(until: 10).byteCount }
        #expect(line == 1 << 20 && buffer.count == 4)
        #expect(buffer.takeBytes() == "rest" && buffer.isEmpty)
    }

    @Test func `messages of one read share its memory, and are used in order`() throws {
        var buffer = InputBuffer()
        func take(_ count: Int) throws -> Bytes? {
            var attempt = DecodingAttempt(limitBytes: 100)
            return try buffer.takeMessage(&attempt) { try $0.readBytes(count) }
        }
        var attempt = DecodingAttempt(limitBytes: 100)
        let first = try buffer.takeMessage(from: Bytes("aabbbccccdd").span, &attempt) {
            try $0.readBytes(2)
        }
        #expect(first == "aa")
        let second = try #require(try take(3)), third = try #require(try take(4))
        let end = second.withUnsafeBytes { $0.baseAddress! + $0.count }
        let start = third.withUnsafeBytes { $0.baseAddress! }
        #expect(end == start)
        #expect(second == "bbb" && third == "cccc")
        #expect(try take(3) == nil)
        buffer.append(Bytes("d").span)
        #expect(try take(3) == "ddd" && buffer.isEmpty)
    }
}
