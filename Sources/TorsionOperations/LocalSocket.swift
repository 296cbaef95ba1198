// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc
@_spi(Backend) package import TorsionCore
@_spi(Backend) internal import TorsionSockets

/// A UNIX socket of our own that is used without a reactor: before one runs, or for one datagram.
package enum LocalSocket {
    /// Opens a socket, closed on exec, and connects it: `socket(2)`, `connect(2)`.
    ///
    /// - Parameters:
    ///   - path: The socket's path; one that begins with `@` is an abstract name, as for systemd.
    ///   - isDatagram: Whether it takes datagrams; then it never waits.
    ///   - limit: How long one call on it may wait.
    /// - Returns: Its descriptor, which is the caller's.
    /// - Throws: ``IOError`` of operation `connect`.
    package static func connect(
        to path: String, isDatagram: Bool, limit: Duration = .seconds(5)
    ) throws(IOError) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        let room = MemoryLayout.size(ofValue: address.sun_path) - 1
        guard !bytes.isEmpty, bytes.count <= room, !bytes.contains(0) else {
            throw failure(path, "connect", bytes.isEmpty ? .invalidArgument : .nameTooLong)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        var size = socklen_t(MemoryLayout<sockaddr_un>.size)
        if bytes[0] == UInt8(ascii: "@") {
            withUnsafeMutableBytes(of: &address.sun_path) { $0[0] = 0 }
            size = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
        }
        let kind = Int32((isDatagram ? SOCK_DGRAM : SOCK_STREAM).rawValue)
        let flags = Int32(SOCK_CLOEXEC.rawValue) | (isDatagram ? Int32(SOCK_NONBLOCK.rawValue) : 0)
        let descriptor = socket(AF_UNIX, kind | flags, 0)
        guard descriptor >= 0 else { throw failure(path, "socket", ErrorCode(errno: errno)) }
        let (seconds, attoseconds) = limit.components
        var time = timeval(
            tv_sec: Int(seconds), tv_usec: Int(attoseconds / 1_000_000_000_000))
        let timeSize = socklen_t(MemoryLayout<timeval>.size)
        _ = setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, timeSize)
        _ = setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, timeSize)
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, size)
            }
        }
        guard code == 0 else {
            let number = errno
            close(descriptor)
            throw failure(path, "connect", ErrorCode(errno: number))
        }
        return descriptor
    }

    /// Sends all of a text: `send(2)`, without SIGPIPE.
    ///
    /// - Throws: ``IOError`` of operation `write`.
    package static func send(
        _ text: String, over descriptor: Int32, to path: String
    ) throws(IOError) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw IOError(
                    .write, function: "send", code: ErrorCode(errno: errno), subject: path)
            }
            rest = rest.dropFirst(count)
        }
    }

    private static func failure(
        _ path: String, _ function: String, _ code: ErrorCode
    ) -> IOError {
        IOError(.connect, function: function, code: code, subject: path)
    }
}
