// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Scenarios
import Synchronization
import TorsionTesting

/// Runs scenarios under many seeds and says what they went through.
///
///     simulate [SEEDS [NAME…]]
@main
struct Simulate {
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        let count = arguments.first.flatMap { UInt64($0) } ?? 10_000
        let names = arguments.dropFirst()
        var total = SimulationReport()
        var hasFailed = false
        for scenario in Scenario.all where names.isEmpty || names.contains(scenario.name) {
            do {
                let report = try scenario.search(1...max(1, count))
                print("\(scenario.name): \(report)")
                if scenario.name == "randomUser" { printCoverage() }
                // Who sends the output to a file wants to see how far it is.
                fflush(nil)
                total.add(report)
            } catch {
                print(error)
                print("\nSEED=\(error.seed) make sim FILTER=\(scenario.name) plays it again")
                hasFailed = true
            }
        }
        print("all: \(total)")
        if hasFailed { exit(1) }
    }

    private static func printCoverage() {
        let coverage = RandomUserCoverage.simulated.withLock(\.self)
        print(
            "    \(coverage.total) steps, \(coverage.missing.count) pairs of callback and verb not seen"
        )
        for pair in coverage.missing { print("    \(pair)") }
    }
}
