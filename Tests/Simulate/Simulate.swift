// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Scenarios
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
}
