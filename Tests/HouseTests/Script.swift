// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Glibc

/// What a script printed, both streams together, and how it ended.
struct Outcome {
    var status: Int32
    var output: String
}

/// The folder with the manifest, found from this file's own place.
let repository = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()

/// Runs one of the repository's scripts and waits for its end.
///
/// `environment` is all that the script sees; nothing is inherited.
func run(
    _ script: String, _ arguments: [String] = [],
    environment: [String] = ["PATH=\(environmentPath)"]
) throws -> Outcome {
    let folder = try Tree()
    let log = folder.place("log")
    let status = try execute(
        [repository + "/scripts/" + script] + arguments, environment: environment, log: log)
    return Outcome(status: status, output: try readText(log))
}

/// Runs a program whose output goes to a file, and waits for its end.
private func execute(_ words: [String], environment: [String], log: String) throws -> Int32 {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)

    var child = pid_t()
    let failure = withCStrings(words) { argv in
        withCStrings(environment) { envp in
            posix_spawnp(&child, words[0], &actions, nil, argv, envp)
        }
    }
    guard failure == 0 else { throw ScriptFailure(call: "posix_spawn", code: failure) }

    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 {
        guard errno == EINTR else { throw ScriptFailure(call: "waitpid", code: errno) }
    }
    // WEXITSTATUS is a macro that Swift does not import; a signal's number is in the low bits.
    return (status >> 8) & 0xff | status & 0x7f
}

/// A system call that a test needs and that failed.
struct ScriptFailure: Error {
    var call: String
    var code: Int32
}

/// A folder for one test, removed with everything in it when the last reference goes.
final class Tree {
    let root: String
    private var made: [String] = []

    init() throws {
        var template = Array("/tmp/torsion-house-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw ScriptFailure(call: "mkdtemp", code: errno) }
        root = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    deinit {
        // Newest first, so that a folder is empty when its turn comes.
        for path in made.reversed() { remove(path) }
        remove(root)
    }

    /// The full path of `path`, which is removed with the tree.
    func place(_ path: String) -> String {
        made.append(root + "/" + path)
        return root + "/" + path
    }

    /// Writes a program to `path`.
    ///
    /// By another process: a child that some other test starts while a file is open for writing here
    /// has it open as well for a moment, and then nobody can execute it (`ETXTBSY`).
    func write(program text: String, to path: String) throws {
        try write(text, to: path + ".text")
        let words = ["install", "-m", "755", "\(root)/\(path).text", place(path)]
        let status = try execute(
            words, environment: ["PATH=\(environmentPath)"], log: place(path + ".log"))
        guard status == 0 else { throw ScriptFailure(call: "install", code: status) }
    }

    /// Writes `text` to `path`, and makes the folders above it.
    func write(_ text: String, to path: String) throws {
        let names = path.split(separator: "/")
        for depth in 1..<max(names.count, 1) {
            mkdir(place(names.prefix(depth).joined(separator: "/")), 0o755)
        }
        let descriptor = open(place(path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw ScriptFailure(call: "open", code: errno) }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw ScriptFailure(call: "write", code: errno)
        }
    }

    /// Puts a link to each of these commands into the tree's folder `bin`.
    func link(_ commands: [String]) throws {
        mkdir(place("bin"), 0o755)
        for command in commands {
            let folders = environmentPath.split(separator: ":")
            let candidates = folders.map { "\($0)/\(command)" as String }
            guard let found = candidates.first(where: { access($0, X_OK) == 0 }) else {
                throw ScriptFailure(call: "access \(command)", code: ENOENT)
            }
            symlink(found, place("bin/" + command))
        }
    }
}

let environmentPath = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"

func readText(_ path: String) throws -> String {
    let descriptor = open(path, O_RDONLY)
    guard descriptor >= 0 else { throw ScriptFailure(call: "open", code: errno) }
    defer { close(descriptor) }
    var text: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        guard count > 0 else { return String(decoding: text, as: UTF8.self) }
        text += chunk[..<count]
    }
}

private func withCStrings<Result>(
    _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
) -> Result {
    let copies = strings.map { strdup($0) }
    defer { copies.forEach { free($0) } }
    return body(copies + [nil])
}
