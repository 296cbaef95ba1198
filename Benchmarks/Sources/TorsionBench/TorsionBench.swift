// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc

@main
struct TorsionBench {
    static func main() {
        do {
            exit(try run(Array(CommandLine.arguments.dropFirst())) ? 0 : 1)
        } catch {
            writeText("torsion-bench: \(error)\n", to: 2)
            exit(2)
        }
    }

    private static func run(_ arguments: [String]) throws -> Bool {
        let options = try Options(arguments)
        raiseDescriptorLimit()
        mkdir(".build", 0o755)
        mkdir(".build/bench", 0o755)
        switch options.command {
        case .run:
            return try Run(options: options).start()
        case .counts:
            return try Counts(options: options).start()
        case .parts:
            return try PartsRun(options: options).start()
        case .flow:
            return try FlowRun(options: options).start()
        case .budget:
            return try Budget(options: options).start()
        case .page:
            guard let html = options.html else { throw BenchError("page needs --html PATH") }
            try Report.read(from: options.json).writePage(to: html)
            return true
        case .help:
            writeText(Options.usage)
            return true
        case .list:
            for scenario in Scenario.all { writeText("\(scenario.name): \(scenario.summary)\n") }
            for part in Part.all { writeText("\(part.name): \(part.summary)\n") }
            return true
        }
    }

    /// Both sides hold as many connections as the limit allows in one scenario, and inherit what is
    /// set here.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
