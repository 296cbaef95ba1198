// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
internal import TorsionCore
@_spi(Backend) internal import TorsionSockets

/// The process that this one replaces, at the other end of a UNIX socket.
///
/// Its calls wait, since a program that starts has nothing else to do, for five seconds at most.
final class FormerProcess {
    private let descriptor: Int32
    private let path: String

    /// Connects.
    ///
    /// Nil if nobody listens at the path.
    ///
    /// - Throws: `IOError` of operation `connect`.
    init?(at path: String) throws(IOError) {
        do throws(IOError) {
            descriptor = try LocalSocket.connect(to: path, isDatagram: false)
        } catch {
            if error.code == .noSuchFile || error.code == .connectionRefused { return nil }
            throw error
        }
        self.path = path
    }

    deinit { close(descriptor) }

    /// Asks for a listening socket.
    ///
    /// - Returns: Its descriptor, which is the caller's; nil if the other process does not have it.
    /// - Throws: `IOError` if it does not answer.
    func take(_ key: String) throws(IOError) -> Int32? {
        try LocalSocket.send("take \(key)\n", over: descriptor, to: path)
        let (answer, passed) = try readLine()
        if answer == "taken", passed >= 0 { return passed }
        if passed >= 0 { close(passed) }
        guard answer == "none" else { throw failure(.protocolError) }
        return nil
    }

    /// Has it stop, now that this process serves in its place.
    ///
    /// - Throws: `IOError` if it does not answer.
    func stop() throws(IOError) {
        try LocalSocket.send("ready\n", over: descriptor, to: path)
        let (answer, passed) = try readLine()
        if passed >= 0 { close(passed) }
        guard answer == "stopping" else { throw failure(.protocolError) }
    }

    /// Reads one line, and the descriptor that came with it, -1 if none did.
    private func readLine() throws(IOError) -> (String, Int32) {
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
