// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Returns rows of text as columns: the first flush left, the others flush right.
func table(_ header: [String], _ rows: [[String]]) -> String {
    let all = [header] + rows
    let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    return all.map { row in
        let cells = row.enumerated().map { column, text in
            let padding = String(repeating: " ", count: widths[column] - text.count)
            return column == 0 ? text + padding : padding + text
        }
        let line = "  " + cells.joined(separator: "  ")
        return String(line.reversed().drop { $0 == " " }.reversed()) + "\n"
    }.joined()
}

/// Returns `value` with so many decimals; all of them zeros for a whole number too.
func decimal(_ value: Double, _ places: Int) -> String {
    guard value.isFinite else { return "-" }
    var scale = 1.0
    for _ in 0..<places { scale *= 10 }
    let units = Int((value * scale).rounded(.toNearestOrAwayFromZero))
    let digits = String(units.magnitude)
    let padded = String(repeating: "0", count: max(0, places + 1 - digits.count)) + digits
    let sign = units < 0 ? "-" : ""
    guard places > 0 else { return sign + grouped(padded) }
    return sign + grouped(String(padded.dropLast(places))) + "." + padded.suffix(places)
}

/// Returns a figure with about four digits that matter.
func figure(_ value: Double) -> String {
    switch value.magnitude {
    case 1_000...: decimal(value, 0)
    case 100...: decimal(value, 1)
    case 0.1...: decimal(value, 2)
    // Less than a thousandth of a call for a message is a timer that fell into one of two runs.
    case ..<0.001: "0"
    default: decimal(value, 4)
    }
}

private func grouped(_ digits: String) -> String {
    var result = ""
    for (index, digit) in digits.enumerated() {
        if index > 0 && (digits.count - index).isMultiple(of: 3) { result.append(",") }
        result.append(digit)
    }
    return result
}
