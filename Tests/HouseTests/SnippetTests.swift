// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing

private let page = "Sources/A/A.docc/Page.md"

private func tree(_ block: String) throws -> Tree {
    let tree = try Tree()
    try tree.write(
        "func f() {\n    // snippet: one\n    g()\n    // snippet end\n}\n", to: "A.swift")
    try tree.write(block, to: page)
    return tree
}

@Test func `the guides show code that is compiled`() throws {
    let outcome = try run("snippets", ["check"])
    #expect(outcome.status == 0, "\(outcome.output)")
}

@Test func `a block that is not its snippet is refused, and written`() throws {
    let tree = try tree("<!-- snippet: A.swift one -->\n```swift\nh()\n```\n")
    #expect(try run("snippets", ["check", tree.root]).output.contains("-g()\n+h()"))
    #expect(try run("snippets", ["check", tree.root]).status == 1)

    #expect(try run("snippets", ["write", tree.root]).status == 0)
    #expect(try run("snippets", ["check", tree.root]).status == 0)
}

@Test func `a block without its snippet, and a snippet that is not there, are refused`() throws {
    let bare = try tree("```swift\nh()\n```\n")
    #expect(try run("snippets", ["check", bare.root]).output.contains("a block of Swift without"))
    let gone = try tree("<!-- snippet: A.swift two -->\n```swift\n```\n")
    let outcome = try run("snippets", ["check", gone.root])
    #expect(outcome.status == 1)
    #expect(outcome.output.contains("there is no snippet \"two\" in A.swift"))
}
