// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A chart of horizontal bars from zero, one for each server, with its value written behind it.
struct Chart {
    struct Bar {
        let server: String
        let value: Double
        /// From the smallest round to the largest.
        let spread: ClosedRange<Double>?

        init(_ server: String, value: Double, spread: ClosedRange<Double>?) {
            self.server = server
            self.value = value
            self.spread = spread
        }

        fileprivate var kind: String {
            if server.hasPrefix("torsion-") { return "torsion" }
            return server.hasSuffix("-c") ? "twin" : "peer"
        }
    }

    let title: String
    let note: String
    let bars: [Bar]

    private static let width = 460.0
    private static let labelWidth = 132.0
    private static let valueWidth = 76.0
    private static let rowHeight = 24.0
    private static let barHeight = 14.0

    func render() -> String {
        let height = Chart.rowHeight * Double(bars.count) + 6
        let largest = bars.map { max($0.value, $0.spread?.upperBound ?? 0) }.max() ?? 1
        let scale = (Chart.width - Chart.labelWidth - Chart.valueWidth) / max(largest, .ulpOfOne)
        let rows = bars.enumerated().map { index, bar in
            row(bar, top: Chart.rowHeight * Double(index) + 3, scale: scale)
        }
        return """
            <figure>
            <figcaption>\(escape(title)) <span>\(escape(note))</span></figcaption>
            <svg viewBox="0 0 \(place(Chart.width)) \(place(height))" role="img" \
            aria-label="\(escape(title)): \(escape(spoken))">
            <line class="axis" x1="\(place(Chart.labelWidth))" y1="0" \
            x2="\(place(Chart.labelWidth))" y2="\(place(height))"/>
            \(rows.joined(separator: "\n"))
            </svg>
            </figure>
            """
    }

    private func row(_ bar: Bar, top: Double, scale: Double) -> String {
        let middle = top + Chart.rowHeight / 2
        let left = Chart.labelWidth
        let right = left + bar.value * scale
        var end = right
        var whisker = ""
        if let spread = bar.spread {
            end = max(end, left + spread.upperBound * scale)
            whisker = """
                <line class="whisker" x1="\(place(left + spread.lowerBound * scale))" \
                y1="\(place(middle))" x2="\(place(end))" y2="\(place(middle))"/>
                """
        }
        let tip = bar.spread.map {
            ", rounds from \(figure($0.lowerBound)) to \(figure($0.upperBound))"
        }
        return """
            <g><title>\(escape(bar.server)): \(figure(bar.value))\(tip ?? "")</title>
            <text class="label" x="\(place(left - 8))" y="\(place(middle))">\(escape(bar.server))</text>
            <rect class="\(bar.kind)" x="\(place(left))" y="\(place(middle - Chart.barHeight / 2))" \
            width="\(place(max(1, right - left)))" height="\(place(Chart.barHeight))" rx="2"/>
            \(whisker)
            <text class="value" x="\(place(end + 6))" y="\(place(middle))">\(figure(bar.value))</text></g>
            """
    }

    /// What the chart shows, for those who hear it.
    private var spoken: String {
        bars.map { "\($0.server) \(figure($0.value))" }.joined(separator: ", ")
    }

    /// A coordinate, without the thousands' commas of a figure.
    private func place(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}
