// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestedBackends
import Torsion
import TorsionTesting
import TorsionUV

/// A backend by its name, which a test runner can show.
func namedBackend(_ name: String) throws -> BackendChoice {
    try .named(name, among: testedBackends + [.plainLibuv])
}

let testedBackends = BackendChoice.tested.map(BackendChoice.underTest)

let backendNames = testedBackends.map(\.name)

/// With libuv's plain way besides, for what differs by how descriptors are watched.
let watchingNames = backendNames + [BackendChoice.plainLibuv.name]

extension Reactor {
    /// A reactor that a test turns by hand, without names and signals.
    static func turned(by name: String) throws -> Reactor {
        Reactor(backend: try namedBackend(name), services: nil)
    }

    /// Turns until the condition holds.
    ///
    /// - Returns: Whether it came to hold within the limit.
    func turn(within limit: Duration = .seconds(10), until condition: () -> Bool) -> Bool {
        let end = now.advanced(by: limit)
        while !condition() {
            guard now < end else { return false }
            turn(until: end)
        }
        return true
    }
}

/// Notes what happens to it.
final class Witness: StreamProtocol {
    private(set) var text = ""
    private(set) var loss: ConnectionLoss?
    private(set) var transport: (any StreamTransport)?

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        text += String(decoding: bytes)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        self.transport = nil
    }
}

/// What `lstat(2)` tells of a path; nil if there is nothing.
func status(of path: String) -> stat? {
    var status = stat()
    return lstat(path, &status) == 0 ? status : nil
}

/// A TCP socket of this process, found by its ports, whichever backend made it.
///
/// Other tests may have the same port number in the other family, or of UDP.
///
/// `peer`: The port of the other end; nil finds the socket that listens.
/// `family`: `AF_INET` or `AF_INET6`.
func socketDescriptor(port: UInt16?, peer: UInt16?, family: Int32) -> Int32? {
    guard let port else { return nil }
    return (0..<2_048).first { descriptor in
        guard tcpPort(descriptor, family, getsockname) == port else { return false }
        guard option(descriptor, SOL_SOCKET, SO_TYPE) == Int32(SOCK_STREAM.rawValue) else {
            return false
        }
        guard let peer else { return option(descriptor, SOL_SOCKET, SO_ACCEPTCONN) == 1 }
        return tcpPort(descriptor, family, getpeername) == peer
    }
}

private func tcpPort(
    _ descriptor: Int32, _ family: Int32,
    _ ask: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
) -> UInt16? {
    var address = sockaddr_in6()
    var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
    let result = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { ask(descriptor, $0, &size) }
    }
    // The port is at the same place in both families.
    guard result == 0, Int32(address.sin6_family) == family else { return nil }
    return UInt16(bigEndian: address.sin6_port)
}

/// `getsockopt(2)` of an integer.
func option(_ descriptor: Int32, _ level: Int32, _ name: Int32) -> Int32 {
    var value: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    precondition(getsockopt(descriptor, level, name, &value, &size) == 0, "errno \(errno)")
    return value
}
