// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore
import TorsionProtocols
import TorsionTesting

/// A scenario's programs on one reactor, over any backend, real ones too: short, and always the
/// same, so that the failure of each call that they make can be tried.
public struct Rehearsal: Sendable, CustomStringConvertible {
    /// That of the scenario.
    public let name: String

    /// Begins, and gives what tells whether all has ended.
    private let begin: @Sendable (Reactor, Ledger) throws -> () -> Bool

    /// The name.
    public var description: String { name }

    /// What a call that failed left waiting is ended then.
    public static let limit = Duration.milliseconds(300)

    /// How long those that are under way get at a stop.
    private static let gracePeriod = Duration.milliseconds(300)

    /// Runs the programs to their end.
    ///
    /// Calls may fail; nothing may be told twice or out of order, and nothing may be left.
    ///
    /// - Parameters:
    ///   - backend: What carries them.
    ///   - limit: When what still waits is ended: a while where no call fails, since a busy machine
    ///     is slow.
    /// - Returns: Whether all ended by itself.
    /// - Throws: What was seen that must not be.
    @discardableResult
    public func run(over backend: BackendChoice, limit: Duration = limit) throws -> Bool {
        let ledger = Ledger()
        let reactor = Reactor(backend: backend, services: nil)
        reactor.unhandledError = { _ in }
        var isDone = { false }
        var isOverdue = false
        do {
            try reactor.run(signals: .ignore) { reactor in
                isDone = try begin(reactor, ledger)
                func watch() {
                    if isDone() { reactor.stop(within: .zero) }
                    reactor.callLater(.milliseconds(1)) { watch() }
                }
                watch()
                reactor.callLater(limit) {
                    isOverdue = !isDone()
                    reactor.stop(within: .zero)
                }
            }
        } catch is IOError {
            // The reactor did not start, or the port did not open.
        }
        try ledger.check()
        let figures = reactor.statistics
        let left = [
            ("connections that were not told of their loss", ledger.madeCount - ledger.lostCount),
            ("handles", figures.openHandles), ("transports", figures.liveTransports),
            ("tasks", figures.tasks),
        ].filter { $0.1 != 0 }
        for (what, count) in left { throw Violation(description: "\(count) \(what) are left") }
        // A program that stops its reactor itself may be done after the last look at it.
        return isDone() && !isOverdue
    }

    private static func listen(
        _ reactor: Reactor, scramblers: Int = 0,
        _ makeProtocol: @escaping (SocketAddress) throws -> any StreamProtocol
    ) throws -> ClientEndpoint {
        let port = try ServerEndpoint.address(.ipv4(.loopback, port: 0)).scrambled(scramblers)
            .listen(on: reactor) { try makeProtocol($0) }
        var endpoint = ClientEndpoint.address(port.localAddress)
        endpoint.options.connectTimeout = .milliseconds(100)
        return endpoint
    }

    private static func connect(
        _ endpoint: ClientEndpoint, _ reactor: Reactor, _ client: Audited
    ) -> () -> Bool {
        endpoint.connect(on: reactor) { client }
            .whenFailed { _ in client.hasFailed = client.loss == nil }
        return { client.isOver }
    }

    /// One of each scenario, and of each way in which a protocol ends a connection.
    public static let all =
        [
            echo, halfClose, lastWords, proxy, reconnecting, framing, shutDown, datagrams, tasks,
            service, policies, pool,
        ]
        + Errand.Kind.allCases.map(switching)

    private static let payload = [UInt8].pattern(count: 3_000, seed: 4)

    private static let echo = Rehearsal(name: "echo") { reactor, ledger in
        let endpoint = try listen(reactor) { _ in EchoServer("server", ledger) }
        let client = EchoClient("client", ledger, payload: payload, seed: 1)
        return connect(endpoint, reactor, client)
    }

    private static let halfClose = Rehearsal(name: "halfClose") { reactor, ledger in
        let endpoint = try listen(reactor) { _ in Answerer(ledger, count: 2_000, seed: 2) }
        return connect(
            endpoint, reactor, Asker("client", ledger, payload: payload, seed: 3))
    }

    private static let lastWords = Rehearsal(name: "lastWords") { reactor, ledger in
        let endpoint = try listen(reactor) { _ in Hasty(ledger, answer: payload) }
        return connect(
            endpoint, reactor, Asker("client", ledger, payload: payload, seed: 5))
    }

    private static let proxy = Rehearsal(name: "proxy") { reactor, ledger in
        let server = try listen(reactor) { _ in EchoServer("server", ledger) }
        let endpoint = try listen(reactor) { _ in StreamProxy(to: server) }
        return connect(
            endpoint, reactor, EchoClient("client", ledger, payload: payload, seed: 6))
    }

    private static let reconnecting = Rehearsal(name: "reconnecting") { reactor, ledger in
        let mailbox = Mailbox()
        let sender = Sender(count: 3, ledger, reactor: reactor)
        sender.endpoint = try listen(reactor) { _ in Receiver(mailbox, ledger) }
        sender.connect()
        return { sender.isDone && ledger.isQuiet }
    }

    private static let framing = Rehearsal(name: "framing") { reactor, ledger in
        var dice = SeededDice(seed: 7)
        let endpoint = try listen(reactor) { _ in Framer(ledger, seed: 8) }
        return connect(endpoint, reactor, FrameClient(ledger, count: 5, &dice))
    }

    private static let shutDown = Rehearsal(name: "shutDown") { reactor, ledger in
        let endpoint = try listen(reactor) { _ in EchoServer("server", ledger) }
        let client = EchoClient("client", ledger, payload: payload, seed: 9)
        // Not before both ends know of each other, which takes a busy machine its time.
        func stopUnderLoad() {
            if ledger.madeCount < 2 {
                reactor.callLater(.milliseconds(1)) { stopUnderLoad() }
            } else {
                reactor.stop(within: gracePeriod)
            }
        }
        stopUnderLoad()
        return connect(endpoint, reactor, client)
    }

    private static let datagrams = Rehearsal(name: "datagrams") { reactor, ledger in
        var dice = SeededDice(seed: 10)
        let server = try reactor.listenForDatagrams(
            on: .ipv4(.loopback, port: 0), Answering(ledger, mayFail: true))
        let client = Asking("client", ledger, server: server.localAddress, &dice)
        client.mayFail = true
        try reactor.listenForDatagrams(on: .ipv4(.loopback, port: 0), client)
        return { client.isDone }
    }

    private static let tasks = Rehearsal(name: "tasks") { reactor, ledger in
        let client = AsyncClient("client", ledger, payload: payload, limit: nil, seed: 11)
        let server = ServerEndpoint.address(.ipv4(.loopback, port: 0))
        reactor.spawn {
            try await server.serve(on: reactor, gracePeriod: .zero) { port in
                client.endpoint = .address(port.localAddress)
                client.endpoint.options.connectTimeout = .milliseconds(100)
                client.start(on: reactor)
            } _: { connection in
                for try await bytes in connection.inbound { try await connection.write(bytes) }
            }
        }
        return { client.isOver }
    }

    /// Connects, prepares the connection, and is stopped when it has one.
    private static let service = Rehearsal(name: "service") { reactor, ledger in
        let endpoint = try listen(reactor) { _ in EchoServer("server", ledger) }
        let policy = RetryPolicy(firstDelay: .milliseconds(1), longestDelay: .milliseconds(20))
        let service = ClientService(to: endpoint, on: reactor, policy: policy) {
            Tenant(ledger, payload)
        } prepare: { _ in
            reactor.deferLater(.milliseconds(1)) { () throws -> Void in }
        }
        service.start()
        var isStopped = false
        service.whenConnected()
            .addCallback { client in
                ledger.expect(client.loss == nil, "told of a connection that is lost")
                return service.stop()
            }
            .addCallback { isStopped = true }
            .whenFailed { _ in }
        return {
            service.checkInvariants()
            return isStopped && ledger.isQuiet
        }
    }

    /// One client of each kind; the bad ones are ended by the server, and one of the good, which
    /// is one too many for its address.
    private static let policies = Rehearsal(name: "policies") { reactor, ledger in
        var dice = SeededDice(seed: 15)
        let gracePeriod = Duration.milliseconds(30)
        let limiter = ConnectionLimiter(ConnectionLimits(total: 4, perPeer: 1))
        var server = ServerEndpoint.address(.ipv4(.loopback, port: 0))
        server.options.handshakeTimeout = gracePeriod
        let port = try server.filtered { ProxyHeaderReader(trusting: AddressBlock.local) }
            .timeouts(Timeouts(handshake: gracePeriod, request: gracePeriod, idle: gracePeriod * 2))
            .listen(on: reactor, factory: GuardedFactory(ledger))
        port.observe(by: limiter)
        let clients = GuardedClient.Kind.allCases.map { GuardedClient($0, ledger, &dice) }
        for (number, client) in clients.enumerated() {
            let header = ProxyHeader(
                source: claimedAddress(number < 2 ? 1 : 2), destination: claimedAddress(9))
            var endpoint = ClientEndpoint.address(port.localAddress)
            endpoint.options.connectTimeout = .milliseconds(100)
            client.connect(
                to: endpoint.timeouts(Timeouts(idle: gracePeriod * 4)), behind: header, on: reactor)
        }
        return {
            limiter.checkInvariants()
            return clients.allSatisfy(\.isOver) && limiter.connectionCount == 0 && ledger.isQuiet
        }
    }

    private static let pool = Rehearsal(name: "pool") { reactor, ledger in
        let endpoint = try listen(reactor, scramblers: 1) { _ in Framer(ledger, seed: 16) }
        let pool = Pool(ledger, reactor, jobCount: 2, pace: .microseconds(10), seed: 17) { client in
            endpoint.scrambled(1).connect(on: reactor) { client }
        }
        pool.start()
        return {
            pool.checkInvariants()
            return pool.isOver && ledger.isQuiet
        }
    }

    private static func switching(_ kind: Errand.Kind) -> Rehearsal {
        Rehearsal(name: "switching, \(kind)") { reactor, ledger in
            var dice = SeededDice(seed: 12)
            let errand = Errand(kind, count: 1_500, seed: 13)
            let endpoint = try listen(reactor, scramblers: 1) { _ in
                Doorkeeper(ledger, seed: 14)
            }
            let client = Guest("client", ledger, errand, &dice)
            endpoint.scrambled(1).connect(on: reactor) { client }
                .whenFailed { _ in client.hasFailed = client.loss == nil }
            return { client.isOver }
        }
    }
}

/// Sends, and stays until it is asked to leave: one that left by itself might do so before its
/// service has prepared it, each time.
private final class Tenant: Audited {
    private let payload: [UInt8]

    init(_ ledger: Ledger, _ payload: [UInt8]) {
        self.payload = payload
        super.init("client", ledger)
    }

    override func connectionMade(_ transport: any StreamTransport) throws {
        try super.connectionMade(transport)
        transport.write(payload)
    }
}
