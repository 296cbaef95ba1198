// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc

// Measures: what 64 connections at work cost among as many that wait as the limit of descriptors
// allows, up to 50,000 (`ulimit -Hn`): whatever an engine does for each connection that it has, and
// not for each event, shows here.
//
// Opening them takes a second or more for each measurement, so only the full run does it.
//
// Does not measure: those that wait (see `idle`), nor accepting them (see `connect`).
//
// Expected: the instructions of a message are those of a server without the crowd, within 5 %
// (`make bench-counts`); and the CPU, that of the C server over the same interface.
extension Scenario {
    static let echoCrowd = Scenario(
        name: "echo.crowd",
        summary: "one 64-byte message in flight on each of 64 connections among"
            + " \(figure(Double(crowd))) that wait",
        connections: 64, idleConnections: crowd, isSlow: true, bounds: Bound.backends(within: 1.05))

    /// The counted echo in a crowd, the same or a smaller one.
    ///
    /// Longer, since accepting the crowd costs a few hundred thousand instructions more or less, by
    /// how many are accepted in a turn.
    static func echoCounted(inCrowdOf count: Int) -> Scenario {
        Scenario(
            name: "echo.16connections.crowd", summary: echoCounted.summary, connections: 16,
            idleConnections: count, countedLengths: (4_000, 132_000))
    }

    /// What the limit leaves when each side has some descriptors of its own.
    static let crowd = {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return min(50_000, Int(clamping: limit.rlim_max) - 200)
    }()
}
