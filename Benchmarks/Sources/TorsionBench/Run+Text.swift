// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Run {
    func heading(_ report: Report, _ plan: Plan) -> String {
        let cores =
            report.machine.serverAndLoadOnSeparateCores
            ? "server on core 0, load on core 1" : "one core for both: only ratios mean anything"
        return """
            \(report.machine.processor), \(report.machine.coreCount) cores, Linux \
            \(report.machine.kernel); \(cores); load average \(report.machine.loadAverage)
            CPU is the server's, for a message; ratios are to libuv-c in the same round, median and \
            95 % interval.

            """
                + (plan.rounds < 15
                    ? "At most \(plan.rounds) rounds: `make bench-full` for steady figures.\n" : "")
    }

    func render(_ result: Report.ScenarioResult, _ scenario: Scenario) -> String {
        var text = "\n\(result.name): \(scenario.summary)\n"
        switch scenario.load {
        case .idle, .httpIdle, .secureIdle:
            text += table(
                ["server", "bytes/connection"],
                result.results.map { [$0.server, optional($0.memoryPerConnection)] })
        case .echo, .connect, .datagrams, .http, .redisGet, .redisSet, .secure, .secureConnect,
            .secureResume, .webSocket:
            text += table(
                [
                    "server", "\(result.unit)s/s", "CPU µs", "ratio", "[95 %]", "p50 µs", "p99 µs",
                    "load CPU", "syscalls", "allocs",
                ], result.results.map(row))
        }
        for failure in result.failures {
            text += "  \(failure.server) FAILED: \(failure.reason)\n"
        }
        for bound in result.bounds {
            text +=
                "  \(bound.server) <= \(decimal(bound.factor, 2)) x \(bound.reference): "
                + "\(bound.ratio.text), "
                + "\(bound.verdict.rawValue) after \(result.rounds) rounds\n"
        }
        return text
    }

    private func row(_ result: Report.Result) -> [String] {
        [
            result.server,
            optional(result.messagesPerSecond),
            optional(result.cpuMicrosecondsPerMessage),
            result.ratioToBaseline.map { decimal($0.median, 2) } ?? "-",
            result.ratioToBaseline?.brackets ?? "-",
            optional(result.p50Microseconds),
            optional(result.p99Microseconds),
            result.loadCPUShare.map { decimal($0 * 100, 0) + " %" } ?? "-",
            optional(result.systemCallsPerMessage?.total),
            optional(result.allocationsPerMessage),
        ]
    }

    private func optional(_ value: Double?) -> String { value.map(figure) ?? "-" }
}
