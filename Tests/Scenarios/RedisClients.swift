// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols
import TorsionTesting

extension Scenario {
    /// Clients of the example MiniRedis that send many commands at once, read slowly, or send what is
    /// too long: each gets its answers in order, and the server holds no more than its limits.
    static let miniRedis = Scenario("miniRedis") { world in
        let ledger = Ledger(world)
        world.vary()
        var shared: Store?
        var servers: [() -> RedisServed?] = []
        try world.host("server").run { reactor in
            let store = Store(on: reactor, limitBytes: 20_000)
            shared = store
            try reactor.listen(on: .ipv4(.any, port: 7)) { _ in
                let server = RedisServed(store, ledger)
                servers.append { [weak server] in server }
                return server
            }
        }
        world.always {
            guard let store = shared else { return }
            ledger.expect(store.byteCount <= store.limitBytes, "the store is beyond its limit")
            for server in servers { server()?.checkInvariants() }
        }
        let reactor = world.host("clients").reactor
        try world.host("clients").run { _ in }
        let clients = (0..<1 + world.dice.below(5)).map { number in
            // Through a buffer of one byte little is worth sending.
            let most = world.network.conditions.sendBufferBytes == 1 ? 5 : 60
            let client = RedisClient(number, ledger, most: most, &world.dice)
            ClientEndpoint.tcp(host: "server", port: 7).connect(on: reactor) { client }
                .whenFailed { _ in client.hasFailed = client.loss == nil }
            return client
        }
        try world.run { clients.allSatisfy(\.isOver) && ledger.isQuiet }
        if world.isCalm, let slow = clients.first(where: { !$0.isComplete }) {
            throw Violation(
                description: "\(slow.name) has \(slow.answerCount) answers, \(slow.loss as Any)")
        }
        shared = nil
    }
}

/// The example's protocol, watched.
private final class RedisServed: Audited, PhasedProtocol {
    private let server: RedisServer

    init(_ store: Store, _ ledger: Ledger) {
        server = RedisServer(store)
        super.init("server", ledger)
    }

    var phase: ConnectionPhase { server.phase }

    override func connectionMade(_ transport: any StreamTransport) throws {
        try super.connectionMade(transport)
        server.connectionMade(transport)
    }

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try super.dataReceived(bytes, from: transport)
        try server.dataReceived(bytes, from: transport)
    }

    override func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        super.connectionLost(why, from: transport)
        server.connectionLost(why, from: transport)
    }

    override func checkInvariants() {
        server.messages.checkInvariants()
        guard let transport else { return }
        // What is coalesced, and one answer of the longest value, may pass the mark.
        ledger.expect(
            transport.pendingByteCount <= transport.watermarks.high + 20_000,
            "\(transport.pendingByteCount) bytes wait for a slow client")
    }
}

/// Sends commands all at once, and reads the answers with pauses.
private final class RedisClient: Audited, MessageProtocol {
    let messages = MessageBuffer(limitBytes: 20_000)
    private var commands: [UInt8] = []
    private var answers: [String] = []
    private(set) var answerCount = 0
    private var dice: SeededDice
    private var source: Source?
    private let endsInRefusal: Bool

    init(_ number: Int, _ ledger: Ledger, most: Int, _ dice: inout SeededDice) {
        self.dice = SeededDice(seed: dice.next())
        endsInRefusal = dice.percent(20)
        super.init("client \(number)", ledger)
        var count = 0
        for _ in 0..<1 + dice.below(most) {
            // Keys of its own, so that it knows each answer.
            let key = "\(number).\(dice.below(3))"
            switch dice.below(6) {
            case 0:
                let value = String(
                    repeating: "v", count: dice.below([5, 800, 50 * most][dice.below(3)]))
                add("SET", key, value)
                // Whether there is room, the others decide.
                answers.append("OK or OOM \(key) \(value.utf8.count)")
            case 1: query(key)
            case 2:
                count += 1
                add("INCR", "\(number).count")
                answers.append(":\(count)")
            case 3:
                add("PING", "hello")
                answers.append("$hello")
            case 4:
                add("FLY", "away")
                answers.append("-ERR unknown command")
            default:
                commands += Array("ping\r\n".utf8)
                answers.append("+PONG")
            }
        }
        for _ in 0..<dice.below(most) { query("\(number).0") }
        if endsInRefusal {
            commands += Array("*1\r\n$2000000\r\nPING".utf8)
            answers.append("-ERR Protocol error: ")
        }
    }

    private func query(_ key: String) {
        add("GET", key)
        answers.append("value \(key)")
    }

    private func add(_ words: String...) {
        commands += Array("*\(words.count)\r\n".utf8)
        for word in words { commands += Array("$\(word.utf8.count)\r\n\(word)\r\n".utf8) }
    }

    var isComplete: Bool {
        answerCount == answers.count
            && (endsInRefusal ? loss?.isClean == true : loss == .closedLocally)
    }

    /// The lengths of what the server has stored of it.
    private var stored: [String: Int] = [:]

    override func connectionMade(_ transport: any StreamTransport) throws {
        try super.connectionMade(transport)
        source = Source(commands, to: transport, ledger, seed: dice.next()) {}
        source?.start()
    }

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try super.dataReceived(bytes, from: transport)
        try cutMessages(in: bytes, from: transport)
    }

    func messageReceived(_ reader: inout ByteReader, from transport: any StreamTransport) throws {
        let answer = try readAnswer(&reader)
        guard answerCount < answers.count else {
            return ledger.expect(false, "\(name): an answer too many: \(answer)")
        }
        check(answer, against: answers[answerCount])
        answerCount += 1
        if answerCount == answers.count {
            if !endsInRefusal { close() }
        } else if dice.percent(10) {
            transport.pauseProducing()
            transport.reactor.callLater(.microseconds(dice.below(50_000))) {
                transport.resumeProducing()
            }
        }
    }

    /// One line, or a text behind its length.
    private func readAnswer(_ reader: inout ByteReader) throws -> String {
        guard try reader.peekByte() == UInt8(ascii: "$") else {
            return String(decoding: try reader.readLine())
        }
        try reader.skip(1)
        let count = try reader.readDecimal(Int.self)
        try reader.expect("\r\n")
        guard count >= 0 else { return "none" }
        let text = String(decoding: try reader.readSpan(count))
        try reader.expect("\r\n")
        return "$" + text
    }

    private func check(_ answer: String, against expected: String) {
        let words = expected.split(separator: " ").map(String.init)
        switch words[0] {
        case "OK":
            if answer == "+OK" { stored[words[3]] = Int(words[4]) }
            ledger.expect(answer == "+OK" || answer.hasPrefix("-OOM"), "\(name): \(answer)")
        case "value":
            let length = answer == "none" ? nil : answer.utf8.count - 1
            ledger.expect(length == stored[words[1]], "\(name): \(length as Any) of \(expected)")
        default:
            // An error may say more.
            let isRight =
                answer == expected || expected.hasSuffix(": ") && answer.hasPrefix(expected)
            ledger.expect(isRight, "\(name): \(answer) in place of \(expected)")
        }
    }

    override func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        super.connectionLost(why, from: transport)
        source = nil
    }
}
