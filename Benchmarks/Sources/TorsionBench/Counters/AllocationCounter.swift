// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc

/// Counts a server's allocations with `Counts/malloc_counter.c`, preloaded.
struct AllocationCounter {
    let library: String
    let load: LoadGenerator

    /// Returns the allocations for one message.
    ///
    /// The connections of both runs are new, and so cost the
    /// same; the server is one process, warmed up by a run that is not counted.
    func perMessage(_ server: Server, _ scenario: Scenario) throws -> Double {
        let path = ".build/bench/malloc.\(getpid())"
        unlink(path)
        defer { unlink(path) }
        let running = try RunningServer(
            server, framing: scenario.framing,
            environment: ["LD_PRELOAD": library, "TORSION_BENCH_MALLOC_COUNTS": path])
        let lengths = scenario.countedLengths
        _ = try cost(of: lengths.short, scenario, running, path)
        let short = try cost(of: lengths.short, scenario, running, path)
        let long = try cost(of: lengths.long, scenario, running, path)
        try running.stop()
        return Double(long - short) / Double(lengths.long - lengths.short)
    }

    private func cost(
        of messages: Int, _ scenario: Scenario, _ server: RunningServer, _ path: String
    ) throws -> Int {
        let before = try allocations(path)
        _ = try load.run(scenario, length: .messages(messages), against: server)
        return try allocations(path) - before
    }

    private func allocations(_ path: String) throws -> Int {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw BenchError("no allocation counts in \(path)") }
        defer { close(file) }
        var count: UInt64 = 0
        guard read(file, &count, 8) == 8 else {
            throw BenchError("no allocation counts in \(path)")
        }
        return Int(count)
    }
}
