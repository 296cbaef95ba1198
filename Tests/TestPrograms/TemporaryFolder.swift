// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc

/// A folder that goes with everything in it.
public final class TemporaryFolder: Sendable {
    /// Its absolute path.
    public let path: String

    /// Makes one, below `/tmp`.
    public init() {
        var path = Array("/tmp/torsion-test-XXXXXX".utf8CString)
        precondition(mkdtemp(&path) != nil, "mkdtemp: errno \(errno)")
        self.path = String(decoding: path.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    deinit {
        for name in names { unlink(file(name)) }
        rmdir(path)
    }

    /// The path of a file in it, whether there is one or not.
    public func file(_ name: String) -> String { path + "/" + name }

    /// Writes a file, and gives its path.
    public func file(_ name: String, _ text: String) -> String {
        let path = file(name)
        let descriptor = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0o644)
        precondition(descriptor >= 0, "open: errno \(errno)")
        let bytes = Array(text.utf8)
        precondition(write(descriptor, bytes, bytes.count) == bytes.count)
        close(descriptor)
        return path
    }

    /// Writes a file that can be executed, and gives its path.
    ///
    /// By another process: a child that some other test starts while a file is open for writing here
    /// has it open as well for a moment, and then nobody can execute it (`ETXTBSY`).
    public func program(_ name: String, _ text: String) throws -> String {
        let source = file(name + ".text", text)
        let install = try Program(path: "install", ["-m", "755", source, file(name)])
        guard install.wait() == 0 else { throw CallFailure(call: "install \(name)", code: EIO) }
        return file(name)
    }

    /// What is in it, in order.
    public var names: [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}
