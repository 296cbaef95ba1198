// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion
@testable import TorsionHTTP
import TorsionTesting

/// Programs that answer in every way, at any time, and clients that send anything cut anywhere.
///
/// Then these end, break off, or stay. Whatever the order: no reader waits for ever, and nothing is left.
@Suite struct RandomExchangesTests {
    @Test func `whatever clients and programs do, each reader is told and each connection ends`() {
        for seed in TestScope.seeds(all: 40_000, few: 1_500, variable: "HTTP_SEEDS") {
            let play = Play(seed: seed)
            play.run()
            if !play.problems.isEmpty {
                Issue.record("seed \(seed): \(play.problems)\n\(play.log.joined(separator: "\n"))")
                return
            }
        }
    }
}

/// One connection, played out by dice.
private final class Play {
    private var dice: SeededGenerator
    private var client: Client!
    /// What the program does later.
    private var actions: [() -> Void] = []
    /// Readers of bodies that wait.
    private var waiting = 0
    private(set) var log: [String] = []
    private(set) var problems: [String] = []

    init(seed: UInt64) {
        dice = SeededGenerator(seed: seed)
        let responder = Responding { [unowned self] head, exchange in answer(head, exchange) }
        let room = [Int.max, 40, 700].randomElement(using: &dice)!
        client = Client(responder, roomBytes: room)
    }

    private func roll(_ count: Int) -> Int { Int.random(in: 0..<count, using: &dice) }

    private func later(_ name: String, _ body: @escaping () -> Void) {
        actions.append { [unowned self] in
            log.append("program: \(name)")
            body()
        }
    }

    private func watch<Value>(_ result: Deferred<Value>) -> Deferred<Value> {
        waiting += 1
        return result.addBoth { [unowned self] outcome in
            waiting -= 1
            return try outcome.get()
        }
    }

    // MARK: The program

    private func answer(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        let kind = roll(10)
        log.append("request \(head.method), kind \(kind)")
        if kind == 0 { return exchange.respond(.ok, body: "at once") }
        if kind == 1 { return }
        let body = exchange.body
        if kind == 2 { return stream(exchange.begin(.ok), pieces: roll(3), with: nil) }
        if kind == 3 { return stream(exchange.begin(.ok), pieces: 2, with: body) }
        let pending = exchange.later()
        if roll(3) == 0 {
            return later("reads") { [unowned self] in read(body, for: pending, kind) }
        }
        read(body, for: pending, kind)
    }

    private func stream(_ writer: ResponseWriter, pieces: Int, with body: HTTPBody?) {
        if let body, body.isOpen {
            return watch(body.pipe(to: writer)).addCallback { _ in }.whenFailed { _ in }
        }
        later("writes") { [unowned self] in
            if pieces == 0 { return writer.finish() }
            if writer.isOpen { writer.write(Bytes([UInt8](repeating: 65, count: roll(2_000)))) }
            stream(writer, pieces: pieces - 1, with: nil)
        }
    }

    private func read(_ body: HTTPBody, for pending: PendingExchange, _ kind: Int) {
        switch kind {
        case 4: later("answers") { pending.respond(.ok, body: "later") }
        case 5, 6:
            let limit = [5, 1_000_000].randomElement(using: &dice)!
            pending.respond(
                when: watch(body.collect(limitBytes: limit))
                    .addCallback { HTTPResponse(.ok, body: Bytes("\($0.count)")) })
        case 7: readPiece(body, for: pending)
        default:
            let tub = Pausing { [unowned self] name, body in later(name, body) }
            tub.mayPause = { [unowned self] in roll(2) == 0 }
            watch(body.pipe(to: tub))
                .addBoth { _ in pending.respond(.created) }
                .whenFailed { _ in }
        }
    }

    private func readPiece(_ body: HTTPBody, for pending: PendingExchange) {
        watch(body.nextPiece())
            .addCallback { [unowned self] piece in
                guard piece != nil else { return pending.respond(.ok, body: "whole") }
                later("reads on") { [unowned self] in readPiece(body, for: pending) }
            }
            .whenFailed { _ in pending.respond(.badRequest) }
    }

    // MARK: The client

    private func makeRequests() -> Bytes {
        var text = ""
        for _ in 0..<(1 + roll(3)) {
            let expects = roll(5) == 0 ? "Expect: 100-continue\r\n" : ""
            let close = roll(8) == 0 ? "Connection: close\r\n" : ""
            let start = " /p HTTP/1.\(roll(6) == 0 ? 0 : 1)\r\nHost: a\r\n\(expects)\(close)"
            let count = [0, 1, 10, 3_000].randomElement(using: &dice)!
            switch roll(3) {
            case 0: text += "GET" + start + "\r\n"
            case 1:
                text += "POST" + start + "Content-Length: \(count)\r\n\r\n"
                text += String(repeating: "b", count: count)
            default:
                text += "POST" + start.replacingVersion + "Transfer-Encoding: chunked\r\n\r\n"
                for _ in 0..<roll(4) { text += "a\r\n0123456789\r\n" }
                text += "0\r\n\r\n"
            }
        }
        let whole = Bytes(text)
        return roll(2) == 0 ? whole : whole[..<roll(whole.count + 1)]
    }

    private func act() {
        guard !actions.isEmpty else { return }
        actions.remove(at: roll(actions.count))()
    }

    func run() {
        let bytes = makeRequests()
        var start = 0
        while start < bytes.count, client.memory.isOpen {
            let end = roll(3) == 0 ? bytes.count : min(bytes.count, start + 1 + roll(60))
            log.append("client: sends \(start)..<\(end) of \(bytes.count)")
            client.memory.receive(bytes[start..<end])
            start = end
            disturb()
        }
        let ends = roll(3)
        log.append("client: \(["ends", "breaks off", "stays"][ends])")
        if client.memory.isOpen {
            if ends == 0 { client.memory.peerCloses() }
            if ends == 1 { client.memory.peerResets() }
        }
        // Everything that the program has to do, and all that the client takes.
        var rounds = 0
        while !actions.isEmpty || rounds < 4 {
            rounds = actions.isEmpty ? rounds + 1 : 0
            act()
            client.memory.drain()
            client.settle()
        }
        if ends != 2 { check("at the end") }
        client.clock.advance(by: .seconds(200))
        while !actions.isEmpty { act() }
        client.settle()
        check("when its time is over")
        client.clock.reactor.checkInvariants()
        let calls = client.clock.reactor.statistics.delayedCalls
        if calls != 0 { problems.append("\(calls) calls are left") }
        let reports = client.unhandled.filter {
            !$0.contains("a request was not answered")
        }
        if !reports.isEmpty { problems.append("reported: \(reports)") }
    }

    /// Something happens between two pieces.
    private func disturb() {
        for _ in 0..<roll(3) {
            switch roll(3) {
            case 0: act()
            case 1: client.memory.drain(1 + roll(500))
            default: client.settle()
            }
        }
    }

    private func check(_ when: String) {
        if client.memory.isOpen { problems.append("open \(when)") }
        if waiting != 0 { problems.append("\(waiting) readers wait \(when)") }
    }
}

extension String {
    fileprivate var replacingVersion: String {
        split(separator: "HTTP/1.0", omittingEmptySubsequences: false).joined(separator: "HTTP/1.1")
    }
}

/// A consumer that pauses now and then, and is resumed later.
private final class Pausing: Consumer {
    var mayPause: () -> Bool = { false }
    private let later: (String, @escaping () -> Void) -> Void
    private var producer: (any PushProducer)?

    init(_ later: @escaping (String, @escaping () -> Void) -> Void) { self.later = later }

    func write(_ bytes: RawSpan) {
        guard let paused = producer, mayPause() else { return }
        paused.pauseProducing()
        later("resumes") { [weak self] in
            if self?.producer === paused { paused.resumeProducing() }
        }
    }

    func write(_ bytes: Bytes) { write(bytes.span) }
    func registerProducer(_ producer: any PushProducer) { self.producer = producer }
    func registerProducer(_ producer: any PullProducer) {}
    func unregisterProducer() { producer = nil }
    func finishConsuming() {}
    func abandonConsuming(because error: any Error) {}
}
