// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionTesting

extension Scenario {
    /// Clients send, check that the same comes back in the same order, and close.
    static let echo = Scenario("echo") { world in
        let ledger = Ledger(world)
        world.vary()
        var servers: [Audited] = []
        try world.host("server").run { reactor in
            let endpoint = ServerEndpoint.address(.ipv4(.any, port: 7))
            try endpoint.listen(on: reactor) {
                servers.append(EchoServer("server", ledger))
                return servers.last
            }
        }
        let clients = try EchoClient.start(count: 1 + world.dice.below(3), in: world, ledger)
        try world.run { clients.allSatisfy(\.isOver) && ledger.isQuiet }
        try EchoClient.check(clients, servers, in: world)
    }
}

/// Sends back what it receives.
final class EchoServer: Audited {
    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try super.dataReceived(bytes, from: transport)
        transport.write(bytes)
    }
}

/// Sends a payload, wants it back, and closes when it has it.
final class EchoClient: Audited {
    let payload: [UInt8]
    private let seed: UInt64
    private var isSent = false
    private var source: Source?

    init(_ name: String, _ ledger: Ledger, payload: [UInt8], seed: UInt64) {
        self.payload = payload
        self.seed = seed
        super.init(name, ledger)
    }

    var isComplete: Bool { received.byteCount == payload.count }

    override func connectionMade(_ transport: any StreamTransport) throws {
        try super.connectionMade(transport)
        source = Source(payload, to: transport, ledger, seed: seed) { [unowned self] in
            isSent = true
            closeIfDone()
        }
        source?.start()
    }

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        let start = received.byteCount
        try super.dataReceived(bytes, from: transport)
        ledger.expect(payload.hasBytes(bytes, at: start), "\(name): not its own bytes")
        closeIfDone()
    }

    override func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        super.connectionLost(why, from: transport)
        source = nil
    }

    private func closeIfDone() {
        if isSent, isComplete { close() }
    }

    /// Begins so many clients, each on a host of its own, which connect to port 7 of a host.
    static func start(
        count: Int, in world: SimulatedWorld, to server: String = "server", _ ledger: Ledger
    ) throws -> [EchoClient] {
        try (1...count).map { number in
            let client = EchoClient(
                "client\(number)", ledger, payload: world.payload(), seed: world.dice.next())
            var endpoint = ClientEndpoint.tcp(host: server, port: 7)
            endpoint.options.watermarks = world.watermarks()
            let delay = Duration.microseconds(world.dice.below(100_000))
            try world.host(client.name).run { reactor in
                reactor.callLater(delay) {
                    endpoint.connect(on: reactor) { client }
                        .whenFailed { _ in client.hasFailed = client.loss == nil }
                }
            }
            return client
        }
    }

    /// What must hold when all has ended.
    static func check(
        _ clients: [EchoClient], _ servers: [Audited], in world: SimulatedWorld
    ) throws {
        for client in clients {
            if world.isCalm, client.loss != .closedLocally || !client.isComplete {
                throw Violation(
                    description: "\(client.name) got \(client.received.byteCount) of "
                        + "\(client.payload.count) bytes and \(client.loss as Any)")
            }
            guard world.isHonest, client.loss == .closedLocally else { continue }
            let hash = StreamHash(client.payload)
            guard servers.contains(where: { $0.received == hash }) else {
                throw Violation(description: "no server has what \(client.name) sent")
            }
        }
    }
}

extension SimulatedWorld {
    func watermarks() -> Watermarks {
        [Watermarks(), Watermarks(low: 100, high: 1_000), Watermarks(low: 0, high: 1)][
            dice.below(3)]
    }
}
