// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

/// What `torsion doctor` finds.
@Suite struct DoctorTests {
    /// The lines of a command that a shell starts, and its status.
    private func diagnose(
        behind preparation: String = "true", _ option: String = ""
    ) throws -> (lines: [String], status: Int32) {
        let tool = "\(Program.folder)/torsion"
        let program = try Program(
            path: "/bin/sh", ["-c", "\(preparation) && exec \"$0\" doctor \(option)", tool])
        let lines = program.readOutput().split(separator: "\n").map(String.init)
        return (lines, program.wait())
    }

    @Test func `it names what limits a server, and why`() throws {
        let (lines, status) = try diagnose()
        for name in [
            "kernel", "C library", "backend libuv", "libuv", "backend epoll", "backend io_uring",
            "liburing", "OpenSSL", "zlib", "io_uring permission", "descriptors",
            "net.core.somaxconn",
        ] {
            #expect(lines.contains { $0.dropFirst(5).hasPrefix("\(name): ") }, "\(name): \(lines)")
        }
        for line in lines {
            #expect(["ok   ", "note ", "bad  "].contains { line.hasPrefix($0) }, "\(line)")
            #expect(line.contains(" (") && line.hasSuffix(")"), "says no reason: \(line)")
        }
        #expect(status == 0)
    }

    @Test func `few descriptors are a note, and end it with status 1 where that was asked for`()
        throws
    {
        let (lines, status) = try diagnose(behind: "ulimit -n 64")
        #expect(lines.contains { $0.hasPrefix("note descriptors: 64, at most 64 (") }, "\(lines)")
        #expect(status == 0)
        #expect(try diagnose(behind: "ulimit -n 64", "--strict").status == 1)
    }

    @Test func `programs get the same as an array of objects`() throws {
        let (lines, status) = try diagnose("--json")
        let text = try #require(lines.first)
        #expect(lines.count == 1 && text.hasPrefix("[{") && text.hasSuffix("}]"))
        let count = try diagnose().lines.count
        for key in ["name", "value", "verdict", "reason"] {
            #expect(text.split(separator: "\"\(key)\":").count == count + 1)
        }
        #expect(status == 0)
    }
}
