// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

// watch: asks many TCP services for a line, again and again, and prints a table. At most 32 are asked
// at a time, and each has half a second. Clients of its own port may say status, follow, check PLACE.
//
//   Watch tcp:8007 tcp:127.0.0.1:2525 tcp:127.0.0.1:6379 …
//
// Written by a reader of README and the book alone; a test runs it.

/// How a place did when it was asked last.
struct Check {
    enum State: String { case unknown, up, late, down }
    var state = State.unknown
    var milliseconds = 0
    var text = ""
}

/// What the tasks and the clients share: one thread runs them all, so it needs no lock.
final class Watch {
    private let reactor: Reactor
    private let places: [String]
    private var checks: [Check]
    private(set) var roundCount = 0
    var followers: [ConnectionID: any StreamTransport] = [:]

    init(_ places: [String], on reactor: Reactor) {
        (self.reactor, self.places) = (reactor, places)
        checks = [Check](repeating: Check(), count: places.count)
    }

    /// Asks one place; it never fails.
    func check(_ place: String) async -> Check {
        let start = ContinuousClock.now
        var check = Check()
        do {
            let line = try await reactor.withTimeout(.milliseconds(500)) {
                let connection = try await ClientEndpoint(parsing: place).connect(on: self.reactor)
                    .value
                defer { connection.close() }
                try await connection.write("PING\r\n")
                return try await connection.readLine(limitBytes: 1_000)
            }
            check.state = line == nil ? .down : .up
            check.text = line.map { String(decoding: $0) } ?? "closed without a word"
        } catch is TimeoutError {
            check.state = .late
        } catch {
            check.state = .down
            check.text = "\(error)"
        }
        check.milliseconds = Int((ContinuousClock.now - start) / .milliseconds(1))
        return check
    }

    /// Asks all places, each once.
    func round() async throws {
        var next = 0
        try await reactor.withServingGroup { group in
            for _ in 0..<min(32, self.places.count) {
                group.spawn {
                    while !Task.isCancelled, next < self.places.count {
                        let index = next
                        next += 1
                        self.checks[index] = await self.check(self.places[index])
                    }
                }
            }
        }
        roundCount += 1
        for follower in followers.values { follower.write(table) }
    }

    var table: String {
        let rows = zip(places, checks).map { line($0, $1) }
        let up = checks.count { $0.state == .up }
        return rows.joined() + "round \(roundCount): \(up) of \(places.count) up\r\n"
    }

    func line(_ place: String, _ check: Check) -> String {
        // A service may answer anything: only what can be printed is.
        let text = check.text.prefix(60).map { $0.isASCII && $0 >= " " && $0 < "\u{7f}" ? $0 : "." }
        return pad(place, 28) + pad(check.state.rawValue, 9) + pad("\(check.milliseconds) ms", 9)
            + String(text) + "\r\n"
    }

    private func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }
}

/// One client of our own port.
final class Desk: LineProtocol {
    let lines = LineDecoder(limitBytes: 200)
    private let watch: Watch
    private let ask: (String, any StreamTransport) -> Void

    init(_ watch: Watch, ask: @escaping (String, any StreamTransport) -> Void) {
        (self.watch, self.ask) = (watch, ask)
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        let words = String(decoding: line).split(separator: " ").map(String.init)
        switch words.first {
        case "status": transport.write(watch.table)
        case "follow": watch.followers[transport.id] = transport
        case "check" where words.count == 2: ask(words[1], transport)
        case "quit": transport.loseConnection()
        default: transport.write("say status, follow, check PLACE or quit\r\n")
        }
    }

    func timedOut(_ deadline: ConnectionLoss.Deadline, from transport: any StreamTransport) {
        transport.write("closed: \(deadline)\r\n")
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        watch.followers[transport.id] = nil
    }
}

Reactor.main(signals: .stop(within: .seconds(3))) { reactor in
    let words = Array(CommandLine.arguments.dropFirst())
    guard words.count >= 2 else { return print("usage: Watch PORT PLACE...") }
    let watch = Watch(Array(words.dropFirst()), on: reactor)
    reactor.unhandledError = { print("error: \($0.context): \($0.error)") }
    reactor.addTrigger(.after, .shutdown) { print("at the end:\n\(watch.table)", terminator: "") }
    try await reactor.withServingGroup { group in
        let port = try ServerEndpoint(parsing: words[0])
            .limited(to: ConnectionLimits(total: 500))
            .timeouts(Timeouts(request: .seconds(5), idle: .seconds(60)))
            .listen(on: reactor) {
                Desk(watch) { place, transport in
                    group.spawn { transport.write(watch.line(place, await watch.check(place))) }
                }
            }
        print("listening on \(port.localAddress)")
        while true {
            try await watch.round()
            print(watch.table, terminator: "")
            try await reactor.sleep(for: .seconds(2))
        }
    }
}
