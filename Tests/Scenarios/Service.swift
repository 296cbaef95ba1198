// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols
import TorsionTesting

extension Scenario {
    /// A service keeps a connection to a server that is cut off, stopped, and run again; in the end
    /// it is connected, answers, and stops when it is asked to, or with its reactor.
    static let service = Scenario("service") { world in
        let ledger = Ledger(world)
        world.vary()
        let server = world.host("server"), client = world.host("client")
        func listen(_ reactor: Reactor) throws {
            try ServerEndpoint.address(.ipv4(.any, port: 7)).listen(on: reactor) {
                EchoServer("server", ledger)
            }
        }
        try server.run(listen)
        let caller = Caller(ledger, client.reactor, seed: world.dice.next())
        defer { caller.forgetService() }
        try client.run { _ in caller.start() }
        // The next trouble comes when the one before is over, or before that.
        var time = Duration.zero
        for _ in 0..<world.dice.below(5) {
            time += .milliseconds(1 + world.dice.below(15_000))
            let length = Duration.milliseconds(1 + world.dice.below(40_000))
            let gracePeriod = Duration.milliseconds([0, 100, 5_000][world.dice.below(3)])
            switch world.dice.below(3) {
            case 0:
                world.at(time) { [network = world.network] in
                    network.partition("client", "server", for: length)
                }
            case 1:
                world.at(time) { server.reactor.stop(within: gracePeriod) }
            default:
                // As a machine that loses its power: its peers hear nothing.
                world.at(time) { server.isDown = true }
                world.at(time + length) {
                    server.isDown = false
                    server.reactor.stop(within: .zero)
                }
            }
        }
        world.always {
            caller.checkInvariants()
            if !server.isRunning, !caller.isOver { try server.run(listen) }
        }
        try world.run(for: time + .seconds(60))
        server.isDown = false
        world.network.endFaults()
        let before = caller.answerCount
        // The client's side may wait for an answer that will never come until its limit.
        try world.run(limit: .seconds(600)) { caller.answerCount > before + 3 }
        if world.dice.percent(50) {
            caller.stop()
            try world.run(limit: .seconds(60)) { caller.isStopped }
            ledger.expect(client.reactor.statistics.openConnections == 0, "a connection is left")
        } else {
            caller.isOver = true
            client.reactor.stop()
            try world.run(limit: .seconds(60)) { !client.isRunning }
        }
        ledger.expect(caller.openCount == 0, "\(caller.openCount) connections are open")
    }
}

/// Asks once a second over whatever connection there is, and hangs up when no answer comes.
private final class Caller {
    private let ledger: Ledger
    private let reactor: Reactor
    private var dice: SeededDice
    private var service: ClientService<Line>!
    private var number = 0
    private(set) var answerCount = 0
    private(set) var openCount = 0
    private(set) var isStopped = false
    var isOver = false

    init(_ ledger: Ledger, _ reactor: Reactor, seed: UInt64) {
        self.ledger = ledger
        self.reactor = reactor
        dice = SeededDice(seed: seed)
    }

    func start() {
        var endpoint = ClientEndpoint.tcp(host: "server", port: 7)
        endpoint.options.connectTimeout = .seconds(4)
        endpoint.options.closeTimeout = .seconds(5)
        var policy = RetryPolicy()
        policy.longestDelay = .seconds(10)
        service = ClientService(to: endpoint, on: reactor, policy: policy) { [self] in
            Line(self, ledger)
        } prepare: { [self] line in
            // A login that takes a while, and sometimes fails.
            let fails = dice.percent(10)
            return reactor.deferLater(.milliseconds(dice.below(300))) { () throws -> Void in
                if fails { throw Violation(description: "no login") }
                line.isPrepared = true
            }
        }
        service.start()
        waitForConnection()
        ask()
    }

    /// Whoever waits is told once, and gets a line that is prepared and open.
    private func waitForConnection() {
        service.whenConnected().addCallback { [self] line in
            ledger.expect(line.isPrepared && line.loss == nil, "told of a line that is not ready")
            reactor.callLater(.milliseconds(dice.below(9_000))) { [self] in
                if !isOver { waitForConnection() }
            }
        }.whenFailed { [self] error in
            ledger.expect(isOver && error is CancellationError, "a waiter got \(error)")
        }
    }

    private func ask() {
        guard !isOver else { return }
        service.whenConnected().addTimeout(.seconds(1)).addCallback { [self] line in
            number += 1
            line.ask(number)
        }.whenFailed { _ in }
        reactor.callLater(.seconds(1)) { [self] in ask() }
    }

    func checkInvariants() { service?.checkInvariants() }

    /// Which holds whoever prepares its connections, so that one of the two has to let go.
    func forgetService() { service = nil }

    func stop() {
        isOver = true
        service.stop().addCallback { [self] in
            ledger.expect(openCount == 0, "stopped with a connection open")
            isStopped = true
        }.whenFailed { [ledger] in ledger.expect(false, "stop failed: \($0)") }
    }

    final class Line: Audited, LineProtocol {
        let lines = LineDecoder()
        private let caller: Caller
        private var asked: [Int] = []
        private var limit: DelayedCall?
        var isPrepared = false

        init(_ caller: Caller, _ ledger: Ledger) {
            self.caller = caller
            super.init("client", ledger)
        }

        override func connectionMade(_ transport: any StreamTransport) throws {
            try super.connectionMade(transport)
            caller.openCount += 1
        }

        func ask(_ number: Int) {
            guard let transport else { return }
            asked.append(number)
            transport.write("\(number)\n")
            if !(limit?.isActive ?? false) {
                limit = transport.reactor.callLater(.seconds(20)) { transport.abortConnection() }
            }
        }

        override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
            try super.dataReceived(bytes, from: transport)
            try cutLines(in: bytes, from: transport)
        }

        func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
            let text = String(decoding: line)
            ledger.expect(asked.first.map { "\($0)" } == text, "\(text) is no answer")
            if !asked.isEmpty { asked.removeFirst() }
            caller.answerCount += 1
            limit?.cancel()
        }

        override func connectionLost(
            _ why: ConnectionLoss, from transport: any StreamTransport
        ) {
            super.connectionLost(why, from: transport)
            limit?.cancel()
            caller.openCount -= 1
        }
    }
}
