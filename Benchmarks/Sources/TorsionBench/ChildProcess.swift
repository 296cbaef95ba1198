// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import FoundationEssentials
import Glibc

/// Why a measurement could not be made.
struct BenchError: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}

/// A program that was started here, with its standard output on a pipe and its standard error in a
/// file that is quoted when something fails.
final class ChildProcess {
    let pid: pid_t
    private let name: String
    private let output: CInt
    private let errors: CInt
    private var pending: [UInt8] = []
    private var status: CInt?

    init(_ command: [String], environment extra: [String: String] = [:]) throws {
        name = command.joined(separator: " ")
        var ends: [CInt] = [0, 0]
        guard pipe(&ends) == 0 else { throw BenchError("pipe: errno \(errno)") }
        output = ends[0]
        errors = try makeUnnamedFile()
        // Set after the fact: the harness has one thread, so no child can be started in between.
        for descriptor in ends + [errors] { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[1]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_adddup2(&actions, errors, 2)
        let environment = ProcessInfo.processInfo.environment.merging(extra) { $1 }
        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] =
            environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for string in arguments + variables { free(string) } }
        var child: pid_t = 0
        let code = posix_spawnp(&child, command[0], &actions, nil, &arguments, &variables)
        guard code == 0 else {
            close(output)
            close(errors)
            throw BenchError("cannot start \(command[0]): \(String(cString: strerror(code)))")
        }
        pid = child
    }

    deinit {
        if status == nil { _ = stop(within: .zero) }
        close(output)
        close(errors)
    }

    /// Returns the first line of the output.
    func readLine(within limit: Duration) throws -> String {
        let end = ContinuousClock.now + limit
        while true {
            if let newline = pending.firstIndex(of: UInt8(ascii: "\n")) {
                return String(decoding: pending[..<newline], as: UTF8.self)
            }
            let left = ContinuousClock.now.duration(to: end)
            guard left > .zero else { throw BenchError("\(name): no line within \(limit)") }
            var interest = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            let milliseconds = left.components.seconds * 1000 + 1
            guard poll(&interest, 1, CInt(clamping: milliseconds)) > 0 else { continue }
            guard try readMore() else { throw BenchError("\(name) ended early\(errorText)") }
        }
    }

    /// Returns the whole output once the program has ended by itself.
    func readToEnd() throws -> String {
        while try readMore() {}
        let status = waitForEnd()
        guard status == 0 else { throw BenchError("\(name) failed (\(status))\(errorText)") }
        return String(decoding: pending, as: UTF8.self)
    }

    /// Asks the program to end, kills it when it does not, and returns whether it was asked only.
    func stop(within limit: Duration, signalling target: pid_t? = nil) -> Bool {
        guard status == nil else { return true }
        kill(target ?? pid, SIGTERM)
        let end = ContinuousClock.now + limit
        while ContinuousClock.now < end {
            var result: CInt = 0
            if waitpid(pid, &result, WNOHANG) == pid {
                status = result
                return true
            }
            usleep(2000)
        }
        kill(target ?? pid, SIGKILL)
        kill(pid, SIGKILL)
        _ = waitForEnd()
        return false
    }

    private func waitForEnd() -> CInt {
        if let status { return status }
        var result: CInt = 0
        while waitpid(pid, &result, 0) < 0 && errno == EINTR {}
        status = result
        return result
    }

    private func readMore() throws -> Bool {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = read(output, &buffer, buffer.count)
        guard count > 0 else { return false }
        pending += buffer[..<count]
        return true
    }

    private var errorText: String {
        lseek(errors, 0, SEEK_SET)
        let text = readRest(of: errors)
        return text.isEmpty
            ? "" : ": " + text.split(separator: "\n").suffix(3).joined(separator: " / ")
    }
}

/// Returns what a small file or an entry of /proc holds.
func readText(_ path: String) throws -> String {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw BenchError("cannot open \(path): errno \(errno)") }
    defer { close(file) }
    return readRest(of: file)
}

private func readRest(of file: CInt) -> String {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = read(file, &buffer, buffer.count)
        guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
        bytes += buffer[..<count]
    }
}

/// Opens a file that is gone when it is closed: a pipe's bound would stop a talkative program.
private func makeUnnamedFile() throws -> CInt {
    var path = Array(".build/bench/stderr.XXXXXX".utf8CString)
    let file = mkstemp(&path)
    guard file >= 0 else { throw BenchError("cannot make a file in .build/bench: errno \(errno)") }
    unlink(path)
    return file
}
