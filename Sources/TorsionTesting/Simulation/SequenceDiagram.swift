// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// A trace as a picture in text: time runs down, each host has a column, what travels is an arrow.
///
///     3.000500  |------ #1 connect ------>|
///     3.001000  |                         #1 connected
///
/// An arrow stands where it was sent; it says when it arrives if others come in between.
struct SequenceDiagram {
    private let trace: Trace
    private let hosts: [String]
    private let columnWidth = 30
    private let timeWidth = 14

    init(_ trace: Trace, hosts: [String]) {
        self.trace = trace
        self.hosts = hosts
    }

    /// The last lines, or all of them.
    func text(last limit: Int = .max) -> String {
        let shown = trace.entries.suffix(limit)
        var lines = [header]
        if shown.count < trace.entryCount {
            lines.append("… \(trace.entryCount - shown.count) lines before or after these")
        }
        lines += shown.map(line)
        return lines.joined(separator: "\n")
    }

    private var header: String {
        hosts.reduce(pad("seconds", timeWidth)) { $0 + pad($1, columnWidth) }
    }

    private func line(_ entry: Trace.Entry) -> String {
        switch entry.event {
        case .sent(let segment, let arrival):
            let travel = seconds(arrival - entry.time)
            let number = entry.connection > 0 ? "#\(entry.connection) " : ""
            let label = "\(number)\(segment.label) (+\(travel))"
            return time(entry) + arrow(from: entry.host, to: entry.other, label)
        case .told(let told):
            return time(entry) + own(entry.host, "#\(entry.connection) \(told.label)")
        case .struck(let fault):
            return time(entry) + own(entry.host, "*** \(fault)")
        case .noted(let text):
            return time(entry) + own(entry.host, text)
        }
    }

    private func time(_ entry: Trace.Entry) -> String {
        pad(seconds(entry.time - SimulatedNetwork.start.nanoseconds), timeWidth)
    }

    /// Seconds with microseconds, written without a locale.
    private func seconds(_ nanoseconds: UInt64) -> String {
        let micros = nanoseconds / 1_000
        let fraction = String(micros % 1_000_000)
        return "\(micros / 1_000_000)." + String(repeating: "0", count: 6 - fraction.count)
            + fraction
    }

    private func own(_ host: Int, _ text: String) -> String {
        guard host >= 0 else { return "== " + text }
        return String(repeating: pad("|", columnWidth), count: host) + text
    }

    private func arrow(from: Int, to: Int, _ label: String) -> String {
        guard from != to else { return own(from, label + " to itself") }
        let left = min(from, to), right = max(from, to)
        let width = (right - left) * columnWidth - 1
        let text = " " + label + " "
        let dashes = max(2, width - text.count - 1)
        let before = String(repeating: "-", count: dashes / 2)
        let after = String(repeating: "-", count: dashes - dashes / 2)
        let body = from < to ? before + text + after + ">" : "<" + before + text + after
        let lead = String(repeating: pad("|", columnWidth), count: left)
        return lead + "|" + body + "|"
            + (right + 1 < hosts.count
                ? String(
                    repeating: String(repeating: " ", count: columnWidth - 1) + "|",
                    count: hosts.count - right - 1) : "")
    }

    private func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}

extension SimulatedNetwork {
    /// The run as a picture: time runs down, each host has a column.
    ///
    /// - Parameter limit: How many lines from the end.
    /// - Returns: Lines to print, with a fixed-width font.
    public func diagram(last limit: Int = .max) -> String {
        SequenceDiagram(trace, hosts: nodes.map(\.name)).text(last: limit)
    }
}
