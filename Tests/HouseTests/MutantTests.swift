// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Glibc
import Testing

/// `make mutants` takes minutes; that its patches have not been left behind shows at once.
@Test func `every mutant still applies to the engine`() throws {
    let outcome = try run("run-mutants", ["check"])
    #expect(outcome.status == 0, "\(outcome.output)")
}

@Test func `the table of mutants has each of them once, and no other`() throws {
    let folder = repository + "/Tests/Mutants"
    let listed = try readText(folder + "/README.md").split(separator: "\n")
        .filter { $0.hasPrefix("| `") }
        .compactMap { line in line.split(separator: "`").dropFirst().first.map(String.init) }
    #expect(try listed == patches(in: folder))
}

/// The names of the patches of a folder, in order.
private func patches(in folder: String) throws -> [String] {
    guard let handle = opendir(folder) else {
        throw ScriptFailure(call: "opendir \(folder)", code: errno)
    }
    defer { closedir(handle) }
    var names: [String] = []
    while let entry = readdir(handle) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name.hasSuffix(".patch") { names.append(String(name.dropLast(6))) }
    }
    return names.sorted()
}
