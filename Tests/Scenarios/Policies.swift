// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols
import TorsionTesting

extension Scenario {
    /// Good and bad clients of a server behind proxies' headers, limits and timeouts.
    static let policies = Scenario("policies") { world in
        let ledger = Ledger(world)
        world.vary()
        let factory = GuardedFactory(ledger)
        let limits = ConnectionLimits(total: 4, perPeer: 2)
        let limiter = ConnectionLimiter(limits)
        let gracePeriod = Duration.seconds(600)
        try world.host("server").run { reactor in
            let proxies = [AddressBlock("0.0.0.0/0")!]
            var endpoint = ServerEndpoint.address(.ipv4(.any, port: 7))
            endpoint.options.handshakeTimeout = gracePeriod
            // Liars are reported, each with its reason.
            let report = reactor.unhandledError
            reactor.unhandledError = { if !($0.error is ProxyHeaderError) { report($0) } }
            try endpoint.filtered { ProxyHeaderReader(trusting: proxies) }
                .timeouts(Timeouts(handshake: gracePeriod, request: gracePeriod, idle: gracePeriod))
                .listen(on: reactor, factory: factory)
                .observe(by: limiter)
        }
        world.always {
            limiter.checkInvariants()
            ledger.expect(limiter.connectionCount <= 4, "more connections than the limit")
            for (peer, count) in factory.openCounts {
                ledger.expect(count <= 2, "\(count) connections of \(peer)")
            }
        }
        let clients = try GuardedClient.start(count: 2 + world.dice.below(6), in: world, ledger)
        try world.run {
            clients.allSatisfy(\.isOver) && ledger.isQuiet && limiter.connectionCount == 0
                && world.host("server").reactor.statistics.openConnections == 0
        }
        let failures = clients.filter { $0.isGood && !$0.isComplete }
        if world.isCalm, failures.count > limiter.refusedCount {
            throw Violation(
                description: "\(failures.count) failures, \(limiter.refusedCount) refusals")
        }
    }
}

/// What its clients' proxies say they are.
func claimedAddress(_ number: Int) -> SocketAddress {
    .ipv4(IPv4Address(192, 0, 2, UInt8(number)), port: 1_000)
}

final class GuardedFactory: StreamProtocolFactory {
    private let ledger: Ledger
    /// Connections that protocols know of, by their clients' addresses.
    private(set) var openCounts: [SocketAddress: Int] = [:]

    init(_ ledger: Ledger) { self.ledger = ledger }

    func makeProtocol(for peer: SocketAddress) -> (any StreamProtocol)? {
        GuardedServer(ledger) { [self] in openCounts[$0, default: 0] += $1 }
    }
}

/// Sends each frame back.
private final class GuardedServer: Audited, FrameProtocol {
    let frames = FrameDecoder(.lengthPrefix(.uint16, limitBytes: 300))
    private let count: (SocketAddress, Int) -> Void

    init(_ ledger: Ledger, _ count: @escaping (SocketAddress, Int) -> Void) {
        self.count = count
        super.init("server", ledger)
    }

    override func connectionMade(_ transport: any StreamTransport) throws {
        try super.connectionMade(transport)
        ledger.expect(
            (1...3).contains { claimedAddress($0) == transport.peerAddress },
            "\(transport.peerAddress) is not the proxy's client")
        count(transport.peerAddress, 1)
    }

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try super.dataReceived(bytes, from: transport)
        try cutFrames(in: bytes, from: transport)
    }

    func frameReceived(_ frame: RawSpan, from transport: any StreamTransport) throws {
        try transport.write(frame: frame, as: frames.format)
    }

    override func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        count(transport.peerAddress, -1)
        super.connectionLost(why, from: transport)
    }
}

/// Talks in frames, or does what a server has to survive.
final class GuardedClient: Audited, FrameProtocol {
    enum Kind: CaseIterable { case good, alsoGood, silent, liar, trickler }

    let frames = FrameDecoder(.lengthPrefix(.uint16, limitBytes: 300))
    private let kind: Kind
    private let payloads: [[UInt8]]
    private var answerCount = 0

    convenience init(_ ledger: Ledger, _ dice: inout SeededDice) {
        self.init(Kind.allCases[dice.below(Kind.allCases.count)], ledger, &dice)
    }

    init(_ kind: Kind, _ ledger: Ledger, _ dice: inout SeededDice) {
        self.kind = kind
        var payloads: [[UInt8]] = []
        for _ in 0...dice.below(5) {
            payloads.append(.pattern(count: dice.below(200), seed: dice.next()))
        }
        self.payloads = payloads
        super.init("client", ledger)
    }

    var isGood: Bool { kind == .good || kind == .alsoGood }
    var isComplete: Bool { answerCount == payloads.count }

    static func start(
        count: Int, in world: SimulatedWorld, _ ledger: Ledger
    ) throws -> [GuardedClient] {
        var clients: [GuardedClient] = []
        try world.host("client").run { reactor in
            for _ in 0..<count {
                let client = GuardedClient(ledger, &world.dice)
                clients.append(client)
                let header = ProxyHeader(
                    source: claimedAddress(1 + world.dice.below(3)),
                    destination: claimedAddress(9), version: world.dice.percent(50) ? .v1 : .v2)
                // A header may leave byte by byte.
                var options = StreamOptions()
                options.handshakeTimeout = .seconds(600)
                // A partition may hide the server's end for ever.
                let endpoint = ClientEndpoint.tcp(host: "server", port: 7, options: options)
                    .timeouts(Timeouts(idle: .seconds(1_200)))
                reactor.callLater(.milliseconds(world.dice.below(2_000))) {
                    client.connect(to: endpoint, behind: header, on: reactor)
                }
            }
        }
        return clients
    }

    /// Connects through a proxy that says whom it speaks for, or does not.
    func connect(
        to endpoint: WrappedClientEndpoint, behind header: ProxyHeader, on reactor: Reactor
    ) {
        var endpoint = endpoint
        if kind != .silent, kind != .liar {
            endpoint = endpoint.filtered { ProxyHeaderWriter(header) }
        }
        endpoint.connect(on: reactor) { self }
            .whenFailed { [self] _ in hasFailed = loss == nil }
    }

    override func connectionMade(_ transport: any StreamTransport) throws {
        try super.connectionMade(transport)
        switch kind {
        case .good, .alsoGood:
            for payload in payloads { try transport.write(frame: payload, as: frames.format) }
        case .silent: break
        case .liar: transport.write("PROXY TCP4 192.0.2.01 ")
        case .trickler: transport.write([0, 100, 1, 2, 3])
        }
    }

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try super.dataReceived(bytes, from: transport)
        try cutFrames(in: bytes, from: transport)
    }

    func frameReceived(_ frame: RawSpan, from transport: any StreamTransport) {
        ledger.expect(
            isGood && !isComplete && frame == payloads[answerCount],
            "answer \(answerCount + 1) is not what was sent")
        answerCount += 1
        if isComplete { close() }
    }
}
