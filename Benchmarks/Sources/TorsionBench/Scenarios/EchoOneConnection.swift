// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: one 64-byte message going back and forth on one connection: a wake-up, a read and a
// write for each, nothing to share them with. p50 is what a call to an otherwise idle server costs.
//
// Does not measure: throughput. Both cores sleep half of the time, and the CPU for a message holds
// the kernel's way into and out of idleness, which varies by machine more than any engine does.
//
// Expected: one wait, one receive and one send a message, so three system calls; the CPU of the C
// server over the same interface, within 5 %.
extension Scenario {
    static let echoOneConnection = Scenario(
        name: "echo.1connection", summary: "one 64-byte message in flight on one connection",
        connections: 1, bounds: Bound.backends(within: 1.05))
}
