// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// What every backend owes the portable code about order and pauses.
extension ConformanceSuite {
    static let flow = [
        manyWrites, corkBoundaries, pausedFromTheStart, pausesLoseNothing, switching, pipelined,
        echoOfBulk, throttlesItself, limit,
    ]

    // S10
    static let manyWrites = Check("many writes equal one write of all of them") { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        server.recordsData = false
        let bytes = [UInt8].pattern(count: 200_000)
        var start = 0, size = 1
        while start < bytes.count {
            let end = min(bytes.count, start + size)
            client.transport.write(Array(bytes[start..<end]))
            start = end
            size = size % 9_973 + 617
        }
        client.transport?.loseConnection()
        try world.run { server.loss != nil && client.loss != nil }
        let hash = StreamHash(bytes)
        try expectEqual(server.byteCount, bytes.count)
        try expectEqual(server.hash, hash)
        try world.finish()
    }

    // S10
    static let corkBoundaries = Check(
        "writes at each boundary of the gathering buffer keep their order"
    ) {
        backend in
        for size in [4_095, 4_096, 4_097, 16_383, 16_384, 16_385] {
            let world = try World(backend)
            let (client, server) = try world.connectedPair()
            client.recordsData = false
            server.recordsData = false
            let bytes = [UInt8].pattern(count: size)
            // Inside the connection's own event, small pieces around a large one.
            server.onData = { _, transport in
                transport.write("<")
                for start in stride(from: 0, to: size, by: 1_000) {
                    transport.write(Array(bytes[start..<min(size, start + 1_000)]))
                }
                transport.write(">")
                transport.write(bytes)
                transport.write(Bytes(bytes))
                transport.loseConnection()
            }
            client.transport.write("go")
            try world.run { server.loss != nil && client.loss != nil }
            let whole = [UInt8(ascii: "<")] + bytes + [UInt8(ascii: ">")] + bytes + bytes
            let hash = StreamHash(whole)
            try expectEqual(client.byteCount, whole.count)
            try expectEqual(client.hash, hash)
            try world.finish()
        }
    }

    // S8
    static let pausedFromTheStart = Check(
        "pausing in connectionMade delivers nothing until resumed"
    ) {
        backend in
        let world = try World(backend)
        let server = Recorder()
        server.onMade = { $0.pauseProducing() }
        let (client, _) = try world.connectedPair(server: server)
        client.transport.write("wait")
        world.run(for: .milliseconds(10))
        try expectEqual(server.events, [.made])
        server.transport?.resumeProducing()
        try world.run { server.text == "wait" }
        client.transport?.loseConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try world.finish()
    }

    // S9
    static let pausesLoseNothing = Check(
        "stopping and starting reads loses no byte of 64 MB", isSlow: true
    ) { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        let piece = Bytes([UInt8].pattern(count: 1_000_000))
        server.recordsData = false
        var count = 0
        server.onData = { _, transport in
            count += 1
            guard count % 7 == 0 else { return }
            transport.pauseProducing()
            transport.reactor.callLater(.microseconds(100)) { transport.resumeProducing() }
        }
        client.transport.watermarks = Watermarks(low: 1, high: 2, limit: 200_000_000)
        var hash = StreamHash()
        for _ in 0..<64 {
            client.transport.write(piece)
            hash.add(piece.span)
        }
        client.transport?.loseConnection()
        try world.run(limit: .seconds(120)) { server.loss != nil && client.loss != nil }
        try expectEqual(server.byteCount, 64_000_000)
        try expectEqual(server.hash, hash)
        world.run(for: .milliseconds(2))
        try world.finish()
    }

    // S20
    static let switching = Check("switchProtocol in mid-buffer loses and doubles no byte") {
        backend in
        let world = try World(backend)
        let old = Recorder(), new = Recorder()
        old.onData = { text, transport in
            guard let mark = text.utf8.firstIndex(of: UInt8(ascii: "|")) else { return }
            let rest = Array(text.utf8[text.utf8.index(after: mark)...])
            unsafe transport.switchProtocol(to: new, remaining: rest.span.bytes)
        }
        let (client, _) = try world.connectedPair(server: old)
        client.transport.write("old|new")
        try world.run { new.text == "new" }
        client.transport.write(" and more")
        client.transport?.loseConnection()
        try world.run { new.loss != nil && client.loss != nil }
        try expectEqual(new.events, [.made, .data("new and more"), .lost(.closedByPeer)])
        // How much of "new" came with the mark, and was handed on, is the network's to decide.
        try expect("old|new".hasPrefix(old.text) && old.text.hasPrefix("old|"), old.text)
        try expectEqual(old.events.count, 2)
        try world.finish(held: 1)
    }

    static let pipelined = Check("sixteen answers to one read arrive in order") { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair()
        server.onData = { text, transport in
            for character in text { transport.write("\(character)\n") }
        }
        client.transport.write("0123456789abcdef")
        try world.run { client.text.utf8.count == 32 }
        try expectEqual(client.text, "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\na\nb\nc\nd\ne\nf\n")
        client.transport?.abortConnection()
        try world.run { server.loss != nil }
        try world.finish()
    }

    static let echoOfBulk = Check("an echo of 8 MB comes back byte for byte") { backend in
        let world = try World(backend)
        let server = Echoing()
        let (client, _) = try world.connectedPair(server: server)
        client.recordsData = false
        let bytes = [UInt8].pattern(count: 8_000_000)
        client.transport.watermarks = Watermarks(low: 1, high: 2, limit: 100_000_000)
        // A transport that throttles itself would wait for the echo that waits for it.
        let producer = CountingProducer()
        client.transport.registerProducer(producer)
        client.transport.write(bytes)
        try world.run { client.byteCount == bytes.count }
        let hash = StreamHash(bytes)
        try expectEqual(client.hash, hash)
        client.transport.unregisterProducer()
        client.transport?.loseConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try world.finish()
    }

    // DESIGN 8: a server that nobody configured survives a slow reader.
    static let throttlesItself = Check(
        "an echo whose client never reads holds little and stops reading"
    ) {
        backend in
        let world = try World(backend)
        let server = Echoing()
        server.recordsData = false
        let (client, _) = try world.connectedPair(server: server)
        client.transport.pauseProducing()
        client.transport.watermarks = Watermarks(low: 1, high: 2, limit: 200_000_000)
        client.transport.write([UInt8].pattern(count: 32_000_000))
        world.run(for: .milliseconds(150))
        let held = server.transport.pendingByteCount
        // One read may come on top of the mark.
        try expect(held <= 2 * 64 * 1024 + 64 * 1024, "\(held) bytes held")
        // With what the backend has read and keeps: a peer must not choose how much that is.
        let figures = world.reactor.statistics
        let queued = figures.queuedBytes - client.transport.pendingByteCount
        // Each filter may keep a piece of its own, as a record of TLS.
        let limit = 2 * 64 * 1024 + 64 * 1024 + backend.filters.count * 16 * 1024
        try expect(queued <= limit, "\(queued) bytes queued, \(held) by the server")
        try expect(server.byteCount < 32_000_000, "it went on reading")
        client.transport?.abortConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try world.finish()
    }

    // DESIGN 6
    static let limit = Check("a protocol that ignores both marks is stopped by the limit") {
        backend in
        let world = try World(backend)
        var options = StreamOptions()
        options.watermarks = Watermarks(low: 10, high: 20, limit: 1_000_000)
        let (client, server) = try world.connectedPair(options: options)
        // A text that grows by pieces costs seconds.
        server.recordsData = false
        server.transport.pauseProducing()
        let piece = Bytes([UInt8].pattern(count: 500_000))
        let peer = client.transport.peerAddress
        for _ in 0..<40 { client.transport?.write(piece) }
        try world.run { client.loss != nil }
        try expectEqual(client.loss, .writeLimitExceeded)
        for _ in 0..<3 { world.reactor.turn(until: world.reactor.now) }
        try expectEqual(world.takeReports(), ["\(ConnectionLoss.writeLimitExceeded)"])
        try expectEqual(world.contexts, ["writing to \(peer)"])
        try expectEqual(world.reactor.statistics.writeLimitsExceeded, 1)
        server.transport?.resumeProducing()
        try world.run { server.loss != nil }
        try world.finish()
    }
}

/// Sends back what it receives.
final class Echoing: Recorder {
    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        recordsData = false
        try super.dataReceived(bytes, from: transport)
        transport.write(bytes)
    }
}
