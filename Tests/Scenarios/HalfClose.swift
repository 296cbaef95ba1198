// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionTesting

extension Scenario {
    /// A question, the end of it, and then an answer that only its end completes.
    static let halfClose = Scenario("halfClose") { world in
        let ledger = Ledger(world)
        world.vary()
        let seed = world.dice.next()
        var answerers: [Answerer] = []
        let answerSize =
            1 + world.dice.below(world.network.conditions.sendBufferBytes == 1 ? 300 : 30_000)
        try world.host("server").run { reactor in
            try ServerEndpoint.address(.ipv4(.any, port: 7)).listen(on: reactor) {
                answerers.append(Answerer(ledger, count: answerSize, seed: seed))
                return answerers.last
            }
        }
        let asker = Asker("client", ledger, payload: world.payload(), seed: world.dice.next())
        asker.isPlain = world.dice.percent(30)
        try world.host("client").run { reactor in
            ClientEndpoint.tcp(host: "server", port: 7).connect(on: reactor) { asker }
                .whenFailed { _ in asker.hasFailed = asker.loss == nil }
        }
        try world.run { asker.isOver && ledger.isQuiet }
        try asker.check(answerers, in: world)
    }
}

/// Ends its direction when it has sent everything, and reads on.
final class Asker: Audited, HalfCloseableProtocol {
    private let payload: [UInt8]
    private let seed: UInt64
    private var source: Source?
    private(set) var events: [String] = []
    /// Whether it closes when the peer has ended, instead of by itself.
    var isPlain = false

    var keepsHalfOpen: Bool { !isPlain }

    init(_ name: String, _ ledger: Ledger, payload: [UInt8], seed: UInt64) {
        self.payload = payload
        self.seed = seed
        super.init(name, ledger)
    }

    override func connectionMade(_ transport: any StreamTransport) throws {
        try super.connectionMade(transport)
        source = Source(payload, to: transport, ledger, seed: seed) {
            transport.loseWriteConnection()
        }
        source?.start()
    }

    func readConnectionLost(from transport: any StreamTransport) throws {
        ledger.expect(!events.contains("read"), "\(name): readConnectionLost twice")
        events.append("read")
    }

    func writeConnectionLost(from transport: any StreamTransport) throws {
        ledger.expect(!events.contains("write"), "\(name): writeConnectionLost twice")
        events.append("write")
    }

    override func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        super.connectionLost(why, from: transport)
        source = nil
    }

    func check(_ answerers: [Answerer], in world: SimulatedWorld) throws {
        if world.isCalm, loss != .closedByPeer {
            throw Violation(description: "the client's loss is \(loss as Any)")
        }
        guard world.isHonest, loss == .closedByPeer else { return }
        let hash = StreamHash(payload)
        guard let answerer = answerers.first(where: { $0.received == hash }) else {
            throw Violation(description: "no server has the question")
        }
        guard let answer = answerer.answer, StreamHash(answer) == received else {
            throw Violation(description: "the answer is not whole")
        }
    }
}

/// Answers when the question has ended.
final class Answerer: Audited, HalfCloseableProtocol {
    private let count: Int
    private let seed: UInt64
    private var source: Source?
    private(set) var answer: [UInt8]?

    init(_ ledger: Ledger, count: Int, seed: UInt64) {
        self.count = count
        self.seed = seed
        super.init("server", ledger)
    }

    func readConnectionLost(from transport: any StreamTransport) throws {
        ledger.expect(answer == nil, "server: readConnectionLost twice")
        let answer = [UInt8].pattern(count: count, seed: received.value)
        self.answer = answer
        source = Source(answer, to: transport, ledger, seed: seed) { [unowned self] in close() }
        source?.start()
    }

    func writeConnectionLost(from transport: any StreamTransport) throws {}

    override func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        super.connectionLost(why, from: transport)
        source = nil
    }
}
