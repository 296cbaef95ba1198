// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Glibc
import Testing

/// `make fuzz` takes what lies in the folder; that nothing was left out shows here.
@Suite struct FuzzTests {
    private func names(in folder: String) throws -> [String] {
        guard let entries = opendir(repository + "/" + folder) else {
            throw ScriptFailure(call: "opendir \(folder)", code: errno)
        }
        defer { closedir(entries) }
        var names: [String] = []
        while let entry = readdir(entries) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    @Test func `every decoder is fuzzed, and every target has seeds`() throws {
        let folder = "Sources/TorsionProtocols"
        let decoders = try names(in: folder)
            .filter { !$0.hasSuffix(".swift") }
            .flatMap { try names(in: folder + "/" + $0) }
            .filter { $0.hasSuffix("Decoder.swift") }
            .map { String($0.dropLast(".swift".count)) }
        #expect(decoders.count >= 3)
        let targets = try names(in: "Tests/Fuzz/Targets")
        let texts = try targets.map { try readText(repository + "/Tests/Fuzz/Targets/" + $0) }
        for decoder in decoders {
            #expect(texts.contains { $0.contains(decoder + "(") }, "\(decoder) has no target")
        }
        let seeded = try names(in: "Tests/Fuzz/Seeds")
        #expect(seeded == targets.map { String($0.dropLast(".swift".count)) })
        for name in seeded { #expect(try !names(in: "Tests/Fuzz/Seeds/" + name).isEmpty) }
    }
}
