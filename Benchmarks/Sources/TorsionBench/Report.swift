// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import FoundationEssentials
import Glibc

/// What a run found, as it is written beside the table.
struct Report: Codable {
    struct Machine: Codable {
        var kernel: String
        var processor: String
        var coreCount: Int
        var loadAverage: String
        var serverAndLoadOnSeparateCores: Bool
    }

    struct Result: Codable {
        var server: String
        var messagesPerSecond: Double?
        var cpuMicrosecondsPerMessage: Double?
        var ratioToBaseline: Interval?
        var p50Microseconds: Double?
        var p99Microseconds: Double?
        var loadCPUShare: Double?
        var memoryPerConnection: Double?
        var systemCallsPerMessage: SystemCalls?
        var allocationsPerMessage: Double?
        var samples: [Sample]
    }

    struct BoundResult: Codable {
        var server: String
        var reference: String
        var factor: Double
        var ratio: Interval
        var verdict: Verdict
    }

    struct Failure: Codable {
        var server: String
        var reason: String
    }

    struct ScenarioResult: Codable {
        var name: String
        var unit: String
        var rounds: Int
        var results: [Result]
        var bounds: [BoundResult] = []
        var failures: [Failure] = []
    }

    struct BudgetResult: Codable {
        var name: String
        var server: String
        var measured: Double
        var limit: Double
        var verdict: Verdict
    }

    var mode: String
    var date: Date
    var machine: Machine
    /// What was measured with: compiler, libraries, and Torsion's own commit.
    var versions: [String: String]?
    var baseline: String
    var scenarios: [ScenarioResult] = []
    var budgets: [BudgetResult] = []
    var parts: [PartsRun.PartResult]?
    var flow: [FlowRun.FlowResult]?

    init(mode: String) throws {
        self.mode = mode
        date = Date()
        baseline = "libuv-c"
        let processor = try readText("/proc/cpuinfo").split(separator: "\n")
            .first { $0.hasPrefix("model name") }?.split(separator: ":").last
        machine = Machine(
            kernel: try readText("/proc/sys/kernel/osrelease").trimmed,
            processor: processor.map { String($0).trimmed } ?? "unknown",
            coreCount: sysconf(CInt(_SC_NPROCESSORS_ONLN)),
            loadAverage: try readText("/proc/loadavg").split(separator: " ").prefix(3)
                .joined(separator: " "),
            serverAndLoadOnSeparateCores: Cores.areSeparate)
        versions = Report.installedVersions()
    }

    /// Each is one line of a program's output; a program that is not there has none.
    private static func installedVersions() -> [String: String] {
        let commands = [
            "Swift": ["swiftc", "--version"],
            "C compiler": ["gcc", "--version"],
            "libuv": ["pkg-config", "--modversion", "libuv"],
            "liburing": ["pkg-config", "--modversion", "liburing"],
            "OpenSSL": ["pkg-config", "--modversion", "openssl"],
            "Go": ["go", "version"],
            "Node": ["node", "--version"],
            "Torsion": ["git", "describe", "--always", "--dirty"],
        ]
        return commands.compactMapValues { command in
            guard let output = try? ChildProcess(command).readToEnd() else { return nil }
            return output.split(separator: "\n").first.map { String($0).trimmed }
        }
    }

    static func read(from path: String) throws -> Report {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        do {
            return try decoder.decode(Report.self, from: Data(contentsOf: URL(filePath: path)))
        } catch {
            throw BenchError("cannot read the results in \(path): \(error)")
        }
    }

    static func readIfPresent(from path: String) throws -> Report? {
        access(path, F_OK) == 0 ? try read(from: path) : nil
    }

    func writePage(to path: String) throws {
        try Data(Page(report: self).render().utf8).write(to: URL(filePath: path))
    }

    func write(to path: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        encoder.dateEncodingStrategy = .iso8601
        try encoder.encode(self).write(to: URL(filePath: path))
    }
}

extension String {
    fileprivate var trimmed: String {
        String(drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
    }
}
