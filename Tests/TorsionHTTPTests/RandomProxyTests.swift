// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion
@testable import TorsionHTTP
import TorsionTesting

/// Clients that pipeline, cut and leave, a reverse proxy, and an origin that answers in every way.
///
/// Whatever the order: a request arrives whole and no more often than its method allows, an answer is the
/// one to its request and whole or visibly broken, and nothing is left.
@Suite struct RandomProxyTests {
    @Test func `H-94: whatever clients and origins do, no answer is mixed up or cut`() throws {
        for seed in TestScope.seeds(all: 1_000, few: 30, variable: "PROXY_SEEDS") {
            let play = Play(seed: seed)
            try play.run()
            if !play.problems.isEmpty {
                Issue.record("seed \(seed): \(play.problems)\n\(play.log.joined(separator: "\n"))")
                return
            }
        }
    }
}

/// How the origin answers one request.
private enum Plan: Int {
    // Such that the client must get the answer.
    case length, chunks, toClose, closing, empty, hints
    // Such that it may get 502, or a part.
    case shortLength, shortChunks, gone, malformed
    /// It closes behind the answer, and has not said so.
    case hasty
    /// It answers before the request is whole, and closes.
    case early

    static let goodCount = 6
    static let count = 12
    var isGood: Bool { rawValue < Self.goodCount }
}

/// What one client asks, and what has to become of it.
private struct Question {
    let path: String
    let method: String
    let body: [UInt8]
    let wire: [UInt8]
    let plan: Plan
    let answer: [UInt8]
    var arrivals = 0
}

private final class Play {
    private let world: SimulatedWorld
    private var dice: SeededGenerator
    /// Every answer can reach its client.
    private let isPeaceful: Bool
    private var requests: [String: Question] = [:]
    private var failures: [String] = []
    private(set) var log: [String] = []
    private(set) var problems: [String] = []

    init(seed: UInt64) {
        world = SimulatedWorld(seed: seed, faults: .none)
        dice = SeededGenerator(seed: seed)
        isPeaceful = Bool.random(using: &dice)
    }

    func roll(_ count: Int) -> Int { Int.random(in: 0..<count, using: &dice) }

    private func makeRequest(_ path: String, isLast: Bool) -> Question {
        let method = ["GET", "HEAD", "POST", "PUT"][roll(4)]
        let close = isLast ? "Connection: close\r\n" : ""
        var wire = Array("\(method) \(path) HTTP/1.1\r\nHost: a\r\n\(close)".utf8)
        var body: [UInt8] = []
        if method.hasPrefix("P") {
            body = Array(repeatElement("\(path),", count: roll(400)).joined().utf8)
            if roll(2) == 0 {
                wire += Array("Content-Length: \(body.count)\r\n\r\n".utf8) + body
            } else {
                wire += Array("Transfer-Encoding: chunked\r\n\r\n".utf8) + chunked(body)
            }
        } else {
            wire += [13, 10]
        }
        let plan = Plan(rawValue: roll(isPeaceful ? Plan.goodCount : Plan.count))!
        let size = [0, 1, 30, 600].randomElement(using: &dice)!
        let answer = Array(repeatElement("to \(path);", count: size).joined().utf8)
        return Question(
            path: path, method: method, body: body, wire: wire, plan: plan,
            answer: plan == .empty ? [] : answer)
    }

    private func chunked(_ body: [UInt8]) -> [UInt8] {
        var wire: [UInt8] = []
        var rest = body[...]
        while !rest.isEmpty {
            let piece = rest.prefix(1 + roll(900))
            let mark = roll(3) == 0 ? ";a=\"b\"" : ""
            wire += Array((String(piece.count, radix: 16) + mark + "\r\n").utf8) + piece + [13, 10]
            rest = rest.dropFirst(piece.count)
        }
        return wire + Array("0\r\n\r\n".utf8)
    }

    // MARK: The origin

    /// A request has arrived whole, or its head has.
    func arrived(_ path: String, _ body: [UInt8]?, at origin: Origin) {
        guard let request = requests[path] else { return problems.append("\(path) is made up") }
        requests[path]!.arrivals += 1
        log.append("origin \(origin.number): \(request.method) \(path), \(request.plan)")
        if let body, body != request.body {
            problems.append("\(path) has \(body.count) of \(request.body.count) bytes")
        }
        // RFC 9110 §9.2.2: what may be repeated.
        if requests[path]!.arrivals > (request.method == "POST" ? 1 : 2) {
            problems.append("\(path) came too often")
        }
        answer(request, at: origin)
    }

    func plan(_ path: String) -> Plan? { requests[path]?.plan }

    private func answer(_ request: Question, at origin: Origin) {
        let isHead = request.method == "HEAD"
        let body = isHead ? [] : request.answer
        let length = "Content-Length: \(request.answer.count)\r\n"
        func message(_ fields: String, _ body: [UInt8]) -> [UInt8] {
            Array("HTTP/1.1 200 OK\r\nX-Path: \(request.path)\r\n\(fields)\r\n".utf8) + body
        }
        let coded = isHead ? [] : chunked(body)
        switch request.plan {
        case .length: origin.send(message(length, body))
        case .chunks: origin.send(message("Transfer-Encoding: chunked\r\n", coded))
        case .toClose: origin.send(message(isHead ? "Connection: close\r\n" : "", body), .closes)
        case .closing, .early: origin.send(message("Connection: close\r\n\(length)", body), .closes)
        case .empty:
            origin.send(Array("HTTP/1.1 204 No\r\nX-Path: \(request.path)\r\n\r\n".utf8))
        case .hints:
            origin.send(Array("HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n".utf8) + message(length, body))
        case .hasty: origin.send(message(length, body), .closes)
        case .shortLength:
            let length = "Content-Length: \(request.answer.count + 1 + roll(99))\r\n"
            origin.send(message(length, body), roll(2) == 0 ? .closes : .aborts)
        case .shortChunks:
            origin.send(
                message("Transfer-Encoding: chunked\r\n", Array(coded.dropLast(1 + roll(4)))),
                roll(2) == 0 ? .closes : .aborts)
        case .gone: origin.send([], roll(2) == 0 ? .closes : .aborts)
        case .malformed: origin.send(message("Content-Length: 1\r\nContent-Length: 2\r\n", body))
        }
    }

    // MARK: A play

    func run() throws {
        var originCount = 0
        try world.host("origin").run { [self] reactor in
            try ServerEndpoint.tcp(port: 80).listen(on: reactor) {
                originCount += 1
                return Origin(originCount, self)
            }
        }
        var options = HTTPClientOptions()
        options.connectionLimit = 1 + roll(3)
        var upstream: HTTPClient!
        try world.host("proxy").run { [self] reactor in
            upstream = HTTPClient(on: reactor, options: options)
            let proxy = ReverseProxy(to: try HTTPURL(parsing: "http://origin"), by: upstream)
            proxy.whenFailed = { [unowned self] in failures.append("\($0)") }
            try ServerEndpoint.tcp(port: 80)
                .listen(on: reactor, http: HTTPServerOptions()) { proxy }
        }
        try world.host("client").run { _ in }
        let visits = (1...3).map { makeVisit($0) }
        try world.run(limit: .seconds(200)) { visits.allSatisfy { $0.visitor.isLost } }
        for visit in visits { check(visit) }
        if isPeaceful, !failures.isEmpty { problems.append("told: \(failures)") }
        upstream.closeIdleConnections()
        try world.run(for: .seconds(100))
        if upstream.connectionCount != 0 {
            problems.append("\(upstream.connectionCount) connections to the origin are left")
        }
        try world.finish()
    }

    private typealias Visit = (visitor: Visitor, requests: [Question], goes: Bool)

    private func makeVisit(_ number: Int) -> Visit {
        let visitor = Visitor()
        ClientEndpoint.tcp(host: "proxy", port: 80)
            .connect(on: world.host("client").reactor) { visitor }.whenFailed { _ in }
        let count = 1 + roll(6)
        let asked = (0..<count).map {
            makeRequest("/\(number)-\($0)", isLast: $0 == count - 1)
        }
        for request in asked { requests[request.path] = request }
        let wire = Bytes(asked.flatMap(\.wire))
        var time = Duration.milliseconds(500)
        var start = 0
        while start < wire.count {
            let end = min(wire.count, start + 1 + roll(1_500))
            let piece = wire[start..<end]
            time += .milliseconds(roll(20))
            world.at(time) { visitor.write(piece) }
            start = end
        }
        let goes = roll(5) == 0
        if goes { world.at(time + .milliseconds(roll(200) - 100)) { visitor.goAway() } }
        log.append("client \(number): \(asked.map { "\($0.method) \($0.plan)" }), goes: \(goes)")
        return (visitor, asked, goes)
    }

    /// What a client has got is an answer to each request in its order, up to the first broken one.
    private func check(_ visit: Visit) {
        var bytes = visit.visitor.bytes[...]
        var count = 0
        while count < visit.requests.count {
            let request = visit.requests[count]
            let isHead = request.method == "HEAD"
            guard let message = takeMessage(&bytes, isBodyless: { isHead || $0.contains(" 204 ") })
            else { break }
            if message.head.contains(" 103 ") { continue }
            count += 1
            check(message.head, message.body, of: request)
        }
        if visit.goes { return }
        let isDone = count == visit.requests.count
        if isPeaceful, !isDone {
            problems.append("\(visit.requests[count].path) was not answered")
        }
        if isDone, !bytes.isEmpty { problems.append("\(bytes.count) bytes too many") }
        if !isDone, visit.requests[count].plan.isGood {
            problems.append("\(visit.requests[count].path) was cut, whose answer was whole")
        }
    }

    private func check(_ head: String, _ body: [UInt8], of request: Question) {
        let plan = request.plan
        if head.hasPrefix("HTTP/1.1 502 ") {
            // A body is not sent twice: it may have met a connection that was just closed.
            if plan.isGood, isPeaceful || request.body.isEmpty && request.method != "POST" {
                problems.append("\(request.path) got 502")
            }
            return
        }
        if !head.hasPrefix(plan == .empty ? "HTTP/1.1 204 " : "HTTP/1.1 200 ") {
            problems.append("\(request.path) got \(head.prefix(12))")
        }
        if !head.contains("X-Path: \(request.path)\r\n") {
            problems.append("\(request.path) got the answer of another request")
        }
        let isHead = request.method == "HEAD"
        if !isHead, body != request.answer {
            problems.append("\(request.path) got \(body.count) of \(request.answer.count) bytes")
        }
        let isBroken = plan == .gone || plan == .malformed
        // What is short is seen by its body.
        let isShort = (plan == .shortLength || plan == .shortChunks) && !isHead
        if isBroken || isShort { problems.append("\(request.path) got more than the origin said") }
    }
}

/// One message from the front; `nil` if it is not whole.
private func takeMessage(
    _ bytes: inout ArraySlice<UInt8>, isBodyless: (String) -> Bool
) -> (head: String, body: [UInt8])? {
    guard let end = bytes.firstRange(of: [13, 10, 13, 10])?.upperBound else { return nil }
    let head = String(decoding: bytes[..<end], as: UTF8.self)
    var rest = bytes[end...]
    var body: [UInt8] = []
    let length = head.split(separator: "\r\n").first { $0.hasPrefix("Content-Length: ") }
    if isBodyless(head) || head.contains(" 103 ") {
        bytes = rest
    } else if let count = length.flatMap({ Int($0.dropFirst(16)) }) {
        guard rest.count >= count else { return nil }
        body = Array(rest.prefix(count))
        bytes = rest.dropFirst(count)
    } else if head.contains("Transfer-Encoding: chunked\r\n") {
        while true {
            guard let line = rest.firstRange(of: [13, 10]) else { return nil }
            let digits = rest[..<line.lowerBound].prefix { $0 != UInt8(ascii: ";") }
            rest = rest[line.upperBound...]
            guard let count = Int(String(decoding: digits, as: UTF8.self), radix: 16),
                rest.count >= count + 2
            else { return nil }
            body += rest.prefix(count)
            rest = rest.dropFirst(count + 2)
            if count == 0 { break }
        }
        bytes = rest
    } else {
        bytes = rest
    }
    return (head, body)
}

/// A client.
private final class Visitor: StreamProtocol {
    private var transport: (any StreamTransport)?
    private(set) var bytes: [UInt8] = []
    private(set) var isLost = false

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        self.bytes += bytes
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        isLost = true
    }

    func write(_ bytes: Bytes) { transport?.write(bytes) }
    func goAway() { transport?.abortConnection() }
}

/// A connection at the origin.
private final class Origin: StreamProtocol {
    let number: Int
    private unowned let play: Play
    private var transport: (any StreamTransport)?
    private var bytes: [UInt8] = []
    private var isDeaf = false

    enum Ending {
        case stays, closes, aborts
    }

    init(_ number: Int, _ play: Play) {
        self.number = number
        self.play = play
    }

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        if isDeaf { return }
        self.bytes += bytes
        if let end = self.bytes.firstRange(of: [13, 10])?.lowerBound {
            let path = Self.path(String(decoding: self.bytes[..<end], as: UTF8.self))
            if play.plan(path) == .early { return play.arrived(path, nil, at: self) }
        }
        var rest = self.bytes[...]
        while !isDeaf, let message = takeMessage(&rest, isBodyless: { _ in false }) {
            play.arrived(Self.path(message.head), message.body, at: self)
        }
        self.bytes = Array(rest)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        isDeaf = true
    }

    private static func path(_ head: String) -> String {
        let words = head.split(separator: " ")
        return words.count > 1 ? String(words[1]) : ""
    }

    /// Sends it in pieces, each at a time of its own.
    func send(_ bytes: [UInt8], _ ending: Ending = .stays) {
        if ending != .stays { isDeaf = true }
        guard let transport else { return }
        guard !bytes.isEmpty else {
            switch ending {
            case .stays: break
            case .closes: transport.loseConnection()
            case .aborts: transport.abortConnection()
            }
            return
        }
        let count = play.roll(3) == 0 ? bytes.count : 1 + play.roll(bytes.count)
        transport.write(Bytes(bytes.prefix(count)))
        let rest = Array(bytes.dropFirst(count))
        let delay = Duration.milliseconds(play.roll(4) == 0 ? play.roll(30) : 0)
        if delay == .zero, play.roll(2) == 0 { return send(rest, ending) }
        transport.reactor.callLater(delay) { [self] in send(rest, ending) }
    }
}
