// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing

/// A file of Tests/Compile.
struct Sample: Sendable, CustomTestStringConvertible {
    let path: String

    var name: String { String(path[path.index(after: path.lastIndex(of: "/")!)...].dropLast(6)) }

    /// Whether it is a `main.swift`, and not a file among others.
    var isTopLevel: Bool {
        name.hasPrefix("TopLevel") || isProgram && !text.contains("\n@main\n")
    }

    private var isProgram: Bool { path.contains("/traps/") || path.contains("/runs/") }

    var testDescription: String { name }

    /// The folder with the manifest, found from this file's own place.
    static let repository = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()

    static func all(in folder: String) -> [Sample] {
        let place = "\(repository)/Tests/Compile/\(folder)"
        let files = (try? names(in: place).filter { $0.hasSuffix(".swift") }) ?? []
        return files.map { Sample(path: "\(place)/\($0)") }
    }

    /// What stands behind each `// expect:`, and on which line.
    var expectations: [(line: Int, text: String)] {
        text.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
            .compactMap { index, line in
                guard let mark = line.firstRange(of: "// expect: ") else { return nil }
                return (index + 1, String(line[mark.upperBound...]))
            }
    }

    private var text: String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        return String(decoding: bytes[..<fread(&bytes, 1, bytes.count, file)], as: UTF8.self)
    }
}
