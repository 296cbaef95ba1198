// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing
import Torsion

/// Each option as the kernel has it afterwards: `tcp(7)`, `socket(7)`, `ipv6(7)`.
///
/// `unixMode` is in `UnixSocketTests`; `closeTimeout` and `connectTimeout` are in the conformance
/// suite.
@Suite struct StreamOptionsTests {
    private static let tcp = Int32(IPPROTO_TCP)

    /// A connection with the same options on both sides, and its descriptors.
    private final class Joined {
        let reactor: Reactor
        let server = Witness(), client = Witness()
        let port: ListeningPort
        let listening: Int32, accepted: Int32, connected: Int32

        init(_ name: String, at place: SocketAddress, _ options: StreamOptions) throws {
            reactor = try Reactor.turned(by: name)
            let server = server, client = client
            port = try ServerEndpoint.address(place, options: options).listen(on: reactor) {
                server
            }
            ClientEndpoint.address(port.localAddress, options: options).connect(on: reactor) {
                client
            }
            .whenFailed { Issue.record("\($0)") }
            try #require(reactor.turn { server.transport != nil && client.transport != nil })
            let own = port.localAddress.port, other = client.transport?.localAddress.port
            let family = if case .ipv6 = place { AF_INET6 } else { AF_INET }
            func find(_ port: UInt16?, _ peer: UInt16?) throws -> Int32 {
                try #require(socketDescriptor(port: port, peer: peer, family: family))
            }
            listening = try find(own, nil)
            accepted = try find(own, other)
            connected = try find(other, own)
        }

        /// The option on the listening, the accepted and the connected socket.
        func all(_ level: Int32, _ name: Int32) -> [Int32] {
            [listening, accepted, connected].map { option($0, level, name) }
        }

        deinit { reactor.shutDown() }
    }

    private static func joined(
        _ name: String, at place: SocketAddress = .ipv4(.loopback, port: 0),
        _ change: (inout StreamOptions) -> Void = { _ in }
    ) throws -> Joined {
        var options = StreamOptions()
        change(&options)
        return try Joined(name, at: place, options)
    }

    private static let places: [SocketAddress] = [
        .ipv4(.loopback, port: 0), .ipv6(.loopback, port: 0),
    ]

    @Test(arguments: backendNames, places)
    func `the defaults are a server's`(name: String, place: SocketAddress) throws {
        let sockets = try Self.joined(name, at: place)
        #expect(sockets.all(Self.tcp, TCP_NODELAY) == [1, 1, 1])
        #expect(sockets.all(SOL_SOCKET, SO_KEEPALIVE) == [1, 1, 1])
        #expect(sockets.all(Self.tcp, TCP_KEEPIDLE) == [60, 60, 60])
        #expect(sockets.all(Self.tcp, TCP_KEEPINTVL) == [30, 30, 30])
        #expect(sockets.all(Self.tcp, TCP_KEEPCNT) == [8, 8, 8])
        #expect(sockets.all(Self.tcp, TCP_USER_TIMEOUT) == [300_000, 300_000, 300_000])
        #expect(option(sockets.listening, SOL_SOCKET, SO_REUSEADDR) == 1)
        #expect(option(sockets.listening, SOL_SOCKET, SO_REUSEPORT) == 0)
        #expect(sockets.client.transport?.watermarks == Watermarks())
        for descriptor in [sockets.listening, sockets.accepted, sockets.connected] {
            #expect(fcntl(descriptor, F_GETFL) & O_NONBLOCK != 0)
            #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
        }
    }

    @Test(arguments: backendNames)
    func `noDelay off leaves small segments to the kernel`(name: String) throws {
        let sockets = try Self.joined(name) { $0.noDelay = false }
        #expect(sockets.all(Self.tcp, TCP_NODELAY) == [0, 0, 0])
    }

    @Test(arguments: backendNames, places)
    func `keepAlive probes by its three figures`(name: String, place: SocketAddress) throws {
        let sockets = try Self.joined(name, at: place) {
            $0.keepAlive = .init(idle: .seconds(7), interval: .seconds(3), count: 4)
        }
        #expect(sockets.all(SOL_SOCKET, SO_KEEPALIVE) == [1, 1, 1])
        #expect(sockets.all(Self.tcp, TCP_KEEPIDLE) == [7, 7, 7])
        #expect(sockets.all(Self.tcp, TCP_KEEPINTVL) == [3, 3, 3])
        #expect(sockets.all(Self.tcp, TCP_KEEPCNT) == [4, 4, 4])
        // `tcp(7)`: it overrides the count, so it has to be their sum.
        #expect(sockets.all(Self.tcp, TCP_USER_TIMEOUT) == [19_000, 19_000, 19_000])
    }

    @Test(arguments: backendNames)
    func `without keepAlive nothing is probed, and output waits as long as the kernel lets it`(
        name: String
    ) throws {
        let sockets = try Self.joined(name) { $0.keepAlive = nil }
        #expect(sockets.all(SOL_SOCKET, SO_KEEPALIVE) == [0, 0, 0])
        #expect(sockets.all(Self.tcp, TCP_USER_TIMEOUT) == [0, 0, 0])
    }

    /// The kernel refuses what is beyond its bounds: `net/ipv4/tcp.c`.
    @Test(arguments: backendNames)
    func `keepAlive beyond the kernel's bounds is brought to them`(name: String) throws {
        let longest = try Self.joined(name) {
            $0.keepAlive = .init(idle: .seconds(100_000), interval: .seconds(40_000), count: 1_000)
        }
        #expect(option(longest.connected, Self.tcp, TCP_KEEPIDLE) == 32_767)
        #expect(option(longest.connected, Self.tcp, TCP_KEEPINTVL) == 32_767)
        #expect(option(longest.connected, Self.tcp, TCP_KEEPCNT) == 127)
        // What that comes to, 49 days, is more milliseconds than the kernel counts.
        #expect(option(longest.connected, Self.tcp, TCP_USER_TIMEOUT) == .max)
        let shortest = try Self.joined(name) {
            $0.keepAlive = .init(idle: .milliseconds(1), interval: .zero, count: 0)
        }
        #expect(option(shortest.connected, Self.tcp, TCP_KEEPIDLE) == 1)
        #expect(option(shortest.connected, Self.tcp, TCP_KEEPINTVL) == 1)
        #expect(option(shortest.connected, Self.tcp, TCP_KEEPCNT) == 1)
        #expect(option(shortest.connected, Self.tcp, TCP_USER_TIMEOUT) == 2_000)
    }

    /// `socket(7)`: the kernel doubles what it is asked for.
    @Test(arguments: backendNames)
    func `buffers have the size that was asked for`(name: String) throws {
        let sockets = try Self.joined(name) {
            $0.receiveBufferBytes = 20_000
            $0.sendBufferBytes = 30_000
        }
        #expect(sockets.all(SOL_SOCKET, SO_RCVBUF) == [40_000, 40_000, 40_000])
        #expect(sockets.all(SOL_SOCKET, SO_SNDBUF) == [60_000, 60_000, 60_000])
    }

    @Test(arguments: backendNames)
    func `reusePort lets a second socket listen, and only then`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        var options = StreamOptions()
        options.reusePort = true
        let place = SocketAddress.ipv4(.loopback, port: 0)
        let first = try ServerEndpoint.address(place, options: options).listen(on: reactor) { nil }
        let again = ServerEndpoint.address(first.localAddress, options: options)
        let second = try again.listen(on: reactor) { nil }
        #expect(second.localAddress == first.localAddress)
        let error = #expect(throws: IOError.self) {
            try ServerEndpoint.address(first.localAddress).listen(on: reactor) { nil }
        }
        #expect(error?.code == .addressInUse)
        reactor.shutDown()
    }

    @Test(arguments: backendNames, [1, 7, 65_535])
    func `the backlog is what the kernel was told`(name: String, backlog: Int) throws {
        let sockets = try Self.joined(name) { $0.backlog = backlog }
        var figures = tcp_info()
        var size = socklen_t(MemoryLayout<tcp_info>.size)
        #expect(getsockopt(sockets.listening, Self.tcp, TCP_INFO, &figures, &size) == 0)
        // Of a socket that listens these are the queue's length and its limit: `tcp_get_info`.
        #expect(figures.tcpi_unacked == 0)
        #expect(figures.tcpi_sacked == min(UInt32(backlog), Self.longestBacklog))
    }

    private static let longestBacklog: UInt32 = {
        guard let file = fopen("/proc/sys/net/core/somaxconn", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 32)
        fgets(&line, 32, file)
        return UInt32(atoi(line))
    }()

    @Test(arguments: backendNames)
    func `a client comes from the address that it was bound to`(name: String) throws {
        let sockets = try Self.joined(name) {
            $0.bindAddress = .ipv4(IPv4Address(127, 0, 0, 9), port: 0)
        }
        #expect(sockets.client.transport?.localAddress.host == "127.0.0.9")
        #expect(sockets.server.transport?.peerAddress.host == "127.0.0.9")
        // A listener is bound to where it listens.
        #expect(sockets.port.localAddress.host == "127.0.0.1")
        // The port is chosen when the destination is known, so that one serves for many: `ip(7)`.
        #expect(option(sockets.connected, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT) == 1)
    }

    @Test(arguments: backendNames)
    func `over IPv6 too a port serves for many destinations, but not one that was asked for`(
        name: String
    ) throws {
        let free = try Self.joined(name, at: .ipv6(.loopback, port: 0)) {
            $0.bindAddress = .ipv6(.loopback, port: 0)
        }
        #expect(option(free.connected, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT) == 1)
        // One that is free, at an address that no other test has.
        let place = SocketAddress.ipv4(IPv4Address(127, 0, 0, 77), port: 0)
        let unused = try free.reactor.listen(on: place) { _ in nil }
        unused.stopListening()
        let fixed = try Self.joined(name) { $0.bindAddress = unused.localAddress }
        #expect(option(fixed.connected, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT) == 0)
        #expect(fixed.client.transport?.localAddress == unused.localAddress)
    }

    @Test(arguments: backendNames, [true, false])
    func `ipv6Only decides whether a port takes IPv4 too`(name: String, isOnly: Bool) throws {
        let reactor = try Reactor.turned(by: name)
        var options = StreamOptions()
        options.ipv6Only = isOnly
        let server = Witness()
        let port = try ServerEndpoint.address(.ipv6(.any, port: 0), options: options)
            .listen(on: reactor) { server }
        var outcome: String?
        ClientEndpoint.address(.ipv4(.loopback, port: port.localAddress.port!))
            .connect(on: reactor) { Witness() }
            .addCallback { _ in outcome = "connected" }
            .whenFailed { outcome = "\(($0 as? IOError)?.code as Any)" }
        #expect(reactor.turn { outcome != nil && (isOnly || server.transport != nil) })
        #expect((outcome == "connected") == !isOnly)
        if !isOnly { #expect(server.transport?.peerAddress.host == "::ffff:127.0.0.1") }
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `watermarks are those of the options, on both sides`(name: String) throws {
        let marks = Watermarks(low: 1, high: 2, limit: 3)
        let sockets = try Self.joined(name) { $0.watermarks = marks }
        #expect(sockets.client.transport?.watermarks == marks)
        #expect(sockets.server.transport?.watermarks == marks)
    }

    @Test(arguments: backendNames)
    func `UNIX sockets take the buffers and leave out what is TCP's`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let folder = TemporaryFolder()
        var options = StreamOptions()
        options.keepAlive = .init()
        options.reusePort = true
        options.sendBufferBytes = 30_000
        let server = Witness(), client = Witness()
        let path = folder.file("socket")
        try ServerEndpoint.unix(path: path, options: options).listen(on: reactor) { server }
        ClientEndpoint.unix(path: path, options: options).connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { server.transport != nil && client.transport != nil })
        // A peer that does not read takes what fits into the buffer and no more.
        server.transport?.pauseProducing()
        client.transport?.write([UInt8](repeating: 1, count: 1_000_000))
        let taken = 1_000_000 - client.transport!.pendingByteCount
        #expect(taken > 0 && taken <= 60_000, "\(taken) bytes")
        reactor.shutDown()
    }
}

/// An address of this machine that needs a scope, `/proc/net/if_inet6`; nil if it has none.
private let linkLocal: IPv6Address? = {
    guard let file = fopen("/proc/net/if_inet6", "r") else { return nil }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    while fgets(&line, 256, file) != nil {
        let text = String(
            decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        let fields = text.split(whereSeparator: \.isWhitespace)
        guard fields.count >= 4, fields[3] == "20", let scope = UInt32(fields[1], radix: 16) else {
            continue
        }
        let high = UInt64(fields[0].prefix(16), radix: 16)!
        let low = UInt64(fields[0].suffix(16), radix: 16)!
        return IPv6Address(high: high, low: low, scopeID: scope)
    }
    return nil
}()

/// SEMANTICS S14.
@Suite struct ScopedAddressTests {
    @Test(
        .enabled(if: linkLocal != nil, "no interface has a link-local address"),
        arguments: backendNames)
    func `a link-local address keeps its scope on both sides`(name: String) throws {
        let address = try #require(linkLocal)
        let reactor = try Reactor.turned(by: name)
        let server = Witness(), client = Witness()
        let port = try ServerEndpoint(parsing: "tcp6:0:interface=[\(address)]")
            .listen(on: reactor) { server }
        #expect(port.localAddress.host == "\(address)")
        let text = "tcp:[\(address)]:\(port.localAddress.port!)"
        try ClientEndpoint(parsing: text).connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { server.transport != nil && client.transport != nil })
        #expect(client.transport?.peerAddress == port.localAddress)
        #expect(server.transport?.localAddress == port.localAddress)
        #expect(client.transport?.localAddress == server.transport?.peerAddress)
        #expect(client.transport?.localAddress.host == "\(address)")
        reactor.shutDown()
    }
}
