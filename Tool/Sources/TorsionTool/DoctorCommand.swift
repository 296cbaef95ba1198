// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion

/// `torsion doctor`: what of this machine matters for a server, and why.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Say what of this machine limits a server, or how a running one is.",
        discussion: """
            Without an argument it looks at the machine. With unix:PATH it asks the program that \
            listens there by an AdminEndpoint, such as torsion echo --admin PATH, which answers its \
            own user and root. A line a finding: "ok", "note" for what costs something under load, \
            "bad" for what does not work. Ends with status 1 if something is bad, with --strict also at a note.
            """)

    @Argument(help: "The admin socket of a running program, for example unix:/run/app.admin.")
    var program: String?

    @Flag(help: "Print a JSON array of objects with name, value, verdict and reason.")
    var json = false

    @Flag(help: "End with status 1 at a note, too.")
    var strict = false

    func validate() throws {
        guard let program else { return }
        let text = clientText(program)
        guard text.hasPrefix("unix:") else {
            throw ValidationError("'\(program)' is no UNIX socket: allowed is unix:PATH")
        }
        _ = try readEndpoint(text) { text throws(EndpointError) in
            try ClientEndpoint(parsing: text)
        }
    }

    func run() throws {
        var findings: [Finding] = []
        if let program {
            try reportingErrors(asJSON: json) {
                let endpoint = try ClientEndpoint(parsing: clientText(program))
                findings = Finding.of(try ProgramAnswer.ask(endpoint))
            }
        } else {
            findings = Finding.ofThisMachine()
        }
        if json {
            try printJSON(findings)
        } else {
            for finding in findings { print(finding.line) }
        }
        let worst = findings.map(\.verdict).max() ?? .ok
        if worst == .bad || strict && worst == .note { throw ExitCode.failure }
    }
}
