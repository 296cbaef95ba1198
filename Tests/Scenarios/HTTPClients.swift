// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionHTTP
import TorsionTesting

extension Scenario {
    /// Requests over a pool of connections to a server that ends and begins anew: each is answered with
    /// what it asked for or fails, never with another's answer or a part, and none that must not be
    /// repeated is handled twice.
    static let httpClients = Scenario("httpClients") { world in
        let ledger = Ledger()
        world.vary()
        let site = HTTPSite(world, ledger)
        let server = world.host("server")
        try server.run { try site.listen(on: $0) }
        let users = HTTPUsers(world, ledger, of: site, at: "http://server", on: "client")
        try world.host("client").run { _ in users.start() }
        let restartCount = world.dice.below(4)
        for _ in 0..<restartCount {
            let gracePeriod = Duration.milliseconds([0, 100, 5_000][world.dice.below(3)])
            world.at(.milliseconds(1 + world.dice.below(20_000))) {
                server.reactor.stop(within: gracePeriod)
            }
        }
        world.always {
            users.checkInvariants()
            try ledger.check()
            if !server.isRunning, !users.isOver { try server.run { try site.listen(on: $0) } }
        }
        try world.run(limit: .seconds(36_000)) { users.isOver }
        if restartCount == 0, world.isCalm, world.isHonest {
            ledger.expect(users.failureCount == 0, "\(users.failures) without a cause")
        }
        try users.end()
        try ledger.check()
    }

    /// The same through a reverse proxy, all three of which are slow in turn: what the proxy holds is
    /// bounded, and what breaks on one side is never whole on the other.
    static let reverseProxy = Scenario("reverseProxy") { world in
        let ledger = Ledger()
        world.vary()
        let site = HTTPSite(world, ledger)
        try world.host("origin").run { try site.listen(on: $0) }
        let options = HTTPUsers.options(world)
        var upstream: HTTPClient?
        try world.host("proxy").run { reactor in
            let client = HTTPClient(on: reactor, options: options)
            upstream = client
            let proxy = ReverseProxy(to: try HTTPURL(parsing: "http://origin"), by: client)
            try ServerEndpoint.address(.ipv4(.any, port: 80))
                .listen(on: reactor, http: HTTPSite.options) { proxy }
        }
        let users = HTTPUsers(world, ledger, of: site, at: "http://proxy", on: "client")
        try world.host("client").run { _ in users.start() }
        world.always { [network = world.network] in
            users.checkInvariants()
            upstream?.checkInvariants()
            let held = world.host("proxy").reactor.statistics.queuedBytes
            // For each direction of each exchange a mark, and one write beyond it: what a read brings.
            let each = Watermarks().high + 64 * 1024 + network.conditions.receiveBufferBytes
            ledger.expect(held <= 2 * users.count * each, "the proxy holds \(held) bytes")
            try ledger.check()
        }
        try world.run(limit: .seconds(36_000)) { users.isOver }
        if world.isCalm, world.isHonest {
            ledger.expect(users.failureCount == 0, "\(users.failures) without a cause")
        }
        try users.end()
        try world.run(limit: .seconds(3_600)) {
            upstream!.idleConnectionCount == upstream!.connectionCount
        }
        upstream?.closeIdleConnections()
        upstream = nil
        try ledger.check()
    }
}

/// Answers each path with a content of its own, in a way of its own, at leisure.
final class HTTPSite: HTTPResponder {
    private let ledger: Ledger
    private let mostByteCount: Int
    private var dice: SeededDice
    private var handled: Set<Int> = []

    init(_ world: SimulatedWorld, _ ledger: Ledger) {
        self.ledger = ledger
        mostByteCount = world.payload().count
        dice = SeededDice(seed: world.dice.next())
    }

    /// As slow as the network may be.
    static var options: HTTPServerOptions {
        var options = HTTPServerOptions()
        options.firstByteTimeout = .seconds(3_600)
        options.headTimeout = .seconds(3_600)
        options.bodyTimeout = .seconds(3_600)
        options.idleTimeout = .seconds(3_600)
        options.answerTimeout = .seconds(3_600)
        options.bodyBytesPerSecond = 0
        return options
    }

    func listen(on reactor: Reactor) throws {
        try ServerEndpoint.address(.ipv4(.any, port: 80))
            .listen(on: reactor, http: Self.options) { self }
    }

    /// What is at a path, and what is sent to it.
    func content(_ number: Int) -> [UInt8] {
        .pattern(count: number * 7_919 % (mostByteCount + 1), seed: UInt64(number))
    }

    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        let number = Int(String(decoding: head.path).dropFirst()) ?? 0
        let content = Bytes(content(number))
        let reactor = exchange.reactor
        guard head.method == .get else {
            ledger.expect(handled.insert(number).inserted, "POST \(number) is handled twice")
            let body = exchange.body.collect(limitBytes: 1 << 20)
            return exchange.respond(
                when: body.addCallback { [ledger] body in
                    ledger.expect(body == content, "POST \(number) brought \(body.count) bytes")
                    return HTTPResponse(.ok, body: content)
                })
        }
        var fields: FieldList = [:]
        if dice.percent(10) { fields.append(.connection, "close") }
        if dice.percent(20) { fields.append(.keepAlive, "timeout=\(dice.below(4))") }
        let delay = Duration.milliseconds(dice.percent(50) ? 0 : dice.below(3_000))
        let pending = exchange.later()
        let kind = dice.below(3)
        reactor.callLater(delay) { [self] in
            if kind == 0 { return pending.respond(.ok, fields, body: content) }
            let writer = pending.begin(.ok, fields, byteCount: kind == 1 ? content.count : nil)
            write(content, to: writer, on: reactor)
        }
    }

    private func write(_ rest: Bytes, to writer: ResponseWriter, on reactor: Reactor) {
        guard writer.isOpen else { return }
        guard !rest.isEmpty else { return writer.finish() }
        let count = min(rest.count, 1 + dice.below([20, 1_500, 20_000][dice.below(3)]))
        writer.write(rest[..<count])
        let delay = Duration.microseconds(dice.percent(50) ? 0 : dice.below(50_000))
        reactor.callLater(delay) { [self] in write(rest[count...], to: writer, on: reactor) }
    }
}

/// Those who ask, and read at leisure.
private final class HTTPUsers {
    private let ledger: Ledger
    private let site: HTTPSite
    private let base: String
    private let reactor: Reactor
    private let world: SimulatedWorld
    private var client: HTTPClient?
    private var dice: SeededDice
    let count: Int
    private var overCount = 0
    private(set) var failureCount = 0
    private(set) var failures: [String] = []

    init(
        _ world: SimulatedWorld, _ ledger: Ledger, of site: HTTPSite, at base: String,
        on host: String
    ) {
        self.ledger = ledger
        self.site = site
        self.base = base
        self.world = world
        reactor = world.host(host).reactor
        count = 1 + world.dice.below(12)
        dice = SeededDice(seed: world.dice.next())
        client = HTTPClient(on: reactor, options: Self.options(world))
    }

    /// As slow as the network may be.
    static func options(_ world: SimulatedWorld) -> HTTPClientOptions {
        var options = HTTPClientOptions()
        options.connectionLimit = 1 + world.dice.below(4)
        options.connectTimeout = .seconds(60)
        options.waitingTimeout = .seconds(3_600)
        options.sendTimeout = .seconds(900)
        options.headTimeout = .seconds(900)
        options.bodyTimeout = .seconds(900)
        options.idleTimeout = .milliseconds(1 + world.dice.below(20_000))
        return options
    }

    var isOver: Bool { overCount == count }

    func checkInvariants() { client?.checkInvariants() }

    func start() {
        for number in 1...count {
            let isPost = dice.percent(30)
            let leaves = dice.percent(10)
            reactor.callLater(.milliseconds(dice.below(10_000))) { [self] in
                ask(number, isPost: isPost, leaves: leaves)
            }
        }
    }

    private func ask(_ number: Int, isPost: Bool, leaves: Bool) {
        guard let client, let url = try? HTTPURL(parsing: "\(base)/\(number)") else { return }
        var request = ClientRequest(url)
        let content = site.content(number)
        if isPost {
            request.method = .post
            request.body = .bytes(Bytes(content))
        }
        let answer = client.send(request).addCallback { [self] response in
            guard response.status == .ok else {
                throw Violation(description: "status \(response.status)")
            }
            return read(response, 0, content, number)
        }
        let isLate = leaves
        if isLate { reactor.callLater(.milliseconds(dice.below(2_000))) { answer.cancel() } }
        answer.addBoth { [self] (outcome: Result<Int, any Error>) in
            overCount += 1
            switch outcome {
            case .success(let byteCount):
                ledger.expect(byteCount == content.count, "\(number): \(byteCount) bytes for whole")
            case .failure(let error):
                if leaves, error is CancellationError { return }
                failureCount += 1
                failures.append("\(number): \(error)")
            }
        }
    }

    /// Reads a piece, and after a while the next one.
    private func read(
        _ response: ClientResponse, _ start: Int, _ content: [UInt8], _ number: Int
    ) -> Deferred<Int> {
        response.body.nextPiece().addCallback { [self] piece -> Deferred<Int> in
            guard let piece else { return .succeeded(start, on: reactor) }
            ledger.expect(
                content.hasBytes(piece.span, at: start), "\(number): other bytes at \(start)")
            let delay = Duration.microseconds(dice.percent(70) ? 0 : dice.below(300_000))
            return reactor.deferLater(delay).addCallback { [self] in
                read(response, start + piece.count, content, number)
            }
        }
    }

    /// Lets go of the client: nothing of it is left.
    func end() throws {
        guard let client else { return }
        try world.run(limit: .seconds(3_600)) {
            client.idleConnectionCount == client.connectionCount
        }
        if dice.percent(50) { client.closeIdleConnections() }
        self.client = nil
    }
}
