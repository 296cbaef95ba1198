// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: sixteen 64-byte messages in flight on each of 64 connections: how well an engine shares
// a read and a write among what arrives together.
//
// Does not measure: framing. The server echoes bytes, not messages; lines are counted by
// `make bench-counts`.
//
// Expected: a sixteenth of the system calls of the unpipelined echo, and about 0.7 microseconds of
// CPU a message; the backends within 5 % of their C servers.
extension Scenario {
    static let echoPipelined = Scenario(
        name: "echo.pipelined",
        summary: "sixteen 64-byte messages in flight on each of 64 connections",
        connections: 64, depth: 16, countedLengths: (32_000, 96_000),
        bounds: Bound.backends(within: 1.05) + [.ringAsGoodAsEpoll])
}
