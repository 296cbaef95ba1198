// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// What every backend owes the portable code about what is left of a connection that has ended:
/// output that the peer has not taken, and input that was not read.
extension ConformanceSuite {
    static let lingering = [
        closeWaitsForNoPeer, lateInput, slowReader, unsentOutputAtTheEnd, abandonedDownload,
        abandonedOutput, answerBeforeReset, resetWhilePausedFromTheStart, lossBehindUnread,
        lossOfTheIdle,
    ]

    // S5
    static let closeWaitsForNoPeer = Check(
        "a close is over when the kernel has everything, whatever the peer does then"
    ) { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair(client: HalfRecorder())
        server.transport.write("answer")
        server.transport?.loseConnection()
        try world.run { server.loss != nil && client.events.last == .readLost }
        try expectEqual(server.loss, .closedLocally)
        try expectEqual(client.text, "answer")
        // The client stays, and its connection with it; the server's socket does not.
        try expectEqual(world.reactor.statistics.openConnections, 1)
        try world.run(limit: .seconds(4)) { world.reactor.statistics.lingeringStreams == 0 }
        try expect(client.loss == nil, "\(client.events)")
        client.transport?.loseConnection()
        try world.run { client.loss != nil }
        try world.finish()
    }

    // S19
    static let lateInput = Check(
        "a peer that sends after the close, and reads late, gets all that was written"
    ) { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        let bytes = [UInt8].pattern(count: 300_000)
        client.recordsData = false
        client.transport.pauseProducing()
        server.transport.write(bytes)
        server.transport?.loseConnection()
        for _ in 0..<20 {
            client.transport?.write("late")
            world.run(for: .milliseconds(1))
        }
        client.transport?.resumeProducing()
        try world.run { client.loss != nil && server.loss != nil }
        try expectEqual(client.byteCount, bytes.count)
        try expectEqual(client.loss, .closedByPeer)
        try world.finish()
    }

    // S18, S19
    static let slowReader = Check(
        "a peer that reads slowly but steadily gets everything, in whatever time"
    ) { backend in
        let world = try World(backend)
        var options = StreamOptions()
        options.closeTimeout = .milliseconds(40)
        options.sendBufferBytes = 200_000
        options.receiveBufferBytes = 8_192
        let (client, server) = try world.connectedPair(options: options)
        let bytes = [UInt8].pattern(count: 120_000)
        client.recordsData = false
        client.onData = { _, transport in
            transport.pauseProducing()
            world.reactor.callLater(.milliseconds(20)) { transport.resumeProducing() }
        }
        // All of it is in the kernel, or is soon: the process itself has no reason to wait.
        server.transport.write(bytes)
        server.transport?.loseConnection()
        try world.run(limit: .seconds(60)) { client.loss != nil && server.loss != nil }
        try expectEqual(client.byteCount, bytes.count)
        try expectEqual(client.hash, StreamHash(bytes))
        try expectEqual(client.loss, .closedByPeer)
        try expectEqual(server.loss, .closedLocally)
        try world.finish()
    }

    // S17
    static let unsentOutputAtTheEnd = Check(
        "however much was written before a close behind the peer's end, it arrives"
    ) { backend in
        let world = try World(backend)
        var options = StreamOptions()
        options.sendBufferBytes = 4_096
        options.receiveBufferBytes = 4_096
        for pieceCount in 1...24 {
            let (client, server) = try world.connectedPair(
                client: HalfRecorder(), server: HalfRecorder(), options: options)
            client.recordsData = false
            client.transport.pauseProducing()
            client.transport.loseWriteConnection()
            try world.run { server.events.last == .readLost }
            for number in 1...pieceCount {
                server.transport.write([UInt8].pattern(count: 1_000, seed: UInt64(number)))
                if number < pieceCount { world.reactor.turn(until: world.reactor.now) }
            }
            server.transport?.loseConnection()
            world.run(for: .milliseconds(1))
            client.transport?.resumeProducing()
            try world.run { client.loss != nil && server.loss != nil }
            try expectEqual(client.byteCount, pieceCount * 1_000)
            try expect(client.loss!.isClean && server.loss!.isClean, "\(client.loss!)")
        }
        try world.finish()
    }

    static let abandonedDownload = Check(
        "who closes a download does not go on to read it for long"
    ) { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair(server: HalfRecorder())
        let source = EndlessSource(to: server.transport)
        client.recordsData = false
        client.onData = { _, transport in transport.loseConnection() }
        source.resumeProducing()
        try world.run { client.loss != nil }
        try expectEqual(client.loss, .closedLocally)
        try world.run(limit: .seconds(4)) { server.loss != nil }
        try expect(!server.loss!.isClean, "\(server.loss!)")
        try expect(source.byteCount < 64_000_000, "\(source.byteCount) bytes were read")
        try world.finish()
    }

    // S5
    static let abandonedOutput = Check(
        "what was written before the transport was abandoned arrives, and a reset behind it"
    ) { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        let bytes = [UInt8].pattern(count: 1_000_000)
        client.recordsData = false
        client.transport.pauseProducing()
        server.transport.write(bytes)
        server.transport?.abandonConsuming(because: Mishap())
        world.run(for: .milliseconds(2))
        client.transport?.resumeProducing()
        try world.run { client.loss != nil && server.loss != nil }
        try expectEqual(client.byteCount, bytes.count)
        try expect(!client.loss!.isClean, "\(client.loss!)")
        try expectEqual(server.loss, .aborted)
        try world.finish()
    }

    // S5
    static let answerBeforeReset = Check(
        "an answer that came before a reset is delivered, also to a client that cannot send"
    ) { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        server.transport.pauseProducing()
        client.transport.write([UInt8].pattern(count: 20_000_000))
        try world.run { client.transport.pendingByteCount > 0 }
        server.transport.write("too much")
        try world.run { server.transport.pendingByteCount == 0 }
        // On its way, and arrived, before the reset takes what is not.
        world.run(for: .milliseconds(600))
        server.transport?.abortConnection()
        try world.run { client.loss != nil && server.loss != nil }
        try expectEqual(client.text, "too much")
        guard case .failed = client.loss else {
            throw CheckFailure(description: "\(client.events)")
        }
        try world.finish()
    }

    // S8
    static let resetWhilePausedFromTheStart = Check(
        "a reset is noticed by an end that is paused from connectionMade on"
    ) { backend in
        let world = try World(backend)
        for isServerPaused in [true, false] {
            let (client, server) = (Recorder(), Recorder())
            (isServerPaused ? server : client).onMade = { $0.pauseProducing() }
            _ = try world.connectedPair(client: client, server: server)
            world.reactor.turn(until: world.reactor.now)
            (isServerPaused ? client : server).transport?.abortConnection()
            try world.run(limit: .seconds(4)) { client.loss != nil && server.loss != nil }
            guard case .failed(let error) = (isServerPaused ? server : client).loss else {
                throw CheckFailure(description: "\(client.events) \(server.events)")
            }
            try expectEqual(error.code, .connectionReset)
        }
        try world.finish()
    }

    // S8
    static let lossBehindUnread = Check(
        "a reset stops the producer of a paused end at once, and is told behind what was not read"
    ) { backend in
        let world = try World(backend)
        let server = Recorder()
        server.onMade = { $0.pauseProducing() }
        let (client, _) = try world.connectedPair(server: server)
        let producer = CountingProducer()
        server.transport.registerProducer(producer)
        client.transport.write("unread")
        world.run(for: .milliseconds(5))
        client.transport?.abortConnection()
        try world.run(limit: .seconds(4)) { client.loss != nil && producer.calls == ["stop"] }
        server.transport.write("dropped")
        try expectEqual(server.events, [.made])
        server.transport?.resumeProducing()
        try world.run { server.loss != nil }
        try expectEqual(server.text, "unread")
        try expect(!server.loss!.isClean, "\(server.loss!)")
        try world.finish()
    }

    // S8
    static let lossOfTheIdle = Check(
        "an end that stays paused is told of a reset after five seconds, whatever it has not read",
        isSlow: true
    ) { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        server.transport.pauseProducing()
        client.transport.write("unread")
        world.run(for: .milliseconds(5))
        let start = world.reactor.now
        client.transport?.abortConnection()
        try world.run { server.loss != nil }
        let time = start.duration(to: world.reactor.now)
        try expect(.seconds(4)...(.seconds(8)) ~= time, "\(time)")
        try expectEqual(server.text, "")
        try world.finish()
    }
}

/// Writes as long as it may.
private final class EndlessSource: PushProducer {
    private var transport: (any StreamTransport)?
    private var mayWrite = false
    private(set) var byteCount = 0
    private let piece = Bytes([UInt8].pattern(count: 16_000))

    init(to transport: any StreamTransport) {
        self.transport = transport
        transport.registerProducer(self)
    }

    func resumeProducing() {
        mayWrite = true
        while mayWrite {
            byteCount += piece.count
            transport?.write(piece)
        }
    }

    func pauseProducing() { mayWrite = false }

    func stopProducing() {
        mayWrite = false
        transport = nil
    }
}
