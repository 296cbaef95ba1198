// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion

/// `torsion backends`: what this machine can run.
struct BackendsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backends",
        abstract: "List the reactor backends, what they stand on, and why one cannot run here.")

    func run() throws {
        let standard = try? BackendChoice.fromEnvironment(among: BackendChoice.all)
        for choice in BackendChoice.all {
            let state = choice.unavailableReason().map { "not available: \($0)" } ?? "available"
            let mark = choice.name == standard?.name ? " (default)" : ""
            let library = choice.library().map { "; \($0)" } ?? ""
            print("\(choice.name): \(state)\(mark)\(library)")
        }
    }
}
