// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionTesting

/// Sends, and may never read, or seldom.
final class Uploader: Audited {
    private let payload: [UInt8]
    private let seed: UInt64
    let isDeaf: Bool
    /// Whether what comes back is what was sent.
    private let isEchoed: Bool
    private var source: Source?
    private var connecting: Deferred<Uploader>?
    private var hasLeft = false
    /// How many more reads it takes its time over: few, or its peer's grace period would end.
    private var restCount: Int

    init(
        _ name: String, _ ledger: Ledger, _ world: SimulatedWorld, canBeDeaf: Bool,
        canBeSlow: Bool, isEchoed: Bool
    ) {
        payload = world.payload() + world.payload()
        seed = world.dice.next()
        isDeaf = canBeDeaf && world.dice.percent(40)
        restCount = canBeSlow && world.dice.percent(50) ? 5 : 0
        self.isEchoed = isEchoed
        super.init(name, ledger)
    }

    var isConnected: Bool { transport != nil }

    static func start(
        count: Int, in world: SimulatedWorld, _ ledger: Ledger, first: Int = 1,
        canBeSlow: Bool = false, isEchoed: Bool = true
    ) throws -> [Uploader] {
        try (first..<(first + count)).map { number in
            let client = Uploader(
                "client\(number)", ledger, world, canBeDeaf: first == 1, canBeSlow: canBeSlow,
                isEchoed: isEchoed)
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
        ledger.expect(
            !isEchoed || payload.hasBytes(bytes, at: start), "\(name): not its own bytes")
        if restCount > 0 { rest(from: transport) }
    }

    private func rest(from transport: any StreamTransport) {
        restCount -= 1
        transport.pauseProducing()
        transport.reactor.callLater(.seconds(2)) { transport.resumeProducing() }
    }

    override func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        super.connectionLost(why, from: transport)
        source = nil
    }
}
