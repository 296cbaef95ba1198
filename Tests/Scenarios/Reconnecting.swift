// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols
import TorsionTesting

extension Scenario {
    /// Numbered messages reach the server in order and once each, however often the connection
    /// breaks.
    static let reconnecting = Scenario("reconnecting") { world in
        let ledger = Ledger(world)
        world.vary()
        let mailbox = Mailbox()
        try world.host("server").run { reactor in
            try ServerEndpoint.address(.ipv4(.any, port: 7)).listen(on: reactor) {
                Receiver(mailbox, ledger)
            }
        }
        let count = 1 + world.dice.below(30)
        let client = world.host("client")
        let sender = Sender(count: count, ledger, reactor: client.reactor)
        try client.run { _ in sender.connect() }
        // Where nearly each segment is hit no message ever gets through.
        world.at(.seconds(120)) { [network = world.network] in network.endFaults() }
        try world.run(limit: .seconds(36_000)) { sender.isDone && ledger.isQuiet }
        guard mailbox.messages == (1...count).map(Sender.text) else {
            throw Violation(description: "arrived: \(mailbox.messages)")
        }
    }
}

/// What has arrived, over all connections.
final class Mailbox {
    var messages: [String] = []
}

/// Takes "number text", answers with the number, and drops what it has.
final class Receiver: Audited, LineProtocol {
    let lines = LineDecoder()
    private let mailbox: Mailbox

    init(_ mailbox: Mailbox, _ ledger: Ledger) {
        self.mailbox = mailbox
        super.init("server", ledger)
    }

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try super.dataReceived(bytes, from: transport)
        try cutLines(in: bytes, from: transport)
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        let text = String(decoding: line)
        guard let number = text.split(separator: " ").first.flatMap({ Int($0) }) else {
            throw Violation(description: "a line that nobody sent: \(text)")
        }
        if number == mailbox.messages.count + 1 { mailbox.messages.append(text) }
        ledger.expect(number <= mailbox.messages.count, "a message was skipped before \(number)")
        transport.write("\(number)\n")
    }
}

/// Sends what was not answered, again on each new connection.
final class Sender {
    private let count: Int
    private let ledger: Ledger
    private let reactor: Reactor
    var endpoint = ClientEndpoint.tcp(host: "server", port: 7)
    private var answered = 0
    private var backoff = Duration.milliseconds(100)

    init(count: Int, _ ledger: Ledger, reactor: Reactor) {
        self.count = count
        self.ledger = ledger
        self.reactor = reactor
    }

    static func text(_ number: Int) -> String {
        "\(number) \(String(repeating: "x", count: number * 37 % 200))"
    }

    var isDone: Bool { answered == count }

    func connect() {
        var endpoint = endpoint
        endpoint.options.connectTimeout = .seconds(3)
        endpoint.connect(on: reactor) { [self] in Connection(self, ledger) }
            .whenFailed { [self] _ in connectLater() }
    }

    func connectLater() {
        guard !isDone else { return }
        let due = reactor.now.advanced(by: backoff)
        reactor.callLater(backoff) { [self] in
            ledger.expect(reactor.now >= due, "a delayed call came too early")
            connect()
        }
        backoff = min(backoff * 2, .seconds(20))
    }

    /// What is to be sent on a new connection.
    var outstanding: ClosedRange<Int>? { answered < count ? (answered + 1)...count : nil }

    func wasAnswered(_ number: Int) {
        ledger.expect(number <= count, "an answer that nobody sent: \(number)")
        guard number > answered else { return }
        answered = number
        backoff = .milliseconds(100)
    }

    final class Connection: Audited, LineProtocol {
        let lines = LineDecoder()
        private let sender: Sender

        init(_ sender: Sender, _ ledger: Ledger) {
            self.sender = sender
            super.init("client", ledger)
        }

        override func connectionMade(_ transport: any StreamTransport) throws {
            try super.connectionMade(transport)
            for number in sender.outstanding ?? 1...1 {
                transport.write(Sender.text(number) + "\n")
            }
        }

        override func dataReceived(
            _ bytes: RawSpan, from transport: any StreamTransport
        ) throws {
            try super.dataReceived(bytes, from: transport)
            try cutLines(in: bytes, from: transport)
        }

        func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
            sender.wasAnswered(Int(String(decoding: line)) ?? .max)
            if sender.isDone { close() }
        }

        override func connectionLost(
            _ why: ConnectionLoss, from transport: any StreamTransport
        ) {
            super.connectionLost(why, from: transport)
            sender.connectLater()
        }
    }
}
