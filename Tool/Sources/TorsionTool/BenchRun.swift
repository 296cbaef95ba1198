// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc
internal import Torsion
@_spi(Tool) internal import TorsionCore

/// One run of `torsion bench`: asks when something is due, and times the answers.
///
/// An open loop: the times at which requests are due are fixed in advance. A timer wakes it
/// when the next is, at most each tenth of a millisecond, and everything that is due by then is
/// written, to the connections in turn. What cannot be written, because a connection does not take it,
/// stays due, and its time goes on. Over libuv timers step in milliseconds.
final class BenchRun {
    private let plan: BenchPlan
    private let target: any StreamClientEndpoint
    private let reactor: Reactor
    private var connections: [BenchConnection] = []
    private var latencies = LatencyRecord()
    private var start: UInt64 = 0
    /// The next request that is due.
    private var next = 0
    private var turn = 0
    private var sent = 0
    private var errors = 0
    private var firstError: (any Error)?
    /// When the last answer came.
    private var lastAnswer: UInt64 = 0
    /// With `connect`, those that are being opened.
    private var opening = 0
    private var opened = 0
    private var isOver = false
    private var done: (BenchReport) -> Void = { _ in }
    private var isLive = false
    private var shownSecond = 0

    /// How long answers are waited for, behind the last request.
    private static let patience: UInt64 = 2_000_000_000
    /// A connection that has so much unsent is given no more.
    private static let pendingLimit = 1 << 18

    init(_ plan: BenchPlan, _ target: any StreamClientEndpoint, on reactor: Reactor) {
        self.plan = plan
        self.target = target
        self.reactor = reactor
    }

    /// Nanoseconds of the monotonic clock, read now: the reactor's time stands still inside a turn.
    static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    func start(isLive: Bool, _ done: @escaping (BenchReport) -> Void) {
        self.isLive = isLive
        self.done = done
        // A signal: before the connections end by it, which is no fault of the server.
        reactor.addTrigger(.before, .shutdown) { [self] in if start > 0 { finish() } }
        // Its connections tell it of their ends, behind its own.
        reactor.addTrigger(.after, .shutdown) { [self] in withExtendedLifetime(self) {} }
        guard plan.kind != .connect else { return begin() }
        var left = plan.connections
        for _ in 0..<plan.connections {
            target.connect(on: reactor) { [self] in BenchConnection(self, plan) }
                .addBoth { [self] result in
                    switch result {
                    case .success(let connection): connections.append(connection)
                    case .failure(let error): note(error)
                    }
                    left -= 1
                    if left == 0 { connections.isEmpty ? finish() : begin() }
                }.whenFailed { _ in }
        }
    }

    private func begin() {
        start = Self.now
        tick()
    }

    /// When the next request is due, so that none waits for a beat; but not so often that the command
    /// does little else, and often enough for the line that is shown.
    private func scheduleTick(_ elapsed: UInt64) {
        let due = next < plan.requestCount ? plan.due(next) : .max
        let step = min(max(due > elapsed ? due - elapsed : 0, 100_000), 10_000_000)
        reactor.callLater(.nanoseconds(Int64(step))) { [self] in tick() }
    }

    private func tick() {
        guard !isOver else { return }
        let elapsed = Self.now - start
        if plan.kind == .connect { openDue(elapsed) } else { writeDue(elapsed) }
        show(elapsed)
        defer { if !isOver { scheduleTick(Self.now - start) } }
        let last = plan.due(plan.requestCount)
        guard elapsed >= last, next >= plan.requestCount || elapsed >= last + Self.patience else {
            return
        }
        if waitingCount == 0 || elapsed >= last + Self.patience { finish() }
    }

    private var waitingCount: Int {
        plan.kind == .connect ? opening : connections.reduce(0) { $0 + $1.waiting.count }
    }

    private func writeDue(_ elapsed: UInt64) {
        while next < plan.requestCount, plan.due(next) <= elapsed {
            guard let connection = connectionWithRoom() else { return }
            connection.ask(due: start + plan.due(next))
            sent += 1
            next += 1
        }
    }

    private func connectionWithRoom() -> BenchConnection? {
        for _ in connections {
            turn = (turn + 1) % connections.count
            if connections[turn].hasRoom(limit: Self.pendingLimit) { return connections[turn] }
        }
        return nil
    }

    private func openDue(_ elapsed: UInt64) {
        while next < plan.requestCount, plan.due(next) <= elapsed, opening < plan.connections {
            let due = start + plan.due(next)
            next += 1
            sent += 1
            opening += 1
            target.connect(on: reactor) { OneVisit() }.addBoth { [self] result in
                opening -= 1
                switch result {
                case .success(let visit):
                    opened += 1
                    answered(due: due)
                    visit.transport?.loseConnection()
                case .failure(let error): note(error)
                }
            }.whenFailed { _ in }
        }
    }

    /// An answer has come.
    func answered(due: UInt64) {
        lastAnswer = Self.now
        latencies.add(nanoseconds: lastAnswer - due)
    }

    /// A connection was lost, or its answer is none.
    func note(_ error: any Error) {
        guard !isOver else { return }
        errors += 1
        if firstError == nil { firstError = error }
    }

    func lost(_ connection: BenchConnection, _ why: any Error) {
        guard !isOver else { return }
        note(why)
        connections.removeAll { $0 === connection }
        unanswered += connection.waiting.count
        turn = 0
        if connections.isEmpty { finish() }
    }

    /// Of connections that were lost.
    private var unanswered = 0

    private func show(_ elapsed: UInt64) {
        let second = Int(elapsed / 1_000_000_000)
        guard isLive, second > shownSecond else { return }
        shownSecond = second
        let text = { (value: Double) in "\((value * 100).rounded() / 100)" }
        _ = writeStandardError(
            "\r\u{1b}[K\(second) s: \(latencies.count) answers, p50 "
                + text(latencies.percentile(0.5)) + " ms, p99 "
                + text(latencies.percentile(0.99)) + " ms, errors \(errors)")
    }

    /// A server at its limit answers behind the end of the requests: that time counts too.
    ///
    /// - Parameter seconds: From the first request until now, which is earlier than planned after a
    ///   signal, and later while answers are waited for that do not come.
    /// - Returns: Zero without an answer.
    private func answersPerSecond(_ seconds: Double) -> Double {
        guard lastAnswer > start else { return 0 }
        let last = Double(lastAnswer - start) / 1e9
        return Double(latencies.count) / max(last, min(seconds, plan.seconds), 0.001)
    }

    private func finish() {
        guard !isOver else { return }
        let waiting = plan.kind == .connect ? opening : waitingCount
        isOver = true
        // After a signal, what was not due yet was not asked by rights.
        let due =
            reactor.isStopping
            ? min(plan.requestCount, max(next, plan.dueCount(Self.now - start)))
            : plan.requestCount
        if isLive, shownSecond > 0 { _ = writeStandardError("\r\u{1b}[K") }
        let seconds = start == 0 ? 0 : Double(Self.now - start) / 1e9
        let answers = Int(latencies.count)
        done(
            BenchReport(
                kind: plan.kind, connections: plan.connections, rateWanted: plan.rate,
                seconds: seconds, sent: sent, answered: answers,
                // What was due and could not even be asked has no answer either.
                unanswered: waiting + unanswered + due - next, errors: errors,
                firstError: firstError.map { "\($0)" },
                answersPerSecond: answersPerSecond(seconds),
                latencyMilliseconds: answers == 0
                    ? nil
                    : [
                        "min": Double(latencies.least) / 1e6,
                        "p50": latencies.percentile(0.5), "p90": latencies.percentile(0.9),
                        "p99": latencies.percentile(0.99), "p99.9": latencies.percentile(0.999),
                        "max": Double(latencies.most) / 1e6,
                    ],
                connectFailure: start == 0 || plan.kind == .connect && answers == 0
                    ? firstError : nil))
        reactor.stop(within: .zero)
    }
}

/// A connection that asks, and knows when each of its requests was due.
final class BenchConnection: StreamProtocol {
    private unowned let run: BenchRun
    private let plan: BenchPlan
    private var transport: (any StreamTransport)?
    /// When those were due that have no answer yet.
    private(set) var waiting: [UInt64] = []
    private var answeredCount = 0
    /// Of an echo, bytes of the answer that is arriving.
    private var byteCount = 0
    private var response = ResponseCounter()
    /// What is wrong with an answer.
    private var failure: (any Error)?

    init(_ run: BenchRun, _ plan: BenchPlan) {
        self.run = run
        self.plan = plan
    }

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func hasRoom(limit: Int) -> Bool { transport.map { $0.pendingByteCount < limit } ?? false }

    func ask(due: UInt64) {
        waiting.append(due)
        let request = plan.request
        transport?.write(request.span.bytes)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        do { try read(bytes) } catch {
            failure = error
            transport.abortConnection()
        }
    }

    private func read(_ bytes: RawSpan) throws {
        switch plan.kind {
        case .echo, .connect:
            byteCount += bytes.byteCount
            while byteCount >= plan.request.count {
                byteCount -= plan.request.count
                try take()
            }
        case .lines:
            for index in bytes.byteOffsets
            where bytes[index] == UInt8(ascii: "\n") {
                try take()
            }
        case .http:
            for _ in 0..<(try response.count(in: bytes)) { try take() }
        }
    }

    private struct Unasked: Error, CustomStringConvertible {
        let description = "an answer to nothing that was asked"
    }

    private func take() throws {
        guard !waiting.isEmpty else { throw Unasked() }
        run.answered(due: waiting.removeFirst())
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        run.lost(self, failure ?? why)
    }
}

/// Connects, and goes.
private final class OneVisit: StreamProtocol {
    private(set) var transport: (any StreamTransport)?
    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
    }
}

/// Counts the responses of an HTTP/1.1 server that says how long each body is.
struct ResponseCounter {
    private var head: [UInt8] = []
    private var bodyLeft = 0

    /// What is no response of that kind.
    struct BadResponse: Error, CustomStringConvertible {
        let description: String
    }

    private static let headLimit = 65_536

    /// How many end in these bytes.
    mutating func count(in bytes: RawSpan) throws -> Int {
        var count = 0
        for index in bytes.byteOffsets {
            if bodyLeft > 0 {
                bodyLeft -= 1
                if bodyLeft == 0 { count += 1 }
                continue
            }
            head.append(bytes[index])
            guard head.count <= Self.headLimit else {
                throw BadResponse(description: "a head of more than \(Self.headLimit) bytes")
            }
            guard head.count >= 4, head[(head.count - 4)...].elementsEqual("\r\n\r\n".utf8) else {
                continue
            }
            bodyLeft = try Self.bodyLength(of: String(decoding: head, as: UTF8.self))
            head.removeAll(keepingCapacity: true)
            if bodyLeft == 0 { count += 1 }
        }
        return count
    }

    private static func bodyLength(of head: String) throws -> Int {
        let lines = head.split(whereSeparator: \.isNewline)
        guard let status = lines.first?.split(separator: " ").dropFirst().first,
            status.count == 3, let first = status.first
        else { throw BadResponse(description: "no response of HTTP/1.1") }
        guard first == "2" || first == "3" else {
            throw BadResponse(description: "the answer is \(status)")
        }
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0].lowercased() == "content-length" else { continue }
            guard let length = Int(parts[1].filter { $0 != " " }), length >= 0 else { break }
            return length
        }
        throw BadResponse(description: "a response without Content-Length")
    }
}
