// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: sixteen lines of 64 bytes sent at once to a server that finds each line and answers it
// with a write of its own. The next sixteen follow when all have come back.
//
// Does not measure: time; this one is only counted.
//
// Expected: one read and one write for the sixteen, since small writes are coalesced until the event
// that they were made in is over.
extension Scenario {
    static let echoLines = Scenario(
        name: "echo.lines", summary: "sixteen lines at once, each answered by its own write",
        unit: "line", connections: 1, depth: 16, isBurst: true, framing: .lines,
        countedLengths: (8_000, 24_000))
}
