// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols
import TorsionTesting

extension Scenario {
    /// Thirty clients send messages by two servers, which pass them to a broker.
    ///
    /// The servers are restarted politely, one behind the other: no message is refused, since a server that stops
    /// keeps its broker until its last client is served.
    static let broker = Scenario("broker") { world in
        let ledger = Ledger(world)
        world.vary()
        // In hardly any world with faults is there none that a message may be refused by.
        if world.dice.percent(50) { world.network.endFaults() }
        try world.host("broker").run { reactor in
            try reactor.listen(on: .ipv4(.any, port: 7)) { _ in Broker("broker", ledger) }
        }
        let post = Post(ledger)
        for name in Post.servers { try world.host(name).run(post.serve) }
        let customers = try post.start(count: 30, in: world)
        for name in Post.servers {
            try world.run(for: .milliseconds(100 + world.dice.below(900)))
            let server = world.host(name)
            server.note("restarts")
            server.reactor.stop(within: .seconds(3_600))
            try world.run { !server.isRunning }
            try server.run(post.serve)
        }
        try world.run(for: .milliseconds(world.dice.below(500)))
        for customer in customers { customer.leave() }
        try world.run { customers.allSatisfy(\.isOver) }
        guard world.isCalm else { return }
        guard post.refusedCount == 0 else {
            throw Violation(description: "\(post.refusedCount) messages were refused")
        }
    }
}

/// Says that it has each message.
private final class Broker: Audited, LineProtocol {
    let lines = LineDecoder()

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try super.dataReceived(bytes, from: transport)
        try cutLines(in: bytes, from: transport)
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        transport.write("\(String(decoding: line))\n")
    }
}

/// What the servers and their clients have in common.
private final class Post {
    static let servers = ["server1", "server2"]

    let ledger: Ledger
    var refusedCount = 0

    init(_ ledger: Ledger) { self.ledger = ledger }

    /// Runs one server.
    func serve(on reactor: Reactor) throws {
        let link = BrokerLink(ledger, on: reactor)
        try reactor.listen(on: .ipv4(.any, port: 7)) { [self] _ in Counter(link, ledger) }
    }

    func start(count: Int, in world: SimulatedWorld) throws -> [Customer] {
        let hosts = ["clients1", "clients2", "clients3"].map { world.host($0) }
        for host in hosts { try host.run { _ in } }
        return (0..<count).map { number in
            let reactor = hosts[number % hosts.count].reactor
            let customer = Customer(number, self, reactor, seed: world.dice.next())
            customer.connect()
            return customer
        }
    }
}

/// A server's connection to the broker, and what waits for answers.
private final class BrokerLink {
    private let service: ClientService<Line>

    init(_ ledger: Ledger, on reactor: Reactor) {
        let broker = ClientEndpoint.tcp(host: "broker", port: 7)
        let policy = RetryPolicy(firstDelay: .milliseconds(100), longestDelay: .seconds(1))
        service = ClientService(to: broker, on: reactor, policy: policy) { Line("link", ledger) }
        service.start()
    }

    /// Passes a message on.
    ///
    /// - Returns: Fires when the broker has it.
    func send(_ text: String) -> Deferred<Void> {
        service.whenConnected().addCallback { try $0.send(text) }
    }

    final class Line: Audited, LineProtocol {
        let lines = LineDecoder()
        private var waiting: [(text: String, deferred: Deferred<Void>)] = []

        func send(_ text: String) throws -> Deferred<Void> {
            guard let transport else { throw NoBroker() }
            transport.write("\(text)\n")
            let deferred = Deferred<Void>(on: transport.reactor)
            waiting.append((text, deferred))
            return deferred
        }

        override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
            try super.dataReceived(bytes, from: transport)
            try cutLines(in: bytes, from: transport)
        }

        func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
            let first = waiting.removeFirst()
            ledger.expect(
                first.text == String(decoding: line), "the broker answers another message")
            if first.deferred.isPending { first.deferred.succeed() }
        }

        override func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            super.connectionLost(why, from: transport)
            let unanswered = waiting
            waiting = []
            for (_, deferred) in unanswered where deferred.isPending { deferred.fail(NoBroker()) }
        }
    }

    struct NoBroker: Error {}
}

/// A server's side of a client: passes each message on, and answers when the broker has it.
private final class Counter: Audited, LineProtocol {
    let lines = LineDecoder()
    private let link: BrokerLink
    private var openCount = 0
    private var isEnding = false

    init(_ link: BrokerLink, _ ledger: Ledger) {
        self.link = link
        super.init("server", ledger)
    }

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try super.dataReceived(bytes, from: transport)
        try cutLines(in: bytes, from: transport)
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        let text = String(decoding: line)
        openCount += 1
        link.send(text).addTimeout(.seconds(20)).addBoth { [self] result in
            openCount -= 1
            let word = if case .success = result { "has" } else { "refused" }
            self.transport?.write("\(word) \(text)\n")
            closeIfDone()
        }
    }

    override func shutdownRequested(_ transport: any StreamTransport) {
        isEnding = true
        closeIfDone()
    }

    private func closeIfDone() {
        if isEnding, openCount == 0 { close() }
    }
}

/// Sends one message after the other, to the other server when the one has gone.
private final class Customer {
    let number: Int
    private let post: Post
    private let reactor: Reactor
    private var dice: SeededDice
    private var message = 0
    private var session: Session?
    private var isLeaving = false
    private(set) var isOver = false

    init(_ number: Int, _ post: Post, _ reactor: Reactor, seed: UInt64) {
        self.number = number
        self.post = post
        self.reactor = reactor
        dice = SeededDice(seed: seed)
    }

    func connect() {
        guard !isLeaving else { return isOver = true }
        let server = Post.servers[dice.below(Post.servers.count)]
        ClientEndpoint.tcp(host: server, port: 7).connect(on: reactor) { [self] in
            Session(self, post.ledger)
        }.addCallback { [self] made in
            // Lost already, or no more wanted.
            guard made.loss == nil else { return }
            session = made
            if isLeaving { made.close() } else { sendNext() }
        }.whenFailed { [self] _ in connectLater() }
    }

    func leave() {
        isLeaving = true
        session?.close()
    }

    private func connectLater() {
        session = nil
        reactor.callLater(.milliseconds(10 + dice.below(200))) { [self] in connect() }
    }

    private func sendNext() {
        guard !isLeaving else { return }
        session?.send("\(number).\(message)")
    }

    fileprivate func answered(_ text: String) {
        if text == "refused \(number).\(message)" {
            post.refusedCount += 1
        } else {
            post.ledger.expect(text == "has \(number).\(message)", "\(text) is no answer")
        }
        message += 1
        reactor.callLater(.milliseconds(dice.below(3_000))) { [self] in sendNext() }
    }

    fileprivate func lost(_ lost: Session) { connectLater() }

    final class Session: Audited, LineProtocol {
        let lines = LineDecoder()
        private let customer: Customer
        private var limit: DelayedCall?
        private var isAsking = false

        init(_ customer: Customer, _ ledger: Ledger) {
            self.customer = customer
            super.init("client", ledger)
        }

        func send(_ text: String) {
            guard let transport, !isAsking else { return }
            isAsking = true
            transport.write("\(text)\n")
            limit = transport.reactor.callLater(.seconds(60)) { transport.abortConnection() }
        }

        override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
            try super.dataReceived(bytes, from: transport)
            try cutLines(in: bytes, from: transport)
        }

        func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
            isAsking = false
            limit?.cancel()
            customer.answered(String(decoding: line))
        }

        override func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            super.connectionLost(why, from: transport)
            limit?.cancel()
            customer.lost(self)
        }
    }
}
