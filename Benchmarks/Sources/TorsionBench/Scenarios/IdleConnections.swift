// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: what the server's process grows by for a connection that was made, answered one message
// and now waits, over 5,000 of them: anonymous memory from smaps_rollup, which is exact.
//
// Does not measure: the kernel's own memory for a socket (about 4 KiB, the same for every server),
// nor buffers of connections that have something queued.
//
// Expected: at most 1 KiB, protocol object included; 48 bytes (epoll) to 300 bytes (libuv) in C.
extension Scenario {
    static let idleConnections = Scenario(
        name: "idle", summary: "memory of 5,000 connections that wait",
        unit: "connection", load: .idle, connections: 5_000)
}
