// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// Connects that fail, each naming address and code: SEMANTICS S12.
@Suite struct ConnectFailureTests {
    private static func failure(
        _ endpoint: ClientEndpoint, on reactor: Reactor
    ) throws -> String {
        var failure: (any Error)?
        endpoint.connect(on: reactor) { Witness() }.whenFailed { failure = $0 }
        try #require(reactor.turn { failure != nil })
        #expect(reactor.statistics.openHandles == 0 && reactor.statistics.delayedCalls == 0)
        return "\(failure!)"
    }

    /// An address at which nobody listens.
    private static func unused(_ place: SocketAddress, on reactor: Reactor) throws -> SocketAddress
    {
        let port = try reactor.listen(on: place) { _ in nil }
        port.stopListening()
        return port.localAddress
    }

    @Test(
        arguments: backendNames,
        [SocketAddress.ipv4(IPv4Address(127, 0, 0, 79), port: 0), .ipv6(.loopback, port: 0)])
    func `refused`(name: String, place: SocketAddress) throws {
        let reactor = try Reactor.turned(by: name)
        let address = try Self.unused(place, on: reactor)
        #expect(
            try Self.failure(.address(address), on: reactor)
                == "cannot connect to \(address): connection refused (ECONNREFUSED)")
        reactor.shutDown()
    }

    /// A client of a port that nobody serves may be given that port for its own end.
    ///
    /// TCP then connects it to itself (simultaneous open, RFC 9293 3.5). Bound to it, it always is.
    @Test(
        arguments: backendNames,
        [SocketAddress.ipv4(IPv4Address(127, 0, 0, 79), port: 0), .ipv6(.loopback, port: 0)])
    func `a socket that connected to itself is refused`(name: String, place: SocketAddress) throws {
        let reactor = try Reactor.turned(by: name)
        let address = try Self.unused(place, on: reactor)
        var endpoint = ClientEndpoint.address(address)
        endpoint.options.bindAddress = address
        #expect(
            try Self.failure(endpoint, on: reactor)
                == "cannot connect to \(address): connection refused (ECONNREFUSED)")
        // It leaves nothing behind that would hold the port. A ring closes in its next turn.
        reactor.turn(until: reactor.now)
        let port = try reactor.listen(on: address) { _ in nil }
        port.stopListening()
        reactor.shutDown()
    }

    /// No packet leaves: a stream to a group or to everybody is refused where it begins.
    @Test(
        arguments: backendNames,
        ["127.255.255.255:9", "224.0.0.1:9", "[ff01::1%1]:9", "[::ffff:224.0.0.1]:9"])
    func `unreachable`(name: String, text: String) throws {
        let reactor = try Reactor.turned(by: name)
        #expect(
            try Self.failure(.address(SocketAddress(text)!), on: reactor)
                == "cannot connect to \(text): network is unreachable (ENETUNREACH)")
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a link-local address without its link`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        #expect(
            try Self.failure(.address(SocketAddress("[fe80::1]:9")!), on: reactor)
                == "cannot connect to [fe80::1]:9: invalid argument (EINVAL)")
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `cannot bind`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in nil }
        var endpoint = ClientEndpoint.address(port.localAddress)
        func text(_ own: SocketAddress) throws -> String {
            endpoint.options.bindAddress = own
            var failure: (any Error)?
            endpoint.connect(on: reactor) { Witness() }.whenFailed { failure = $0 }
            // Never inside the call.
            #expect(failure == nil)
            try #require(reactor.turn { failure != nil })
            return "\(try #require(failure))"
        }
        let taken = port.localAddress
        #expect(try text(taken) == "cannot bind to \(taken): address already in use (EADDRINUSE)")
        let elsewhere = SocketAddress.ipv4(IPv4Address(203, 0, 113, 1), port: 0)
        #expect(
            try text(elsewhere)
                == "cannot bind to 203.0.113.1:0: cannot assign requested address (EADDRNOTAVAIL)")
        let other = SocketAddress.ipv6(.loopback, port: 0)
        #expect(try text(other).hasPrefix("cannot bind to [::1]:0: "))
        reactor.shutDown()
    }

    /// What only a network far away would answer.
    @Test(
        arguments: backendNames,
        [
            .timedOut, .hostUnreachable, .networkUnreachable, .accessDenied, .connectionReset,
            .networkDown,
        ] as [ErrorCode])
    func `answered by an error`(name: String, code: ErrorCode) throws {
        for call in [FaultPlan.Call.connect, .connected] {
            let plan = FaultPlan.failCall(1, of: [call], with: code)
            let reactor = Reactor(backend: .faulty(try namedBackend(name), plan), services: nil)
            let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in Witness() }
            var failure: (any Error)?
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { Witness() }
                .whenFailed { failure = $0 }
            #expect(reactor.turn { failure != nil })
            #expect(
                "\(failure!)"
                    == "cannot connect to \(port.localAddress): \(code) (\(code.name))")
            reactor.shutDown()
        }
    }

    @Test(arguments: backendNames)
    func `a host by name, at each of its addresses`(name: String) throws {
        // With the services that resolve names.
        let reactor = Reactor(backend: try namedBackend(name))
        let port = try Self.unused(.ipv4(.loopback, port: 0), on: reactor).port!
        var failure: (any Error)?
        ClientEndpoint.tcp(host: "localhost", port: port).connect(on: reactor) { Witness() }
            .whenFailed { failure = $0 }
        #expect(reactor.turn { failure != nil })
        let text = "\(failure!)"
        #expect(text.hasPrefix("cannot connect to localhost:\(port) ("))
        #expect(text.contains("127.0.0.1:\(port)"))
        #expect(text.hasSuffix("): connection refused (ECONNREFUSED)"))
        reactor.shutDown()
    }
}
