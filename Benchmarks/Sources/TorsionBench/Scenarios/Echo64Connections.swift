// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: the steady state of a busy server: 64 connections, each with one 64-byte message in
// flight, so that one wait delivers several events.
//
// Does not measure: the price of a message on its own (see the one connection), nor memory.
//
// Expected: about ten microseconds of CPU, nearly all in the kernel's TCP: an engine's own part is
// tens to hundreds of instructions in it (`make bench-counts` counts those), so every engine that
// does not allocate lands within 5 % of the C server over the same interface.
extension Scenario {
    static let echo64Connections = Scenario(
        name: "echo.64connections",
        summary: "one 64-byte message in flight on each of 64 connections",
        connections: 64, bounds: Bound.backends(within: 1.05))
}
