// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// What is owed when calls fail, are cut short, or are late: see ``FaultPlan``.
extension ConformanceSuite {
    static let faults = [
        eachCallOfEcho, eachCallOfBulk, failedStart, cutToPieces, irregularCalls, acceptShortage,
    ]

    // FAULTS, X
    static let eachCallOfEcho = Check("whichever call of an echo fails, both ends end once") {
        backend in
        for code in [ErrorCode.noBufferSpace, .connectionReset] {
            let count = try failingEachCall(of: backend, with: code) { backend in
                try echoOnce(on: backend, byteCount: 5)
            }
            // listen, connect, connected, accept, and what two sides read, write and shut down.
            try expect(count >= 9, "\(count) calls")
        }
    }

    static let eachCallOfBulk = Check(
        "whichever call of a bulk echo fails, both ends end once", isSlow: true
    ) { backend in
        try failingEachCall(of: backend, with: .timedOut) { backend in
            try echoOnce(on: backend, byteCount: 1_000_000)
        }
    }

    /// A client sends, reads the echo, and closes.
    ///
    /// Calls may fail; nothing may be left or told twice.
    private static func echoOnce(on backend: BackendChoice, byteCount: Int) throws {
        // A backend that does not start has nothing to turn.
        guard let world = try? World(backend) else { return }
        world.reactor.unhandledError = { _ in }
        let client = Recorder(), server = Echoing()
        client.recordsData = false
        client.onMade = { $0.write([UInt8].pattern(count: byteCount)) }
        client.onData = { [unowned client] _, transport in
            if client.byteCount == byteCount { transport.loseConnection() }
        }
        var isDone = false
        guard let port = try? world.reactor.listen(on: World.loopback, { _ in server }) else {
            return try world.finish()
        }
        client.onLost = { _, _ in isDone = true }
        ClientEndpoint.address(port.localAddress).connect(on: world.reactor) { client }
            .whenFailed { _ in isDone = true }
        try world.run { isDone }
        port.stopListening()
        try world.run { server.events.isEmpty || server.loss != nil }
        for end in [client, server] where !end.events.isEmpty {
            try expectEqual(end.events.first, .made)
            try expectEqual(end.events.count { if case .lost = $0 { true } else { false } }, 1)
        }
        world.run(for: .milliseconds(25))
        try world.finish()
    }

    static let failedStart = Check("a reactor that could not start throws, and can run later") {
        backend in
        let plan = FaultPlan.failCall(1, of: [.start], with: .tooManyOpenFiles)
        let reactor = Reactor(backend: .faulty(backend, plan), services: nil)
        var caught: IOError?
        do { try reactor.run() } catch { caught = error as? IOError }
        try expectEqual(caught?.code, .tooManyOpenFiles)
        try expectEqual(caught?.operation, .start)
        var hasRun = false
        try reactor.run(signals: .ignore) { reactor in
            reactor.callLater(.zero) {
                hasRun = true
                reactor.stop()
            }
        }
        try expect(hasRun)
    }

    static let cutToPieces = Check("reads and writes of one byte change nothing") { backend in
        let world = try World(.faulty(backend, .pieces(of: 1)))
        let (client, server) = try world.connectedPair(client: Recorder(), server: Echoing())
        let bytes = [UInt8].pattern(count: 3_000)
        client.recordsData = false
        client.transport.write(bytes)
        try world.run { client.byteCount == bytes.count }
        try expectEqual(client.hash, server.hash)
        client.transport.loseConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(server.loss, .closedByPeer)
        try world.finish()
    }

    static let irregularCalls = Check("calls that are cut or late by twenty seeds change nothing") {
        backend in
        let bytes = [UInt8].pattern(count: 300_000)
        let expected = StreamHash(bytes)
        for seed in 1...20 as ClosedRange<UInt64> {
            let world = try World(.faulty(backend, .irregular(seed: seed)))
            let (client, server) = try world.connectedPair(
                client: HalfRecorder(), server: Echoing())
            client.recordsData = false
            client.transport.write(bytes)
            client.transport.loseWriteConnection()
            try world.run { server.loss != nil && client.loss != nil }
            try expect(client.hash == expected, "seed \(seed): \(client.byteCount) bytes")
            try expect(server.loss!.isClean && client.loss!.isClean, "seed \(seed)")
            try world.finish()
        }
    }

    // S15
    static let acceptShortage = Check(
        "a port that runs out of descriptors rests, tells once, and recovers"
    ) { backend in
        let plan = FaultPlan.failCalls(1...6, of: [.accept], with: .tooManyOpenFiles)
        let world = try World(.faulty(backend, plan))
        var seen: [UnhandledError] = []
        world.reactor.unhandledError = { seen.append($0) }
        var servers: [Recorder] = []
        let port = try world.reactor.listen(on: World.loopback) { _ in
            servers.append(Recorder())
            return servers.last
        }
        let endpoint = ClientEndpoint.address(port.localAddress)
        let start = world.reactor.now
        var refused = 0
        var kept: Recorder?
        while kept == nil {
            let client = Recorder()
            // Where filters have to agree first, it is the connect that fails.
            var hasFailed = false
            endpoint.connect(on: world.reactor) { client }.whenFailed { _ in hasFailed = true }
            let count = servers.count
            try world.run { servers.count > count || client.loss != nil || hasFailed }
            if client.loss == nil, !hasFailed { kept = client } else { refused += 1 }
        }
        try expectEqual(refused, 6)
        try expectEqual(seen.count, 1)
        try expectEqual((seen.first?.error as? IOError)?.code, .tooManyOpenFiles)
        // 10, 20, 40 … 320 ms of rest, each met by the next client.
        let waited = start.duration(to: world.reactor.now)
        try expect(waited > .milliseconds(300) && waited < .seconds(3), "\(waited)")
        try world.run { kept?.transport != nil }
        kept?.transport.loseConnection()
        try world.run { servers[0].loss != nil && kept?.loss != nil }
        port.stopListening()
        try world.finish()
    }
}
