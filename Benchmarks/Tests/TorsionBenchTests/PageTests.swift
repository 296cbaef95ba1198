// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import torsion_bench

@Suite struct PageTests {
    private func sample(_ seconds: Double) -> Sample {
        Sample(
            messages: 1_000, seconds: 1, serverSeconds: seconds, loadSeconds: 0.5,
            p50Microseconds: 10, p99Microseconds: 20, memoryPerConnection: 0)
    }

    private func report() throws -> Report {
        var report = try Report(mode: "quick")
        var own = Report.Result(
            server: "torsion-epoll",
            samples: [sample(0.01), sample(0.01), sample(0.02), sample(0.02)])
        own.messagesPerSecond = 1_000
        let odd = Report.Result(server: "a<b&c", samples: [sample(0.04), sample(0.04)])
        var result = Report.ScenarioResult(
            name: "echo.bulk", unit: "chunk", rounds: 2, results: [own, odd])
        result.bounds = [
            .init(
                server: "torsion-epoll", reference: "epoll-c", factor: 1.05,
                ratio: Interval(median: 1.2, low: 1.1, high: 1.3), verdict: .missed)
        ]
        result.failures = [.init(server: "nio", reason: "ended early")]
        report.scenarios = [result]
        return report
    }

    @Test func `every server, verdict and failure is on the page`() throws {
        let page = Page(report: try report()).render()
        #expect(page.contains("<title>torsion-epoll: 15.00, rounds from 10.00 to 20.00</title>"))
        #expect(page.contains("a&lt;b&amp;c"))
        #expect(!page.contains("a<b"))
        #expect(page.contains("1.20 (1.10 to 1.30), <strong>missed</strong>"))
        #expect(page.contains("nio failed: ended early"))
    }

    @Test func `the page needs nothing else`() throws {
        let page = Page(report: try report()).render()
        for word in ["http://", "https://", "<script", "<link", "@import", "url("] {
            #expect(!page.contains(word), "\(word)")
        }
    }

    @Test func `bars are as long as their values`() throws {
        let chart = Chart(
            title: "t", note: "n",
            bars: [.init("a", value: 100, spread: nil), .init("b", value: 50, spread: nil)])
        let widths = chart.render().split(separator: "width=\"").dropFirst()
            .compactMap { Double($0.prefix { $0 != "\"" }) }
        #expect(widths.count == 2)
        #expect(abs(widths[0] - 2 * widths[1]) < 0.2)
    }

    @Test func `what was written is read again`() throws {
        let path = ".build/page-test.json"
        try report().write(to: path)
        #expect(try Report.read(from: path).scenarios[0].results.count == 2)
        #expect(throws: BenchError.self) { try Report.read(from: "/nowhere") }
    }
}
