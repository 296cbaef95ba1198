// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing

@Test func `a package that links Torsion resolves no other`() throws {
    let outcome = try run("check-dependencies")
    #expect(outcome.status == 0, "\(outcome.output)")
}

@Test func `a package that would make its users resolve another is refused`() throws {
    let tree = try Tree()
    let manifest = """
        // swift-tools-version: 6.2
        import PackageDescription
        let package = Package(
            name: "NAME",
            products: [.library(name: "NAME", targets: ["NAME"])],
            dependencies: [DEPENDENCIES],
            targets: [.target(name: "NAME", dependencies: [TARGETS], path: ".")])
        """
    func write(_ name: String, dependencies: String, targets: String) throws {
        let text = manifest.replacing("NAME", with: name)
            .replacing("DEPENDENCIES", with: dependencies).replacing("TARGETS", with: targets)
        try tree.write(text, to: "\(name)/Package.swift")
        try tree.write("", to: "\(name)/\(name).swift")
    }
    try write("Parser", dependencies: "", targets: "")
    try write(
        "Torsion", dependencies: ".package(path: \"../Parser\")",
        targets: ".product(name: \"Parser\", package: \"Parser\")")

    let outcome = try run("check-dependencies", [tree.root + "/Torsion"])

    #expect(outcome.status == 1)
    #expect(outcome.output.contains("resolves others"), "\(outcome.output)")
    #expect(outcome.output.contains("parser<"), "\(outcome.output)")
}
