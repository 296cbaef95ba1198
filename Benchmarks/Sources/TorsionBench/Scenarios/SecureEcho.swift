// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: the echo of one 64-byte message over TLS 1.3 (AES-256-GCM) on each of sixteen connections,
// and what a connection costs that waits, for the counts.
//
// Does not measure: handshakes, bulk, time, or the kernel: instructions are those of user space.
//
// Expected: of 12,400 instructions in C, 5,800 are the cipher's and the rest OpenSSL's own; 14 KiB for a
// connection that waits.
extension Scenario {
    static let secureEcho = Scenario(
        name: "secure.16connections",
        summary: "one 64-byte message over TLS in flight on each of 16 connections",
        load: .secure, connections: 16, servers: ["tls-c", "torsion-epoll"], framing: .secure,
        countedLengths: (2_000, 10_000))

    static let secureIdle = Scenario(
        name: "secure.idle", summary: "memory of 1,000 TLS connections that wait",
        unit: "connection", load: .secureIdle, connections: 1_000,
        servers: ["tls-c", "torsion-epoll"], framing: .secure)
}
