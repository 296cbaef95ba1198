// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing

/// What `torsion new` writes; `make new-program` builds it.
@Suite struct NewCommandTests {
    /// Runs the command in a folder of its own.
    private func run(_ arguments: String, in folder: String) throws -> (String, String, Int32) {
        let script = "cd \(folder) && exec \(Program.folder)/torsion new \(arguments)"
        let program = try Program(path: "sh", ["-c", script])
        program.endInput()
        let output = program.readOutput()
        let errors = program.readErrors()
        return (output, errors, program.wait())
    }

    private func withFolder(_ body: (String) throws -> Void) throws {
        var template = Array("/tmp/torsion-new-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) }
        let folder = String(cString: try #require(made))
        defer { _ = try? Program(path: "rm", ["-rf", folder]).wait() }
        try body(folder)
    }

    @Test func `a package is written, and never over a folder that is there`() throws {
        try withFolder { folder in
            let (output, errors, status) = try run("my-server", in: folder)
            #expect(output == "made my-server: cd my-server && swift run\n")
            #expect(errors == "" && status == 0)
            for path in [
                "Package.swift", "Sources/my-server/main.swift", "Sources/my-server/Echo.swift",
                "Tests/my_serverTests/EchoTests.swift", "Dockerfile", ".gitignore",
            ] { #expect(access("\(folder)/my-server/\(path)", R_OK) == 0, "\(path)") }
            let again = try run("my-server", in: folder)
            #expect(again.1 == "cannot make my-server: File exists\n" && again.2 == 1)
        }
    }

    @Test(arguments: ["../x", "1st", "a/b", "''", "'a b'", "x --torsion 'a\"b'"])
    func `what is no name is refused, and nothing is written`(arguments: String) throws {
        try withFolder { folder in
            let (output, errors, status) = try run(arguments, in: folder)
            #expect(output == "" && !errors.isEmpty && status == 64)
            #expect(rmdir(folder) == 0)
        }
    }
}
