// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if IOUring

import CTorsionURing
import Testing
@_spi(Backend) import TorsionCore
import TorsionTesting

@testable import TorsionURing

/// The hard cases of a completion backend.
@Suite struct URingTests {
    // MARK: Buffers that run out

    @Test func `streams that find no buffer lose nothing, and many of them get more buffers`()
        throws
    {
        let bench = try Bench { configuration in
            configuration.buffers.initialCount = 1
            configuration.buffers.limit = 8
            configuration.buffers.byteCount = 256
        }
        var pairs: [(near: End, far: End)] = []
        for _ in 0..<40 { pairs.append(try bench.connectedPair()) }
        let text = [UInt8].pattern(count: 900)
        for pair in pairs {
            pair.near.stream.startReading()
            pair.far.write(text)
        }
        try bench.run { pairs.allSatisfy { $0.near.received.count == text.count } }
        #expect(pairs.allSatisfy { $0.near.received == text })
        #expect(bench.backend.ring.buffers.count == 8)
        for pair in pairs {
            pair.near.stream.close()
            pair.far.stream.close()
        }
        try bench.finish()
    }

    @Test func `one stream that has much to say does not make the ring grow`() throws {
        let bench = try Bench { $0.buffers.byteCount = 256 }
        let (near, far) = try bench.connectedPair()
        far.stream.startReading()
        var sent: [UInt8] = []
        for index in 0..<200 {
            let piece = [UInt8].pattern(count: 2_000, seed: UInt64(index))
            let count = max(0, near.write(piece))
            sent += piece[..<count]
            bench.turn()
        }
        try bench.run { far.received.count == sent.count }
        #expect(far.received == sent)
        #expect(bench.backend.ring.buffers.count == 16)
        near.stream.close()
        far.stream.close()
        try bench.finish()
    }

    @Test func `buffers that many streams needed are released when these have gone`() throws {
        let bench = try Bench { configuration in
            configuration.buffers.initialCount = 1
            configuration.buffers.limit = 16
            configuration.buffers.byteCount = 256
        }
        var pairs: [(near: End, far: End)] = []
        for _ in 0..<40 { pairs.append(try bench.connectedPair()) }
        let last = try bench.connectedPair()
        let text = [UInt8].pattern(count: 900)
        for round in 1...2 {
            for pair in pairs {
                pair.near.stream.startReading()
                pair.far.write(text)
            }
            try bench.run { pairs.allSatisfy { $0.near.received.count == round * text.count } }
        }
        let buffers = bench.backend.ring.buffers
        let most = buffers.allocatedByteCount
        #expect(buffers.count == 16)
        for pair in pairs {
            #expect(pair.near.received == text + text)
            pair.near.stream.close()
            pair.far.stream.close()
        }
        for _ in 0..<5 { bench.turn() }
        #expect(buffers.count == 8)
        // Those that the kernel still has come back with what arrives.
        last.near.stream.startReading()
        for count in 1...20 {
            last.far.write([UInt8(count)])
            try bench.run { last.near.received.count == count }
        }
        #expect(last.near.received == Array(1...20))
        #expect(buffers.allocatedByteCount < most)
        // They are had again when they are needed again.
        pairs = []
        for _ in 0..<40 { pairs.append(try bench.connectedPair()) }
        for pair in pairs {
            pair.near.stream.startReading()
            pair.far.write(text)
        }
        try bench.run { pairs.allSatisfy { $0.near.received.count == text.count } }
        #expect(pairs.allSatisfy { $0.near.received == text })
        #expect(buffers.count == 16 && buffers.allocatedByteCount == most)
        for pair in pairs + [last] {
            pair.near.stream.close()
            pair.far.stream.close()
        }
        try bench.finish()
    }

    @Test func `where memory is short no more buffers are added`() throws {
        let queue = UnsafeMutablePointer<torsion_uring>.allocate(capacity: 1)
        defer { queue.deallocate() }
        queue.initialize(to: torsion_uring())
        let code = torsion_uring_open(queue, 4, 8, 64, UInt32(TORSION_URING_BUFFERS))
        try #require(code == 0)
        defer { torsion_uring_close(queue) }
        var configuration = ReceiveBuffers.Configuration()
        configuration.limit = 64
        for (mostBytes, count) in [(0, 16), (1 << 20, 31), (1 << 30, 64)] {
            let buffers = ReceiveBuffers(configuration, queue)
            buffers.start(mostBytes: mostBytes)
            for _ in 0..<10 {
                for _ in 0..<8 { buffers.noteShortage() }
                buffers.endTurn(isQuiet: true)
            }
            #expect(buffers.count == count)
            buffers.shutDown()
        }
    }

    // MARK: Cancelled operations

    @Test(arguments: [0, UInt32(TORSION_URING_MULTISHOT_RECEIVE)])
    func `case M7: a stream that has stopped reading holds a buffer's worth, whatever is sent`(
        without: UInt32
    ) throws {
        let bench = try Bench { $0.features &= ~without }
        let (near, far) = try bench.connectedPair()
        near.onRead = { near.stream.stopReading() }
        near.stream.startReading()
        bench.turn()
        var sent: [UInt8] = []
        for round in 0..<20 {
            let piece = [UInt8].pattern(count: 100_000, seed: UInt64(round))
            sent += piece.prefix(max(0, far.write(piece)))
            bench.turn()
        }
        #expect(sent.count > 500_000)
        #expect(bench.backend.heldByteCount <= 32 * 1_024)
        near.onRead = {}
        near.stream.startReading()
        try bench.run { near.received.count == sent.count }
        #expect(near.received == sent && bench.backend.heldByteCount == 0)
        near.stream.close()
        far.stream.close()
        try bench.finish()
    }

    @Test func `what is held of a stream that is closed is released`() throws {
        let bench = try Bench()
        let (near, far) = try bench.connectedPair()
        near.stream.startReading()
        bench.turn()
        near.stream.stopReading()
        far.write([UInt8].pattern(count: 1_000))
        try bench.run { bench.backend.heldByteCount == 1_000 }
        near.stream.close()
        #expect(bench.backend.heldByteCount == 0)
        far.stream.close()
        try bench.finish()
    }

    @Test func `what arrives after a stop is held, and delivered first and in order`() throws {
        let bench = try Bench()
        let (near, far) = try bench.connectedPair()
        near.onRead = { near.stream.stopReading() }
        near.stream.startReading()
        far.write(Array("one".utf8))
        try bench.run { near.received.count == 3 }
        // The kernel's operation goes on until something comes.
        for word in ["two", "three"] {
            far.write(Array(word.utf8))
            for _ in 0..<3 { bench.turn() }
        }
        #expect(near.received == Array("one".utf8))
        near.onRead = {}
        near.stream.startReading()
        far.write(Array("four".utf8))
        try bench.run { near.received.count == 15 }
        #expect(near.received == Array("onetwothreefour".utf8))
        far.stream.close()
        try bench.run { near.hasEnded }
        near.stream.close()
        try bench.finish()
    }

    @Test func `an end that arrives while reading is stopped is told when it starts again`() throws
    {
        let bench = try Bench()
        let (near, far) = try bench.connectedPair()
        near.stream.startReading()
        bench.turn()
        near.stream.stopReading()
        far.write(Array("last".utf8))
        far.stream.close()
        for _ in 0..<5 { bench.turn() }
        #expect(near.received.isEmpty && !near.hasEnded && near.failure == nil)
        near.stream.startReading()
        try bench.run { near.hasEnded }
        #expect(near.received == Array("last".utf8))
        near.stream.close()
        try bench.finish()
    }

    @Test func `a reset is noticed while what had arrived is held`() throws {
        let bench = try Bench()
        let (near, far) = try bench.connectedPair()
        near.stream.startReading()
        bench.turn()
        near.stream.stopReading()
        far.write(Array("held".utf8))
        for _ in 0..<5 { bench.turn() }
        far.stream.reset()
        try bench.run { near.failure != nil }
        #expect(near.failure?.code == .connectionReset && near.received.isEmpty)
        near.stream.close()
        try bench.finish()
    }

    @Test func `stopping and starting between two arrivals asks the kernel for nothing`() throws {
        let bench = try Bench()
        let (near, far) = try bench.connectedPair()
        near.stream.startReading()
        bench.turn()
        let before = bench.backend.ring.queue.pointee.entry_tail
        for _ in 0..<100 {
            near.stream.stopReading()
            near.stream.startReading()
        }
        #expect(bench.backend.ring.queue.pointee.entry_tail == before)
        near.stream.close()
        far.stream.close()
        try bench.finish()
    }

    // MARK: Completions after a close

    @Test func `a stream that is closed in another's callback hears nothing of the same batch`()
        throws
    {
        let bench = try Bench()
        let first = try bench.connectedPair(), second = try bench.connectedPair()
        let near = [first.near, second.near]
        for end in near {
            end.stream.startReading()
            end.onRead = { for other in near where other !== end { other.stream.close() } }
        }
        bench.turn()
        first.far.write([1])
        second.far.write([2])
        try bench.run { near.contains { !$0.received.isEmpty } }
        for _ in 0..<5 { bench.turn() }
        #expect(near.count { $0.received.isEmpty } == 1)
        for end in near {
            if !end.received.isEmpty { end.stream.close() }
            end.onRead = {}
        }
        first.far.stream.close()
        second.far.stream.close()
        try bench.finish()
    }

    @Test func `buffers of completions that come too late are lent again`() throws {
        let bench = try Bench { configuration in
            configuration.buffers.initialCount = 2
            configuration.buffers.limit = 2
        }
        for _ in 0..<20 {
            let (near, far) = try bench.connectedPair()
            near.stream.startReading()
            far.write([1, 2, 3])
            bench.turn()
            near.stream.close()
            far.stream.close()
            bench.turn()
        }
        let (near, far) = try bench.connectedPair()
        near.stream.startReading()
        far.write([7])
        try bench.run { near.received == [7] }
        near.stream.close()
        far.stream.close()
        try bench.finish()
    }

    @Test func `a closed stream lives until its last completion, and no longer`() throws {
        let bench = try Bench()
        weak var stream: URingStream?
        do {
            let (near, far) = try bench.connectedPair()
            near.stream.startReading()
            bench.turn()
            stream = near.stream as? URingStream
            near.stream.close()
            far.stream.close()
        }
        #expect(stream != nil)
        try bench.run { stream == nil }
        try bench.finish()
    }

    // MARK: Full queues

    @Test func `more operations than entries are handed over in between`() throws {
        let bench = try Bench { $0.entries = 2 }
        var pairs: [(near: End, far: End)] = []
        for _ in 0..<20 { pairs.append(try bench.connectedPair()) }
        let text = [UInt8].pattern(count: 64)
        for pair in pairs { pair.near.stream.startReading() }
        for pair in pairs { #expect(pair.far.write(text) == 64) }
        try bench.run { pairs.allSatisfy { $0.near.received == text } }
        for pair in pairs {
            pair.near.stream.close()
            pair.far.stream.close()
        }
        try bench.finish()
    }

    @Test func `more completions than have room are told in later turns`() throws {
        let bench = try Bench { configuration in
            configuration.entries = 2
            configuration.completions = 4
        }
        var pairs: [(near: End, far: End)] = []
        for _ in 0..<30 { pairs.append(try bench.connectedPair()) }
        for pair in pairs { pair.near.stream.startReading() }
        for round in 0..<10 {
            for pair in pairs { pair.far.write([UInt8](repeating: UInt8(round), count: 10)) }
            try bench.run { pairs.allSatisfy { $0.near.received.count == 10 * (round + 1) } }
        }
        for pair in pairs {
            pair.near.stream.close()
            pair.far.stream.close()
        }
        try bench.finish()
    }

    // MARK: Sends that are cut

    @Test func `the rest of a send that was cut comes before all that follows`() throws {
        let bench = try Bench()
        let (near, far) = try bench.connectedPair()
        let sent = near.fill(bench)
        #expect(bench.backend.ring.cutSendCount > 0)
        #expect(near.write([0]) == 0, "a stream that owes output takes no more")
        far.stream.startReading()
        try bench.run { far.received.count == sent.count }
        #expect(far.received == sent)
        // It takes output again.
        try bench.run { near.write([9]) == 1 }
        try bench.run { far.received.count == sent.count + 1 }
        near.stream.close()
        far.stream.close()
        try bench.finish()
    }

    @Test func `several writes of a turn are one send`() throws {
        let bench = try Bench()
        let (near, far) = try bench.connectedPair()
        far.stream.startReading()
        bench.turn()
        let before = bench.backend.ring.queue.pointee.entry_tail
        var sent: [UInt8] = []
        for index in 0..<100 {
            let piece = [UInt8].pattern(count: 20, seed: UInt64(index))
            #expect(near.write(piece) == 20)
            sent += piece
        }
        #expect(bench.backend.ring.queue.pointee.entry_tail == before + 1)
        try bench.run { far.received.count == sent.count }
        #expect(far.received == sent)
        near.stream.close()
        far.stream.close()
        try bench.finish()
    }

    @Test func `the end of writing comes behind a send that was cut`() throws {
        let bench = try Bench()
        let (near, far) = try bench.connectedPair()
        let sent = near.fill(bench)
        #expect(near.stream.shutdownWriting() == nil)
        for _ in 0..<3 { bench.turn() }
        far.stream.startReading()
        try bench.run { far.hasEnded }
        #expect(far.received == sent)
        near.stream.close()
        far.stream.close()
        try bench.finish()
    }

    @Test func `a stream that owes output says so, and shuts down writing behind it`() throws {
        let bench = try Bench()
        let (near, far) = try bench.connectedPair()
        #expect(!near.stream.hasUnsentOutput && near.stream.unsentByteCount == 0)
        #expect(near.write([1]) == 1)
        #expect(!near.stream.hasUnsentOutput, "handed over by the question, and not cut")
        let sent = [1] + near.fill(bench)
        #expect(near.stream.hasUnsentOutput)
        let unsent = try #require(near.stream.unsentByteCount)
        #expect(unsent > 0 && unsent <= sent.count)
        #expect(near.stream.shutdownWriting() == nil)
        far.stream.startReading()
        try bench.run { far.hasEnded }
        #expect(far.received == sent && !near.stream.hasUnsentOutput)
        try bench.run(lookingEvery: .milliseconds(5)) { near.stream.unsentByteCount == 0 }
        near.stream.close()
        far.stream.close()
        try bench.finish()
    }

    @Test func `a stream that is closed while it owes output is reset`() throws {
        let bench = try Bench()
        let (near, far) = try bench.connectedPair()
        // So that it notices a reset.
        far.stream.startReading()
        bench.turn()
        far.stream.stopReading()
        _ = near.fill(bench)
        near.stream.close()
        try bench.run { far.failure != nil }
        #expect(far.failure?.code == .connectionReset && far.received.isEmpty)
        far.stream.close()
        try bench.finish()
    }

    @Test func `a stream that was reset delivers what had arrived, then its end`() throws {
        let bench = try Bench()
        let (near, far) = try bench.connectedPair()
        near.stream.stopReading()
        far.write(Array("last".utf8))
        for _ in 0..<3 { bench.turn() }
        far.stream.reset()
        try bench.run { near.failure != nil }
        #expect(near.stream.hasUnreadInput && !near.hasEnded)
        near.stream.startReading()
        try bench.run { near.hasEnded }
        #expect(near.received == Array("last".utf8) && !near.stream.hasUnreadInput)
        near.stream.close()
        try bench.finish()
    }

    @Test func `a reset drops what was not handed over`() throws {
        let bench = try Bench()
        let (near, far) = try bench.connectedPair()
        far.stream.startReading()
        bench.turn()
        #expect(near.write([1, 2, 3]) == 3)
        near.stream.reset()
        try bench.run { far.failure != nil }
        #expect(far.failure?.code == .connectionReset && far.received.isEmpty)
        far.stream.close()
        try bench.finish()
    }

    @Test func `a send that fails after it counted as written breaks the stream, once`() throws {
        let bench = try Bench()
        let (near, far) = try bench.connectedPair()
        far.stream.reset()
        for _ in 0..<3 { bench.turn() }
        #expect(near.write([1]) == 1)
        try bench.run { near.failure != nil }
        #expect(near.failure?.operation == .write)
        #expect(near.write([2]) == -1)
        near.stream.close()
        try bench.finish()
    }

    @Test func `a full arena is handed over, and everything arrives`() throws {
        let bench = try Bench { $0.arenaByteCount = 128 }
        var pairs: [(near: End, far: End)] = []
        for _ in 0..<10 { pairs.append(try bench.connectedPair()) }
        for pair in pairs { pair.far.stream.startReading() }
        for _ in 0..<3 { for pair in pairs { #expect(pair.near.write([1, 2, 3]) == 3) } }
        // Larger than the arena: sent at once.
        let large = [UInt8].pattern(count: 500)
        for pair in pairs { #expect(pair.near.write(large) == 500) }
        try bench.run { pairs.allSatisfy { $0.far.received.count == 509 } }
        #expect(pairs.allSatisfy { $0.far.received == [1, 2, 3, 1, 2, 3, 1, 2, 3] + large })
        for pair in pairs {
            pair.near.stream.close()
            pair.far.stream.close()
        }
        try bench.finish()
    }
}

#endif
