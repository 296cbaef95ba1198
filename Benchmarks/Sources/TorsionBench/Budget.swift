// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The command `budget`: what the engine may cost, line by line, from the results of `counts`,
/// `parts` and `run --full`.
///
/// It measures nothing itself, so that a line can be measured again without the others. A line that
/// no result speaks of says so: it is not left out.
struct Budget {
    let options: Options

    /// One kind of work, and the results that judge it.
    struct Line {
        let work: String
        let items: [Item]
    }

    /// Where a figure of a line is to be found.
    enum Item {
        /// A result of `counts`.
        case count(String, of: String)
        /// A bound of a scenario of `run`; nil takes whichever reference the scenario chose.
        case cpu(String, of: String, to: String?)
        /// All bounds of a part.
        case part(String)
    }

    /// What one figure says; a count that was missed is a failure, a time never is.
    struct Finding: Codable {
        var budget: String
        var measured: String
        var verdict: Verdict
        var isCount: Bool
    }

    /// Returns whether every count was measured and met.
    func start() throws -> Bool {
        let results = Results(
            counts: try Report.readIfPresent(from: options.json(of: "-counts")),
            parts: try Report.readIfPresent(from: options.json(of: "-parts")),
            run: try Report.readIfPresent(from: options.json))
        let missed = results.missedCounts
        writeText(results.render())
        writeText(
            missed == 0
                ? "\nNo count was missed.\n" : "\nCounts missed or not measured: \(missed)\n"
        )
        return missed == 0
    }
}

extension Budget.Item {
    /// Whose figure it is.
    var subject: String {
        switch self {
        case .count(let name, let server): "\(server): \(name)"
        case .cpu(let scenario, let server, _): "\(server): CPU, \(scenario)"
        case .part(let name): name
        }
    }
}

/// The results that were written before; a command that did not run has none.
struct Results {
    var counts: Report?
    var parts: Report?
    var run: Report?

    /// A table for each kind of work.
    func render() -> String {
        Budget.lines.map { line in
            let rows = line.items.flatMap { item in
                findings(of: item).map {
                    [item.subject, $0.budget, $0.measured, $0.verdict.rawValue]
                }
            }
            return "\n\(line.work)\n" + table(["of", "budget", "measured", "verdict"], rows)
        }.joined()
    }

    /// Counts that were missed, or that nobody took.
    var missedCounts: Int {
        Budget.lines.flatMap(\.items).flatMap(findings)
            .count { $0.isCount && ($0.verdict == .missed || $0.verdict == .notMeasured) }
    }

    private func findings(of item: Budget.Item) -> [Budget.Finding] {
        let found =
            switch item {
            case .count(let name, let server): count(name, server)
            case .cpu(let scenario, let server, let reference): cpu(scenario, server, reference)
            case .part(let name): parts?.parts?.first { $0.name == name }?.findings ?? []
            }
        guard found.isEmpty else { return found }
        let isCount = if case .count = item { true } else { false }
        return [.init(budget: "-", measured: "-", verdict: .notMeasured, isCount: isCount)]
    }

    private func count(_ name: String, _ server: String) -> [Budget.Finding] {
        (counts?.budgets ?? []).filter { $0.name == name && $0.server == server }.map { result in
            Budget.Finding(
                budget: "at most \(figure(result.limit))", measured: figure(result.measured),
                verdict: result.verdict, isCount: true)
        }
    }

    private func cpu(
        _ scenario: String, _ server: String, _ reference: String?
    ) -> [Budget.Finding] {
        let bounds = run?.scenarios.first { $0.name == scenario }?.bounds ?? []
        return bounds.filter { bound in
            bound.server == server && (reference == nil || bound.reference == reference)
        }.map { bound in
            Budget.Finding(
                budget: "at most \(decimal(bound.factor, 2)) x \(bound.reference)",
                measured: bound.ratio.text, verdict: bound.verdict, isCount: false)
        }
    }
}
