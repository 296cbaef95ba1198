// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc

/// Counts a server's system calls with `strace -f -c`.
///
/// A traced server is slow, so that more arrives while it works: what it waits with
/// (`epoll_wait`) is shared by more events than on a free one. Reads and writes are not affected.
struct SystemCallCounter {
    private let load: LoadGenerator
    private let cores: [String]

    init(load: LoadGenerator) {
        self.load = load
        cores = Cores.server
    }

    /// Has the server and the load take turns on one core, so that what is shared by many events can
    /// be compared: else that depends on who wakes whom, and differs tenfold from run to run.
    init(takingTurnsWith load: LoadGenerator) {
        self.load = LoadGenerator(path: load.path, cores: Cores.shared)
        cores = Cores.shared
    }

    /// Returns the calls for one message, by the name of the call.
    func perMessage(_ server: Server, _ scenario: Scenario) throws -> SystemCalls {
        let lengths = scenario.countedLengths
        let short = try counts(server, scenario, messages: lengths.short)
        let long = try counts(server, scenario, messages: lengths.long)
        let messages = Double(lengths.long - lengths.short)
        let names = Set(short.keys).union(long.keys)
        let slopes = names.map { ($0, Double((long[$0] ?? 0) - (short[$0] ?? 0)) / messages) }
        return SystemCalls(byName: Dictionary(uniqueKeysWithValues: slopes))
    }

    /// Returns all calls of a run of so many messages, starting and ending included.
    func total(_ server: Server, _ scenario: Scenario, messages: Int) throws -> Double {
        Double(try counts(server, scenario, messages: messages).values.reduce(0, +))
    }

    private func counts(
        _ server: Server, _ scenario: Scenario, messages: Int
    ) throws -> [String: Int] {
        let path = ".build/bench/strace.\(getpid())"
        defer { unlink(path) }
        let running = try RunningServer(
            server, framing: scenario.framing, wrapper: ["strace", "-f", "-c", "-o", path],
            wrapperForks: true, cores: cores)
        _ = try load.run(scenario, length: .messages(messages), against: running)
        try running.stop()
        return try SystemCallCounter.parse(readText(path))
    }

    /// Reads `% time  seconds  usecs/call  calls  [errors]  syscall` between two rules of dashes.
    static func parse(_ text: String) throws -> [String: Int] {
        var counts: [String: Int] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count >= 5, Double(words[0]) != nil, let calls = Int(words[3]),
                let name = words.last, name != "total"
            else { continue }
            counts[String(name), default: 0] += calls
        }
        guard !counts.isEmpty else { throw BenchError("strace counted nothing") }
        return counts
    }
}

/// System calls for one message.
struct SystemCalls: Codable, Sendable {
    var byName: [String: Double]

    var total: Double { byName.values.reduce(0, +) }
    /// What does not depend on how many events share a wait.
    var besideWaits: Double { total - sum(["epoll_wait", "epoll_pwait", "epoll_pwait2"]) }
    var reads: Double { sum(["read", "readv", "recvfrom", "recvmsg", "recvmmsg"]) }
    var writes: Double { sum(["write", "writev", "sendto", "sendmsg", "sendmmsg"]) }

    private func sum(_ names: [String]) -> Double { names.reduce(0) { $0 + (byName[$1] ?? 0) } }
}
