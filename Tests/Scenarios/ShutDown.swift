// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionTesting

extension Scenario {
    /// A server is stopped while clients upload, some of which never read and never end; it ends in
    /// time, with every connection told once, and can run again.
    static let shutDown = Scenario("shutDown") { world in
        let ledger = Ledger(world)
        world.vary()
        let server = world.host("server")
        func listen(_ reactor: Reactor) throws {
            try ServerEndpoint.address(.ipv4(.any, port: 7)).listen(on: reactor) {
                EchoServer("server", ledger)
            }
        }
        try server.run(listen)
        let clients = try Uploader.start(count: 1 + world.dice.below(4), in: world, ledger)
        try world.run(for: .milliseconds(world.dice.below(3_000)))
        let patience = Duration.milliseconds([0, 50, 2_000, 40_000][world.dice.below(4)])
        let stop = world.elapsed
        server.reactor.stop(within: patience)
        server.note("stops within \(patience)")
        try world.run { !server.isRunning }
        let taken = world.elapsed - stop
        guard taken < patience + .seconds(120) else {
            throw Violation(description: "the stop took \(taken) of \(patience)")
        }
        for client in clients { client.leave() }
        try world.run { clients.allSatisfy(\.isOver) && ledger.isQuiet }
        guard world.dice.percent(30) else { return }
        try server.run(listen)
        let more = try Uploader.start(count: 1, in: world, ledger, first: 9)
        try world.run(limit: .seconds(7_200)) {
            more.allSatisfy { $0.isOver || $0.received.byteCount > 0 }
        }
        for client in more { client.leave() }
        try world.run { more.allSatisfy(\.isOver) && ledger.isQuiet }
        if world.isCalm, more.contains(where: { $0.received.byteCount == 0 }) {
            throw Violation(description: "the second run answers nobody")
        }
    }
}

/// Sends, and may never read.
private final class Uploader: Audited {
    private let payload: [UInt8]
    private let seed: UInt64
    private let isDeaf: Bool
    private var source: Source?
    private var connecting: Deferred<Uploader>?
    private var hasLeft = false

    init(_ name: String, _ ledger: Ledger, _ world: SimulatedWorld, canBeDeaf: Bool) {
        payload = world.payload() + world.payload()
        seed = world.dice.next()
        isDeaf = canBeDeaf && world.dice.percent(40)
        super.init(name, ledger)
    }

    static func start(
        count: Int, in world: SimulatedWorld, _ ledger: Ledger, first: Int = 1
    ) throws -> [Uploader] {
        try (first..<(first + count)).map { number in
            let client = Uploader(
                "client\(number)", ledger, world, canBeDeaf: first == 1)
            let delay = Duration.milliseconds(world.dice.below(first > 1 ? 1 : 1_000))
            try world.host(client.name).run { reactor in
                reactor.callLater(delay) { client.connect(on: reactor) }
            }
            return client
        }
    }

    private func connect(on reactor: Reactor) {
        guard !hasLeft else { return }
        connecting = ClientEndpoint.tcp(host: "server", port: 7).connect(on: reactor) { self }
        connecting?.whenFailed { [self] _ in hasFailed = loss == nil && transport == nil }
    }

    /// Has its end whatever the server does.
    func leave() {
        hasLeft = true
        if let transport {
            transport.abortConnection()
        } else if let connecting, !isOver {
            connecting.cancel()
        } else if !isOver {
            hasFailed = true
        }
    }

    override func connectionMade(_ transport: any StreamTransport) throws {
        try super.connectionMade(transport)
        connecting = nil
        if isDeaf { transport.pauseProducing() }
        source = Source(payload, to: transport, ledger, seed: seed) {}
        source?.start()
    }

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        let start = received.byteCount
        try super.dataReceived(bytes, from: transport)
        ledger.expect(payload.hasBytes(bytes, at: start), "\(name): not its own bytes")
    }

    override func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        super.connectionLost(why, from: transport)
        source = nil
    }
}
