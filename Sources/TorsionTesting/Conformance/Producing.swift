// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

// P1 is a trap, and tested as one.
extension ConformanceSuite {
    static let producing = [
        pausedAndResumedOnce, pulledOncePerDrain, lostTransport, writingInside, waitsForProducer,
        unregisterAfterLoss, pipes, proxyClosed, threeHops,
    ]

    // P3
    static let pausedAndResumedOnce = Check("a push producer is paused once, and resumed once") {
        backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        server.recordsData = false
        let producer = CountingProducer()
        client.transport.registerProducer(producer)
        server.transport.pauseProducing()
        // More than the two kernel buffers (`tcp(7)`: 4 and 6 MB at most) and what a completion
        // backend still holds: else all of it may leave although nobody reads.
        client.transport.write([UInt8].pattern(count: 16_000_000))
        client.transport.write("and more")
        world.run(for: .milliseconds(10))
        try expectEqual(producer.calls, ["pause"])
        server.transport?.resumeProducing()
        try world.run { server.byteCount == 16_000_008 }
        try expectEqual(producer.calls, ["pause", "resume"])
        client.transport.unregisterProducer()
        client.transport?.loseConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(producer.calls, ["pause", "resume"])
        try world.finish()
    }

    // Case W1
    static let proxyClosed = Check(
        "two connections that two pipes join end in peace when either is closed"
    ) { backend in
        for closesFirst in [true, false] {
            let world = try World(backend)
            let (client, front) = try world.connectedPair()
            let (back, server) = try world.connectedPair(server: Echoing())
            front.transport.pipe(to: back.transport).whenFailed { _ in }
            back.transport.pipe(to: front.transport).whenFailed { _ in }
            client.transport.write("question")
            try world.run { client.text == "question" }
            (closesFirst ? front : back).transport.loseConnection()
            try world.run(limit: .seconds(5)) {
                client.loss != nil && server.loss != nil
                    && world.reactor.statistics.openConnections == 0
            }
            try expectEqual(client.loss, .closedByPeer)
            try expectEqual(server.loss, .closedByPeer)
            try world.finish(held: 2)
        }
    }

    // P4
    static let pulledOncePerDrain = Check("a pull producer is asked once for each piece that left")
    {
        backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        server.recordsData = false
        let puller = Puller(client.transport, pieces: 50)
        client.transport.registerProducer(puller)
        try expectEqual(puller.asked, 1)
        client.transport?.loseConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(puller.asked, 50)
        try expectEqual(server.byteCount, 50 * Puller.pieceByteCount)
        try expectEqual(puller.stopped, 0)
        try world.finish(held: 1)
    }

    // P2, P6
    static let lostTransport = Check(
        "a producer is stopped once, before the loss, or when it comes late"
    ) {
        backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        let early = CountingProducer(), late = CountingProducer()
        client.transport.registerProducer(early)
        client.onLost = { _, transport in
            early.calls.append("lost")
            transport.registerProducer(late)
        }
        client.transport?.abortConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(early.calls, ["stop", "lost"])
        try expectEqual(late.calls, ["stop"])
        try world.finish()
    }

    // P5
    static let writingInside = Check("writing inside pause and resume is safe and does not recurse")
    {
        backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        server.recordsData = false
        let producer = CountingProducer()
        let transport: any StreamTransport = client.transport
        producer.onPause = { transport.write("p") }
        producer.onResume = { transport.write("r") }
        transport.registerProducer(producer)
        server.transport.pauseProducing()
        transport.write([UInt8].pattern(count: 8_000_000))
        try world.run { producer.calls == ["pause"] }
        server.transport?.resumeProducing()
        try world.run { server.byteCount == 8_000_002 }
        try expectEqual(producer.calls, ["pause", "resume"])
        transport.unregisterProducer()
        transport.loseConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try world.finish(held: 1)
    }

    // S4
    static let waitsForProducer = Check("loseConnection waits for a registered producer") {
        backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        let producer = CountingProducer()
        let transport: any StreamTransport = client.transport
        transport.registerProducer(producer)
        transport.loseConnection()
        world.reactor.callLater(.milliseconds(5)) {
            transport.write("the producer's last")
            transport.unregisterProducer()
            transport.write("dropped")
        }
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(server.text, "the producer's last")
        try world.finish(held: 1)
    }

    // S4
    static let unregisterAfterLoss = Check("unregistering after the loss is harmless") { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        let transport: any StreamTransport = client.transport
        transport.registerProducer(CountingProducer())
        transport.abortConnection()
        transport.unregisterProducer()
        try world.run { server.loss != nil && client.loss != nil }
        transport.unregisterProducer()
        try world.finish(held: 1)
    }

    static let pipes = Check("two pipes are a proxy: bytes, backpressure and ends go through") {
        backend in
        let world = try World(backend)
        let echo = Echoing(), outside = HalfRecorder(), inner = Recorder(), outer = Recorder()
        outside.recordsData = false
        _ = try world.connectedPair(client: inner, server: echo)
        _ = try world.connectedPair(client: outside, server: outer)
        var carried: [Int] = []
        outer.transport.pipe(to: inner.transport)
            .addCallback { carried.append($0) }.whenFailed { _ in carried.append(-1) }
        inner.transport.pipe(to: outer.transport)
            .addCallback { carried.append($0) }.whenFailed { _ in carried.append(-1) }
        outside.transport.registerProducer(CountingProducer())
        outside.transport.write([UInt8].pattern(count: 4_000_000))
        outside.transport.unregisterProducer()
        outside.transport.loseWriteConnection()
        try world.run { outside.loss != nil && echo.loss != nil && carried.count == 2 }
        try expectEqual(carried, [4_000_000, 4_000_000])
        try expectEqual(outside.byteCount, 4_000_000)
        try world.finish(held: 2)
    }
}

/// Writes one piece each time it is asked, then unregisters.
final class Puller: PullProducer {
    static let pieceByteCount = 3_000

    private let consumer: any StreamTransport
    private let pieces: Int
    private(set) var asked = 0
    private(set) var stopped = 0

    init(_ consumer: any StreamTransport, pieces: Int) {
        self.consumer = consumer
        self.pieces = pieces
    }

    func produceMore() {
        asked += 1
        consumer.write([UInt8].pattern(count: Self.pieceByteCount, seed: UInt64(asked)))
        if asked == pieces { consumer.unregisterProducer() }
    }

    func stopProducing() { stopped += 1 }
}
