// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import FoundationEssentials
import Testing

/// What `torsion doctor` finds.
@Suite struct DoctorTests {
    private struct Finding: Decodable {
        let name: String
        let value: String
        let verdict: String
        let reason: String
    }

    /// The findings as JSON of a command that a shell starts, and its status.
    private func diagnose(
        behind preparation: String = "true", _ options: String = ""
    ) throws -> (findings: [Finding], status: Int32) {
        let tool = "\(Program.folder)/torsion"
        let program = try Program(
            path: "/bin/sh", ["-c", "\(preparation) && exec \"$0\" doctor --json \(options)", tool])
        let text = program.readOutput()
        let findings = try JSONDecoder().decode([Finding].self, from: Data(text.utf8))
        return (findings, program.wait())
    }

    @Test func `it names what limits a server, and why`() throws {
        let (findings, status) = try diagnose()
        let names = findings.map(\.name)
        for name in [
            "kernel", "C library", "backend libuv", "libuv", "backend epoll", "backend io_uring",
            "liburing", "io_uring permission", "descriptors", "net.core.somaxconn",
        ] {
            #expect(names.contains(name), "\(names)")
        }
        #expect(findings.allSatisfy { !$0.value.isEmpty && !$0.reason.isEmpty })
        #expect(status == 0)
    }

    @Test func `few descriptors are a note, and end it with status 1 where that was asked for`()
        throws
    {
        let (findings, status) = try diagnose(behind: "ulimit -n 64")
        let descriptors = try #require(findings.first { $0.name == "descriptors" })
        #expect(descriptors.value == "64, at most 64" && descriptors.verdict == "note")
        #expect(status == 0)
        #expect(try diagnose(behind: "ulimit -n 64", "--strict").status == 1)
    }

    @Test func `the text has a line a finding, with its verdict first`() throws {
        let program = try Program("torsion", ["doctor"])
        let lines = program.readOutput().split(separator: "\n")
        #expect(lines.count == (try diagnose().findings.count))
        for line in lines {
            #expect(["ok   ", "note ", "bad  "].contains { line.hasPrefix($0) }, "\(line)")
            #expect(line.hasSuffix(")"))
        }
        #expect(program.wait() == 0)
    }
}
