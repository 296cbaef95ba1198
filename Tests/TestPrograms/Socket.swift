// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc

/// A plain blocking socket on the loopback interface, TCP unless it says else: a peer that owes
/// Torsion nothing.
///
/// A call that would wait for more than twenty seconds gives up, so that a test cannot hang.
public final class Socket {
    private var descriptor: Int32

    private init(_ descriptor: Int32) throws {
        guard descriptor >= 0 else { throw CallFailure(call: "socket", code: errno) }
        self.descriptor = descriptor
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
    }

    private convenience init(_ type: __socket_type = SOCK_STREAM) throws {
        try self.init(socket(AF_INET, Int32(type.rawValue), 0))
    }

    deinit { close() }

    /// Closes it; a program that ends gracefully waits for its clients to do so.
    public func close() {
        guard descriptor >= 0 else { return }
        Glibc.close(descriptor)
        descriptor = -1
    }

    /// Connects to a port of this machine.
    public convenience init(port: UInt16) throws {
        try self.init()
        try Self.call("connect", port) { Self.connect(descriptor, $0, $1) }
    }

    /// One that a signal interrupts goes on by itself: connect(2).
    private static func connect(
        _ descriptor: Int32, _ address: UnsafePointer<sockaddr>, _ size: socklen_t
    ) -> Int32 {
        let code = Glibc.connect(descriptor, address, size)
        guard code < 0, errno == EINTR else { return code }
        var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        var failure = ETIMEDOUT
        if untilUninterrupted({ Int(poll(&wait, 1, 10_000)) }) == 1 {
            var size = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &size)
        }
        errno = failure
        return failure == 0 ? 0 : -1
    }

    /// Limits a UDP socket to one port of this machine; a refusal is told to its next call.
    public convenience init(udpPort port: UInt16) throws {
        try self.init(SOCK_DGRAM)
        try Self.call("connect", port) { Glibc.connect(descriptor, $0, $1) }
    }

    /// Takes a UDP port, whose datagrams anybody may send.
    public static func boundToUDP() throws -> Socket {
        let socket = try Socket(SOCK_DGRAM)
        try call("bind", 0) { Glibc.bind(socket.descriptor, $0, $1) }
        return socket
    }

    /// A port that is free for TCP and for UDP, for a program that is told where to listen.
    ///
    /// It lies below those that the kernel gives to a socket that asks for any (`ip_local_port_range`), so
    /// that a test beside this one is not given it before the program has it.
    public static func freePort() throws -> UInt16 {
        for _ in 0..<100 {
            let port = UInt16.random(in: 15_000..<32_000)
            let sockets = [try Socket(), try Socket(SOCK_DGRAM)]
            let taken: Void? = try? sockets.forEach { socket in
                try call("bind", port) { Glibc.bind(socket.descriptor, $0, $1) }
            }
            if taken != nil { return port }
        }
        throw CallFailure(call: "bind", code: EADDRINUSE)
    }

    /// Takes a port that refuses clients until ``listen()``.
    public static func bound() throws -> Socket {
        let socket = try Socket()
        try call("bind", 0) { Glibc.bind(socket.descriptor, $0, $1) }
        return socket
    }

    /// Lets clients come.
    ///
    /// `backlog`: How many may wait.
    public func listen(backlog: Int32 = 16) throws {
        guard Glibc.listen(descriptor, backlog) == 0 else {
            throw CallFailure(call: "listen", code: errno)
        }
    }

    /// Another number for the same socket, which children inherit; it stays open until closed.
    public func duplicateForChildren() -> Int32 { dup(descriptor) }

    /// Whether a client waits to be accepted.
    public var hasClient: Bool { hasClient(within: 0) }

    /// Whether a client comes within so many milliseconds.
    public func hasClient(within limit: Int32) -> Bool {
        var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return untilUninterrupted { Int(poll(&wait, 1, limit)) } == 1
    }

    /// Takes the next client.
    public func accept() throws -> Socket {
        try Socket(Int32(untilUninterrupted { Int(Glibc.accept(descriptor, nil, nil)) }))
    }

    /// Closes it so that the peer sees a reset.
    public func reset() {
        var now = linger(l_onoff: 1, l_linger: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
        close()
    }

    /// This end's port.
    public var port: UInt16 {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = getsockname(descriptor, $0, &size)
            }
        }
        return UInt16(bigEndian: address.sin_port)
    }

    /// Writes text.
    public func write(_ text: String) {
        writeAll(text) { send(descriptor, $0, $1, Int32(MSG_NOSIGNAL)) }
    }

    /// Writes a few bytes.
    public func write(bytes: [UInt8]) {
        _ = untilUninterrupted { send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }
    }

    /// Writes one byte of urgent data, which `recv(2)` passes over.
    public func writeUrgentByte() {
        var byte = UInt8(ascii: "!")
        _ = send(descriptor, &byte, 1, Int32(MSG_NOSIGNAL) | Int32(MSG_OOB))
    }

    /// Receives one datagram; nil for an error, such as a refusal.
    public func receive() -> String? {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = untilUninterrupted { recv(descriptor, &bytes, bytes.count, 0) }
        return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// Receives one datagram, and sends what `body` makes of it to where it came from.
    public func answer(_ body: (String) -> String) throws {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let capacity = bytes.count
        try withUnsafeMutablePointer(to: &address) {
            try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { sender in
                let count = untilUninterrupted {
                    recvfrom(descriptor, &bytes, capacity, 0, sender, &size)
                }
                guard count >= 0 else { throw CallFailure(call: "recvfrom", code: errno) }
                writeAll(body(String(decoding: bytes[..<count], as: UTF8.self))) {
                    sendto(descriptor, $0, $1, 0, sender, size)
                }
            }
        }
    }

    /// Ends the outgoing direction.
    public func endOutput() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Reads one line, without its `\n` or `\r\n`; what there is of one at the end.
    public func readLine() -> String {
        let line = nextLine(descriptor)
        return line.hasSuffix("\r") ? String(line.dropLast()) : line
    }

    /// Reads so many bytes; fewer at the end.
    public func readBytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            var buffer = [UInt8](repeating: 0, count: count - bytes.count)
            let size = buffer.count
            let received = untilUninterrupted { recv(descriptor, &buffer, size, 0) }
            guard received > 0 else { break }
            bytes += buffer[..<received]
        }
        return bytes
    }

    /// Reads to the end.
    public func readToEnd() -> String { readAll(descriptor) }

    private static func call(
        _ name: String, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) throws {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, size) }
        }
        guard code == 0 else { throw CallFailure(call: "\(name) \(port)", code: errno) }
    }
}
