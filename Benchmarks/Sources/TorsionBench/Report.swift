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
        var isMet: Bool
    }

    var mode: String
    var date: Date
    var machine: Machine
    var baseline: String
    var scenarios: [ScenarioResult] = []
    var budgets: [BudgetResult] = []

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
            loadAverage: try readText("/proc/loadavg").trimmed,
            serverAndLoadOnSeparateCores: Cores.areSeparate)
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
