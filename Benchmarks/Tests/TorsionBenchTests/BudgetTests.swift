// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import torsion_bench

@Suite struct BudgetTests {
    /// Results in which every count of the budget was measured, and is met.
    private func counts() throws -> Report {
        var report = try Report(mode: "counts")
        for case .count(let name, let server) in Budget.lines.flatMap(\.items) {
            report.budgets.append(.init(name, server, 1, 2))
        }
        return report
    }

    @Test func `a budget is kept when every count was measured and met`() throws {
        #expect(Results(counts: try counts()).missedCounts == 0)
    }

    @Test func `a count that was missed is counted, and its line says so`() throws {
        var report = try counts()
        report.budgets[0] = .init(report.budgets[0].name, report.budgets[0].server, 3, 2)
        let results = Results(counts: report)
        #expect(results.missedCounts == 1)
        #expect(results.render().contains("at most 2.00      3.00        missed"))
    }

    @Test func `a count that nobody measured is not met`() throws {
        var report = try counts()
        report.budgets.removeLast()
        #expect(Results(counts: report).missedCounts == 1)
        #expect(Results().render().contains("not measured"))
    }

    @Test func `a time that was missed is shown and does not fail`() throws {
        var result = Report.ScenarioResult(
            name: "echo.64connections", unit: "message", rounds: 15, results: [])
        result.bounds = [
            .init(
                server: "torsion-epoll", reference: "epoll-c", factor: 1.05,
                ratio: Interval(median: 1.2, low: 1.1, high: 1.3), verdict: .missed)
        ]
        var run = try Report(mode: "full")
        run.scenarios = [result]
        let results = Results(counts: try counts(), run: run)
        #expect(results.missedCounts == 0)
        #expect(results.render().contains("at most 1.05 x epoll-c  1.20 [1.10, 1.30]"))
    }

    @Test func `a count is missed when it was missed each time that it was taken`() {
        func taken(_ figures: Double...) -> [Report.BudgetResult] {
            figures.enumerated().map { .init("count \($0)", "torsion-epoll", $1, 2) }
        }
        let results = [Report.BudgetResult].settled([
            taken(1, 3, 3), taken(1, 2, 4), taken(1, 3, 3),
        ])
        #expect(results.map(\.verdict) == [.met, .notEstablished, .missed])
        #expect(results.map(\.measured) == [1, 2, 3])
        #expect([Report.BudgetResult].settled([taken(2.5)]).map(\.verdict) == [.missed])
    }
}
