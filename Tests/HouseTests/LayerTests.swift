// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing

private let header = """
    // SPDX-License-Identifier: Apache-2.0
    // SPDX-FileCopyrightText: the Torsion authors

    """

/// One file that must be refused, and a piece of the sentence that says why.
struct Offence: Sendable, CustomTestStringConvertible {
    var path: String
    var text: String
    var complaint: String
    var testDescription: String { "\(path): \(text)" }

    init(_ path: String, _ text: String, _ complaint: String) {
        self.path = path
        self.text = text
        self.complaint = complaint
    }

    static let all = [
        Offence("Sources/TorsionCore/A.swift", "import Foundation", "must not import Foundation"),
        Offence("Sources/TorsionCore/A.swift", "import Glibc", "must not import Glibc"),
        Offence(
            "Sources/TorsionSockets/A.swift", "let flags = MSG_NOSIGNAL", "a file marked for it"),
        Offence(
            "Sources/TorsionSockets/A.swift", "let all = IP_MULTICAST_ALL", "a file marked for it"),
        Offence("Sources/TorsionUV/A.swift", "#if os(Linux)\n#endif", "a file marked for it"),
        Offence("Sources/TorsionCore/A.swift", "import Dispatch", "must not import Dispatch"),
        Offence(
            "Sources/TorsionCore/Timers/A.swift", "internal import struct Foundation.Date",
            "must not import Foundation"),
        Offence("Sources/TorsionProtocols/A.swift", "import TorsionUV", "must not import"),
        Offence("Sources/TorsionEpoll/A.swift", "import TorsionUV", "must not import"),
        Offence("Sources/TorsionUV/A.swift", "internal import CUV", "no Swift file imports CUV"),
        Offence("Tests/TorsionUVTests/A.swift", "import CUV", "no Swift file imports CUV"),
        Offence("Sources/TorsionUV/A.swift", "public import CTorsionUV", "imported internally"),
        Offence("Sources/TorsionTesting/A.swift", "import Glibc", "must not import Glibc"),
        Offence("Sources/TorsionTesting/A.swift", "import Testing", "must not import Testing"),
        Offence("Sources/TorsionCore/A.swift", "@_exported import CTorsionCore", "re-exports"),
        Offence("Sources/Unheard/A.swift", "let a = 1", "no row for Sources/Unheard"),
        Offence("Tool/Sources/TorsionTool/A.swift", "import TorsionUV", "must not import"),
        Offence("Tool/Tests/ToolTests/A.swift", "import Foundation", "tests do without"),
        Offence("Sources/TorsionCore/Utils/A.swift", "let a = 1", "a folder is one idea"),
        Offence("Sources/TorsionCore/A.swift", "final class LoopManager {}", "LoopManager"),
        Offence("Sources/TorsionCore/A.swift", "let a = ContinuousClock.now", "no clock"),
        Offence("Sources/TorsionCore/A.swift", "let a = Int.random(in: 0..<9)", "no dice"),
        Offence("Sources/TorsionCore/A.swift", "#if os(Linux)\n#endif", "conditional compilation"),
        Offence("Sources/Torsion/A.swift", "@testable import TorsionCore", "only tests"),
        Offence("Tests/TorsionUVTests/A.swift", "@testable import TorsionCore", "own tests"),
        Offence("Tests/TorsionUVTests/A.swift", "import Foundation", "tests do without"),
        Offence("Sources/TorsionCore/A.swift", "// F" + "IXME", "never lands"),
        Offence("Sources/TorsionCore/A.swift", "// T" + "ODO: later", "needs an issue"),
        Offence("CShims/CTorsionCore/a.h", "#include <uv.h>", "shims over libuv"),
        Offence("CShims/CTorsionCore/a.c", "int f(int a) { return 0; }", "compile cleanly"),
    ]
}

@Test func `the repository keeps its layers`() throws {
    let outcome = try run("lint-layers")
    #expect(outcome.status == 0, "\(outcome.output)")
}

@Test(arguments: Offence.all)
func `a file that breaks a layer is refused by name and line`(offence: Offence) throws {
    let tree = try Tree()
    try tree.write(header + offence.text + "\n", to: offence.path)

    let outcome = try run("lint-layers", [tree.root])

    #expect(outcome.status == 1)
    #expect(outcome.output.contains(offence.complaint), "\(outcome.output)")
    #expect(outcome.output.hasPrefix(offence.path + ":"), "\(outcome.output)")
}

@Test(arguments: [
    ("Sources/TorsionCore/A.swift", "internal import Synchronization\nimport CTorsionCore"),
    ("Sources/TorsionCore/A.swift", "/// import Foundation\n/*\nimport Glibc\n*/\nlet a = 1"),
    ("Sources/TorsionCore/A.swift", "let a = Int.random(in: 0..<9, using: &generator)"),
    ("Sources/TorsionCore/A.swift", "// T" + "ODO(#12): later"),
    ("Sources/TorsionTesting/Platform/A.swift", "internal import Glibc"),
    ("Sources/TorsionUV/A.swift", "public import TorsionCore\ninternal import CTorsionUV"),
    ("Sources/Torsion/A.swift", "@_exported public import TorsionCore"),
    ("Sources/Examples/Echo/A.swift", "import Torsion"),
    ("Tests/TorsionCoreTests/A.swift", "import Testing\n@testable import TorsionCore"),
])
func `a file that keeps its layer passes`(path: String, text: String) throws {
    let tree = try Tree()
    try tree.write(header + text + "\n", to: path)

    let outcome = try run("lint-layers", [tree.root])

    #expect(outcome.status == 0, "\(outcome.output)")
}

@Test func `a file without its licence is refused`() throws {
    let tree = try Tree()
    try tree.write("let a = 1\n", to: "Sources/TorsionCore/A.swift")

    let outcome = try run("lint-layers", [tree.root])

    #expect(outcome.status == 1)
    #expect(outcome.output.contains("SPDX"), "\(outcome.output)")
}
