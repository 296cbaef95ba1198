// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

@testable import TorsionDNS

/// A resolution with a clock by hand, and what it wants to have done.
private struct Played {
    static let first = SocketAddress("192.0.2.1:53")!
    static let second = SocketAddress("192.0.2.2:53")!

    var resolution: Resolution
    var random = SeededDice(seed: 7)
    var now = MonotonicInstant(nanoseconds: 1_000_000_000)
    var last: [Resolution.Action] = []
    var sent: [(query: DNSMessage, server: SocketAddress, attempt: Int, isOverTCP: Bool)] = []

    init(
        _ type: DNSRecordType = .a, servers: [SocketAddress] = [first, second],
        firstServer: Int = 0, _ change: (inout DNSConfiguration) -> Void = { _ in }
    ) throws {
        var configuration = DNSConfiguration(servers: servers)
        change(&configuration)
        resolution = Resolution(
            DNSQuestion(name: DNSName("www.example.org")!, type: type), configuration,
            firstServer: firstServer, deadline: now.advanced(by: configuration.limit))
        try take(resolution.start(now: now, &random))
    }

    mutating func take(_ actions: [Resolution.Action]) throws {
        last = actions
        for action in actions {
            switch action {
            case .send(let bytes, let server, let attempt):
                sent.append((try DNSMessage(decoding: bytes), server, attempt, false))
            case .connect(let bytes, let server, let attempt):
                sent.append((try DNSMessage(decoding: bytes), server, attempt, true))
            case .wait, .finish: break
            }
        }
    }

    /// Answers the latest query.
    mutating func answer(
        _ records: [DNSRecord] = [], _ code: DNSResponseCode = .noError,
        from server: SocketAddress? = nil, to number: Int? = nil,
        _ change: (inout DNSMessage) -> Void = { _ in }
    ) throws {
        let query = sent[number ?? sent.count - 1]
        var response = DNSMessage(answering: query.query, code)
        response.flags.insert(.recursionAvailable)
        response.answers = records
        change(&response)
        try receive(try response.encoded(), from: server ?? query.server, attempt: query.attempt)
    }

    mutating func receive(_ bytes: Bytes, from server: SocketAddress, attempt: Int) throws {
        // The compiler crashes on a span of a temporary behind `try`.
        let actions = resolution.received(
            bytes.span, from: server, attempt: attempt, now: now, &random)
        try take(actions)
    }

    mutating func pass(_ duration: Duration) throws {
        now = now.advanced(by: duration)
        try take(resolution.timePassed(now: now, &random))
    }

    mutating func fail(_ code: ErrorCode = .connectionRefused) throws {
        let attempt = sent[sent.count - 1].attempt
        try take(resolution.failed(attempt: attempt, code, now: now, &random))
    }

    var outcome: Result<DNSAnswer, DNSLookupError>? {
        for action in last { if case .finish(let outcome) = action { return outcome } }
        return nil
    }

    var error: DNSLookupError? {
        guard case .failure(let error)? = outcome else { return nil }
        return error
    }
}

private func record(
    _ name: String, _ data: DNSRecordValue = .a(.loopback), ttl: UInt32 = 60
) -> DNSRecord {
    DNSRecord(name: DNSName(name)!, ttlSeconds: ttl, data: data)
}

private let zone = record(
    "example.org",
    .soa(
        DNSZoneStart(
            primary: .root, mailbox: .root, serial: 1, refreshSeconds: 1, retrySeconds: 1,
            expireSeconds: 1, minimumSeconds: 30)), ttl: 900)

@Suite struct ResolutionTests {
    @Test
    func `N-20: a query asks for recursion, with EDNS, by an id and letters' case of its own`()
        throws
    {
        var ids: Set<UInt16> = []
        var spellings: Set<[UInt8]> = []
        for seed in 0..<50 {
            var random = SeededDice(seed: UInt64(seed))
            var resolution = Resolution(
                DNSQuestion(name: DNSName("www.example.org")!, type: .a),
                DNSConfiguration(servers: [Played.first]), firstServer: 0,
                deadline: MonotonicInstant(nanoseconds: .max))
            let actions = resolution.start(now: MonotonicInstant(nanoseconds: 1), &random)
            guard case .send(let bytes, _, _)? = actions.first else {
                Issue.record("\(actions)")
                return
            }
            let query = try DNSMessage(decoding: bytes)
            ids.insert(query.id)
            spellings.insert(query.questions[0].name.wire)
            #expect(query.questions == [resolution.question])
            #expect(query.flags == .recursionDesired)
            #expect(query.edns?.payloadByteCount == 1_232)
        }
        #expect(ids.count > 45)
        #expect(spellings.count > 45)
    }

    @Test func `N-21: an answer ends it, and says who gave it`() throws {
        var played = try Played()
        #expect(played.last.last == .wait(until: played.now.advanced(by: .seconds(5))))
        try played.answer([record("WWW.example.ORG")])
        let answer = try #require(try played.outcome?.get())
        #expect(answer.records.map(\.data) == [.a(.loopback)])
        #expect(answer.server == Played.first)
        #expect(!answer.isOverTCP)
        #expect(played.resolution.isFinished)
    }

    @Test func `N-22: answers of a wrong id, question, kind or sender are passed over`() throws {
        var played = try Played()
        try played.answer([record("www.example.org")]) { $0.id ^= 1 }
        #expect(played.last.isEmpty)
        try played.answer([record("www.example.org")], from: Played.second)
        #expect(played.last.isEmpty)
        try played.answer([record("www.example.org")]) { $0.questions[0].type = .aaaa }
        #expect(played.last.isEmpty)
        try played.answer([record("www.example.org")]) {
            $0.questions[0].name = DNSName("www.example.com")!
        }
        #expect(played.last.isEmpty)
        try played.answer([record("www.example.org")]) { $0.flags.remove(.response) }
        #expect(played.last.isEmpty)
        try played.answer([record("www.example.org")]) { $0.questions += $0.questions }
        #expect(played.last.isEmpty)
        let nonsense: [UInt8] = [
            UInt8(played.sent[0].query.id >> 8), UInt8(played.sent[0].query.id & 0xff), 1,
        ]
        try played.receive(Bytes(nonsense), from: Played.first, attempt: 0)
        #expect(played.last.isEmpty)
        #expect(played.resolution.strangeCount == 7)
        try played.answer([record("www.example.org")])
        #expect(try played.outcome?.get().records.count == 1)
    }

    @Test func `N-22: an answer that cannot be read behind its question is asked for over TCP`()
        throws
    {
        var played = try Played()
        func unreadable() throws -> Bytes {
            var response = DNSMessage(answering: played.sent[played.sent.count - 1].query)
            response.answers = [record("www.example.org")]
            return try response.encoded() + Bytes("junk")
        }
        // Of another spelling it is anybody's.
        var other = [UInt8](try unreadable())
        other[13] ^= 0x20
        try played.receive(Bytes(other), from: Played.first, attempt: 0)
        #expect(played.last.isEmpty && played.resolution.strangeCount == 1)
        for server in [Played.first, Played.second] {
            let count = played.sent.count
            try played.receive(try unreadable(), from: server, attempt: count - 1)
            try #require(played.sent.count == count + 1)
            #expect(played.sent[count].isOverTCP && played.sent[count].server == server)
            try played.receive(try unreadable(), from: server, attempt: count)
        }
        #expect(played.error?.reason == .serverFailure(.formatError))
    }

    @Test func `N-22: where nobody can be asked again, it says that the answer could not be read`()
        throws
    {
        var played = try Played()
        for server in [Played.first, Played.second, Played.first, Played.second] {
            guard played.outcome == nil else { break }
            var response = DNSMessage(answering: played.sent[played.sent.count - 1].query)
            response.answers = [record("www.example.org")]
            let unreadable = try response.encoded() + Bytes("junk")
            try played.receive(unreadable, from: server, attempt: played.sent.count - 1)
            try #require(played.sent[played.sent.count - 1].isOverTCP)
            try played.fail()
        }
        #expect(played.error?.reason == .unreadable)
        let sentence = played.error.map { "\($0)" } ?? ""
        #expect(
            sentence.hasPrefix("www.example.org. A: the answer could not be read, it came from "))
    }

    @Test func `N-23: of 65,536 ids a spoofer tries, none is believed without the letters' case`()
        throws
    {
        var played = try Played()
        let query = played.sent[0].query
        var lie = DNSMessage(answering: query)
        lie.questions[0].name = DNSName("www.example.org")!
        lie.answers = [record("www.example.org", .a(IPv4Address(6, 6, 6, 6)))]
        try #require(!lie.questions[0].name.isIdentical(to: query.questions[0].name))
        var bytes = Array(try lie.encoded())
        for id in 0...UInt16.max {
            bytes[0] = UInt8(id >> 8)
            bytes[1] = UInt8(id & 0xff)
            let actions = played.resolution.received(
                bytes.span.bytes, from: Played.first, attempt: 0, now: played.now, &played.random)
            if !actions.isEmpty { try played.take(actions) }
            if played.outcome != nil { Issue.record("the lie with the id \(id) was believed") }
        }
        // In doubt it asks where nobody can guess.
        #expect(played.sent.count == 2)
        #expect(played.sent[1].isOverTCP && played.sent[1].server == Played.first)
        try played.answer([record("www.example.org")])
        let answer = try #require(try played.outcome?.get())
        #expect(answer.isOverTCP)
        #expect(answer.records.map(\.data) == [.a(.loopback)])
    }

    @Test func `N-24: what does not fit into a datagram is asked for over TCP`() throws {
        var played = try Played()
        try played.answer { $0.flags.insert(.truncated) }
        #expect(played.sent.count == 2)
        #expect(played.sent[1].isOverTCP && played.sent[1].server == Played.first)
        try played.answer([record("www.example.org")])
        #expect(try played.outcome?.get().isOverTCP == true)
        // Without a connection it is the next server's turn.
        played = try Played()
        try played.answer { $0.flags.insert(.truncated) }
        try played.fail()
        #expect(played.sent[2].server == Played.second && !played.sent[2].isOverTCP)
    }

    @Test(arguments: [
        DNSResponseCode.serverFailure, .refused, .notImplemented, .init(rawValue: 9),
    ])
    func `N-25: a lame server is asked once, then the next`(code: DNSResponseCode) throws {
        var played = try Played { $0.attempts = 3 }
        try played.answer(code: code)
        if code == .notImplemented {
            // It might be the options.
            #expect(played.sent[1].server == Played.first)
            #expect(played.sent[1].query.edns == nil)
            try played.answer(code: code)
        }
        #expect(played.sent.last?.server == Played.second)
        try played.answer(code: .serverFailure)
        #expect(played.error?.reason == .serverFailure(.serverFailure))
        #expect(played.error?.server == Played.second)
        #expect(played.error?.code == .resolverUnavailable)
    }

    @Test func `N-26: a server that only knows others is passed over`() throws {
        var played = try Played()
        try played.answer {
            $0.flags.remove(.recursionAvailable)
            $0.authorities = [record("org", .ns(DNSName("ns.example")!))]
        }
        #expect(played.sent.last?.server == Played.second)
    }

    @Test func `N-27: a server that does not know EDNS is asked without`() throws {
        var played = try Played()
        try played.answer(code: .formatError) { $0.questions = [] }
        #expect(played.sent[1].server == Played.first)
        #expect(played.sent[1].query.edns == nil)
        try played.answer([record("www.example.org")])
        #expect(try played.outcome?.get().records.count == 1)
    }

    @Test func `N-28: servers have their time in turn, and an answer that is late still counts`()
        throws
    {
        var played = try Played()
        try played.pass(.seconds(4))
        #expect(played.sent.count == 1)
        try played.pass(.seconds(1))
        #expect(played.sent.map(\.server) == [Played.first, Played.second])
        try played.answer([record("www.example.org")], to: 0)
        #expect(try played.outcome?.get().server == Played.first)
    }

    @Test func `N-29: the whole look-up has a deadline, whatever the servers' number`() throws {
        var played = try Played {
            $0.timeout = .seconds(3)
            $0.attempts = 5
        }
        for _ in 0..<3 { try played.pass(.seconds(3)) }
        #expect(played.sent.count == 4)
        #expect(played.last.last == .wait(until: played.now.advanced(by: .seconds(1))))
        try played.pass(.seconds(1))
        #expect(played.error?.reason == .timedOut)
        #expect(played.error?.code == .timedOut)
        // All attempts, before the deadline.
        played = try Played { $0.timeout = .seconds(1) }
        for _ in 0..<4 { try played.pass(.seconds(1)) }
        #expect(
            played.sent.map(\.server) == [
                Played.first, Played.second, Played.first, Played.second,
            ])
        #expect(played.error?.reason == .timedOut)
    }

    @Test func `N-30: where nobody listens, it is the next one's turn, and then over`() throws {
        var played = try Played { $0.attempts = 1 }
        try played.fail()
        #expect(played.sent.last?.server == Played.second)
        try played.fail()
        #expect(played.error?.reason == .unreachable(.connectionRefused))
        #expect(try Played(servers: []).error?.code == .resolverUnavailable)
    }

    @Test func `N-31: rotate begins with another server`() throws {
        #expect(try Played(firstServer: 1).sent[0].server == Played.second)
        #expect(try Played(firstServer: 2).sent[0].server == Played.first)
    }

    @Test func `N-32: aliases within an answer are followed, and its TTL is their least`() throws {
        var played = try Played()
        try played.answer([
            record("b.example.org", .cname(DNSName("c.example.net")!), ttl: 5),
            record("www.example.org", .cname(DNSName("b.example.org")!), ttl: 50),
            record("c.example.net", ttl: 500), record("d.example.net", ttl: 1),
        ])
        let answer = try #require(try played.outcome?.get())
        #expect(answer.aliases == [DNSName("b.example.org")!, DNSName("c.example.net")!])
        #expect(answer.records == [record("c.example.net", ttl: 5)])
    }

    @Test func `N-33: an alias that leads out of the answer is asked for`() throws {
        var played = try Played()
        try played.answer([record("www.example.org", .cname(DNSName("a.example.net")!))])
        #expect(played.sent.last?.query.questions[0].name == DNSName("a.example.net")!)
        try played.answer([record("a.example.net")])
        #expect(try played.outcome?.get().aliases == [DNSName("a.example.net")!])
    }

    @Test func `N-34: aliases in a circle or without end are an error`() throws {
        var played = try Played()
        try played.answer([
            record("www.example.org", .cname(DNSName("a.example.org")!)),
            record("a.example.org", .cname(DNSName("www.example.org")!)),
        ])
        #expect(played.error?.reason == .aliasLoop)
        played = try Played { $0.limit = .seconds(100) }
        for index in 0..<20 where played.outcome == nil {
            let name = "\(try #require(played.sent.last).query.questions[0].name)"
            try played.answer([record(name, .cname(DNSName("a\(index).example.org")!))])
        }
        #expect(played.error?.reason == .aliasLoop)
        #expect(played.sent.count == 17)
    }

    @Test func `N-35: there being nothing is kept as long as the zone says`() throws {
        var played = try Played()
        try played.answer(code: .nameError) { $0.authorities = [zone] }
        #expect(played.error?.reason == .noSuchName)
        #expect(played.error?.negativeTTLSeconds == 30)
        played = try Played()
        try played.answer { $0.authorities = [zone] }
        #expect(played.error?.reason == .noRecords)
        #expect(played.error?.negativeTTLSeconds == 30)
        // Without the zone's start there is no saying how long; that of another zone says nothing.
        played = try Played()
        try played.answer(code: .nameError) {
            $0.authorities = [record("example.com", zone.data)]
        }
        #expect(played.error?.reason == .noSuchName)
        #expect(played.error?.negativeTTLSeconds == nil)
    }

    @Test func `N-37: names in an answer are spelt as they were asked for, not at random`() throws {
        var played = try Played(.mx)
        try played.answer {
            let asked = $0.questions[0].name
            let mail = DNSRecordValue.mx(preference: 1, exchange: asked)
            $0.answers = [DNSRecord(name: asked, ttlSeconds: 1, data: mail)]
        }
        let found = try #require(try played.outcome?.get()).records[0]
        #expect("\(found)" == "www.example.org. 1 MX 1 www.example.org.")
        #expect("\(played.sent[0].query.questions[0].name)" != "www.example.org.")
    }

    @Test func `N-36: any bytes from the server end in an outcome by the deadline`() throws {
        for seed: UInt64 in 0..<300 {
            var maker = MessageMaker(seed: seed)
            var played = try Played { $0.timeout = .milliseconds(700) }
            for _ in 0..<300 where played.outcome == nil {
                let query = try #require(played.sent.last)
                var message = maker.message()
                message.id = query.query.id
                if maker.dice.percent(70) {
                    message.questions = query.query.questions
                    message.operation = 0
                    message.flags.insert(.response)
                    if maker.dice.percent(50) {
                        message.answers.append(record("www.example.org", .cname(maker.name())))
                    }
                }
                var bytes = Array(try message.encoded())
                if maker.dice.percent(30) {
                    bytes[maker.dice.below(bytes.count)] ^= UInt8(1 << maker.dice.below(8))
                }
                try played.receive(Bytes(bytes), from: query.server, attempt: query.attempt)
                if played.outcome == nil { try played.pass(.milliseconds(100)) }
            }
            #expect(played.outcome != nil, "seed \(seed)")
            #expect(played.sent.count <= 100)
        }
    }
}

extension Played {
    mutating func answer(
        code: DNSResponseCode, _ change: (inout DNSMessage) -> Void = { _ in }
    ) throws {
        try answer([], code, change)
    }
}

@Suite struct CacheTests {
    private let question = DNSQuestion(name: DNSName("a.example")!, type: .a)
    private let start = MonotonicInstant(nanoseconds: 5_000_000_000)

    private func answer(_ question: DNSQuestion, ttl: UInt32) -> Result<DNSAnswer, DNSLookupError> {
        .success(
            DNSAnswer(
                question: question,
                records: [DNSRecord(name: question.name, ttlSeconds: ttl, data: .a(.loopback))],
                aliases: [], server: Played.first, isOverTCP: false))
    }

    @Test func `N-40: an answer is kept for its TTL, and ages`() throws {
        var cache = DNSCache()
        cache.keep(answer(question, ttl: 60), for: question, now: start)
        let later = start.advanced(by: .seconds(59))
        let other = DNSQuestion(name: DNSName("A.Example")!, type: .a)
        let known = try #require(try cache.outcome(of: other, now: later)?.get())
        #expect(known.isCached)
        #expect(known.records[0].ttlSeconds == 1)
        #expect(cache.outcome(of: question, now: start.advanced(by: .seconds(60))) == nil)
        #expect(cache.count == 0)
        #expect(
            cache.outcome(of: DNSQuestion(name: question.name, type: .aaaa), now: later) == nil)
    }

    @Test func `N-41: no answer is kept for less than a second, nor for more than an hour`() {
        var cache = DNSCache()
        cache.keep(answer(question, ttl: 0), for: question, now: start)
        #expect(cache.outcome(of: question, now: start.advanced(by: .milliseconds(999))) != nil)
        #expect(cache.outcome(of: question, now: start.advanced(by: .seconds(1))) == nil)
        cache.keep(answer(question, ttl: .max), for: question, now: start)
        #expect(cache.outcome(of: question, now: start.advanced(by: .seconds(3_599))) != nil)
        #expect(cache.outcome(of: question, now: start.advanced(by: .seconds(3_600))) == nil)
    }

    @Test func `N-42: of failures only what the zone's start allows is kept`() {
        var cache = DNSCache()
        func failure(
            _ reason: DNSLookupError.Reason, _ ttl: UInt32?
        ) -> Result<DNSAnswer, DNSLookupError> {
            .failure(
                DNSLookupError(
                    question: question, reason: reason, server: nil, negativeTTLSeconds: ttl))
        }
        cache.keep(failure(.timedOut, nil), for: question, now: start)
        #expect(cache.count == 0)
        cache.keep(failure(.noSuchName, 30), for: question, now: start)
        #expect(
            cache.outcome(of: question, now: start.advanced(by: .seconds(29)))
                == failure(.noSuchName, 30))
        #expect(cache.outcome(of: question, now: start.advanced(by: .seconds(30))) == nil)
    }

    @Test func `N-43: it is bounded in entries and bytes, and the oldest leave first`() {
        var cache = DNSCache(entryLimit: 50, limitBytes: 20_000)
        var dice = SeededDice(seed: 1)
        for index in 0..<5_000 {
            let number = dice.percent(30) ? dice.below(60) : 1_000 + index
            let question = DNSQuestion(name: DNSName("n\(number).example")!, type: .a)
            cache.keep(answer(question, ttl: 100), for: question, now: start)
            cache.checkInvariants()
            #expect(cache.outcome(of: question, now: start) != nil)
        }
        #expect(cache.count > 20)
        let huge = DNSQuestion(name: DNSName("huge.example")!, type: .txt)
        cache.keep(
            .success(
                DNSAnswer(
                    question: huge,
                    records: [
                        DNSRecord(
                            name: huge.name, ttlSeconds: 9,
                            data: .other(.txt, Bytes(repeating: 1, count: 30_000)))
                    ], aliases: [], server: Played.first, isOverTCP: false)), for: huge, now: start)
        #expect(cache.outcome(of: huge, now: start) == nil)
        #expect(cache.count > 20)
    }
}
