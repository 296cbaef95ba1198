// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Counts {
    /// What an answer of 13 bytes costs the whole process, by what is asked for.
    private static let hellos: [(name: String, scenario: Scenario, instructions: Double)] = [
        ("a request of 3 fields", .httpHello, 1_600),
        ("a request of 10 fields", .httpBrowser, 4_000),
        // Held where it is; 1,250 was the aim.
        ("a request of 16 pipelined", .httpPipelined, 1_270),
    ]

    /// An HTTP server that answers every request with the same bytes.
    func countHTTP(_ server: Server) throws -> [Report.BudgetResult] {
        let allocations = AllocationCounter(
            library: options.programs + "/malloc_counter.so", load: load)
        var results = try settled { _ in
            progress.note("\(server.name): allocations, memory")
            return [
                .init(
                    "allocations a request", server.name,
                    try allocations.perMessage(server, .httpHello), 0),
                .init(
                    "bytes an idle connection kept by HTTP", server.name,
                    try memory(server, .httpIdle), 1_024),
            ]
        }
        if canCount("system calls", ["strace", "-f", "-c", "-o", "/dev/null", "true"]) {
            results += try settled { _ in
                progress.note("\(server.name): system calls")
                let counter = SystemCallCounter(load: load)
                let alone = try counter.perMessage(server, .httpHello)
                let pipelined = try counter.perMessage(server, .httpPipelined)
                let depth = Double(Scenario.httpPipelined.depth)
                return [
                    .init("receives a request", server.name, alone.reads, 1),
                    .init("sends a request", server.name, alone.writes, 1),
                    .init("receives 16 requests", server.name, pipelined.reads * depth, 1),
                    .init("sends for 16 requests", server.name, pipelined.writes * depth, 1),
                ]
            }
        }
        guard
            canCount(
                "instructions",
                ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "true"])
        else { return results }
        let counter = InstructionCounter(load: load)
        return try results
            + Self.hellos.flatMap { hello in
                try settled { _ in
                    progress.note("\(server.name): instructions of \(hello.name)")
                    let count = try counter.perMessage(server, hello.scenario)
                    return [
                        .init(
                            "instructions of \(hello.name)", server.name, count,
                            hello.instructions)
                    ]
                }
            }
    }
}
