// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import FoundationEssentials
internal import Torsion

/// What a running program answers at its admin socket.
enum ProgramAnswer {
    private struct Answer: Codable {
        var ok: ReactorSnapshot?
        var error: String?
    }

    struct NoAnswer: Error, CustomStringConvertible {
        let description: String
    }

    /// Asks it for what is open.
    ///
    /// - Throws: Why there is no answer.
    static func ask(_ endpoint: ClientEndpoint) throws -> ReactorSnapshot {
        var result: Result<ReactorSnapshot, any Error> = .failure(TransferInterrupted())
        var hasTimedOut = false
        try Reactor.run { reactor in
            endpoint.connect(on: reactor) {
                Question { answer in
                    if !hasTimedOut { result = answer }
                    reactor.stop(within: .zero)
                }
            }.whenFailed { error in
                result = .failure(error)
                reactor.stop(within: .zero)
            }
            reactor.callLater(.seconds(5)) {
                // What its connection says at the stop is not the reason.
                hasTimedOut = true
                result = .failure(
                    NoAnswer(description: "no answer within 5 seconds: the program's loop hangs"))
                reactor.stop(within: .zero)
            }
        }
        return try result.get()
    }

    private final class Question: LineProtocol {
        // A line for each of a million connections is 300 MB.
        let lines = LineDecoder(limitBytes: 512 << 20)
        private var done: ((Result<ReactorSnapshot, any Error>) -> Void)?

        init(_ done: @escaping (Result<ReactorSnapshot, any Error>) -> Void) { self.done = done }

        func connectionMade(_ transport: any StreamTransport) { transport.write("inspect\n") }

        func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
            let text = String(decoding: line)
            done.take()?(
                Result {
                    guard
                        let answer = try? JSONDecoder().decode(Answer.self, from: Data(text.utf8))
                    else {
                        throw NoAnswer(
                            description: "what answers there is no AdminEndpoint of this release")
                    }
                    if let snapshot = answer.ok { return snapshot }
                    throw NoAnswer(description: answer.error ?? "an answer without a content")
                })
        }

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            let reason = "the program answered nothing: it answers its own user and root (\(why))"
            done.take()?(.failure(NoAnswer(description: reason)))
        }
    }
}

extension Finding {
    /// How a running program is.
    static func of(_ program: ReactorSnapshot) -> [Finding] {
        [state(program), connections(program), slowReaders(program), work(program)] + ports(program)
            + [losses(program), refusals(program), errors(program)] + load(program)
    }

    private static func state(_ program: ReactorSnapshot) -> Finding {
        let word =
            program.isReady ? "ready" : program.isStopping ? "stopping" : "starting"
        return Finding(
            "reactor \(program.reactor)", "\(program.backend), \(word)",
            program.isReady ? .ok : .note, "one that is not ready is sent no new clients")
    }

    private static func connections(_ program: ReactorSnapshot) -> Finding {
        let paused = program.connections.filter { $0.isPaused }
        func seconds(_ one: ReactorSnapshot.Connection) -> Double {
            one.pauses.map(\.seconds).max() ?? 0
        }
        let longest = paused.max { seconds($0) < seconds($1) }
        let example =
            longest.map { one in
                let reasons = one.pauses.map { "\($0.by ?? $0.cause.rawValue)" }
                return ", longest \(one.id) with \(one.peer): \(Int(seconds(one))) s by "
                    + reasons.joined(separator: " and ")
            } ?? ""
        return Finding(
            "connections", "\(program.connections.count) open, \(paused.count) paused" + example,
            .ok, "of \(program.counts.connectionsMade) that were made")
    }

    /// What waits for its time or for something else, and the line that made the most of it.
    private static func work(_ program: ReactorSnapshot) -> Finding {
        var calls: [String: Int] = [:]
        for call in program.delayedCalls { calls[call.place, default: 0] += 1 }
        let mostCalls = calls.max { ($0.value, $1.key) < ($1.value, $0.key) }
        let callExample = mostCalls.map { ", \($0.value) made at \($0.key)" } ?? ""
        let taskExample = program.tasks.first.map { ", \($0.count) spawned at \($0.place)" } ?? ""
        return Finding(
            "delayed calls, tasks",
            "\(program.delayedCalls.count)\(callExample); \(program.counts.tasks)\(taskExample)",
            .ok, "a number that grows with time leads to the line that forgets them")
    }

    private static func slowReaders(_ program: ReactorSnapshot) -> Finding {
        let slow = program.connections.filter { $0.pendingBytes > 1 << 20 }
        let worst = slow.max { $0.pendingBytes < $1.pendingBytes }
        let example = worst.map { ", most for \($0.id) with \($0.peer): \($0.pendingBytes)" } ?? ""
        return Finding(
            "queued bytes", "\(program.counts.queuedBytes)" + example, slow.isEmpty ? .ok : .note,
            "a peer that does not read holds memory here; Watermarks and Reactor.queueLimitBytes"
                + " bound it")
    }

    private static func ports(_ program: ReactorSnapshot) -> [Finding] {
        program.ports.map { port in
            Finding(
                "port \(port.address)",
                "\(port.connections) connections, "
                    + (port.isAccepting ? "accepting" : "not accepting"),
                port.isAccepting ? .ok : .note,
                "a port that is paused, or backs off for want of descriptors or memory, lets clients"
                    + " wait")
        }
    }

    private static func losses(_ program: ReactorSnapshot) -> Finding {
        let losses = program.counts.losses
        let parts = [
            ("by the peer", losses.closedByPeer), ("here", losses.closedLocally),
            ("aborted", losses.aborted), ("failed" + detail(losses.failures), losses.failed),
            ("truncated", losses.truncated),
            ("too slow" + detail(losses.deadlines), losses.deadlinePassed),
            ("write limit", losses.writeLimitExceeded),
            ("protocol failed", losses.protocolFailed),
        ].filter { $0.1 > 0 }.map { "\($0.1) \($0.0)" }
        let isBad = losses.protocolFailed + losses.writeLimitExceeded > 0
        return Finding(
            "connections lost", parts.isEmpty ? "none" : parts.joined(separator: ", "),
            isBad ? .note : .ok,
            "a protocol that fails, or writes on to a peer that does not read, is a fault of the program"
        )
    }

    /// " (2 ECONNRESET, 1 EPIPE)", the most first.
    private static func detail(_ counts: [String: UInt64]) -> String {
        let parts = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
            .map { "\($0.value) \($0.key)" }
        return parts.isEmpty ? "" : " (\(parts.joined(separator: ", ")))"
    }

    private static func refusals(_ program: ReactorSnapshot) -> Finding {
        let counts = program.counts
        return Finding(
            "clients refused",
            "\(counts.connectionsShed) for want of descriptors, \(counts.handshakesFailed) by their"
                + " handshakes" + detail(counts.handshakeLosses.failures)
                + detail(counts.handshakeLosses.deadlines),
            counts.connectionsShed > 0 ? .note : .ok,
            "raise LimitNOFILE= of the unit where descriptors run out")
    }

    private static func errors(_ program: ReactorSnapshot) -> Finding {
        Finding(
            "unhandled errors", "\(program.counts.unhandledErrors)",
            program.counts.unhandledErrors > 0 ? .note : .ok,
            "each is one line on the program's standard error, unless it sets unhandledError")
    }

    private static func load(_ program: ReactorSnapshot) -> [Finding] {
        guard let load = program.load else {
            return [
                Finding(
                    "load", "not measured", .ok,
                    "Reactor.isMeasuring, or the line \"measure on\" at its admin socket, measures it"
                )
            ]
        }
        func rounded(_ value: Double) -> Double { (value * 100).rounded() / 100 }
        let busy = Int((load.busy * 100).rounded())
        return [
            Finding(
                "busy", "\(busy) % of \(Int(load.seconds)) s, \(load.events) events",
                load.busy > 0.8 ? .note : .ok,
                "a reactor is one thread: near 100 % everything waits; a ReactorGroup has more"),
            Finding(
                "events",
                "99 of 100 within \(rounded(load.eventMilliseconds.p99)) ms, longest"
                    + " \(rounded(load.eventMilliseconds.max)) ms, \(load.slowEvents) too long",
                load.eventMilliseconds.max > 100 ? .note : .ok,
                "an event that blocks holds every connection; deferToThread takes what blocks"),
            Finding(
                "lag",
                "99 of 100 within \(rounded(load.lagMilliseconds.p99)) ms, at most"
                    + " \(rounded(load.lagMilliseconds.max)) ms",
                load.lagMilliseconds.p99 > 20 ? .note : .ok,
                "how late delayed calls run, and so everything else that waits for the loop"),
            Finding(
                "bytes", "\(load.bytesRead) read, \(load.bytesWritten) written", .ok,
                "while it was measured"),
        ]
    }
}
