// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc

/// The command `flow`: what a byte costs that goes through a proxy, or out of a file.
///
/// Measured is the CPU of the program alone, which has core 0; both ends of the connection are
/// `Flow/flow.c` on core 1. In interleaved rounds, A B B A as with servers (``Rounds``), a process
/// for each measurement. Not measured: many connections, where the cost of an event counts more than
/// that of a byte; that is what the echo scenarios are for. By hand: a proxy is held to the best of
/// socat and HAProxy. Who copies pays for the same `recv` and `send`, so that ratio is one of sizes
/// of reads; who has `splice(2)`, as two backends have, is held to HAProxy that was told to use it as
/// well. A sender does what the C loop does, and asks the kernel which pages it has.
struct FlowRun {
    let options: Options
    let progress = Progress()

    struct Program {
        let name: String
        let command: [String]
        /// The best of these is its bound; empty for those that are none of ours.
        var references: [String] = []
    }

    struct Work {
        let name: String
        let summary: String
        /// Of `flow`, before the program's command.
        let arguments: [String]
        let programs: [Program]
        /// What the others are shown beside.
        let reference: String
        let factor = 1.1
    }

    struct Row: Codable {
        var program: String
        /// Nanoseconds of CPU for a KiB, one for each round.
        var samples: [Double]
        var ratio: Interval
    }

    struct FlowResult: Codable {
        var name: String
        var reference: String
        var rows: [Row] = []
        var findings: [Budget.Finding] = []
    }

    /// Returns whether no bound was missed.
    func start() throws -> Bool {
        let rounds = options.rounds ?? (options.isFull ? 15 : 5)
        var report = try Report(mode: "flow")
        writeText(
            "\(report.machine.processor), Linux \(report.machine.kernel); load average "
                + "\(report.machine.loadAverage); \(rounds) rounds; nanoseconds of CPU for a KiB\n")
        var results: [FlowResult] = []
        for work in try selectedWork() {
            let result = try measure(work, rounds)
            progress.clear()
            writeText(render(work, result))
            results.append(result)
            report.flow = results
            try report.write(to: options.json)
        }
        return !results.contains { $0.findings.contains { $0.verdict == .missed } }
    }

    // MARK: The work

    private func selectedWork() throws -> [Work] {
        let all = try [proxying(), sending()]
        return all.filter { options.scenarios.isEmpty || options.scenarios.contains($0.name) }
    }

    private var backends: [String] {
        // Where it is asked for, since some machines refuse it.
        ["libuv", "epoll"] + (options.peers.contains("uring") ? ["io_uring"] : [])
    }

    private func proxying() -> Work {
        let own = backends.map { backend in
            Program(
                name: "torsion-\(backend)",
                command: [
                    options.torsion, "proxy", "--listen", "tcp:@LISTEN:interface=127.0.0.1", "--to",
                    "tcp:127.0.0.1:@TARGET", "--backend", backend,
                ],
                references: ["socat", "socat-64k", "haproxy"]
                    + (backend == "io_uring" ? [] : ["haproxy-splice"]))
        }
        // Each peer as it comes, and as it is best at this.
        let socat = [
            "TCP-LISTEN:@LISTEN,bind=127.0.0.1,reuseaddr", "TCP:127.0.0.1:@TARGET",
        ]
        let peers = [
            Program(name: "socat", command: ["socat"] + socat),
            Program(name: "socat-64k", command: ["socat", "-b", "65536"] + socat),
            Program(
                name: "haproxy", command: ["haproxy", "-db", "-f", "Benchmarks/Flow/haproxy.cfg"]),
            Program(
                name: "haproxy-splice",
                command: ["haproxy", "-db", "-f", "Benchmarks/Flow/haproxy-splice.cfg"]),
        ]
        return Work(
            name: "flow.proxy", summary: "2 GiB through one proxied connection, in one direction",
            arguments: ["proxy", "\(2 << 30)"], programs: own + peers, reference: "socat-64k")
    }

    private func sending() throws -> Work {
        let path = ".build/bench/one-gigabyte"
        try makeFile(path, byteCount: 1 << 30)
        let own = backends.map { backend in
            Program(
                name: "torsion-\(backend)",
                command: [
                    options.torsion, "send", path, "tcp:127.0.0.1:@TARGET", "--backend", backend,
                ], references: ["sendfile-c"])
        }
        let twin = Program(
            name: "sendfile-c",
            command: [options.programs + "/flow", "sendfile", path, "@TARGET"])
        return Work(
            name: "flow.send", summary: "a file of 1 GiB, in memory, sent over one connection",
            arguments: ["send"], programs: own + [twin], reference: twin.name)
    }

    /// A file that has its blocks, so that its pages are in memory once it was written.
    private func makeFile(_ path: String, byteCount: Int) throws {
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw BenchError("cannot open \(path): errno \(errno)") }
        defer { close(file) }
        guard lseek(file, 0, SEEK_END) != byteCount else { return }
        let piece = [UInt8](repeating: 0x5a, count: 1 << 20)
        var written = 0
        while written < byteCount {
            let count = pwrite(file, piece, min(piece.count, byteCount - written), off_t(written))
            guard count > 0 else { throw BenchError("cannot write \(path): errno \(errno)") }
            written += count
        }
    }

    // MARK: Measuring

    private func measure(_ work: Work, _ rounds: Int) throws -> FlowResult {
        // The first run of each finds the pages of the program, and of the file, in memory later.
        for program in work.programs { _ = try sample(work, program) }
        var samples: [String: [Double]] = [:]
        for round in 0..<rounds {
            progress.show("\(work.name)  round \(round + 1)/\(rounds)")
            let shift = round % work.programs.count
            let order = work.programs[shift...] + work.programs[..<shift]
            var sums: [String: Double] = [:]
            for program in order + order.reversed() {
                sums[program.name, default: 0] += try sample(work, program)
            }
            for (name, sum) in sums { samples[name, default: []].append(sum / 2) }
        }
        return summarise(work, samples)
    }

    private func sample(_ work: Work, _ program: Program) throws -> Double {
        let command = [options.programs + "/flow"] + work.arguments + ["--"] + program.command
        let text = try ChildProcess(command).readToEnd()
        let words = text.split(separator: "\n").last?.split(separator: " ").compactMap {
            Double($0)
        }
        guard let words, words.count == 2, words[0] > 0 else {
            throw BenchError("\(program.name): `flow` printed no figures: \(text)")
        }
        return words[1] / words[0] * 1024
    }

    private func summarise(_ work: Work, _ samples: [String: [Double]]) -> FlowResult {
        func ratio(of program: Program, to reference: String) -> Interval {
            let pairs = zip(samples[program.name] ?? [], samples[reference] ?? [])
            return bootstrapMedian(pairs.map { $0 / $1 })
        }
        var result = FlowResult(name: work.name, reference: work.reference)
        for program in work.programs {
            result.rows.append(
                Row(
                    program: program.name, samples: samples[program.name] ?? [],
                    ratio: ratio(of: program, to: work.reference)))
            let best = program.references.min {
                median(samples[$0] ?? []) < median(samples[$1] ?? [])
            }
            guard let best else { continue }
            let ratio = ratio(of: program, to: best)
            result.findings.append(
                .init(
                    budget: "\(program.name): at most \(decimal(work.factor, 2)) x \(best)",
                    measured: ratio.text, verdict: Verdict(ratio: ratio, factor: work.factor),
                    isCount: false))
        }
        return result
    }

    private func render(_ work: Work, _ result: FlowResult) -> String {
        let rows = result.rows.map { row in
            [
                row.program, decimal(median(row.samples), 1),
                decimal(row.ratio.median, 2), row.ratio.brackets,
            ]
        }
        return "\n\(work.name): \(work.summary)\n"
            + table(["program", "ns/KiB", "ratio to \(result.reference)", "[95 %]"], rows)
            + result.findings.map {
                "  \($0.budget): \($0.measured), \($0.verdict.rawValue)\n"
            }.joined()
    }
}
