// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import FoundationEssentials

/// What the load generator measured in one run.
struct Sample: Codable, Sendable {
    var messages: Int
    var seconds: Double
    var serverSeconds: Double
    var loadSeconds: Double
    var p50Microseconds: Double
    var p99Microseconds: Double
    var memoryPerConnection: Double
}

/// How long the load generator works.
enum Length {
    case time(warm: Double, measured: Double)
    case messages(Int)

    var arguments: [String] {
        switch self {
        case .time(let warm, let measured): ["--warm", "\(warm)", "--seconds", "\(measured)"]
        case .messages(let count): ["--messages", "\(count)"]
        }
    }
}

/// The load generator of `Load/`, run on the second core unless it is told another.
struct LoadGenerator {
    let path: String
    var cores = Cores.load

    func run(_ scenario: Scenario, length: Length, against server: RunningServer) throws -> Sample {
        var command = cores + [path, scenario.load.rawValue, "--port", "\(server.port)"]
        command += ["--connections", "\(scenario.connections)", "--size", "\(scenario.size)"]
        command += ["--depth", "\(scenario.depth)", "--server", "\(server.pid)"]
        if scenario.idleConnections > 0 { command += ["--idle", "\(scenario.idleConnections)"] }
        if scenario.load == .http {
            command += ["--fields", "\(scenario.fields)", "--target", scenario.target]
            if scenario.body > 0 { command += ["--body", "\(scenario.body)"] }
        }
        if scenario.isBurst { command.append("--burst") }
        let output = try ChildProcess(command + length.arguments).readToEnd()
        return try JSONDecoder().decode(Sample.self, from: Data(output.utf8))
    }
}
