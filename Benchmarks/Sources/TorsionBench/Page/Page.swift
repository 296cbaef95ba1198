// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import FoundationEssentials

/// A report as one HTML file that needs nothing else: no script, no font, no network.
///
/// Each scenario is two charts, the server's CPU for a message and the messages a second, and a
/// table with all figures. How they were taken stands at the end, where the charts have made one ask.
struct Page {
    let report: Report

    func render() -> String {
        """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>Torsion: benchmark report</title>
        <style>
        \(Page.style)
        </style>
        </head>
        <body>
        <main>
        <h1>Torsion beside its peers</h1>
        \(introduction)
        \(report.scenarios.map(section).joined(separator: "\n"))
        \(howItWasTaken)
        </main>
        </body>
        </html>

        """
    }

    private var introduction: String {
        let machine = report.machine
        let cores =
            machine.serverAndLoadOnSeparateCores
            ? "server and load pinned to a core each" : "one core for server and load"
        let versions = (report.versions ?? [:]).sorted { $0.key < $1.key }
            .map { "\($0.key) \($0.value)" }.joined(separator: "; ")
        return """
            <p class="lead">Servers doing the same work over loopback, each a process of its own, \
            in turns. A shorter CPU bar is a cheaper server.</p>
            <dl class="facts">
            <dt>Machine</dt><dd>\(escape(machine.processor)), \(machine.coreCount) cores, \
            Linux \(escape(machine.kernel)); \(cores); load average \(escape(machine.loadAverage)) at the \
            start</dd>
            <dt>Versions</dt><dd>\(versions.isEmpty ? "not recorded" : escape(versions))</dd>
            <dt>Taken</dt><dd>\(report.date.formatted(.iso8601)), mode “\(escape(report.mode))”</dd>
            </dl>
            <p class="legend"><span class="key torsion"></span>Torsion \
            <span class="key twin"></span>C over the same kernel interface \
            <span class="key peer"></span>other engines \
            <span class="key spread"></span>smallest to largest round</p>
            """
    }

    private func section(_ result: Report.ScenarioResult) -> String {
        let summary = Scenario.all.first { $0.name == result.name }?.summary ?? ""
        return """
            <section>
            <h2>\(escape(result.name))</h2>
            <p>\(escape(summary)); \(result.rounds) \(result.rounds == 1 ? "round" : "rounds")</p>
            \(charts(result))
            \(table(result))
            \(verdicts(result))
            </section>
            """
    }

    private func charts(_ result: Report.ScenarioResult) -> String {
        guard result.results.contains(where: { $0.memoryPerConnection == nil }) else {
            let bars = result.results.compactMap { own in
                own.memoryPerConnection.map { Chart.Bar(own.server, value: $0, spread: nil) }
            }
            return figures([
                Chart(
                    title: "Bytes of the server for a \(result.unit)", note: "less is better",
                    bars: bars)
            ])
        }
        let costs = result.results.map { own in
            let rounds = cpuPerMessage(own.samples)
            return Chart.Bar(own.server, value: median(rounds), spread: spread(rounds))
        }
        let rates = result.results.map { own in
            let rounds = own.samples.map { Double($0.messages) / $0.seconds }
            return Chart.Bar(own.server, value: median(rounds), spread: spread(rounds))
        }
        return figures([
            Chart(
                title: "Server CPU for a \(result.unit), µs", note: "less is better", bars: costs),
            Chart(
                title: "\(result.unit.capitalized)s a second", note: "more is better", bars: rates),
        ])
    }

    private func figures(_ charts: [Chart]) -> String {
        "<div class=\"charts\">\(charts.map { $0.render() }.joined())</div>"
    }

    private func spread(_ rounds: [Double]) -> ClosedRange<Double>? {
        guard let low = rounds.min(), let high = rounds.max() else { return nil }
        return low...high
    }

    private func table(_ result: Report.ScenarioResult) -> String {
        let columns = [
            "Server", "\(result.unit)s/s", "CPU µs", "CPU, libuv C = 1", "95 %", "p50 µs", "p99 µs",
            "load's core", "system calls", "allocations",
        ]
        guard result.results.contains(where: { $0.memoryPerConnection == nil }) else { return "" }
        let rows = result.results.map { own -> [String?] in
            [
                own.messagesPerSecond.map(figure),
                own.cpuMicrosecondsPerMessage.map(figure),
                own.ratioToBaseline.map { decimal($0.median, 2) },
                own.ratioToBaseline.map { "\(decimal($0.low, 2)) to \(decimal($0.high, 2))" },
                own.p50Microseconds.map(figure), own.p99Microseconds.map(figure),
                own.loadCPUShare.map { decimal($0 * 100, 0) + " %" },
                own.systemCallsPerMessage.map { figure($0.total) },
                own.allocationsPerMessage.map(figure),
            ]
        }
        // What was measured of no server has no column.
        let shown = columns.indices.dropFirst().filter { index in
            rows.contains { $0[index - 1] != nil }
        }
        let head = ([0] + shown).map { "<th scope=\"col\">\(escape(columns[$0]))</th>" }.joined()
        let lines = zip(result.results, rows).map { own, cells in
            "<tr><th scope=\"row\">\(escape(own.server))</th>"
                + shown.map { "<td>\(cells[$0 - 1] ?? "–")</td>" }.joined() + "</tr>"
        }
        return """
            <div class="scroll"><table>
            <thead><tr>\(head)</tr></thead>
            <tbody>
            \(lines.joined(separator: "\n"))
            </tbody>
            </table></div>
            """
    }

    private func verdicts(_ result: Report.ScenarioResult) -> String {
        let bounds = result.bounds.map { bound in
            "<li class=\"\(bound.verdict == .missed ? "missed" : "")\">\(escape(bound.server)) "
                + "at most \(decimal(bound.factor, 2)) times the CPU of \(escape(bound.reference)): "
                + "\(decimal(bound.ratio.median, 2)) (\(decimal(bound.ratio.low, 2)) to "
                + "\(decimal(bound.ratio.high, 2))), <strong>\(bound.verdict.rawValue)</strong></li>"
        }
        let failures = result.failures.map {
            "<li class=\"missed\">\(escape($0.server)) failed: \(escape($0.reason))</li>"
        }
        let items = bounds + failures
        return items.isEmpty ? "" : "<ul class=\"verdicts\">\(items.joined(separator: "\n"))</ul>"
    }

    private var howItWasTaken: String {
        """
        <section>
        <h2>How the figures were taken</h2>
        <p>Each round takes the servers forwards and then backwards (A B B A), each time as a new \
        process, so that a steady drift of the machine cancels. The load generator is one thread over \
        epoll; “load's core” is how busy it was: near 100 % it is the bottleneck, and messages a second \
        then say nothing. CPU is the server's, user and system, as its process clock has it. The \
        ratio to C over libuv is taken within each round; the table has the median over the rounds \
        with a bootstrap 95 % interval. A bound is <em>missed</em> if the whole interval lies above \
        it, <em>met</em> if none of it does, else <em>not established</em>.</p>
        <p>p50 and p99 are those of a closed loop: with more in flight than a server can answer at \
        once they tell the length of the queue. System calls (strace) and allocations (a preloaded \
        counter) are differences of two runs of different length, divided by the difference in \
        messages.</p>
        </section>
        """
    }
}

/// Returns `text` as it stands in HTML.
func escape(_ text: String) -> String {
    text.reduce(into: "") { result, character in
        switch character {
        case "&": result += "&amp;"
        case "<": result += "&lt;"
        case ">": result += "&gt;"
        case "\"": result += "&quot;"
        default: result.append(character)
        }
    }
}
