// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionTesting

extension Scenario {
    /// The echo in async code, in both faces: each client writes in one task and reads in another,
    /// some give up after a while, and the server may be stopped in the middle; every task ends.
    static let tasks = Scenario("tasks") { world in
        let ledger = Ledger(world)
        world.vary()
        let server = world.host("server")
        var options = StreamOptions()
        options.watermarks = world.watermarks()
        options.closeTimeout = .seconds(900)
        var servedCount = 0, endedCount = 0
        var dice = SeededDice(seed: world.dice.next())
        var isListening = false
        try server.run { [options] reactor in
            var endpoint = ServerEndpoint.address(.ipv4(.any, port: 7))
            endpoint.options = options
            reactor.spawn { [endpoint] in
                try await endpoint.serve(
                    on: reactor, gracePeriod: .seconds(20),
                    whenListening: { _ in isListening = true }
                ) { connection in
                    servedCount += 1
                    defer { endedCount += 1 }
                    if dice.percent(50) { return try await lend(connection) }
                    for try await bytes in connection.inbound {
                        try await connection.write(bytes)
                    }
                }
            }
        }
        // A task does not run at once, and a host may stall before it does.
        try world.run { isListening }
        let clients = try (1...(1 + world.dice.below(3))).map { number in
            let client = AsyncClient("client\(number)", ledger, world)
            client.endpoint.options.watermarks = world.watermarks()
            try world.host(client.name).run { reactor in client.start(on: reactor) }
            return client
        }
        let isStopped = world.dice.percent(25)
        if isStopped {
            let gracePeriod = Duration.milliseconds([0, 100, 40_000][world.dice.below(3)])
            world.at(world.elapsed + .milliseconds(world.dice.below(3_000))) {
                server.note("stops within \(gracePeriod)")
                server.reactor.stop(within: gracePeriod)
            }
        }
        try world.run(limit: .seconds(7_200)) {
            clients.allSatisfy(\.isOver) && servedCount == endedCount
                && (!isStopped || !server.isRunning)
        }
        for client in clients {
            try client.check(in: world, mayFail: isStopped)
            let figures = world.host(client.name).reactor.statistics
            ledger.expect(figures.tasks == 0, "\(client.name) has \(figures.tasks) tasks left")
            ledger.expect(figures.suspendedTasks == 0, "\(client.name) has waits left")
        }
    }
}

/// Echoes without copying, and without waiting for room: then reading does.
private nonisolated(nonsending) func lend(_ connection: AsyncConnection) async throws {
    let transport = connection.transport
    while try await connection.read({ transport.write($0) }) != nil {}
}

/// Sends, and wants the same back, by two tasks.
final class AsyncClient {
    let name: String
    private let ledger: Ledger
    private let payload: [UInt8]
    /// Gives up after this.
    private let limit: Duration?
    private var dice: SeededDice
    private var receivedCount = 0
    private var outcome: Result<Void, any Error>?

    var endpoint = ClientEndpoint.tcp(host: "server", port: 7)

    init(_ name: String, _ ledger: Ledger, payload: [UInt8], limit: Duration?, seed: UInt64) {
        self.name = name
        self.ledger = ledger
        self.payload = payload
        self.limit = limit
        dice = SeededDice(seed: seed)
    }

    convenience init(_ name: String, _ ledger: Ledger, _ world: SimulatedWorld) {
        let payload = world.payload() + world.payload()
        let isHasty = world.dice.percent(25)
        self.init(
            name, ledger, payload: payload,
            limit: isHasty ? .milliseconds(1 + world.dice.below(4_000)) : nil,
            seed: world.dice.next())
    }

    var isOver: Bool { outcome != nil }

    func start(on reactor: Reactor) {
        reactor.spawn { [self] in
            do {
                if let limit {
                    try await reactor.withTimeout(limit) { [self] in try await talk(on: reactor) }
                } else {
                    try await talk(on: reactor)
                }
                outcome = .success(())
            } catch { outcome = .failure(error) }
        }
    }

    private func talk(on reactor: Reactor) async throws {
        let connection = try await endpoint.connect(on: reactor).value
        defer { connection.close() }
        try await reactor.concurrently(
            { [self] in try await send(connection) }, { [self] in try await receive(connection) })
        guard receivedCount == payload.count else {
            throw Violation(description: "\(receivedCount) of \(payload.count) bytes")
        }
    }

    private func send(_ connection: AsyncConnection) async throws {
        var sentCount = 0
        while sentCount < payload.count {
            let most = 1 + dice.below([20, 1_500, 20_000][dice.below(3)])
            let count = min(payload.count - sentCount, most)
            try await connection.write(Array(payload[sentCount..<(sentCount + count)]))
            sentCount += count
            if dice.percent(15) {
                try await connection.reactor.sleep(for: .microseconds(dice.below(20_000)))
            }
        }
        connection.finishWriting()
    }

    private func receive(_ connection: AsyncConnection) async throws {
        while true {
            if dice.percent(10) {
                try await connection.reactor.sleep(for: .microseconds(dice.below(5_000)))
            }
            guard try await connection.read({ [self] in check($0) }) != nil else { return }
        }
    }

    private func check(_ bytes: RawSpan) {
        ledger.expect(bytes.byteCount > 0, "\(name): data without bytes")
        ledger.expect(payload.hasBytes(bytes, at: receivedCount), "\(name): not its own bytes")
        ledger.expect(!isOver, "\(name): data after the end")
        receivedCount += bytes.byteCount
    }

    func check(in world: SimulatedWorld, mayFail: Bool) throws {
        guard case .failure(let error) = outcome, world.isCalm, !mayFail else { return }
        if limit != nil, error is TimeoutError { return }
        throw Violation(description: "\(name) failed: \(error)")
    }
}
