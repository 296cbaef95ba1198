// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc

/// The command `parts`: every part, by every program that has it, in turns.
///
/// As with servers (``Rounds``): A B B A, ratios within a round, a process for each measurement.
struct PartsRun {
    let options: Options
    let progress = Progress()

    struct Row: Codable {
        var program: String
        var nanoseconds: [Double]
        var allocations: Double?
        var systemCalls: Double?
        var ratioOfTorsion: Interval?
    }

    struct PartResult: Codable {
        var name: String
        var rows: [Row] = []
        var findings: [Budget.Finding] = []
        var isMissed = false
    }

    /// Returns whether no bound was missed.
    func start() throws -> Bool {
        let programs = PartProgram.all(programs: options.programs, peers: options.peers)
        let rounds = options.rounds ?? (options.isFull ? 21 : 9)
        var report = try Report(mode: "parts")
        writeText(
            "\(report.machine.processor), Linux \(report.machine.kernel); load average "
                + "\(report.machine.loadAverage); \(rounds) rounds; nanoseconds of one time\n")
        var results: [PartResult] = []
        for part in try options.selectedParts() {
            let result = try measure(part, programs, rounds)
            progress.clear()
            writeText(render(part, result))
            results.append(result)
            report.parts = results
            try report.write(to: options.json)
        }
        return !results.contains(where: \.isMissed)
    }

    private func measure(
        _ part: Part, _ programs: [PartProgram], _ rounds: Int
    ) throws -> PartResult {
        var able = programs.filter { $0.name == "torsion" || part.peers.contains($0.name) }
        // A peer that this machine cannot run is left out.
        able = try able.filter { program in
            do { _ = try program.measure(part, count: 100) } catch {
                if program.name == "torsion" { throw error }
                progress.note("\(part.name) without \(program.name): \(error)")
                return false
            }
            return true
        }
        var times: [String: [Double]] = [:]
        for round in 0..<rounds {
            progress.show("\(part.name)  round \(round + 1)/\(rounds)")
            let order = able[(round % able.count)...] + able[..<(round % able.count)]
            var sums: [String: Double] = [:]
            for program in order + order.reversed() {
                sums[program.name, default: 0] += try program.measure(
                    part, count: program.isSlow ? part.counts.slow : part.counts.fast)
            }
            for (name, sum) in sums { times[name, default: []].append(sum / 2) }
        }
        return try summarise(part, able, times)
    }

    private func summarise(
        _ part: Part, _ programs: [PartProgram], _ times: [String: [Double]]
    ) throws -> PartResult {
        var result = PartResult(name: part.name)
        let own = times["torsion"] ?? []
        for program in programs {
            let its = times[program.name] ?? []
            var row = Row(program: program.name, nanoseconds: its)
            if program.name != "torsion" {
                row.ratioOfTorsion = bootstrapMedian(zip(own, its).map { $0 / $1 })
            }
            if !program.isSlow {
                // Optimised allocators are replaced with it, and a machine may refuse to.
                row.allocations = try? program.allocations(
                    part, count: 20_000, library: options.programs + "/malloc_counter.so")
            }
            if part.systemCalls != nil {
                row.systemCalls = try? program.systemCalls(part, count: 20_000)
            }
            result.rows.append(row)
        }
        judge(part, &result)
        return result
    }

    private func judge(_ part: Part, _ result: inout PartResult) {
        for bound in part.bounds {
            guard
                let ratio = result.rows.first(where: { $0.program == bound.reference })?
                    .ratioOfTorsion
            else { continue }
            let verdict = Verdict(ratio: ratio, factor: bound.factor)
            result.isMissed = result.isMissed || verdict == .missed
            result.findings.append(
                .init(
                    budget: "at most \(decimal(bound.factor, 2)) x \(bound.reference)",
                    measured: ratio.text, verdict: verdict, isCount: false))
        }
        judgeSystemCalls(part, &result)
        let counts = Dictionary(
            uniqueKeysWithValues: result.rows.map { ($0.program, $0.allocations) })
        guard let own = counts["torsion"].flatMap({ $0 }) else { return }
        for limit in part.allocations {
            let most: Double?
            switch limit {
            case .atMost(let count): most = count
            case .noMoreThan(let program): most = counts[program].flatMap { $0 }
            }
            guard let most else { continue }
            // A thousandth is a table that grew in the longer run.
            let isMet = own <= most + 0.001
            result.isMissed = result.isMissed || !isMet
            result.findings.append(
                .init(
                    budget: "allocations: at most \(figure(most))", measured: figure(own),
                    verdict: isMet ? .met : .missed, isCount: true))
        }
    }

    private func judgeSystemCalls(_ part: Part, _ result: inout PartResult) {
        guard let most = part.systemCalls, let own = result.rows.first?.systemCalls else { return }
        // What starting and ending take more in a longer run: a table that grew, a late wake-up.
        let isMet = own <= most + 0.001
        result.isMissed = result.isMissed || !isMet
        result.findings.append(
            .init(
                budget: "system calls: at most \(figure(most))", measured: decimal(own, 4),
                verdict: isMet ? .met : .missed, isCount: true))
    }

    private func render(_ part: Part, _ result: PartResult) -> String {
        let rows = result.rows.map { row in
            [
                row.program, figure(median(row.nanoseconds)),
                row.ratioOfTorsion.map { decimal($0.median, 2) } ?? "-",
                row.ratioOfTorsion?.brackets ?? "-", row.allocations.map(figure) ?? "-",
            ]
        }
        return "\n\(part.name): \(part.summary)\n"
            + table(["program", "ns", "torsion's ratio to it", "[95 %]", "allocations"], rows)
            + result.findings.map {
                "  \($0.budget): \($0.measured), \($0.verdict.rawValue)\n"
            }.joined()
    }
}
