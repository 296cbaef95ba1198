// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The command `counts`: what repeats exactly, against its budget.
struct Counts {
    let options: Options
    let progress = Progress()

    private static let crowd = "instructions an echoed message, in a crowd"
    private static let instructions = "instructions an echoed message"

    /// Engines that a message is held against as well, if they are among the servers.
    private static let peers = [
        (name: "tokio", share: 0.5, text: "half of tokio's"),
        (name: "nio", share: 0.05, text: "a twentieth of SwiftNIO's"),
    ]

    private var load: LoadGenerator { LoadGenerator(path: options.programs + "/load") }

    /// Returns whether every budget is met.
    func start() throws -> Bool {
        var report = try Report(mode: "counts")
        let servers = try options.servers()
        guard let baseline = servers.first(where: { $0.name == "libuv-c" }) else {
            throw BenchError("counts: needs libuv-c, whose instructions are the yardstick")
        }
        let held = try servers.filter { server in
            try server.kind == .torsion && !server.isFace && canRun(server)
        }
        guard !held.isEmpty else { throw BenchError("counts: no server of Torsion's to hold") }
        progress.note("instructions of \(baseline.name)")
        let twin = try InstructionCounter(load: load).perMessage(baseline, .echoCounted)
        for server in held {
            report.budgets += try check(server, twinInstructions: twin)
        }
        if let ring = held.first(where: { $0.name == "torsion-io_uring" }),
            let its = servers.first(where: { $0.name == "uring-c" })
        {
            report.budgets += try checkCalls(of: ring, twin: its)
        }
        for (name, share, text) in Counts.peers {
            guard let peer = servers.first(where: { $0.name == name }) else { continue }
            progress.note("instructions of \(name)")
            // Valgrind cannot run each peer; what it cannot stays without a figure, and says so.
            let its: Double
            do {
                its = try InstructionCounter(load: load).perMessage(peer, .echoCounted)
            } catch {
                progress.note("without \(name): \(error)")
                continue
            }
            report.budgets += report.budgets
                .filter { $0.name == Counts.instructions }
                .map { .init("\(text) instructions", $0.server, $0.measured, its * share) }
        }
        for face in servers where face.name == "torsion-async-read" {
            progress.note("\(face.name): allocations")
            let made = try AllocationCounter(
                library: options.programs + "/malloc_counter.so", load: load
            ).perMessage(face, .echoCounted)
            report.budgets.append(.init("allocations an echoed message", face.name, made, 0))
        }
        progress.clear()
        writeText(render(report.budgets, baseline: twin))
        try report.write(to: options.json)
        return report.budgets.allSatisfy { $0.verdict != .missed }
    }

    /// Whether this machine runs it; what it must run fails later, with its own reason.
    private func canRun(_ server: Server) throws -> Bool {
        guard server.isOptional else { return true }
        do {
            try RunningServer(server).stop()
            return true
        } catch {
            progress.note("without \(server.name): \(error)")
            return false
        }
    }

    /// A ring has no receive and no send that could be counted: all calls, beside the C server's.
    ///
    /// How many events share a call depends on how fast the clients happen to be: from 20 up to the
    /// 40 that the kernel delivers at once (`IO_LOCAL_TW_DEFAULT_MAX`, twice a call), and single
    /// runs of one program differ by a factor of two. So the two take turns, as for times.
    private func checkCalls(of server: Server, twin: Server) throws -> [Report.BudgetResult] {
        try [Scenario.echo64Connections, .echo1000Connections].map { scenario in
            let strace = SystemCallCounter(load: load)
            let ratios = try (1...5).map { round in
                progress.note(
                    "\(server.name): system calls, \(scenario.connections) connections,"
                        + " round \(round)/5")

                func calls(_ server: Server) throws -> Double {
                    try strace.total(server, scenario, messages: 60_000)
                }
                let its = try calls(twin)
                let ours = try calls(server) + calls(server)
                return try ours / (its + calls(twin))
            }
            return .init(
                "system calls beside the C server's, \(scenario.connections) connections",
                server.name, bootstrapMedian(ratios), atMost: 1.1)
        }
    }

    private func check(
        _ server: Server, twinInstructions: Double
    ) throws -> [Report.BudgetResult] {
        let name = server.name
        progress.note("\(name): system calls")
        let strace = SystemCallCounter(load: load)
        let echo = try strace.perMessage(server, .echoCounted)
        let lines = try strace.perMessage(server, .echoLines)
        progress.note("\(name): allocations")
        let malloc = AllocationCounter(library: options.programs + "/malloc_counter.so", load: load)
        let allocations = try malloc.perMessage(server, .echoCounted)
        let made = try malloc.perMessage(server, .connectAndClose)
        progress.note("\(name): memory")
        let idle = try memory(server)

        // The libuv backend has a tenth to spare on its twin; epoll's must need fewer than libuv in C.
        let factor = name == "torsion-libuv" ? 1.1 : 1.0
        let depth = Double(Scenario.echoLines.depth)
        var results: [Report.BudgetResult] = [
            .init("allocations an echoed message", name, allocations, 0),
            .init("allocations a connection made and closed", name, made, 3),
            .init("bytes an idle connection", name, idle, 1_024),
        ]
        if name == "torsion-io_uring" {
            // No instructions: valgrind 3.19 lets no signal through to a server that waits in
            // `io_uring_enter(2)`, so that it would not end.
            results.append(.init("system calls for sixteen lines", name, lines.total * depth, 1))
        } else {
            progress.note("\(name): instructions")
            let counter = InstructionCounter(load: load)
            let instructions = try counter.perMessage(server, .echoCounted)
            progress.note("\(name): instructions among \(Scenario.crowd) connections that wait")
            let inCrowd = try counter.perMessage(server, .echoCountedInCrowd)
            results += [
                .init(Counts.crowd, name, inCrowd, instructions * 1.05),
                .init(Counts.instructions, name, instructions, twinInstructions * factor),
                .init("receives an echoed message", name, echo.reads, 1),
                .init("sends an echoed message", name, echo.writes, 1),
                .init("reads for sixteen lines", name, lines.reads * depth, 1),
                .init("writes for sixteen lines", name, lines.writes * depth, 1),
            ]
        }
        return results
    }

    private func memory(_ server: Server) throws -> Double {
        let running = try RunningServer(server)
        let sample = try load.run(
            .idleConnections, length: .time(warm: 0, measured: 1), against: running)
        try running.stop()
        return sample.memoryPerConnection
    }

    private func render(_ budgets: [Report.BudgetResult], baseline: Double) -> String {
        let rows = budgets.map {
            [
                $0.name, $0.server, figure($0.measured), figure($0.limit),
                $0.verdict == .missed ? "MISSED" : $0.verdict.rawValue,
            ]
        }
        return "libuv in C: \(figure(baseline)) user-space instructions an echoed message\n\n"
            + table(["count", "server", "measured", "at most", ""], rows)
    }
}

extension Report.BudgetResult {
    init(_ name: String, _ server: String, _ measured: Double, _ limit: Double) {
        // A thousandth of a call is a timer that fell into the longer run, not a message's price.
        let isMet = measured <= limit + 0.001
        self.init(
            name: name, server: server, measured: measured, limit: limit,
            verdict: isMet ? .met : .missed)
    }

    /// A count that differs from run to run.
    init(_ name: String, _ server: String, _ ratio: Interval, atMost factor: Double) {
        self.init(
            name: name, server: server, measured: ratio.median, limit: factor,
            verdict: Verdict(ratio: ratio, factor: factor))
    }
}
