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
        if arguments.contains(where: { ["--help", "-h", "help"].contains($0) }) {
            return print(usage)
        }
        // A word that is no number is a name: all seeds of that one.
        let seeds = arguments.first.map { UInt64($0) } ?? 10_000
        let names = seeds == nil ? arguments[...] : arguments.dropFirst()
        let count = seeds ?? 10_000
        let unknown = names.filter { name in !Scenario.all.contains { $0.name == name } }
        guard unknown.isEmpty else {
            let words = unknown.map { "'\($0)'" }.joined(separator: ", ")
            let text = "Simulate: no scenario is called \(words)\n\(usage)\n"
            _ = text.withCString { write(STDERR_FILENO, $0, strlen($0)) }
            exit(64)
        }
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

    private static var usage: String {
        """
        usage: Simulate [SEEDS] [NAME…]

        Runs the scenarios of these names, else all, under so many seeds each (10000), and ends with
        status 1 if one fails, which prints the seed that plays it again.

        names: \(Scenario.all.map(\.name).sorted().joined(separator: " "))
        """
    }

    private static func printCoverage() {
        let coverage = RandomUserCoverage.simulated.withLock(\.self)
        print(
            "    \(coverage.total) steps, \(coverage.missing.count) pairs of callback and verb not seen"
        )
        for pair in coverage.missing { print("    \(pair)") }
    }
}
