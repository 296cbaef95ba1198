// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

extension ConformanceSuite {
    static let accepting = [
        refusedPeer, closingInFactory, bindAgain, inUse, manyAtOnce, backsOff,
    ]

    // S14
    static let refusedPeer = Check("a factory that returns nil, or throws, closes the connection") {
        backend in
        let world = try World(backend)
        var seen: [UnhandledError] = []
        world.reactor.unhandledError = { seen.append($0) }
        var count = 0
        let port = try world.reactor.listen(on: World.loopback) { _ in
            count += 1
            if count == 2 { throw Mishap() }
            return nil
        }
        for _ in 0..<2 {
            let client = Recorder()
            ClientEndpoint.address(port.localAddress).connect(on: world.reactor) { client }
                .whenFailed { _ in }
            try world.run { client.loss != nil }
        }
        try expect(seen.count == 1 && seen[0].error is Mishap, "\(seen)")
        port.stopListening()
        try world.finish()
    }

    // S16
    static let closingInFactory = Check("closing the port inside the factory keeps that client") {
        backend in
        let world = try World(backend)
        let server = Recorder()
        var port: ListeningPort?
        port = try world.reactor.listen(on: World.loopback) { _ in
            port?.stopListening()
            return server
        }
        let client = Recorder()
        ClientEndpoint.address(port!.localAddress).connect(on: world.reactor) { client }
            .whenFailed { _ in }
        try world.run { client.transport != nil && server.transport != nil }
        try expect(!port!.isListening)
        client.transport?.loseConnection()
        try world.run { server.loss != nil && client.loss != nil }
        port = nil
        try world.finish()
    }

    // S16
    static let bindAgain = Check("after stopListening has fired the address can be bound again") {
        backend in
        let world = try World(backend)
        let first = try world.reactor.listen(on: World.loopback) { _ in nil }
        var hasFired = false
        first.stopListening().addCallback { hasFired = true }.whenFailed { _ in }
        try world.run { hasFired }
        let second = try world.reactor.listen(on: first.localAddress) { _ in nil }
        first.stopListening()
        second.stopListening()
        try world.finish()
    }

    static let inUse = Check("a port in use is an error that names the address") { backend in
        let world = try World(backend)
        let port = try world.reactor.listen(on: World.loopback) { _ in nil }
        do throws(IOError) {
            _ = try world.reactor.listen(on: port.localAddress) { _ in nil }
            throw IOError(.listen, function: "", code: .other(0))
        } catch {
            let text = "cannot listen on \(port.localAddress): address already in use (EADDRINUSE)"
            try expect("\(error)".hasPrefix(text), "\(error)")
        }
        port.stopListening()
        try world.finish()
    }

    static let manyAtOnce = Check("three hundred clients at once are all accepted") { backend in
        let world = try World(backend)
        var made = 0, lost = 0
        let port = try world.reactor.listen(on: World.loopback) { _ in
            let recorder = Recorder()
            recorder.onMade = { _ in made += 1 }
            recorder.onLost = { _, _ in lost += 1 }
            return recorder
        }
        var clients: [Recorder] = []
        for _ in 0..<300 {
            let client = Recorder()
            clients.append(client)
            ClientEndpoint.address(port.localAddress).connect(on: world.reactor) { client }
                .whenFailed { _ in }
        }
        try world.run { made == 300 && clients.allSatisfy { $0.transport != nil } }
        for client in clients { client.transport?.loseConnection() }
        try world.run { lost == 300 && clients.allSatisfy { $0.loss != nil } }
        port.stopListening()
        try world.finish()
    }

    // M9
    static let backsOff = Check(
        "ports stop accepting while the queues hold too much, and start again when that has gone"
    ) { backend in
        let world = try World(backend)
        var seen: [UnhandledError] = []
        world.reactor.unhandledError = { seen.append($0) }
        world.reactor.queueLimitBytes = 1_000_000
        var servers: [Recorder] = []
        var options = StreamOptions()
        options.watermarks = Watermarks(low: 1, high: 2, limit: 100_000_000)
        let port = try world.reactor.listen(on: World.loopback, options: options) { _ in
            servers.append(Recorder())
            return servers.last
        }
        func connect() -> Recorder {
            let client = Recorder()
            client.recordsData = false
            ClientEndpoint.address(port.localAddress).connect(on: world.reactor) { client }
                .whenFailed { _ in }
            return client
        }
        let slow = connect()
        try world.run { servers.count == 1 && slow.transport != nil }
        slow.transport.pauseProducing()
        let other = connect()
        try world.run { servers.count == 2 && other.transport != nil }
        // More than the buffers of any kernel take.
        let piece = Bytes([UInt8].pattern(count: 1_000_000))
        for _ in 0..<24 { servers[0].transport.write(piece) }
        try expect(world.reactor.statistics.queuedBytes > 1_000_000)
        let late = connect()
        world.run(for: .milliseconds(200))
        try expectEqual(servers.count, 2)
        try expectEqual(world.reactor.statistics.acceptBackoffs, 1)
        try expectEqual(seen.count, 1)
        try expect(seen.first?.error is QueueLimitExceeded, "\(seen)")
        slow.transport.resumeProducing()
        try world.run { servers.count == 3 && late.transport != nil }
        try world.run { slow.byteCount == 24_000_000 }
        port.stopListening()
        for client in [slow, other, late] { client.transport?.loseConnection() }
        try world.run { servers.allSatisfy { $0.loss != nil } }
        try world.run { [slow, other, late].allSatisfy { $0.loss != nil } }
        try world.finish()
    }
}
