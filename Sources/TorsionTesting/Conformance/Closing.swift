// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// What every backend owes the portable code about ends.
extension ConformanceSuite {
    static let closing = [
        bytesBeforeClosingArrive, nothingAfterLoss, unreadInput, abortAndLose, abortBothSides,
        abortInCallback,
        outputAfterPeersEnd, closeDeadline, throwingEnds, resetWhilePaused, largeOutput,
        manyConnections, resetWhileWriting,
    ]

    // S1, S5
    static let bytesBeforeClosingArrive = Check(
        "bytes written before loseConnection reach the peer, then both sides end once"
    ) { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        client.transport.write("last words")
        client.transport?.loseConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(server.events, [.made, .data("last words"), .lost(.closedByPeer)])
        try expectEqual(client.events, [.made, .lost(.closedLocally)])
        try world.finish()
    }

    // S2
    static let nothingAfterLoss = Check(
        "writing after loseConnection and after the loss does nothing"
    ) { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        client.onLost = { _, transport in
            transport.write("too late")
            transport.loseConnection()
            transport.abortConnection()
            transport.resumeProducing()
        }
        client.transport.write("a")
        client.transport?.loseConnection()
        client.transport.write("b")
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(server.text, "a")
        try world.finish()
    }

    // S19
    static let unreadInput = Check("loseConnection with unread input delivers all that was written")
    {
        backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        let bytes = [UInt8].pattern(count: 300_000)
        client.recordsData = false
        // The server never reads what the client sent, writes, and closes.
        server.transport.pauseProducing()
        client.transport.write("unread")
        world.run(for: .milliseconds(5))
        server.transport.write(bytes)
        server.transport.loseConnection()
        try world.run { client.loss != nil && server.loss != nil }
        try expectEqual(client.byteCount, bytes.count)
        try expectEqual(client.loss, .closedByPeer)
        try world.finish()
    }

    // S6
    static let abortAndLose = Check("aborting twice, and losing then aborting, ends once") {
        backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        // A text that grows by pieces costs seconds.
        server.recordsData = false
        server.transport.pauseProducing()
        client.transport.write([UInt8].pattern(count: 8_000_000))
        client.transport?.loseConnection()
        client.transport?.abortConnection()
        client.transport?.abortConnection()
        server.transport?.resumeProducing()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(client.loss, .aborted)
        try expect(!server.loss!.isClean, "\(server.loss!)")
        try world.finish()
    }

    // S6
    static let abortBothSides = Check("aborting from both sides, with full queues, ends each once")
    {
        backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        for end in [client, server] {
            end.recordsData = false
            end.transport.pauseProducing()
            end.transport.write([UInt8].pattern(count: 8_000_000))
        }
        world.run(for: .milliseconds(2))
        client.transport?.abortConnection()
        // In the same turn: neither has heard of the other's.
        server.transport?.abortConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(client.events, [.made, .lost(.aborted)])
        try expectEqual(server.events, [.made, .lost(.aborted)])
        try world.finish()
    }

    // S1
    static let abortInCallback = Check(
        "an abort inside dataReceived is the last but connectionLost"
    ) {
        backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        server.onData = { _, transport in
            transport.abortConnection()
            transport.write("nothing")
            throw Mishap()
        }
        client.transport.write([UInt8].pattern(count: 200_000))
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(server.events.count, 3)
        try expectEqual(server.loss, .aborted)
        // The loss had its reason before; what was thrown then is not swallowed.
        try expectEqual(world.takeReports(), ["Mishap()"])
        try world.finish()
    }

    // S17
    static let outputAfterPeersEnd = Check(
        "after the peer's end queued output still arrives in full"
    ) {
        backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair(client: HalfRecorder())
        let bytes = [UInt8].pattern(count: 4_000_000)
        client.recordsData = false
        client.transport.pauseProducing()
        server.transport.write(bytes)
        client.transport.loseWriteConnection()
        // The server has seen the end, and has output queued, when the client begins to read.
        world.run(for: .milliseconds(10))
        client.transport.resumeProducing()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(client.byteCount, bytes.count)
        try expectEqual(server.loss, .closedByPeer)
        try world.finish()
    }

    // S18
    static let closeDeadline = Check("a peer that never reads cannot hold a closing connection") {
        backend in
        let world = try World(backend)
        var options = StreamOptions()
        options.closeTimeout = .milliseconds(40)
        let (client, server) = try world.connectedPair(options: options)
        // A text that grows by pieces costs seconds.
        server.recordsData = false
        server.transport.pauseProducing()
        client.transport.write([UInt8].pattern(count: 8_000_000))
        client.transport?.loseConnection()
        try world.run { client.loss != nil }
        try expectEqual(client.loss, .deadlinePassed(.closing))
        server.transport?.resumeProducing()
        try world.run { server.loss != nil }
        try world.finish()
    }

    // S5
    static let throwingEnds = Check(
        "what a callback throws is the reason of the loss, counted and reported with the address"
    ) { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        server.onData = { _, _ in throw Mishap() }
        let peer = server.transport.peerAddress
        client.transport.write("x")
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(server.loss, .protocolFailed(Mishap()))
        for _ in 0..<3 { world.reactor.turn(until: world.reactor.now) }
        try expectEqual(world.takeReports(), ["Mishap()"])
        try expectEqual(world.contexts, ["the protocol of \(peer)"])
        try expectEqual(world.reactor.statistics.protocolFailures, 1)
        try world.finish()
    }

    // S8
    static let resetWhilePaused = Check("a reset is noticed while reading is paused") { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        server.transport.pauseProducing()
        world.reactor.turn(until: world.reactor.now)
        client.transport?.abortConnection()
        try world.run { server.loss != nil }
        guard case .failed(let error) = server.loss else {
            throw CheckFailure(description: "\(server.events)")
        }
        try expectEqual(error.code, .connectionReset)
        try expect(error.subject != nil)
        try world.finish()
    }

    // FAULTS: RST while writing
    static let resetWhileWriting = Check("a reset while output is queued stops the producer, once")
    {
        backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        let producer = CountingProducer()
        server.transport.pauseProducing()
        client.transport.registerProducer(producer)
        client.transport.write([UInt8].pattern(count: 8_000_000))
        try world.run { producer.calls == ["pause"] }
        client.onLost = { _, _ in producer.calls.append("lost") }
        server.transport.abortConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(producer.calls, ["pause", "stop", "lost"])
        try world.finish()
    }

    // S3
    static let largeOutput = Check(
        "loseConnection sends 100 MB, also to a peer that reads late", isSlow: true
    ) { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        let piece = Bytes([UInt8].pattern(count: 1_000_000))
        server.recordsData = false
        server.transport.pauseProducing()
        client.transport.watermarks = Watermarks(low: 1, high: 2, limit: 200_000_000)
        for _ in 0..<100 { client.transport.write(piece) }
        client.transport?.loseConnection()
        world.run(for: .milliseconds(5))
        server.transport?.resumeProducing()
        try world.run(limit: .seconds(120)) { server.loss != nil && client.loss != nil }
        try expectEqual(server.byteCount, 100_000_000)
        var hash = StreamHash()
        for _ in 0..<100 { hash.add(piece.span) }
        try expectEqual(server.hash, hash)
        try world.finish()
    }

    // S11
    static let manyConnections = Check("10,000 connections leave nothing behind", isSlow: true) {
        backend in
        let world = try World(backend)
        var lost = 0
        let port = try world.reactor.listen(on: World.loopback) { _ in
            let recorder = Recorder()
            recorder.onData = { _, transport in transport.loseConnection() }
            recorder.onLost = { _, _ in lost += 1 }
            return recorder
        }
        let endpoint = ClientEndpoint.address(port.localAddress)
        var started = 0
        func next() {
            guard started < 10_000 else { return }
            started += 1
            let client = Recorder()
            client.onMade = { $0.write("x") }
            client.onLost = { _, _ in
                lost += 1
                next()
            }
            endpoint.connect(on: world.reactor) { client }.whenFailed { _ in lost += 1_000_000 }
        }
        for _ in 0..<50 { next() }
        try world.run(limit: .seconds(120)) { lost >= 20_000 }
        try expectEqual(lost, 20_000)
        port.stopListening()
        try world.finish()
    }
}

/// A producer that writes down what it is told.
final class CountingProducer: PushProducer {
    var calls: [String] = []
    var onPause: () -> Void = {}
    var onResume: () -> Void = {}

    func pauseProducing() {
        calls.append("pause")
        onPause()
    }

    func resumeProducing() {
        calls.append("resume")
        onResume()
    }

    func stopProducing() { calls.append("stop") }
}
