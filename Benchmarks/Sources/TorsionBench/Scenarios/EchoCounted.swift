// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: the echo of one 64-byte message on each of sixteen connections, for the counts: enough
// connections that one wait's price is shared as on a busy server, few enough to run in valgrind.
//
// Does not measure: time, or the kernel: instructions are those of user space.
//
// Expected: 54 instructions in the C server over epoll, 329 in the one over libuv's streams.
extension Scenario {
    static let echoCounted = Scenario(
        name: "echo.16connections",
        summary: "one 64-byte message in flight on each of 16 connections",
        connections: 16, countedLengths: (4_000, 36_000))

    /// One connection, so that each message is a turn of the reactor.
    static let echoTurns = Scenario(
        name: "echo.1connection",
        summary: "one 64-byte message in flight on one connection",
        connections: 1, countedLengths: (1_000, 9_000))
}
