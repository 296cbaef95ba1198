// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing

@Test func `the pages show the files that they name and link to what there is`() throws {
    let outcome = try run("check-readme")
    #expect(outcome.status == 0, "\(outcome.output)")
}

@Test func `a block that differs from its file is refused`() throws {
    let tree = try Tree()
    try tree.write("// SPDX-License-Identifier: Apache-2.0\n\nlet a = 1\n", to: "Echo.swift")

    try tree.write("```swift Echo.swift\nlet a = 1\n```\n", to: "README.md")
    #expect(try run("check-readme", [tree.root]).status == 0)

    try tree.write("```swift Echo.swift\nlet a = 2\n```\n", to: "README.md")
    let outcome = try run("check-readme", [tree.root])
    #expect(outcome.status == 1)
    #expect(outcome.output.contains("README.md:1: the block is not Echo.swift"))
}

@Test func `an invariant that names a test which is not there is refused`() throws {
    let tree = try Tree()
    try tree.write("@Suite struct FlowTests {}\n", to: "Tests/A/FlowTests.swift")
    try tree.write("    static let closing: Check\n", to: "Sources/TorsionTesting/A.swift")
    try tree.write(
        """
        ## Invariants

        - **A:** is held. *`FlowTests`, `ConformanceSuite.closing`.*
        - **B:** is not. *`FlawTests`; `.opening`: "every handle is shut".*

        """, to: "ARCHITECTURE.md")

    let outcome = try run("check-readme", [tree.root])

    #expect(outcome.status == 1)
    let missing = ["FlawTests", ".opening", "every handle is shut"]
    #expect(
        outcome.output
            == missing.map { "ARCHITECTURE.md:4: nothing is called \($0)\n" }.joined())
}

@Test func `a link that leads nowhere is refused`() throws {
    let tree = try Tree()
    try tree.write("[a](https://example.org) [b](#here)\n[c](gone.md#there)\n", to: "README.md")

    let outcome = try run("check-readme", [tree.root])

    #expect(outcome.status == 1)
    #expect(outcome.output == "README.md:2: the link leads nowhere: gone.md\n")
}
