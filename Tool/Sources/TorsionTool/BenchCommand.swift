// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Glibc
internal import Torsion
@_spi(Tool) internal import TorsionCore

/// `torsion bench`: asks a server at a fixed rate, and tells how long its answers took.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Ask a server at a fixed rate, and tell how long its answers take.",
        discussion: """
            Requests are due at equal intervals, whatever the server does, and each latency counts \
            from when its request was due: a server that stops for a second has a thousand late \
            answers at 1000/s, not one. With --kind echo, answers are as many bytes as were sent; \
            lines, a line for each; http, a response with Content-Length to each GET; connect, \
            connections themselves. Over libuv a request may leave a millisecond late, which counts; \
            with --backend epoll it is a tenth of that. Says how busy this command was itself: near \
            100 % of a CPU its figures are its own, not the server's. Ends with status 1 if there was \
            an error, or no answer to something.
            """)

    @Argument(
        help: "The server, for example :8007, tcp:127.0.0.1:8007, tls:localhost:8008 or /run/echo.")
    var endpoint: String

    @Option(help: "echo, lines, http or connect.")
    var kind = BenchKind.echo

    @Option(
        help: ArgumentHelp(
            "Requests a second, over all connections.",
            valueName: "requests"))
    var rate = 1_000

    @Option(
        help: ArgumentHelp(
            "Connections; with --kind connect, at most so many at a time.",
            valueName: "count"))
    var connections = 16

    @Option(
        help: ArgumentHelp(
            "Seconds.",
            valueName: "seconds"))
    var duration = 10.0

    @Option(
        help: ArgumentHelp(
            "Bytes of a request; the end of a line included.",
            valueName: "bytes"))
    var size = 64

    @Option(
        help: ArgumentHelp(
            "With --kind http, what is asked for.",
            valueName: "target"))
    var path = "/"

    @Flag(help: "Print one JSON object.")
    var json = false

    @Option(
        help: ArgumentHelp(
            "libuv, epoll or io_uring; else what TORSION_BACKEND names, else libuv.",
            valueName: "name"))
    var backend: String?

    func validate() throws {
        guard 1...10_000_000 ~= rate else {
            throw ValidationError("'\(rate)' is no rate: allowed is 1 to 10000000 a second")
        }
        guard 1...100_000 ~= connections else {
            throw ValidationError("'\(connections)' connections: allowed is 1 to 100000")
        }
        guard 0.01...86_400 ~= duration else {
            throw ValidationError("'\(duration)' is no duration: allowed is 0.01 to 86400 seconds")
        }
        guard 1...1_048_576 ~= size, kind != .lines || size >= 2 else {
            throw ValidationError("'\(size)' bytes: allowed is 1 to 1048576, for lines from 2 on")
        }
        guard path.hasPrefix("/"), path.utf8.allSatisfy({ 0x21...0x7e ~= $0 }) else {
            throw ValidationError("'\(path)' is no path: it begins with / and has no spaces")
        }
        _ = try readEndpoint(clientText(endpoint), EndpointParser.commandLine().client(parsing:))
        _ = try BackendChoice.chosen(backend)
    }

    func run() throws {
        let target = try readEndpoint(
            clientText(endpoint), EndpointParser.commandLine().client(parsing:))
        let backend = try BackendChoice.chosen(backend)
        raiseDescriptorLimit()
        let plan = BenchPlan(
            kind: kind, rate: rate, connections: connections, seconds: duration,
            request: kind.request(size: size, path: path))
        var report: BenchReport?
        let processorTime = Self.processorSeconds()
        let start = ContinuousClock.now
        try reportingErrors(asJSON: json) {
            try Reactor.run(backend: backend) { reactor in
                let run = BenchRun(plan, target, on: reactor)
                run.start(isLive: isatty(STDERR_FILENO) == 1 && !json) { report = $0 }
            }
            guard let report else { throw TransferInterrupted() }
            if let failure = report.connectFailure { throw failure }
        }
        guard var report else { return }
        report.ownProcessorShare =
            (Self.processorSeconds() - processorTime)
            / max(0.001, (ContinuousClock.now - start) / .seconds(1))
        if json {
            try printJSON(report)
        } else {
            print(report.text(of: endpoint))
        }
        if report.errors > 0 || report.unanswered > 0 { throw ExitCode.failure }
    }

    /// Of this process: `getrusage(2)`.
    private static func processorSeconds() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double {
            Double(time.tv_sec) + Double(time.tv_usec) / 1e6
        }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }
}

/// What is asked, and what counts as an answer.
enum BenchKind: String, ExpressibleByArgument, CaseIterable, Codable, Sendable {
    case echo, lines, http, connect

    func request(size: Int, path: String) -> [UInt8] {
        switch self {
        case .echo, .connect: [UInt8](repeating: UInt8(ascii: "x"), count: size)
        case .lines:
            [UInt8](repeating: UInt8(ascii: "x"), count: size - 1) + [UInt8(ascii: "\n")]
        case .http: Array("GET \(path) HTTP/1.1\r\nHost: bench\r\n\r\n".utf8)
        }
    }
}

/// What is to be done.
struct BenchPlan {
    let kind: BenchKind
    let rate: Int
    let connections: Int
    let seconds: Double
    let request: [UInt8]

    /// How many requests there are in all.
    var requestCount: Int { max(1, Int(Double(rate) * seconds)) }

    /// How many are due by a time in nanoseconds from the start.
    func dueCount(_ elapsed: UInt64) -> Int { Int(Double(elapsed) * Double(rate) / 1e9) }

    /// When a request is due, in nanoseconds from the start.
    func due(_ number: Int) -> UInt64 {
        UInt64((Double(number) * 1e9 / Double(rate)).rounded())
    }
}

/// What came of it.
struct BenchReport: Codable {
    var kind: BenchKind
    var connections: Int
    var rateWanted: Int
    var seconds: Double
    var sent: Int
    var answered: Int
    var unanswered: Int
    var errors: Int
    var firstError: String?
    /// From the first request on, to the last answer if that came later than the last request.
    var answersPerSecond: Double
    /// Nil if there was no answer.
    var latencyMilliseconds: [String: Double]?
    /// Of one CPU, from 0 on.
    var ownProcessorShare = 0.0
    /// Why nobody was there to be asked.
    var connectFailure: (any Error)?

    private enum CodingKeys: String, CodingKey {
        case kind, connections, rateWanted, seconds, sent, answered, unanswered, errors, firstError
        case answersPerSecond, latencyMilliseconds, ownProcessorShare
    }

    func text(of endpoint: String) -> String {
        func rounded(_ value: Double) -> String {
            let digits = value < 10 ? 1_000.0 : 10
            return "\((value * digits).rounded() / digits)"
        }
        let names = ["min", "p50", "p90", "p99", "p99.9", "max"]
        let latencies = latencyMilliseconds.map { latencies in
            names.map { "\($0) \(rounded(latencies[$0] ?? 0))" }.joined(separator: ", ")
        }
        let share = Int((ownProcessorShare * 100).rounded())
        var lines = [
            "\(kind.rawValue) \(endpoint): \(rounded(seconds)) s, \(connections) connections",
            "sent \(sent), answered \(answered) (\(rounded(answersPerSecond))/s of \(rateWanted)/s"
                + " wanted), unanswered \(unanswered), errors \(errors)",
            "latency in ms, from when each was due: " + (latencies ?? "no answer"),
            "this command took \(share) % of a CPU"
                + (share > 80 ? ": too much, its figures are its own" : ""),
        ]
        if let firstError { lines.append("first error: \(firstError)") }
        return lines.joined(separator: "\n")
    }
}
