// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing

@Test func `the README, the guides, the book and the comments are plain enough`() throws {
    let outcome = try run("english")
    #expect(outcome.status == 0, "\(outcome.output)")
}

@Test func `a page of clauses, of negations or of odd words is refused`() throws {
    let refusals = [
        (
            "What is queued leaves. The rest waits.",
            "a clause as the subject: What is"
        ),
        ("Nothing is copied here, and all is well.", "\"nothing\""),
        ("It mends the peer's end.", "\"mends\" has a plainer word"),
        ("The bytes are kept for ever.", "\"for ever.\" has a plainer word"),
    ]
    for (text, complaint) in refusals {
        let tree = try Tree()
        try tree.write("# Page\n\n\(text)\n", to: "README.md")
        let outcome = try run("english", [tree.root])
        #expect(outcome.status == 1, "\(text)")
        #expect(outcome.output.contains(complaint), "\(outcome.output)")
    }
}

@Test func `comments of what is public are measured, and those of a file's own are not`() throws {
    let tree = try Tree()
    let path = "Sources/A/Queue.swift"
    let comment = "/// What is queued leaves, and nothing waits.\n"
    let refused = [
        "public struct Queue {\n    \(comment)    public func flush() {}\n}\n",
        "public protocol Queue {\n    \(comment)    func flush()\n}\n",
        "public enum Queue {\n    \(comment)    case empty\n}\n",
        "\(comment)@frozen\npublic struct Queue {}\n",
    ]
    for source in refused {
        try tree.write(source, to: path)
        let outcome = try run("english", [tree.root])
        #expect(outcome.status == 1, "\(source)")
        #expect(outcome.output.contains("a clause as the subject: What is"), "\(outcome.output)")
        #expect(outcome.output.contains("\"nothing\""), "\(outcome.output)")
    }
    let accepted = [
        "struct Queue {\n    \(comment)    func flush() {}\n}\n",
        "/// A queue.\n///\n/// - Returns: What `body` returns.\n"
            + "/// - Parameter byte: What to look for.\npublic func find() {}\n",
        "/// A queue.\n///\n///     // What is queued leaves, and nothing waits.\npublic struct Queue {}\n",
    ]
    for source in accepted {
        try tree.write(source, to: path)
        let outcome = try run("english", [tree.root])
        #expect(outcome.status == 0, "\(outcome.output)")
    }
}

@Test func `a question, a heading and code may say what they like`() throws {
    let tree = try Tree()
    try tree.write(
        "# What it does\n\nWhat does it cost? It is free, for every program, of `nothing`.\n\n"
            + "```text\nWhat is queued leaves. Nothing else.\n```\n",
        to: "README.md")
    let outcome = try run("english", [tree.root])
    #expect(outcome.status == 0, "\(outcome.output)")
}

@Test func `a guide that does not speak to its reader is refused`() throws {
    let tree = try Tree()
    let page = "Sources/A/A.docc/Page.md"
    try tree.write("# Page\n\nThe closing of connections.\n", to: page)
    let outcome = try run("english", [tree.root])
    #expect(outcome.status == 1)
    #expect(outcome.output.contains("Page.md:3: the first paragraph"), "\(outcome.output)")
    try tree.write("# Page\n\nYou close connections.\n", to: page)
    #expect(try run("english", [tree.root]).status == 0)
}
