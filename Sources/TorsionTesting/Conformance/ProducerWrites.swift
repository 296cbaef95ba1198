// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

// P8, P9: what a producer writes inside of its pause or resumption stands behind what was written
// before, whatever event it is in, and a producer that writes until it is paused comes to an end.
extension ConformanceSuite {
    static let producerWrites = [
        writesInPauseWhileCoalescing, writesInPauseAtEndOfEvent, writesInResumption,
        pausedBeforeWriteReturns, stoppedBeforeWriteReturns,
    ]

    /// Small buffers, so that little is needed to fill them, with a peer that does not read.
    ///
    /// The receiver's are not the smallest: in a window of less than a segment the kernel waits for timers.
    private static func slowPair(_ world: World) throws -> (client: Recorder, server: Recorder) {
        var options = StreamOptions()
        options.sendBufferBytes = 4_096
        options.receiveBufferBytes = 65_536
        options.watermarks = Watermarks(low: 1_000, high: 16_000)
        let pair = try world.connectedPair(options: options)
        pair.server.recordsData = false
        pair.server.transport.pauseProducing()
        return pair
    }

    /// Lets the peer read, and checks that it gets what the producer wrote.
    private static func drain(
        _ world: World, _ pair: (client: Recorder, server: Recorder), _ producer: NumberingProducer,
        line: UInt = #line
    ) throws {
        pair.server.transport.resumeProducing()
        try world.run(line: line) { pair.server.byteCount == producer.count }
        pair.client.transport.unregisterProducer()
        producer.forget()
        pair.client.transport?.loseConnection()
        try world.run(line: line) { pair.server.loss != nil && pair.client.loss != nil }
        try expectEqual(
            pair.server.hash, StreamHash(NumberingProducer.bytes(0..<producer.count)), line: line)
        try world.finish(held: 1)
    }

    static let writesInPauseWhileCoalescing = Check(
        "what a producer writes when a full buffer pauses it is appended"
    ) { backend in
        let world = try World(backend)
        let pair = try slowPair(world)
        let producer = NumberingProducer(pair.client.transport)
        producer.onPause = { for _ in 0..<4 { producer.write(4_000) } }
        // Not in the connection's own event, so that another buffer gathers.
        world.reactor.callLater(.zero) {
            pair.client.transport.registerProducer(producer)
            while producer.calls.isEmpty { producer.write(4_000) }
        }
        try world.run { !producer.calls.isEmpty }
        try drain(world, pair, producer)
    }

    static let writesInPauseAtEndOfEvent = Check(
        "what a producer writes when the end of an event pauses it is appended"
    ) { backend in
        let world = try World(backend)
        let pair = try slowPair(world)
        let producer = NumberingProducer(pair.client.transport)
        producer.onPause = { producer.write(100) }
        pair.client.transport.registerProducer(producer)
        func step() {
            guard producer.calls.isEmpty else { return }
            producer.write(3_000)
            world.reactor.callLater(.zero) { step() }
        }
        step()
        try world.run { !producer.calls.isEmpty }
        try drain(world, pair, producer)
    }

    static let writesInResumption = Check(
        "what a producer writes in pieces when it is resumed stays in order"
    ) { backend in
        let world = try World(backend)
        let pair = try slowPair(world)
        let producer = NumberingProducer(pair.client.transport)
        let total = 800_000
        // One that a completion backend batches, and one that goes to the queue if that was cut.
        producer.onResume = {
            while producer.isProducing, producer.count < total {
                producer.write(4_336)
                producer.write(20_948)
            }
        }
        pair.client.transport.registerProducer(producer)
        pair.client.transport.watermarks = Watermarks(low: 0, high: 1_000)
        producer.write(200_000)
        pair.server.transport.resumeProducing()
        try world.run { producer.count >= total }
        try drain(world, pair, producer)
    }

    static let pausedBeforeWriteReturns = Check(
        "a producer is paused before the write that passes the mark returns"
    ) { backend in
        let world = try World(backend)
        let pair = try slowPair(world)
        let producer = NumberingProducer(pair.client.transport)
        var highest = 0
        let writeOn = {
            while producer.isProducing, producer.count < 50_000_000 {
                producer.write(5_000)
                if producer.isProducing { highest = max(highest, producer.pendingByteCount) }
            }
        }
        var resumptions = 0
        producer.onResume = {
            resumptions += 1
            if resumptions < 5 { writeOn() }
        }
        pair.client.transport.registerProducer(producer)
        writeOn()
        try expect(producer.count < 50_000_000, "never paused")
        pair.server.transport.resumeProducing()
        try world.run { resumptions == 5 }
        try expect(highest <= 16_000, "\(highest) bytes were pending, and it was not paused")
        try drain(world, pair, producer)
    }

    static let stoppedBeforeWriteReturns = Check(
        "a producer that writes on to a peer that has gone comes to an end"
    ) { backend in
        let world = try World(backend)
        let pair = try slowPair(world)
        let producer = NumberingProducer(pair.client.transport)
        pair.client.transport.registerProducer(producer)
        pair.server.transport.abortConnection()
        // Before the client's reactor can have been told. What a kernel does not know yet is queued.
        while producer.isProducing, producer.count < 50_000_000 { producer.write(5_000) }
        try expect(producer.count < 50_000_000, "neither paused nor stopped")
        try world.run { pair.server.loss != nil && pair.client.loss != nil }
        try expectEqual(producer.calls.last, "stop")
        try world.finish(held: 1)
    }
}

/// Writes bytes that follow from their position, and notes what it is called with.
private final class NumberingProducer: PushProducer {
    private let transport: any StreamTransport
    private(set) var count = 0
    private(set) var calls: [String] = []
    private(set) var isProducing = true
    var onPause: () -> Void = {}
    var onResume: () -> Void = {}

    init(_ transport: any StreamTransport) { self.transport = transport }

    static func bytes(_ range: Range<Int>) -> [UInt8] {
        range.map { UInt8(truncatingIfNeeded: ($0 &* 0x9e37_79b9) >> 12) }
    }

    var pendingByteCount: Int { transport.pendingByteCount }

    func write(_ byteCount: Int) {
        // Counted first: inside of the call more may be written, behind it.
        count += byteCount
        transport.write(Self.bytes((count - byteCount)..<count))
    }

    func pauseProducing() {
        calls.append("pause")
        isProducing = false
        onPause()
    }

    func resumeProducing() {
        calls.append("resume")
        isProducing = true
        onResume()
    }

    func stopProducing() {
        calls.append("stop")
        isProducing = false
        forget()
    }

    /// Releases what the check's closures hold, which may be the producer itself.
    func forget() {
        onPause = {}
        onResume = {}
    }
}
