// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
internal import TorsionCore
@_spi(Backend) internal import TorsionSockets

/// The process that this one replaces, at the other end of a UNIX socket.
///
/// Its calls wait, since a program that starts has nothing else to do, for five seconds at most. If
/// it ends meanwhile, or has handed over to another one, whoever listens at the path now is the
/// former process from then on. All reactors of a group ask it, one after the other.
final class FormerProcess: Sendable {
    private let connection: Lock<FormerConnection>

    /// - Parameter path: Where it listens, if there is one.
    init(at path: String) { connection = Lock(FormerConnection(to: path)) }

    /// What is said to a request for a listening socket.
    enum Answer: Sendable {
        /// Its descriptor, which is the caller's.
        case taken(Int32)
        /// The other process does not have it.
        case none
        /// Nobody listens at the path any more, or the other process is former no longer.
        case gone
    }

    /// Whether somebody listens at the path; who asks again gets the same answer.
    ///
    /// - Throws: `IOError` of operation `connect`.
    func isThere() throws(IOError) -> Bool {
        try connection.withLock { connection throws(IOError) in try connection.isThere() }
    }

    /// Asks for a listening socket.
    ///
    /// - Throws: `IOError` if it does not answer.
    func take(_ key: String) throws(IOError) -> Answer {
        try connection.withLock { connection throws(IOError) in try connection.take(key) }
    }

    /// Has it stop, now that this process serves in its place.
    ///
    /// - Returns: Whether it does; not, if it has gone or has handed over to another process.
    /// - Throws: `IOError` if it does not answer.
    func stop() throws(IOError) -> Bool {
        try connection.withLock { connection throws(IOError) in try connection.stop() }
    }

    /// There is none any more: nobody is asked again.
    func forget() { connection.withLock { $0.forget() } }
}

/// The way to it.
private struct FormerConnection: ~Copyable {
    private let path: String
    /// -1 as long as there is no connection.
    private var descriptor: Int32 = -1
    /// Nil until it was looked for.
    private var wasThere: Bool?

    init(to path: String) { self.path = path }

    deinit { if descriptor >= 0 { close(descriptor) } }

    mutating func isThere() throws(IOError) -> Bool {
        if let wasThere { return wasThere }
        let isThere = try connect()
        wasThere = isThere
        return isThere
    }

    mutating func take(_ key: String) throws(IOError) -> FormerProcess.Answer {
        guard wasThere == true else { return .gone }
        // Who hands over closes its port within a few turns: these are five seconds.
        for _ in 0..<500 {
            guard try connect() else { return .gone }
            guard let (answer, passed) = try ask("take \(key)\n") else {
                usleep(10_000)
                continue
            }
            if answer == "taken", passed >= 0 { return .taken(passed) }
            if passed >= 0 { close(passed) }
            guard answer == "none" else { throw failure(.protocolError) }
            return .none
        }
        throw failure(.connectionReset)
    }

    mutating func stop() throws(IOError) -> Bool {
        guard descriptor >= 0, let (answer, passed) = try ask("ready\n") else { return false }
        if passed >= 0 { close(passed) }
        guard answer == "stopping" else { throw failure(.protocolError) }
        return true
    }

    mutating func forget() {
        disconnect()
        wasThere = false
    }

    /// - Returns: False if nobody listens at the path.
    private mutating func connect() throws(IOError) -> Bool {
        guard descriptor < 0 else { return true }
        do throws(IOError) {
            descriptor = try LocalSocket.connect(to: path, isDatagram: false)
            return true
        } catch {
            guard error.code == .noSuchFile || error.code == .connectionRefused else { throw error }
            return false
        }
    }

    private mutating func disconnect() {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
    }

    /// Sends a line and reads one; nil, and the connection closed, if the other end has closed it.
    private mutating func ask(_ line: String) throws(IOError) -> (String, Int32)? {
        do throws(IOError) {
            try LocalSocket.send(line, over: descriptor, to: path)
        } catch {
            guard error.code == .connectionReset || error.code == .brokenPipe else { throw error }
            disconnect()
            return nil
        }
        if let answer = try readLine() { return answer }
        disconnect()
        return nil
    }

    /// Reads one line, and the descriptor that came with it, -1 if none did; nil at an end without a
    /// line.
    private func readLine() throws(IOError) -> (String, Int32)? {
        var line: [UInt8] = []
        var passed: Int32 = -1
        var room = [Int32](repeating: -1, count: Int(TORSION_DESCRIPTOR_LIMIT))
        while line.last != UInt8(ascii: "\n") {
            var bytes = [UInt8](repeating: 0, count: 64)
            var count: Int32 = 0
            let read = torsion_receive_descriptors(descriptor, &bytes, bytes.count, &room, &count)
            if read < 0, errno == EINTR { continue }
            let code = errno
            for number in room.prefix(Int(max(0, count))) {
                if passed < 0 { passed = number } else { close(number) }
            }
            let hasEnded = read == 0 || (read < 0 && code == ECONNRESET)
            if hasEnded, line.isEmpty { return nil }
            guard read > 0, line.count < 256 else {
                if passed >= 0 { close(passed) }
                // EAGAIN is the end of SO_RCVTIMEO.
                if read < 0 { throw failure(code == EAGAIN ? .timedOut : ErrorCode(errno: code)) }
                throw failure(.connectionReset)
            }
            line += bytes.prefix(read)
        }
        return (String(decoding: line.dropLast(), as: UTF8.self), passed)
    }

    private func failure(_ code: ErrorCode) -> IOError {
        IOError(
            .listen, function: "", code: code, subject: "the process that hands over at \(path)")
    }
}
