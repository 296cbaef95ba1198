// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: an HTTP/1.1 server that answers each request with the same 13 bytes, over sixteen connections
// that are kept: with the three fields that curl sends and the ten of a browser, each with one request in flight
// and with sixteen requests in one packet, and a POST of 4 KiB that the server reads and drops.
//
// Does not measure: what a program does with a request, or with a body.
//
// Expected: 2,300 instructions and more for the server whose heads become values; 1,300 for one that
// leaves each head where it arrived. nginx takes 9,000. Go and Node have no budget of ours: less than
// theirs is what is asked.
extension Scenario {
    private static let httpServers: Set = [
        "torsion-http", "http-c", "nginx", "hyper", "nio-http", "hummingbird", "go", "node",
    ]

    /// At most so many times the CPU of the C server, nginx, hyper, SwiftNIO and Hummingbird.
    private static func httpBounds(
        nginx: Double, hyper: Double, nio: Double, hummingbird: Double
    ) -> [Bound] {
        [
            ("http-c", 1.05), ("nginx", nginx), ("hyper", hyper), ("nio-http", nio),
            ("hummingbird", hummingbird), ("go", 1), ("node", 1),
        ].map { Bound(server: "torsion-http", factor: $0.1, reference: .server($0.0)) }
    }

    private static let keptBounds = httpBounds(
        nginx: 0.85, hyper: 0.85, nio: 0.35, hummingbird: 0.15)
    private static let pipelinedBounds = httpBounds(
        nginx: 0.2, hyper: 0.4, nio: 0.1, hummingbird: 0.05)

    static let httpHello = Scenario(
        name: "http.hello",
        summary: "a small answer, three fields, one request in flight on 16 connections",
        unit: "request", load: .http, connections: 16, isSlow: true, servers: httpServers,
        countedLengths: (4_000, 20_000), bounds: keptBounds)

    static let httpBrowser = Scenario(
        name: "http.browser", summary: "the same with the ten fields of a browser",
        unit: "request", load: .http, connections: 16, isSlow: true, servers: httpServers,
        fields: 10, countedLengths: (4_000, 20_000), bounds: keptBounds)

    static let httpPipelined = Scenario(
        name: "http.pipelined", summary: "three fields, sixteen requests in a packet",
        unit: "request", load: .http, connections: 16, isSlow: true, servers: httpServers,
        depth: 16, countedLengths: (8_192, 40_960), bounds: pipelinedBounds)

    static let httpBrowserPipelined = Scenario(
        name: "http.browser.pipelined", summary: "ten fields, sixteen requests in a packet",
        unit: "request", load: .http, connections: 16, isSlow: true, servers: httpServers,
        fields: 10, depth: 16, countedLengths: (8_192, 40_960), bounds: pipelinedBounds)

    static let httpPost = Scenario(
        name: "http.post", summary: "a POST of 4 KiB, one in flight on 16 connections",
        unit: "request", load: .http, connections: 16, isSlow: true, servers: httpServers,
        body: 4_096, countedLengths: (4_000, 20_000), bounds: keptBounds)

    static let httpIdle = Scenario(
        name: "http.idle", summary: "5,000 connections that were answered once and are kept",
        unit: "connection", load: .httpIdle, connections: 5_000)
}
