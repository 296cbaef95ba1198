// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc

/// A program as a child process, with pipes to its three standard streams.
public final class Program {
    private let identifier: pid_t
    private let input: Int32
    private let output: Int32
    private let errors: Int32

    /// Starts a program of this package.
    public convenience init(
        _ name: String, _ arguments: [String] = [], environment: [String] = [],
        hasTerminal: Bool = false
    ) throws {
        try self.init(
            path: Self.folder + "/" + name, arguments, environment: environment,
            hasTerminal: hasTerminal)
    }

    /// Starts any program; a name without a slash is looked for on the `PATH`.
    ///
    /// `environment`: `NAME=value` words, ahead of what is inherited.
    /// `hasTerminal`: Standard output is a terminal, as a person has it: each line comes at once.
    public init(
        path: String, _ arguments: [String], environment: [String] = [], hasTerminal: Bool = false
    ) throws {
        let streams = try [makePipe(), hasTerminal ? makeTerminal() : makePipe(), makePipe()]
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, streams[0].read, 0)
        posix_spawn_file_actions_adddup2(&actions, streams[1].write, 1)
        posix_spawn_file_actions_adddup2(&actions, streams[2].write, 2)
        // The threads that run tests block signals, the engine ignores SIGPIPE, and a child inherits
        // that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        var brokenPipe = sigset_t()
        sigemptyset(&brokenPipe)
        sigaddset(&brokenPipe, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &brokenPipe)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        let words = ([path] + arguments).map { strdup($0) } + [nil]
        // The runtime's account of a crash takes seconds, and has been seen to wait for ever for a
        // program that the address sanitizer had ended, holding our end of its standard error.
        let own = (environment + ["SWIFT_BACKTRACE=enable=no"]).map { strdup($0) }
        defer { (words + own).forEach { free($0) } }
        var child: pid_t = 0
        let code = posix_spawnp(
            &child, path, &actions, &attributes, words, own + inheritedEnvironment + [nil])
        guard code == 0 else { throw CallFailure(call: "posix_spawn \(path)", code: code) }
        identifier = child
        input = streams[0].write
        output = streams[1].read
        errors = streams[2].read
        for end in [streams[0].read, streams[1].write, streams[2].write] { close(end) }
    }

    /// Where the build put the programs, which is where it put this test.
    public static var folder: String {
        let path = target(ofLink: "/proc/self/exe")
        return String(path[..<path.lastIndex(of: "/")!])
    }

    /// Writes to standard input.
    public func write(_ text: String) {
        writeAll(text) { bytes, count in Glibc.write(input, bytes, count) }
    }

    /// Ends standard input.
    public func endInput() { close(input) }

    /// Reads one line of standard output, without its end.
    public func readLine() -> String { nextLine(output) }

    /// Reads one byte of standard output, as text.
    public func readByte() -> String {
        var byte = ReadText()
        _ = byte.readMore(output, limit: 1)
        return byte.text
    }

    /// Reads standard output to its end.
    public func readOutput() -> String { readAll(output) }

    /// Reads one line of standard error, without its end.
    public func readErrorLine() -> String { nextLine(errors) }

    /// Reads standard error to its end.
    public func readErrors() -> String { readAll(errors) }

    /// Sends a signal.
    public func signal(_ number: Int32) { kill(identifier, number) }

    /// What one of its descriptors leads to, as `/proc` tells; empty if it is not open.
    public func target(ofDescriptor number: Int32) -> String {
        Self.target(ofLink: "/proc/\(identifier)/fd/\(number)")
    }

    private static func target(ofLink path: String) -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink(path, &buffer, buffer.count - 1)
        let bytes = buffer[..<max(0, count)].map(UInt8.init(bitPattern:))
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Waits for the end: the exit status, or the negative number of the signal.
    public func wait() -> Int32 {
        var status: Int32 = 0
        while waitpid(identifier, &status, 0) < 0, errno == EINTR {}
        for descriptor in [output, errors] { close(descriptor) }
        let number = status & 0x7f
        return number == 0 ? (status >> 8) & 0xff : -number
    }
}

/// A system call that a test needs and that failed.
public struct CallFailure: Error {
    /// The call, and on what.
    public let call: String
    /// Its `errno`, or the exit status of a program.
    public let code: Int32

    /// Makes one.
    public init(call: String, code: Int32) {
        self.call = call
        self.code = code
    }
}

private typealias Ends = (read: Int32, write: Int32)

private func makePipe() throws -> Ends {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw CallFailure(call: "pipe", code: errno) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
}

/// A terminal that changes nothing of what passes: without the echo, and `\n` stays as it is.
private func makeTerminal() throws -> Ends {
    var controller: Int32 = 0, terminal: Int32 = 0
    var settings = termios()
    guard openpty(&controller, &terminal, nil, nil, nil) == 0,
        tcgetattr(terminal, &settings) == 0
    else { throw CallFailure(call: "openpty", code: errno) }
    cfmakeraw(&settings)
    guard tcsetattr(terminal, TCSANOW, &settings) == 0 else {
        throw CallFailure(call: "tcsetattr", code: errno)
    }
    for end in [controller, terminal] { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (controller, terminal)
}

private var inheritedEnvironment: [UnsafeMutablePointer<CChar>?] {
    var words: [UnsafeMutablePointer<CChar>?] = []
    var next = environ
    while let word = next.pointee {
        words.append(word)
        next += 1
    }
    return words
}

/// Begins a call again that a signal interrupted: a socket with a timeout is, in spite of
/// `SA_RESTART`, and also by a stop and a continuation of the process, see `signal(7)`.
func untilUninterrupted(_ call: () -> Int) -> Int {
    while true {
        let result = call()
        if result >= 0 || errno != EINTR { return result }
    }
}

/// Writes all of a text, whatever cuts the calls; less if the reader has gone.
///
/// An empty one is one call too, since it may be a datagram.
func writeAll(_ text: String, _ write: (UnsafeRawPointer?, Int) -> Int) {
    var text = text
    text.withUTF8 { bytes in
        var rest = UnsafeRawBufferPointer(bytes)
        repeat {
            let count = untilUninterrupted { write(rest.baseAddress, rest.count) }
            guard count > 0 else { return }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        } while !rest.isEmpty
    }
}

/// What is read of a text before its end.
struct ReadText {
    private var bytes: [UInt8] = []
    private var hasWaitedInVain = false

    /// Adds what comes next.
    ///
    /// `limit`: At most so many bytes.
    /// Returns the last byte; nil at the end, also of a terminal whose program has gone, EIO, or of a
    /// socket that was reset.
    mutating func readMore(_ descriptor: Int32, limit: Int = 4096) -> UInt8? {
        var buffer = [UInt8](repeating: 0, count: limit)
        let count = untilUninterrupted { read(descriptor, &buffer, limit) }
        hasWaitedInVain = count < 0 && errno == EAGAIN
        guard count > 0 else { return nil }
        bytes += buffer[..<count]
        return bytes.last
    }

    mutating func removeLast() { bytes.removeLast() }

    /// Says so if the end is none: then a test that fails tells why.
    var text: String {
        String(decoding: bytes, as: UTF8.self) + (hasWaitedInVain ? " (then nothing came)" : "")
    }
}

func nextLine(_ descriptor: Int32) -> String {
    var line = ReadText()
    while let byte = line.readMore(descriptor, limit: 1) {
        guard byte != UInt8(ascii: "\n") else {
            line.removeLast()
            break
        }
    }
    return line.text
}

func readAll(_ descriptor: Int32) -> String {
    var all = ReadText()
    while all.readMore(descriptor) != nil {}
    return all.text
}

/// Whether a program of this name is on the `PATH`.
public func isInstalled(_ name: String) -> Bool {
    let path = getenv("PATH").map { String(cString: $0) } ?? ""
    return path.split(separator: ":").contains { access("\($0)/\(name)", X_OK) == 0 }
}
