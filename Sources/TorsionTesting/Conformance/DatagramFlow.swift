// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

// U2: batches, pausing, and what happens when the kernel has no room.
extension ConformanceSuite {
    static let datagramFlow = [
        coalescedWrites, pausedInBatch, resumedAtEnd, closedWhilePaused, waitsForRoom,
        oneFullReceiver, queueLimit,
    ]

    static let coalescedWrites = Check("all datagrams of an event arrive in order, also very many")
    {
        backend in
        let world = try World(backend)
        let server = Mailbox()
        var options = DatagramOptions()
        options.receiveBufferBytes = 8 << 20
        let port = try world.reactor.listenForDatagrams(
            on: World.loopback, options: options, server)
        let client = try world.reactor.listenForDatagrams(on: World.loopback, Mailbox())
        let texts = (0..<300).map { "\($0)" }
        world.reactor.callLater(.zero) {
            for text in texts { try client.write(text, to: port.localAddress) }
        }
        try world.run { server.texts.count == texts.count }
        try expectEqual(server.texts, texts)
        try expectEqual(client.statistics.pending, 0)
        world.stopAll([port, client])
        try world.finish()
    }

    static let pausedInBatch = Check(
        "pausing in the middle of a batch delivers nothing more, and resuming the rest in order"
    ) { backend in
        let world = try World(backend)
        let server = Mailbox()
        server.onReceived = { _, _, transport in
            if server.texts.count % 3 == 0 { transport.pauseProducing() }
        }
        let port = try world.reactor.listenForDatagrams(on: World.loopback, server)
        let client = try world.reactor.listenForDatagrams(on: World.loopback, Mailbox())
        let texts = (0..<10).map { "\($0)" }
        for text in texts { try client.write(text, to: port.localAddress) }
        for count in [3, 6, 9] {
            try world.run { server.texts.count == count }
            world.run(for: .milliseconds(2))
            try expectEqual(server.texts, Array(texts[..<count]))
            port.resumeProducing()
        }
        try world.run { server.texts.count == 10 }
        try expectEqual(server.texts, texts)
        world.stopAll([port, client])
        try world.finish()
    }

    /// Resumes a transport when the event ends.
    private final class Resumption: EndOfEventFlushing {
        let transport: any DatagramTransport
        init(_ transport: any DatagramTransport) { self.transport = transport }
        func flush() { transport.resumeProducing() }
    }

    static let resumedAtEnd = Check("a port that is resumed at the event's end keeps the order") {
        backend in
        let world = try World(backend)
        let server = Mailbox()
        server.onReceived = { _, _, transport in
            guard server.texts.count % 20 == 0 else { return }
            transport.pauseProducing()
            transport.reactor.flushAtEndOfEvent(Resumption(transport))
        }
        let port = try world.reactor.listenForDatagrams(on: World.loopback, server)
        let client = try world.reactor.listenForDatagrams(on: World.loopback, Mailbox())
        // More than a batch.
        let texts = (0..<100).map { "\($0)" }
        for text in texts { try client.write(text, to: port.localAddress) }
        try world.run { server.texts.count == texts.count }
        try expectEqual(server.texts, texts)
        world.stopAll([port, client])
        try world.finish()
    }

    static let closedWhilePaused = Check("a port that is closed with datagrams in hand drops them")
    {
        backend in
        let world = try World(backend)
        let server = Mailbox()
        server.onReceived = { _, _, transport in transport.pauseProducing() }
        let port = try world.reactor.listenForDatagrams(on: World.loopback, server)
        let client = try world.reactor.listenForDatagrams(on: World.loopback, Mailbox())
        for _ in 0..<5 { try client.write("hello", to: port.localAddress) }
        try world.run { !server.texts.isEmpty }
        port.resumeProducing()
        port.stopListening()
        world.run(for: .milliseconds(2))
        try expectEqual(server.events, [.started, .received, .stopped])
        client.stopListening()
        try world.finish()
    }

    static let waitsForRoom = Check("what the kernel has no room for waits, and leaves in order") {
        backend in
        let world = try World(backend)
        let server = Mailbox()
        let port = try world.reactor.listenForDatagrams(on: .unix(.unnamed), server)
        port.pauseProducing()
        let client = try world.reactor.listenForDatagrams(on: .unix(.unnamed), Mailbox())
        try client.connect(to: port.localAddress)
        // A UNIX socket's queue takes net.unix.max_dgram_qlen, mostly 10 to 512.
        let texts = (0..<2_000).map { "\($0)" }
        for text in texts { try client.write(text) }
        world.run(for: .milliseconds(2))
        try expect(client.statistics.pending > 0, "nothing waits")
        port.resumeProducing()
        try world.run { server.texts.count == texts.count }
        try expectEqual(server.texts, texts)
        try expectEqual(client.statistics.pending, 0)
        world.stopAll([port, client])
        try world.finish()
    }

    static let oneFullReceiver = Check("a receiver that is full does not hold up the others") {
        backend in
        let world = try World(backend)
        let slow = Mailbox(), quick = Mailbox(), sender = Mailbox()
        let slowPort = try world.reactor.listenForDatagrams(on: .unix(.unnamed), slow)
        let quickPort = try world.reactor.listenForDatagrams(on: .unix(.unnamed), quick)
        slowPort.pauseProducing()
        let client = try world.reactor.listenForDatagrams(on: .unix(.unnamed), sender)
        for _ in 0..<2_000 { try client.write("s", to: slowPort.localAddress) }
        try client.write("q", to: quickPort.localAddress)
        try world.run { quick.texts == ["q"] && sender.events.contains(.failed(.wouldBlock)) }
        let turns = world.reactor.statistics.turns
        world.run(for: .milliseconds(20))
        try expect(world.reactor.statistics.turns - turns < 20, "it spins")
        world.stopAll([slowPort, quickPort, client])
        try world.finish()
    }

    static let queueLimit = Check("a write that finds the queue full throws, and the port goes on")
    {
        backend in
        let world = try World(backend)
        let server = Mailbox()
        let port = try world.reactor.listenForDatagrams(on: .unix(.unnamed), server)
        port.pauseProducing()
        var options = DatagramOptions()
        options.queueLimitBytes = 64 * 100
        options.peerAddress = port.localAddress
        let client = try world.reactor.listenForDatagrams(
            on: .unix(.unnamed), options: options, Mailbox())
        var code: ErrorCode?
        var written = 0
        while code == nil, written < 10_000 {
            do throws(IOError) {
                try client.write("\(written)")
                written += 1
            } catch { code = error.code }
        }
        try expectEqual(code, .noBufferSpace)
        try expectEqual(client.statistics.pending, 100)
        try expectEqual(client.statistics.unsent, 1)
        port.resumeProducing()
        try world.run { server.texts.count == written }
        try expectEqual(server.texts, (0..<written).map { "\($0)" })
        world.stopAll([port, client])
        try world.finish()
    }
}
