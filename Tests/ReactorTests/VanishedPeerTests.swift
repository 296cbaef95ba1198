// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing
import Torsion

/// Peers that are gone without a word, as a machine is that lost its power: `tcp(7)`.
@Suite struct VanishedPeerTests {
    /// A connection from a plain socket, which stops hearing its peer when it is told to: a filter
    /// drops what arrives, and with it every acknowledgement (`SO_ATTACH_FILTER`, `socket(7)`).
    private final class Vanishing {
        let reactor: Reactor
        let server = Witness()
        let peer: Int32

        init(_ name: String, _ change: (inout StreamOptions) -> Void = { _ in }) throws {
            reactor = try Reactor.turned(by: name)
            var options = StreamOptions()
            options.keepAlive = .init(idle: .seconds(1), interval: .seconds(1), count: 1)
            change(&options)
            let server = server
            let port = try reactor.listen(on: .ipv4(.loopback, port: 0), options: options) { _ in
                server
            }
            peer = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var size: Int32 = 4_096
            setsockopt(peer, SOL_SOCKET, SO_RCVBUF, &size, 4)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.localAddress.port!.bigEndian
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            let result = withUnsafePointer(to: address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(peer, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            try #require(result == 0)
            try #require(reactor.turn { server.transport != nil })
            port.stopListening()
        }

        deinit {
            reactor.shutDown()
            close(peer)
        }

        func vanish() {
            // `struct sock_filter` with BPF_RET | BPF_K and 0, which keeps nothing of a packet.
            var rule: (code: UInt16, jumps: UInt16, k: UInt32) = (6, 0, 0)
            let result = withUnsafePointer(to: &rule) { rule in
                // `struct sock_fprog`.
                var program: (length: UInt, rules: UnsafeRawPointer) = (1, UnsafeRawPointer(rule))
                return setsockopt(
                    peer, SOL_SOCKET, SO_ATTACH_FILTER, &program,
                    socklen_t(MemoryLayout.size(ofValue: program)))
            }
            precondition(result == 0, "setsockopt: errno \(errno)")
        }

        /// The loss's code and how many seconds it took.
        func loss(within limit: Duration = .seconds(20)) throws -> (code: ErrorCode?, after: Double)
        {
            let start = reactor.now
            try #require(reactor.turn(within: limit) { server.loss != nil })
            guard case .failed(let error) = server.loss else { return (nil, 0) }
            return (error.code, start.duration(to: reactor.now) / .seconds(1))
        }
    }

    @Test(.tags(.slow), arguments: backendNames)
    func `one that is idle is found by its silence`(name: String) throws {
        let connection = try Vanishing(name)
        connection.vanish()
        let (code, after) = try connection.loss()
        #expect(code == .timedOut && after > 1, "\(after) s")
    }

    /// Nothing is probed while output waits to be acknowledged; the kernel alone would repeat it for
    /// a quarter of an hour.
    @Test(.tags(.slow), arguments: backendNames)
    func `one that acknowledges nothing is found as soon`(name: String) throws {
        let connection = try Vanishing(name)
        connection.vanish()
        connection.server.transport?.write("anybody there?")
        let (code, after) = try connection.loss()
        #expect(code == .timedOut && after > 1, "\(after) s")
    }

    /// The kernel counts a window that stays closed the same, `tcp(7)`, though its peer answers.
    @Test(.tags(.slow), arguments: backendNames)
    func `one that takes nothing for so long is given up too`(name: String) throws {
        let connection = try Vanishing(name) { $0.sendBufferBytes = 4_096 }
        connection.server.transport?.write([UInt8](repeating: 0, count: 100_000))
        #expect(connection.server.transport?.pendingByteCount ?? 0 > 0)
        let (code, after) = try connection.loss()
        #expect(code == .timedOut && after > 1, "\(after) s")
    }
}
