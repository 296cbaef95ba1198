// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import FoundationEssentials

/// `torsion doctor`: what of this machine matters for a server, and why.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Say what of this machine limits a server, and why it matters.",
        discussion: """
            A line a finding: "ok", "note" for what costs something under load, "bad" for what does \
            not work. Ends with status 1 if something is bad, with --strict also at a note.
            """)

    @Flag(help: "Print a JSON array of objects with name, value, verdict and reason.")
    var json = false

    @Flag(help: "End with status 1 at a note, too.")
    var strict = false

    func run() throws {
        let findings = Finding.ofThisMachine()
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            print(String(decoding: try encoder.encode(findings), as: UTF8.self))
        } else {
            for finding in findings { print(finding) }
        }
        let worst = findings.map(\.verdict).max() ?? .ok
        if worst == .bad || strict && worst == .note { throw ExitCode.failure }
    }
}
