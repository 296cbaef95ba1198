// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Glibc

/// `torsion new`: a package to begin with.
struct NewCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "new",
        abstract: "Write a package with a server, its test and a Dockerfile.",
        discussion: """
            In the new folder, `swift run` starts the server, and `swift test` tests it. Files that \
            exist are left alone: the folder must not be there yet.
            """)

    @Argument(help: "The package's name, and the folder's: letters, digits, - and _.")
    var name: String

    @Option(
        help: ArgumentHelp(
            "Where Torsion is: a path from the new folder, or an address to clone.",
            valueName: "place"))
    var torsion = "../torsion"

    @Flag(help: "Print an object: made, files; or error.")
    var json = false

    private struct Made: Encodable {
        let made: String
        let files: [String]
    }

    func validate() throws {
        let first = name.utf8.first ?? 0
        let isLetter = UInt8(ascii: "a")...UInt8(ascii: "z") ~= first | 0x20
        let isName = name.utf8.allSatisfy { byte in
            UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20
                || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
                || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
        }
        guard isLetter, isName, name.utf8.count <= 64 else {
            throw ValidationError(
                "'\(name)' is no name: need a letter, then letters, digits, - and _, 64 at most")
        }
        guard !torsion.isEmpty, !torsion.contains("\""), !torsion.contains("\\"),
            !torsion.contains("\n")
        else { throw ValidationError("'\(torsion)' is neither a path nor an address") }
    }

    func run() throws {
        let package = NewPackage(name: name, torsion: torsion)
        try reportingErrors(asJSON: json) {
            try makeFolder(name)
            for folder in package.folders { try makeFolder("\(name)/\(folder)") }
            for (path, text) in package.files { try writeFile("\(name)/\(path)", text) }
        }
        if json { return try printJSON(Made(made: name, files: package.files.map(\.0).sorted())) }
        print("made \(name): cd \(name) && swift run")
    }

    private struct WriteFailure: Error, CustomStringConvertible {
        let description: String
        init(_ path: String, _ code: Int32) {
            description = "cannot make \(path): \(String(cString: strerror(code)))"
        }
    }

    private func makeFolder(_ path: String) throws {
        guard mkdir(path, 0o777) == 0 else { throw WriteFailure(path, errno) }
    }

    private func writeFile(_ path: String, _ text: String) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw WriteFailure(path, errno) }
        defer { close(file) }
        let bytes = Array(text.utf8)
        var start = 0
        while start < bytes.count {
            let count = bytes[start...].withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            guard count > 0 else { throw WriteFailure(path, count < 0 ? errno : ENOSPC) }
            start += count
        }
    }
}
