// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: TLS 1.3 (AES-256-GCM, X25519, a certificate of the curve P-256): the echo of one 64-byte message on
// each of 64 connections; a mebibyte in flight on each of four, in 64 KiB chunks; connections that shake hands,
// carry one message and close, sixteen at a time, with full handshakes and with resumed ones. For the counts, the
// echo on sixteen connections and what a connection costs that waits.
//
// Does not measure: TLS 1.2, client certificates, or the price of one handshake without the connection under it.
//
// Expected: within 5 % of the C server over the same OpenSSL. Of its 12,400 instructions a message, 5,800 are
// the cipher's and the rest OpenSSL's own; 14 KiB for a connection that waits. At most 0.6 times the CPU of
// SwiftNIO's TLS, which brings BoringSSL: in bulk and in handshakes the two libraries are compared, so there
// it has no bound.
extension Scenario {
    private static let secureServers: Set = ["tls-c", "torsion-epoll", "nio-tls"]
    private static let secureAsInC = Bound(
        server: "torsion-epoll", factor: 1.05, reference: .server("tls-c"))

    static let secureEcho = Scenario(
        name: "secure.16connections",
        summary: "one 64-byte message over TLS in flight on each of 16 connections",
        load: .secure, connections: 16, servers: ["tls-c", "torsion-epoll"], framing: .secure,
        countedLengths: (2_000, 10_000))

    static let secure64Connections = Scenario(
        name: "secure.64connections",
        summary: "one 64-byte message over TLS in flight on each of 64 connections",
        load: .secure, connections: 64, isSlow: true, servers: secureServers, framing: .secure,
        countedLengths: (8_000, 24_000),
        bounds: [
            secureAsInC,
            Bound(server: "torsion-epoll", factor: 0.6, reference: .server("nio-tls")),
        ])

    static let secureBulk = Scenario(
        name: "secure.bulk",
        summary: "1 MiB in flight on each of 4 TLS connections, in 64 KiB chunks",
        unit: "chunk", load: .secure, connections: 4, isSlow: true, servers: secureServers,
        size: 65_536, depth: 16, framing: .secure, countedLengths: (400, 1_200),
        bounds: [secureAsInC])

    static let secureConnect = Scenario(
        name: "secure.connect",
        summary: "connect, full handshake, one 64-byte message, close; sixteen at a time",
        unit: "connection", load: .secureConnect, connections: 16, isSlow: true,
        servers: secureServers, framing: .secure, countedLengths: (200, 1_000),
        bounds: [secureAsInC])

    static let secureResume = Scenario(
        name: "secure.resume",
        summary: "connect, resumed handshake, one 64-byte message, close; sixteen at a time",
        unit: "connection", load: .secureResume, connections: 16, isSlow: true,
        servers: secureServers, framing: .secure, countedLengths: (200, 1_000),
        bounds: [secureAsInC])

    static let secureIdle = Scenario(
        name: "secure.idle", summary: "memory of 1,000 TLS connections that wait",
        unit: "connection", load: .secureIdle, connections: 1_000,
        servers: ["tls-c", "torsion-epoll"], framing: .secure)
}
