// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc

/// A program of this package as a child process, with pipes to its three standard streams.
final class Program {
    private let identifier: pid_t
    private let input: Int32
    private let output: Int32
    private let errors: Int32

    /// Starts it.
    ///
    /// `variables`: Of the environment, as in "NAME=value", besides those that the test has.
    init(_ name: String, _ arguments: [String], variables: [String] = []) throws {
        var pipes: [[Int32]] = [[0, 0], [0, 0], [0, 0]]
        for index in 0..<3 {
            precondition(pipe(&pipes[index]) == 0)
            for end in pipes[index] { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, pipes[0][0], 0)
        posix_spawn_file_actions_adddup2(&actions, pipes[1][1], 1)
        posix_spawn_file_actions_adddup2(&actions, pipes[2][1], 2)
        // The threads that run tests block signals, and a child inherits that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let words = ([name] + arguments).map { strdup($0) } + [nil]
        defer { words.forEach { free($0) } }
        var environment = variables.map { strdup($0) }
        defer { environment.forEach { free($0) } }
        var inherited = environ
        while let variable = inherited.pointee {
            environment.append(strdup(variable))
            inherited += 1
        }
        var child: pid_t = 0
        let code = posix_spawn(
            &child, Self.folder + "/" + name, &actions, &attributes, words, environment + [nil])
        precondition(code == 0, "cannot start \(name): \(code)")
        identifier = child
        input = pipes[0][1]
        output = pipes[1][0]
        errors = pipes[2][0]
        for descriptor in [pipes[0][0], pipes[1][1], pipes[2][1]] { close(descriptor) }
    }

    /// Where the build put the programs, which is where it put this test.
    private static var folder: String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        let path = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return String(path[..<path.lastIndex(of: "/")!])
    }

    /// Writes to standard input.
    func write(_ text: String) { _ = Glibc.write(input, text, text.utf8.count) }

    /// Ends standard input.
    func endInput() { close(input) }

    /// Reads one line of standard output.
    func readLine() -> String {
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while read(output, &byte, 1) == 1, byte != UInt8(ascii: "\n") { line.append(byte) }
        return String(decoding: line, as: UTF8.self)
    }

    /// Reads one byte of standard output, as text.
    func readByte() -> String {
        var byte: UInt8 = 0
        return read(output, &byte, 1) == 1 ? String(UnicodeScalar(byte)) : ""
    }

    /// Reads standard output to its end.
    func readOutput() -> String { Self.readAll(output) }

    /// Reads standard error to its end.
    func readErrors() -> String { Self.readAll(errors) }

    private static func readAll(_ descriptor: Int32) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
        }
    }

    /// Sends a signal.
    func signal(_ number: Int32) { kill(identifier, number) }

    /// Waits for the end: the exit status, or the negative number of the signal.
    func wait() -> Int32 {
        var status: Int32 = 0
        while waitpid(identifier, &status, 0) < 0, errno == EINTR {}
        for descriptor in [output, errors] { close(descriptor) }
        let number = status & 0x7f
        return number == 0 ? (status >> 8) & 0xff : -number
    }
}
