// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: a file of 1 MiB by HTTP, one request in flight on each of four connections that are kept. `torsion
// serve`, nginx, Go, SwiftNIO and the C server open the file for each request and send it by
// `sendfile(2)`, so that no byte of it is copied to user space.
//
// Does not measure: ranges and conditions, TLS, files that are not in the page cache.
//
// Expected: the kernel's copy into the socket of the reader is nearly all of it, so within 5 % of nginx and of
// the C server.
extension Scenario {
    static let httpFile = Scenario(
        name: "http.file", summary: "a file of 1 MiB, one request in flight on 4 connections",
        unit: "file", load: .http, connections: 4, isSlow: true,
        servers: ["torsion-serve", "http-c", "nginx", "nio-http", "go"],
        target: "/" + SampleFile.name, framing: .files, countedLengths: (200, 1_000),
        bounds: [("http-c", 1.05), ("nginx", 1.05), ("nio-http", 1), ("go", 1)].map {
            Bound(server: "torsion-serve", factor: $0.1, reference: .server($0.0))
        })
}
