// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: the same echo with 1,000 connections: what looking up a connection costs once their
// state no longer lies in the nearest caches.
//
// Does not measure: accepting them (see `connect`), or idle ones.
//
// Expected: a fifth more CPU a message than with 64 connections, for every server, and the backends
// within 5 % of their C servers: a connection's state must be few cache lines.
extension Scenario {
    static let echo1000Connections = Scenario(
        name: "echo.1000connections",
        summary: "one 64-byte message in flight on each of 1,000 connections",
        connections: 1_000, countedLengths: (4_000, 12_000), bounds: Bound.backends(within: 1.05))
}
