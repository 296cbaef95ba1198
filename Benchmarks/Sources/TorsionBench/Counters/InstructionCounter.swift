// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc

/// Counts a server's user-space instructions with `valgrind --tool=callgrind`.
struct InstructionCounter {
    let load: LoadGenerator

    /// Returns the instructions for one message.
    func perMessage(_ server: Server, _ scenario: Scenario) throws -> Double {
        let stripped = ".build/bench/stripped.\(getpid())"
        defer { unlink(stripped) }
        var command = server.command(scenario.framing)
        // Valgrind 3.19 gives up on the debug information of some of Swift's release binaries.
        _ = try ChildProcess(["strip", "-o", stripped, resolved(command[0])]).readToEnd()
        command[0] = stripped
        let lengths = scenario.countedLengths
        let environment = server.environment
        let short = try total(command, environment, scenario, messages: lengths.short)
        let long = try total(command, environment, scenario, messages: lengths.long)
        return Double(long - short) / Double(lengths.long - lengths.short)
    }

    private func total(
        _ command: [String], _ environment: [String: String], _ scenario: Scenario, messages: Int
    ) throws -> Int {
        let path = ".build/bench/callgrind.\(getpid())"
        defer { unlink(path) }
        let valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=\(path)"]
        let running = try RunningServer(
            command: valgrind + command, wrapperForks: false, environment: environment)
        _ = try load.run(scenario, length: .messages(messages), against: running)
        try running.stop()
        for line in try readText(path).split(separator: "\n") where line.hasPrefix("totals: ") {
            if let count = Int(line.dropFirst("totals: ".count)) { return count }
        }
        throw BenchError("callgrind wrote no totals for \(command[0])")
    }

    private func resolved(_ program: String) throws -> String {
        if access(program, X_OK) == 0 { return program }
        let path = try ChildProcess(["which", program]).readToEnd()
        return String(path.prefix { $0 != "\n" })
    }
}
