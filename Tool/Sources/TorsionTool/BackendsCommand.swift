// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion

/// `torsion backends`: what this machine can run.
struct BackendsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backends",
        abstract: "List the reactor backends, what they stand on, and why one cannot run here.")

    @Flag(
        help: "Print an array of objects with name, isDefault, library and why it cannot run here.")
    var json = false

    private struct Backend: Encodable {
        let name: String
        let isDefault: Bool
        let library: String?
        let unavailable: String?
    }

    func run() throws {
        let standard = try? BackendChoice.fromEnvironment(among: BackendChoice.all)
        let backends = BackendChoice.all.map { choice in
            Backend(
                name: choice.name, isDefault: choice.name == standard?.name,
                library: choice.library().map { "\($0)" }, unavailable: choice.unavailableReason())
        }
        if json { return try printJSON(backends) }
        for backend in backends {
            let state = backend.unavailable.map { "not available: \($0)" } ?? "available"
            let mark = backend.isDefault ? " (default)" : ""
            let library = backend.library.map { "; \($0)" } ?? ""
            print("\(backend.name): \(state)\(mark)\(library)")
        }
    }
}
