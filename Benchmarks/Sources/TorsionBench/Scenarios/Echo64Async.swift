// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: what async code costs: the same work as with 64 connections, each served by a task.
// `torsion-async-read` borrows each read (`connection.read`), `torsion-async` takes it as `Bytes` of
// its own (`connection.inbound`), `torsion-libuv` is the same engine with callbacks. `nio-async` is
// SwiftNIO's NIOAsyncChannel as its documentation shows it, on the global executor.
//
// Does not measure: tasks that leave their thread for work elsewhere.
//
// Expected: a resume is 400 to 800 ns beside some ten microseconds of the kernel's, so a tenth to a
// fifth more than with callbacks. NIOAsyncChannel changes the thread twice a message: three times
// the CPU of libuv in C.
extension Scenario {
    static let echo64Async = Scenario(
        name: "echo.64connections.async",
        summary: "the same, with each connection served by a task",
        connections: 64,
        servers: [
            "libuv-c", "torsion-libuv", "torsion-async", "torsion-async-read", "nio", "nio-async",
        ],
        bounds: [
            Bound(
                server: "torsion-async-read", factor: 1.3, reference: .server("torsion-libuv")),
            Bound(server: "torsion-async-read", factor: 0.4, reference: .server("nio-async")),
        ])
}
