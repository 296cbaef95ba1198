// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionDNS
import TorsionTesting

extension Scenario {
    /// Look-ups by way of servers that are lame, silent, odd or beset by a liar, over a network that
    /// loses, doubles and reorders: each ends in time, and no lie is believed.
    static let names = Scenario("names") { world in
        let ledger = Ledger(world)
        world.vary()
        var servers: [SocketAddress] = []
        var isHonest = true
        for number in 1...(1 + world.dice.below(3)) {
            let server = NameServer(SeededDice(seed: world.dice.next()))
            isHonest = isHonest && server.isHonest
            try world.host("ns\(number)").run { reactor in
                try reactor.listenForDatagrams(on: .ipv4(.any, port: 53), server)
                try ServerEndpoint.tcp(port: 53).listen(on: reactor) { NameStream(server) }
            }
            servers.append(.ipv4(world.host("ns\(number)").address, port: 53))
        }
        var configuration = DNSConfiguration(servers: servers)
        configuration.timeout = .milliseconds([500, 1_000, 3_000][world.dice.below(3)])
        configuration.attempts = 1 + world.dice.below(4)
        configuration.rotatesServers = world.dice.percent(30)
        configuration.searchDomains = world.dice.percent(30) ? [DNSName("nowhere.test")!] : []
        let host = world.host("client")
        let user = NameUser(ledger, host, world.network, SeededDice(seed: world.dice.next()))
        try host.run { reactor in user.start(DNSResolver(on: reactor, configuration)) }
        world.always { user.dns?.checkInvariants() }
        try world.run { user.isDone }
        try ledger.check()
        // Where nothing went wrong every question has its answer.
        let isSwift = world.network.conditions.sendBufferBytes >= 4_000
        let hasStalled = world.network.faults.contains { $0.kind == .stall }
        if world.isCalm, isHonest, isSwift, !hasStalled, configuration.timeout >= .seconds(3) {
            try user.requireAnswers()
        }
        guard let figures = user.dns?.statistics, figures.lookupsUnderWay == 0 else {
            throw Violation(description: "a query goes on that nobody waits for")
        }
        host.reactor.stop()
        try world.run { !host.isRunning }
    }
}

/// What is true: hosts with both addresses, one, none, many, by an alias, and no host.
private enum Truth {
    static let count = 12

    static func addresses(of number: Int) -> [SocketAddress]? {
        let four = SocketAddress.ipv4(IPv4Address(10, 0, 0, UInt8(number)), port: 1)
        let six = SocketAddress.ipv6(
            IPv6Address(high: 0x2001_0db8 << 32, low: UInt64(number)), port: 1)
        switch number % 6 {
        case 0: return nil
        case 1: return [four]
        case 2: return [six]
        case 3:
            // Too many for a datagram.
            return (0..<150).map { .ipv4(IPv4Address(10, 1, UInt8($0), UInt8(number)), port: 1) }
        default: return [four, six]
        }
    }

    static func answer(_ query: DNSMessage) -> DNSMessage {
        var response = DNSMessage(answering: query)
        response.flags.insert(.recursionAvailable)
        guard let question = query.questions.first else { return response }
        let labels = question.name.labels.map { String(decoding: $0, as: UTF8.self).lowercased() }
        let number = labels.count == 2 ? Int(labels[0].dropFirst()) : nil
        guard let number, let addresses = addresses(of: number) else {
            response.responseCode = .nameError
            response.authorities = [start]
            return response
        }
        var owner = question.name
        if number % 6 == 5, labels[0].hasPrefix("h"), let real = DNSName("r\(number).test") {
            // The alias leads out of the answer for some.
            response.answers = [record(owner, .cname(real))]
            owner = real
            if number > 6 { return response }
        }
        for address in addresses {
            switch address {
            case .ipv4(let four, _) where question.type == .a:
                response.answers.append(record(owner, .a(four)))
            case .ipv6(let six, _) where question.type == .aaaa:
                response.answers.append(record(owner, .aaaa(six)))
            case .ipv4, .ipv6, .unix, .descriptor: break
            }
        }
        if response.answers.allSatisfy({ $0.type == .cname }) { response.authorities = [start] }
        return response
    }

    static func record(_ name: DNSName, _ data: DNSRecordValue) -> DNSRecord {
        DNSRecord(name: name, ttlSeconds: 3, data: data)
    }

    private static let start = record(
        DNSName("test")!,
        .soa(
            DNSZoneStart(
                primary: .root, mailbox: .root, serial: 1, refreshSeconds: 1, retrySeconds: 1,
                expireSeconds: 1, minimumSeconds: 2)))

    static let lie = IPv4Address(6, 6, 6, 6)
}

/// A server of one character, beside which a liar may sit that sees no query and guesses.
private final class NameServer: DatagramProtocol {
    enum Character: CaseIterable {
        case honest, lame, refusing, silent, cutting, oldFashioned, shouting, babbling
    }

    let character: Character
    private let liarCount: Int
    private var dice: SeededDice

    init(_ dice: SeededDice) {
        var dice = dice
        let all = Character.allCases
        character = dice.percent(50) ? .honest : all[dice.below(all.count)]
        liarCount = dice.percent(30) ? dice.below(60) : 0
        self.dice = dice
    }

    /// Whether all its answers are true and useful.
    var isHonest: Bool {
        switch character {
        case .honest, .cutting, .oldFashioned, .shouting: true
        case .lame, .refusing, .silent, .babbling: false
        }
    }

    func answer(_ query: DNSMessage, isOverTCP: Bool) -> DNSMessage? {
        var response = Truth.answer(query)
        switch character {
        case .honest, .babbling: break
        case .lame: response = DNSMessage(answering: query, .serverFailure)
        case .refusing: response = DNSMessage(answering: query, .refused)
        case .silent: return nil
        case .cutting: if !isOverTCP { response.flags.insert(.truncated) }
        case .oldFashioned:
            if query.edns != nil {
                response = DNSMessage(answering: query, .formatError)
                response.edns = nil
            }
        case .shouting:
            for index in response.questions.indices {
                let labels = response.questions[index].name.labels.map { $0.map(\.asciiUppercased) }
                response.questions[index].name = DNSName(labels: labels) ?? .root
            }
        }
        return response
    }

    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) throws {
        guard let query = try? DNSMessage(decoding: bytes) else { return }
        for _ in 0..<liarCount { send(lie(about: query), to: address, transport) }
        if character == .babbling {
            let noise = (0..<dice.below(80)).map { _ in UInt8(dice.below(256)) }
            send(Bytes(noise), to: address, transport)
        }
        guard let response = answer(query, isOverTCP: false) else { return }
        send(cut(response, to: Int(query.edns?.payloadByteCount ?? 512)), to: address, transport)
    }

    /// Right but for what a liar has to guess: the id, or the case of a letter.
    private func lie(about query: DNSMessage) -> Bytes? {
        var lie = DNSMessage(answering: query)
        guard let question = query.questions.first else { return nil }
        lie.answers = [Truth.record(question.name, .a(Truth.lie))]
        if dice.percent(50) {
            lie.id &+= UInt16(1 + dice.below(65_535))
        } else {
            let labels = question.name.labels.map { $0.map(\.asciiLowercased) }
            guard let small = DNSName(labels: labels), !small.isIdentical(to: question.name) else {
                return nil
            }
            lie.questions[0].name = small
        }
        return try? lie.encoded()
    }

    private func cut(_ response: DNSMessage, to byteCount: Int) -> Bytes? {
        guard let whole = try? response.encoded(), whole.count > byteCount else {
            return try? response.encoded()
        }
        var short = response
        short.flags.insert(.truncated)
        short.answers = []
        return try? short.encoded()
    }

    private func send(
        _ bytes: Bytes?, to address: SocketAddress, _ transport: any DatagramTransport
    ) {
        // With its queue full a port throws: lost on the way.
        if let bytes { try? transport.write(bytes, to: address) }
    }

    func datagramFailed(_ error: IOError, on transport: any DatagramTransport) {}
}

private final class NameStream: StreamProtocol {
    private let server: NameServer
    private var received: [UInt8] = []

    init(_ server: NameServer) { self.server = server }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        received += bytes
        guard received.count >= 2 else { return }
        let end = 2 + Int(received[0]) << 8 + Int(received[1])
        guard received.count >= end else { return }
        let query = Bytes(received[2..<end])
        guard let message = try? DNSMessage(decoding: query),
            let answer = try? server.answer(message, isOverTCP: true)?.encoded()
        else { return transport.loseConnection() }
        transport.write { writer in
            writer.writeInteger(UInt16(answer.count))
            writer.write(answer)
        }
    }
}

/// Looks up some names, several at once, and gives some up.
private final class NameUser {
    private(set) var dns: DNSResolver?
    private let ledger: Ledger
    private let host: SimulatedHost
    private let network: SimulatedNetwork
    private var dice: SeededDice
    private var open = 0
    private var toCome: Int
    private var failures: [String] = []

    init(
        _ ledger: Ledger, _ host: SimulatedHost, _ network: SimulatedNetwork, _ dice: SeededDice
    ) {
        self.ledger = ledger
        self.host = host
        self.network = network
        self.dice = dice
        toCome = 0
    }

    var isDone: Bool { toCome == 0 && open == 0 }

    func start(_ dns: DNSResolver) {
        self.dns = dns
        toCome = 5 + dice.below(25)
        for _ in 0..<toCome {
            host.reactor.callLater(.milliseconds(dice.below(9_000))) { [self] in
                toCome -= 1
                lookUp()
            }
        }
    }

    func requireAnswers() throws {
        if let first = failures.first { throw Violation(description: first) }
    }

    private func lookUp() {
        guard let dns else { return }
        let number = 1 + dice.below(Truth.count)
        let start = host.reactor.now
        var parts: [SocketAddress] = []
        open += 1
        let lookup = dns.resolve("h\(number).test", port: 1) { parts += $0 }
        lookup.addBoth { [self] outcome in
            open -= 1
            ended(number, outcome, parts, within: start.duration(to: host.reactor.now))
        }.whenFailed { [self] in ledger.expect(false, "\($0)") }
        guard dice.percent(15) else { return }
        host.reactor.callLater(.milliseconds(dice.below(2_000))) {
            if lookup.isPending { lookup.cancel() }
        }
    }

    private func ended(
        _ number: Int, _ outcome: Result<[SocketAddress], any Error>, _ parts: [SocketAddress],
        within time: Duration
    ) {
        let isLate = network.faults.contains { $0.kind == .stall || $0.kind == .late }
        ledger.expect(time <= .seconds(isLate ? 20 : 10), "h\(number): \(time)")
        let truth = Set(Truth.addresses(of: number) ?? [])
        switch outcome {
        case .success(let found):
            ledger.expect(
                !found.isEmpty && truth.isSuperset(of: found), "h\(number): lies: \(found)")
            ledger.expect(Set(parts) == Set(found), "h\(number): \(parts) came, \(found) in all")
            if Set(found) != truth { failures.append("h\(number) lacks addresses") }
        case .failure(let error as IOError):
            ledger.expect(
                error.code != .hostNotFound || truth.isEmpty, "h\(number) is denied: \(error)")
            ledger.expect(error.code != .noAddress, "h\(number) is denied: \(error)")
            if !truth.isEmpty { failures.append("\(error)") }
        case .failure(let error):
            ledger.expect(error is CancellationError, "h\(number): \(error)")
        }
    }
}
