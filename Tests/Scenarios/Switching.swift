// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionTesting

extension Scenario {
    /// A first line names what the connection is for, and the protocol of that takes over in the
    /// middle of a read, above none, one or two layers, and ends the connection in its own way.
    ///
    /// Some clients come through a proxy, and must not notice. The client ends its direction when it has sent everything, or when the server ends.
    static let switching = Scenario("switching") { world in
        let ledger = Ledger(world)
        world.vary()
        let layerCount = world.dice.below(3)
        let seed = world.dice.next()
        var options = StreamOptions()
        options.closeTimeout = .seconds(900)
        options.handshakeTimeout = .seconds(900)
        options.watermarks = world.watermarks()
        var servedCount: UInt64 = 0
        try world.host("server").run { [options] reactor in
            var endpoint = ServerEndpoint.address(.ipv4(.any, port: 7))
            endpoint.options = options
            try endpoint.scrambled(layerCount)
                .listen(on: reactor) {
                    servedCount += 1
                    return Doorkeeper(ledger, seed: seed &+ servedCount)
                }
        }
        let place = world.dice.percent(30) ? "proxy" : "server"
        if place == "proxy" {
            let server = ClientEndpoint.tcp(host: "server", port: 7, options: options)
            try world.host(place).run { [options] reactor in
                try reactor.listen(on: .ipv4(.any, port: 7), options: options) { _ in
                    StreamProxy(to: server)
                }
            }
        }
        let clients = try (1...(1 + world.dice.below(2))).map { number in
            let client = Guest("client\(number)", ledger, Errand(world), &world.dice)
            try world.host(client.name).run { [options] reactor in
                ClientEndpoint.tcp(host: place, port: 7, options: options)
                    .scrambled(layerCount)
                    .connect(on: reactor) { client }
                    .whenFailed { _ in client.hasFailed = client.loss == nil }
            }
            return client
        }
        try world.run(limit: .seconds(7_200)) {
            clients.allSatisfy(\.isOver) && ledger.isQuiet
                && world.host(place).reactor.statistics.openConnections == 0
        }
        for client in clients { try client.check(in: world) }
    }
}

/// What a connection is for.
struct Errand {
    enum Kind: String, CaseIterable {
        /// Everything comes back.
        case echo
        /// The hash of everything, when the client has ended.
        case hash
        /// The hash of the first so many bytes, as soon as they are there.
        case digest
        /// So many bytes by a push producer, which the close waits for; at once, or at the end.
        case download, reply
        /// The same by a pull producer.
        case pull
        /// So many bytes by a pull producer, and as many as the client sends, whichever comes first.
        case both
        /// A word, and the end.
        case bye
    }

    let kind: Kind
    let count: Int
    let seed: UInt64

    init(_ world: SimulatedWorld) {
        kind = Kind.allCases[world.dice.below(Kind.allCases.count)]
        seed = world.dice.next()
        count = world.payload().count
    }

    init(_ kind: Kind, count: Int, seed: UInt64) {
        self.kind = kind
        self.count = count
        self.seed = seed
    }

    init?(parsing line: [UInt8]) {
        let words = String(decoding: line, as: UTF8.self).split(separator: " ")
        guard words.count == 3, let kind = Kind(rawValue: String(words[0])),
            let count = Int(words[1]), let seed = UInt64(words[2])
        else { return nil }
        self.kind = kind
        self.count = count
        self.seed = seed
    }

    var line: String { "\(kind) \(count) \(seed)\n" }

    /// Whether the server waits for the client's end.
    var needsEnd: Bool {
        switch kind {
        case .echo, .hash, .reply, .both: true
        case .digest, .download, .pull, .bye: false
        }
    }

    /// What the server has to say by itself.
    var content: [UInt8] { .pattern(count: count, seed: seed) }

    /// In any order the same.
    static let filler = UInt8(ascii: "x")

    static func digest(_ bytes: [UInt8]) -> [UInt8] { Array("\(StreamHash(bytes).value)\n".utf8) }

    /// What the client is to get for what it sends.
    func answer(to payload: [UInt8]) -> [UInt8] {
        switch kind {
        case .echo: payload
        case .hash: Self.digest(payload)
        case .digest: Self.digest(Array(payload.prefix(count)))
        case .download, .reply, .pull: content
        case .both: .init(repeating: Self.filler, count: count + payload.count)
        case .bye: Array("bye\n".utf8)
        }
    }
}

/// Reads the first line, and gives way.
final class Doorkeeper: StreamProtocol {
    private let ledger: Ledger
    private let seed: UInt64
    private var line: [UInt8] = []
    private var hasGivenWay = false
    private var hasEnded = false

    init(_ ledger: Ledger, seed: UInt64) {
        self.ledger = ledger
        self.seed = seed
    }

    func connectionMade(_ transport: any StreamTransport) { ledger.made() }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        ledger.expect(!hasGivenWay && !hasEnded, "data for a protocol that gave way")
        guard let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else { return line += bytes }
        line += bytes.extracting(0..<end)
        guard let errand = Errand(parsing: line) else {
            return ledger.expect(false, "a first line that nobody sent: \(line)")
        }
        hasGivenWay = true
        let rest = bytes.extracting((end + 1)..<bytes.byteCount)
        transport.switchProtocol(to: Clerk(errand, ledger, seed: seed), remaining: rest)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        ledger.expect(!hasEnded, "a doorkeeper lost its connection twice")
        hasEnded = true
        ledger.lost()
    }
}

/// Does what the connection is for.
private final class Clerk: HalfCloseableProtocol {
    private let errand: Errand
    private let ledger: Ledger
    private var dice: SeededDice
    private var transport: (any StreamTransport)?
    private var received: [UInt8] = []
    private var source: Source?
    private var hasReadEnded = false
    private var isClosing = false
    private var isLost = false

    init(_ errand: Errand, _ ledger: Ledger, seed: UInt64) {
        self.errand = errand
        self.ledger = ledger
        dice = SeededDice(seed: seed)
    }

    func connectionMade(_ transport: any StreamTransport) {
        ledger.expect(self.transport == nil && !isLost, "\(errand.kind): connectionMade twice")
        self.transport = transport
        switch errand.kind {
        case .echo, .hash, .digest, .reply: break
        case .download: produce(on: transport)
        case .pull:
            transport.registerProducer(Portions(errand.content, transport, seed: dice.next()))
            close()
        case .both:
            let content = [UInt8](repeating: Errand.filler, count: errand.count)
            transport.registerProducer(Portions(content, transport, seed: dice.next()))
        case .bye:
            transport.write("bye\n")
            close()
        }
    }

    /// A close that waits for the producer.
    private func produce(on transport: any StreamTransport) {
        source = Source(errand.content, to: transport, ledger, seed: dice.next()) {}
        source?.start()
        close()
    }

    private func close() {
        isClosing = true
        transport?.loseConnection()
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        ledger.expect(self.transport != nil && !isLost, "\(errand.kind): data without a connection")
        ledger.expect(!isClosing && !hasReadEnded, "\(errand.kind): data after the end")
        // The rest is read again after a pause.
        let used = dice.percent(20) ? 1 + dice.below(bytes.byteCount) : bytes.byteCount
        take(bytes.extracting(0..<used), from: transport)
        guard used < bytes.byteCount, !isClosing else { return }
        transport.pauseProducing()
        transport.unread(bytes.extracting(used..<bytes.byteCount))
        transport.reactor.callLater(.microseconds(dice.below(3_000))) {
            transport.resumeProducing()
        }
    }

    private func take(_ bytes: RawSpan, from transport: any StreamTransport) {
        received += bytes
        switch errand.kind {
        case .echo: transport.write(bytes)
        case .digest where received.count >= errand.count:
            transport.write(Errand.digest(Array(received.prefix(errand.count))))
            close()
        case .both: transport.write([UInt8](repeating: Errand.filler, count: bytes.byteCount))
        case .digest, .hash, .download, .reply, .pull, .bye: break
        }
    }

    func readConnectionLost(from transport: any StreamTransport) throws {
        ledger.expect(!hasReadEnded, "\(errand.kind): readConnectionLost twice")
        hasReadEnded = true
        switch errand.kind {
        case .hash:
            transport.write(Errand.digest(received))
            close()
        case .reply: produce(on: transport)
        case .echo, .digest, .download, .pull, .both, .bye: close()
        }
    }

    func writeConnectionLost(from transport: any StreamTransport) {
        ledger.expect(false, "\(errand.kind): writeConnectionLost, which nobody asked for")
    }

    func shutdownRequested(_ transport: any StreamTransport) { close() }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        ledger.expect(!isLost, "\(errand.kind): connectionLost twice")
        ledger.expect(self.transport != nil, "\(errand.kind): lost before it was made")
        isLost = true
        ledger.lost()
        self.transport = nil
        source = nil
    }
}

/// Writes one portion each time it is asked, then unregisters.
private final class Portions: PullProducer {
    private let content: Bytes
    private let transport: any StreamTransport
    private var dice: SeededDice
    private var writtenCount = 0

    init(_ content: [UInt8], _ transport: any StreamTransport, seed: UInt64) {
        self.content = Bytes(content)
        self.transport = transport
        dice = SeededDice(seed: seed)
    }

    func produceMore() {
        let count = min(content.count - writtenCount, 1 + dice.below([50, 8_000][dice.below(2)]))
        transport.write(content[writtenCount..<(writtenCount + count)])
        writtenCount += count
        if writtenCount == content.count { transport.unregisterProducer() }
    }

    func stopProducing() {}
}

/// Says what it wants, sends, and reads to the server's end.
final class Guest: Audited, HalfCloseableProtocol {
    private let errand: Errand
    private let payload: [UInt8]
    private let endsFirst: Bool
    private let seed: UInt64
    private var source: Source?
    private var isSent = false
    private var hasReadEnded = false
    private var madeAt: MonotonicInstant?
    private var age = Duration.zero

    init(_ name: String, _ ledger: Ledger, _ errand: Errand, _ dice: inout SeededDice) {
        self.errand = errand
        let most = max(1, min(errand.count * 2, 20_000))
        let least = errand.kind == .digest ? errand.count : 0
        payload = .pattern(count: max(least, dice.below(most)), seed: dice.next())
        endsFirst = errand.needsEnd || dice.percent(60)
        seed = dice.next()
        super.init(name, ledger)
    }

    override func connectionMade(_ transport: any StreamTransport) throws {
        try super.connectionMade(transport)
        madeAt = transport.reactor.now
        let whole = Array(errand.line.utf8) + payload
        source = Source(whole, to: transport, ledger, seed: seed) { [unowned self] in
            isSent = true
            endIfDone()
        }
        source?.start()
    }

    private func endIfDone() {
        if isSent, endsFirst || hasReadEnded { transport?.loseWriteConnection() }
    }

    func readConnectionLost(from transport: any StreamTransport) throws {
        ledger.expect(!hasReadEnded, "\(name): readConnectionLost twice")
        hasReadEnded = true
        endIfDone()
    }

    func writeConnectionLost(from transport: any StreamTransport) throws {}

    override func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        super.connectionLost(why, from: transport)
        if let madeAt { age = madeAt.duration(to: transport.reactor.now) }
        source = nil
    }

    func check(in world: SimulatedWorld) throws {
        let answer = errand.answer(to: payload)
        // A server that has said everything to a peer that sends on waits a second for its end: whoever
        // is slower is reset, behind the whole answer.
        let isReset = !errand.needsEnd && received == StreamHash(answer) && age >= .seconds(1)
        if world.isCalm, loss != .closedByPeer, !isReset {
            throw Violation(description: "\(name), \(errand.kind): \(loss as Any)")
        }
        guard world.isHonest, loss == .closedByPeer else { return }
        guard received == StreamHash(answer) else {
            throw Violation(
                description:
                    "\(name), \(errand.kind): \(received.byteCount) bytes are not the answer "
                    + "of \(answer.count)")
        }
    }
}
