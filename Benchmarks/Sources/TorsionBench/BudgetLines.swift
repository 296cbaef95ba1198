// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Budget {
    /// What the engine may cost, in the order in which a message meets it.
    ///
    /// The figures themselves stand where they are measured: `Counts`, `Scenarios/` and `Part`.
    static let lines: [Line] = [
        echo(backend: "libuv", twin: "libuv-c"),
        echo(backend: "epoll", twin: "epoll-c"),
        Line(
            work: "echo of a 64-byte message, io_uring",
            items: [
                "allocations an echoed message",
                "system calls beside the C server's, 64 connections",
                "system calls beside the C server's, 1000 connections",
            ].map { .count($0, of: "torsion-io_uring") }
                + ["echo.64connections", "echo.1000connections"].map {
                    .cpu($0, of: "torsion-io_uring", to: "uring-c")
                }),
        Line(
            work: "what is seen of a message",
            items: ["torsion-libuv", "torsion-epoll"].flatMap { server in
                [
                    "instructions an echoed message, with observers and statistics",
                    "instructions of observers and statistics in a turn with one message",
                ].map { Item.count($0, of: server) }
            }),
        Line(
            work: "instructions of an echoed message beside other engines",
            items: ["torsion-libuv", "torsion-epoll"].flatMap { server in
                ["half of tokio's instructions", "a twentieth of SwiftNIO's instructions"]
                    .map { Item.count($0, of: server) }
            }),
        Line(
            work: "sixteen pipelined messages",
            items: ["torsion-libuv", "torsion-epoll"].flatMap { server in
                ["reads for sixteen lines", "writes for sixteen lines"]
                    .map { Item.count($0, of: server) }
            } + [
                .count("system calls for sixteen lines", of: "torsion-io_uring"),
                .cpu("echo.pipelined", of: "torsion-io_uring", to: "torsion-epoll"),
            ]),
        Line(
            work: "bulk echo, 4 connections",
            items: ["torsion-libuv", "torsion-epoll", "torsion-io_uring"].map {
                .cpu("echo.bulk", of: $0, to: nil)
            }),
        Line(
            work: "UDP echo of a 64-byte datagram",
            items: ["echo.udp", "echo.udp.bursts"].flatMap { scenario in
                ["torsion-libuv", "torsion-epoll", "torsion-io_uring"].map {
                    .cpu(scenario, of: $0, to: nil)
                }
            }),
        Line(
            work: "a connection made, one message, closed",
            items: [("torsion-libuv", "libuv-c"), ("torsion-epoll", "epoll-c")].flatMap {
                [
                    .cpu("connect", of: $0.0, to: $0.1),
                    .count("allocations a connection made and closed", of: $0.0),
                    .count("system calls a connection", of: $0.0),
                    .count("instructions a connection", of: $0.0),
                ]
            }),
        Line(
            work: "echo of a 64-byte message of a WebSocket, epoll",
            items: ["allocations", "instructions"].map {
                .count("\($0) an echoed WebSocket message", of: "torsion-epoll")
            }),
        Line(
            work: "an idle connection",
            items: ["torsion-libuv", "torsion-epoll", "torsion-io_uring"].map {
                .count("bytes an idle connection", of: $0)
            }),
        Line(
            work: "a message among as many connections as there can be",
            items: ["torsion-libuv", "torsion-epoll"].map {
                .count("instructions an echoed message, in a crowd", of: $0)
            }
                + [
                    ("torsion-libuv", "libuv-c"), ("torsion-epoll", "epoll-c"),
                    ("torsion-io_uring", "uring-c"),
                ].map { .cpu("echo.crowd", of: $0.0, to: $0.1) }),
        Line(
            work: "a delayed call scheduled and cancelled",
            items: [0, 10_000, 1_000_000].map { .part("timer.\($0)Pending") }),
        Line(
            work: "echo by tasks",
            items: [
                .count("allocations an echoed message", of: "torsion-async-read"),
                .cpu("echo.64connections.async", of: "torsion-async-read", to: nil),
            ]),
        Line(work: "an await", items: [.part("await.ready"), .part("await.reactor")]),
        Line(work: "a Deferred's callback", items: [.part("deferred.chainOfTen")]),
        Line(work: "calls from another thread", items: [.part("thread.flood")]),
    ]

    private static func echo(backend: String, twin: String) -> Line {
        let server = "torsion-\(backend)"
        let counts = [
            "allocations an echoed message", "instructions an echoed message",
            "receives an echoed message", "sends an echoed message",
        ]
        return Line(
            work: "echo of a 64-byte message, \(backend)",
            items: counts.map { .count($0, of: server) }
                + ["echo.64connections", "echo.1000connections"].map {
                    .cpu($0, of: server, to: twin)
                })
    }
}
