// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import TorsionCore
import TorsionTesting

#if TLS
import TorsionTLS
#endif

extension Scenario {
    #if TLS
    /// Other scenarios with TLS over each connection; some of them change bytes on their way.
    ///
    /// Whatever is changed, a program sees right bytes and then an error: never a wrong byte, and never
    /// an end that looks clean before all bytes have come.
    static let secured = [
        echo.underTLS(), halfClose.underTLS(), lastWords.underTLS(), proxy.underTLS(), startTLS,
        Scenario("randomUserTLS") { world in
            world.network.endFilters = TestedTLS.ends
            try randomUser.run(in: world)
        },
    ]

    /// The same over TLS.
    private func underTLS() -> Scenario {
        Scenario("\(name)TLS") { world in
            world.network.endFilters = TestedTLS.ends
            if world.dice.percent(50) {
                world.damage(under: &world.network.endFilters, sparesLengths: true)
            }
            try run(in: world)
        }
    }

    /// A command in the clear, then TLS on the same connection, and an echo over that.
    private static let startTLS = Scenario("startTLS") { world in
        let ledger = Ledger(world)
        world.vary()
        world.network.conditions.sendBufferBytes = max(
            700, world.network.conditions.sendBufferBytes)
        if world.dice.percent(50) { world.damage(under: &world.network.endFilters) }
        var servers: [Audited] = []
        try world.host("server").run { reactor in
            try ServerEndpoint.address(.ipv4(.any, port: 7)).listen(on: reactor) {
                servers.append(UpgradingServer("server", ledger))
                return servers.last
            }
        }
        let clients = try (1...(1 + world.dice.below(2))).map { number in
            let client = UpgradingClient(
                "client\(number)", ledger, payload: world.payload(), seed: world.dice.next())
            try world.host(client.name).run { reactor in
                ClientEndpoint.tcp(host: "server", port: 7).connect(on: reactor) { client }
                    .whenFailed { _ in client.hasFailed = client.loss == nil }
            }
            return client
        }
        // A command that was changed on its way is never answered.
        try world.run {
            clients.allSatisfy { $0.isOver || world.network.isDamaged && $0.isWaiting }
                && (ledger.isQuiet || world.network.isDamaged)
        }
        for client in clients where world.isCalm {
            guard client.loss == .closedLocally, client.isComplete else {
                throw Violation(
                    description: "\(client.name) got \(client.echoedCount) of "
                        + "\(client.payload.count) bytes and \(client.loss as Any)")
            }
        }
        for client in clients { client.transport?.abortConnection() }
        for server in servers { server.transport?.abortConnection() }
        try world.run { ledger.isQuiet }
    }
    #else
    static let secured: [Scenario] = []
    #endif
}

#if TLS

extension SimulatedWorld {
    /// Changes one bit of each connection, somewhere in what the client sends or gets.
    ///
    /// `sparesLengths`: Not one of a record's length, behind which a peer waits for bytes that nobody
    /// sends; the stream must be TLS from its first byte.
    fileprivate func damage(under ends: inout EndFilters, sparesLengths: Bool = false) {
        network.isDamaged = true
        let place = dice.below([200, 2_500, 50_000][dice.below(3)])
        let isOutgoing = dice.percent(50)
        let bit = UInt8(dice.below(8))
        ends.client.insert(
            {
                Flipper(
                    at: place, bit: bit, isOutgoing: isOutgoing, sparesLengths: sparesLengths)
            }, at: 0)
    }
}

/// Changes one bit at a place of a stream.
private final class Flipper: StreamFilter {
    private var left: Int
    private let mask: UInt8
    private let isOutgoing: Bool
    private let sparesLengths: Bool
    /// Of the header's five bytes (RFC 8446 §5.1), those that have passed; then of the record's.
    private var headerByteCount = 0
    private var recordByteCount = 0

    init(at place: Int, bit: UInt8, isOutgoing: Bool, sparesLengths: Bool) {
        left = place
        mask = 1 << bit
        self.isOutgoing = isOutgoing
        self.sparesLengths = sparesLengths
        super.init()
    }

    private func changed(_ bytes: RawSpan) -> Bytes {
        var copy = [UInt8](bytes)
        for index in copy.indices where left >= 0 {
            let isLength = passes(copy[index])
            if left == 0, sparesLengths, isLength { continue }
            if left == 0 { copy[index] ^= mask }
            left -= 1
        }
        return Bytes(copy)
    }

    /// Whether a byte is one of a record's length.
    private func passes(_ byte: UInt8) -> Bool {
        guard recordByteCount == 0 else {
            recordByteCount -= 1
            return false
        }
        headerByteCount += 1
        guard headerByteCount > 3 else { return false }
        if headerByteCount == 4 {
            highLength = Int(byte) << 8
        } else {
            recordByteCount = highLength + Int(byte)
            headerByteCount = 0
        }
        return true
    }

    private var highLength = 0

    override func receive(_ bytes: RawSpan) {
        if isOutgoing { deliver(bytes) } else { deliver(changed(bytes).span) }
    }

    override func transmit(_ bytes: RawSpan) -> Int {
        if isOutgoing { send(changed(bytes)) } else { send(bytes) }
        return bytes.byteCount
    }
}

/// Waits for a command, then echoes over TLS.
private final class UpgradingServer: Audited {
    private var command: [UInt8] = []
    private var isUpgraded = false

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try super.dataReceived(bytes, from: transport)
        if isUpgraded {
            ledger.expect(transport.security != nil, "\(name): bytes in the clear")
            return transport.write(bytes)
        }
        command += [UInt8](bytes)
        guard command.contains(UInt8(ascii: "\n")) else { return }
        isUpgraded = true
        transport.write("go ahead\n")
        transport.startTLS(TestedTLS.contexts.server).whenFailed { _ in }
    }
}

/// Gives the command, goes on with TLS, and wants an echo.
private final class UpgradingClient: Audited {
    let payload: [UInt8]
    private let seed: UInt64
    private var answer: [UInt8] = []
    private var isUpgrading = false
    private var isSent = false
    private var source: Source?
    private(set) var echoedCount = 0

    init(_ name: String, _ ledger: Ledger, payload: [UInt8], seed: UInt64) {
        self.payload = payload
        self.seed = seed
        super.init(name, ledger)
    }

    var isComplete: Bool { echoedCount == payload.count }

    /// For an answer that may never come.
    var isWaiting: Bool { !isUpgrading && transport != nil }

    override func connectionMade(_ transport: any StreamTransport) throws {
        try super.connectionMade(transport)
        transport.write("STARTTLS\n")
    }

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try super.dataReceived(bytes, from: transport)
        guard isUpgrading else { return try read(answer: bytes, transport) }
        ledger.expect(transport.security != nil, "\(name): bytes in the clear")
        ledger.expect(payload.hasBytes(bytes, at: echoedCount), "\(name): not its own bytes")
        echoedCount += bytes.byteCount
        if isSent, isComplete { close() }
    }

    private func read(answer bytes: RawSpan, _ transport: any StreamTransport) throws {
        answer += [UInt8](bytes)
        guard answer.contains(UInt8(ascii: "\n")) else { return }
        isUpgrading = true
        try transport.startTLS(TestedTLS.contexts.client, serverName: "localhost")
            .addCallback { [self] _ in
                source = Source(payload, to: transport, ledger, seed: seed) { [unowned self] in
                    isSent = true
                    if isComplete { close() }
                }
                source?.start()
            }.whenFailed { _ in }
    }

    override func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        super.connectionLost(why, from: transport)
        source = nil
    }
}

#endif
