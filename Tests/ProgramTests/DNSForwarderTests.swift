// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing
import Torsion

/// A question for the address of example.test, as `dig(1)` asks it.
private func question(number: UInt16) -> Bytes {
    Bytes { writer in
        writer.writeInteger(number)
        for word in [0x0100, 1, 0, 0, 0] as [UInt16] { writer.writeInteger(word) }
        writer.write("\u{7}example\u{4}test\0")
        writer.writeInteger(1 as UInt16)
        writer.writeInteger(1 as UInt16)
    }
}

/// Asks once, and notes the first answer.
private final class Resolver: DatagramProtocol {
    let answer: Deferred<Bytes>
    private let question: Bytes

    init(_ question: Bytes, on reactor: Reactor) {
        self.question = question
        answer = Deferred(on: reactor)
    }

    func transportStarted(_ transport: any DatagramTransport) throws {
        let question = question
        try transport.write(question.span)
    }

    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) {
        answer.succeed(Bytes(bytes))
        transport.stopListening()
    }

    /// Asks again at `address`, since a server that starts has no port yet.
    static func ask(_ number: UInt16, _ address: SocketAddress, on reactor: Reactor) throws
        -> Resolver
    {
        let resolver = Resolver(ProgramTests.question(number: number), on: reactor)
        var options = DatagramOptions()
        options.peerAddress = address
        try DatagramEndpoint.udp(port: 0, interface: .loopback, options: options)
            .listen(on: reactor) { resolver }
        return resolver
    }
}

@Suite struct DNSForwarderTests {
    @Test func `a server that does not answer is a failure, told in time`() throws {
        try runProgram { reactor in
            let silent = try DatagramEndpoint.udp(port: 0, interface: .loopback)
                .listen(on: reactor) { Silent() }
            let forwarder = try DNSForwarder(
                to: silent.localAddress, on: reactor, patience: .milliseconds(20))
            let port = try DatagramEndpoint.udp(port: 0, interface: .loopback)
                .listen(on: reactor) { forwarder }
            let answer = try await Resolver.ask(7, port.localAddress, on: reactor).answer.value
            #expect(answer == Bytes([0, 7, 0x81, 2, 0, 0, 0, 0, 0, 0, 0, 0]))
            port.stopListening()
        }
    }

    @Test(.enabled(if: access("/usr/sbin/dnsmasq", X_OK) == 0))
    func `dnsmasq answers through the forwarder`() throws {
        let port = try Socket.freePort()
        let server = try Program(
            path: "/usr/sbin/dnsmasq",
            [
                "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                "--port=\(port)", "--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file=",
                "--address=/example.test/192.0.2.7",
            ])
        defer {
            server.signal(SIGTERM)
            _ = server.readOutput()
            _ = server.wait()
        }
        try runProgram { reactor in
            // It listens to TCP, too, from the same moment on.
            let endpoint = ClientEndpoint.tcp(host: "127.0.0.1", port: port)
            try await ProgramTests.connect(to: endpoint, on: reactor).close()
            let forwarder = try DNSForwarder(
                to: .ipv4(.loopback, port: port), on: reactor)
            let own = try DatagramEndpoint.udp(port: 0, interface: .loopback)
                .listen(on: reactor) { forwarder }
            let resolvers = try (1...20).map { try Resolver.ask($0, own.localAddress, on: reactor) }
            for (index, resolver) in resolvers.enumerated() {
                let answer = try await resolver.answer.value
                #expect(answer.span.integer(at: 0, as: UInt16.self) == UInt16(index + 1))
                #expect(answer.suffix(4) == Bytes([192, 0, 2, 7]))
            }
            own.stopListening()
        }
    }

    private final class Silent: DatagramProtocol {
        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) {}
    }
}
