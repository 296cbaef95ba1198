// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: an HTTP/1.1 server that answers each request with the same 13 bytes, over sixteen connections
// that are kept: with the three fields that curl sends, the ten of a browser, and sixteen requests in one
// packet.
//
// Does not measure: what a program does with a request, or a body.
//
// Expected: 2,300 instructions and more for the server whose heads become values; 1,300 for one that
// leaves each head where it arrived. nginx takes 9,000.
extension Scenario {
    private static let httpServers: Set = ["torsion-http", "nginx", "hyper"]

    static let httpHello = Scenario(
        name: "http.hello",
        summary: "a small answer, three fields, one request in flight on 16 connections",
        unit: "request", load: .http, connections: 16, isSlow: true, servers: httpServers,
        countedLengths: (4_000, 20_000),
        bounds: [
            Bound(server: "torsion-http", factor: 0.85, reference: .server("nginx")),
            Bound(server: "torsion-http", factor: 0.85, reference: .server("hyper")),
        ])

    static let httpBrowser = Scenario(
        name: "http.browser", summary: "the same with the ten fields of a browser",
        unit: "request", load: .http, connections: 16, fields: 10,
        countedLengths: (4_000, 20_000))

    static let httpPipelined = Scenario(
        name: "http.pipelined", summary: "the same with sixteen requests in a packet",
        unit: "request", load: .http, connections: 16, isSlow: true, servers: httpServers,
        depth: 16, countedLengths: (8_192, 40_960),
        bounds: [
            Bound(server: "torsion-http", factor: 0.2, reference: .server("nginx")),
            Bound(server: "torsion-http", factor: 0.4, reference: .server("hyper")),
        ])

    static let httpIdle = Scenario(
        name: "http.idle", summary: "5,000 connections that were answered once and are kept",
        unit: "connection", load: .httpIdle, connections: 5_000)
}
