// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms

/// `swiftc` with the modules that this test was built with, and a user's settings.
///
/// It compiles to the end: `-typecheck` alone does not look at the lifetimes of spans.
enum Compiler {
    struct Outcome {
        let status: Int32
        let output: String
        let errors: [CompileError]
    }

    /// Compiles one file as a part of a program.
    static func compile(_ sample: Sample) throws -> Outcome {
        let folder = TemporaryFolder()
        let arguments = mode(of: sample) + ["-c", sample.path, "-o", folder.file("object")]
        let (status, output) = try run(arguments)
        return Outcome(
            status: status, output: output,
            errors: output.split(separator: "\n").compactMap { CompileError($0, in: sample.path) })
    }

    /// Compiles one file to a program, with optimisation unless told otherwise.
    ///
    /// Only the compiler opens the program for writing. A child that another test starts while a file
    /// is open for writing here has it open as well for a moment, and then nobody can execute it
    /// (`ETXTBSY`).
    static func link(
        _ sample: Sample, _ optimisation: String = "-O", in folder: TemporaryFolder
    ) throws -> String {
        let program = folder.file("program")
        let arguments =
            mode(of: sample)
            + [optimisation, "-module-name", sample.name, sample.path, "-o", program]
            + sanitizer + (try objects()) + ["-luv"]
        let (status, output) = try run(arguments)
        guard status == 0 else { throw CallFailure(call: "swiftc: \(output)", code: status) }
        return program
    }

    private static func mode(of sample: Sample) -> [String] {
        sample.isTopLevel ? [] : ["-parse-as-library"]
    }

    private static func run(_ arguments: [String]) throws -> (status: Int32, output: String) {
        let settings = [
            "-swift-version", "6", "-enable-upcoming-feature", "NonisolatedNonsendingByDefault",
            "-diagnostic-style=llvm", "-I", Program.folder + "/Modules",
        ]
        let maps = ["CTorsionCore", "CTorsionSockets", "CTorsionUV"].map {
            "\(Program.folder)/\($0).build/module.modulemap"
        }
        let shims = (maps + ["\(Sample.repository)/CShims/CUV/module.modulemap"]).flatMap {
            ["-Xcc", "-fmodule-map-file=\($0)"]
        }
        let process = try Program(path: "swiftc", settings + shims + arguments)
        let output = process.readErrors()
        return (process.wait(), output)
    }

    /// The object files of the library, which is a folder a target.
    private static func objects() throws -> [String] {
        let targets = [
            "CTorsionCore", "CTorsionSockets", "CTorsionUV", "Torsion", "TorsionCore", "TorsionDNS",
            "TorsionEpoll", "TorsionProtocols", "TorsionServices", "TorsionSockets", "TorsionUV",
        ]
        return try targets.flatMap { target in
            let folder = "\(Program.folder)/\(target).build"
            let sources = try sources(of: target)
            return try names(in: folder).filter { name in
                guard name.hasSuffix(".swift.o") else { return name.hasSuffix(".o") }
                return sources.contains(String(name.dropLast(2)))
            }
            .map { "\(folder)/\($0)" }
        }
    }

    /// The names of a target's Swift files: a source that has gone leaves its object file behind.
    private static func sources(of target: String) throws -> Set<String> {
        var sources: Set<String> = []
        var folders = ["\(Sample.repository)/Sources/\(target)"]
        while let folder = folders.popLast() {
            guard let entries = try? names(in: folder) else { continue }
            for name in entries where !name.hasPrefix(".") {
                if name.hasSuffix(".swift") {
                    sources.insert(name)
                } else {
                    folders.append("\(folder)/\(name)")
                }
            }
        }
        return sources
    }

    /// A library that was built with a sanitizer needs its runtime.
    private static var sanitizer: [String] {
        let names = [("thread", "__tsan_init"), ("address", "__asan_init")]
        let found = names.first { dlsym(nil, $0.1) != nil }
        return found.map { ["-sanitize=\($0.0)", "-use-ld=lld"] } ?? []
    }
}

/// One error that the compiler printed: `path:line:column: error: text`.
struct CompileError: CustomStringConvertible {
    let line: Int
    let description: String

    init?(_ text: Substring, in path: String) {
        guard text.hasPrefix(path + ":"), text.contains(": error: ") else { return nil }
        guard let line = Int(text.dropFirst(path.count + 1).prefix { $0 != ":" }) else {
            return nil
        }
        self.line = line
        description = String(text.dropFirst(path.count + 1))
    }
}

/// The names in a folder, sorted.
func names(in folder: String) throws -> [String] {
    guard let stream = opendir(folder) else {
        throw CallFailure(call: "opendir \(folder)", code: errno)
    }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        names.append(
            withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            })
    }
    return names.sorted()
}
