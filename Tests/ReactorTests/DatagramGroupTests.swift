// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion

@Suite struct DatagramGroupTests {
    /// Opens a second port when the first is told that it has started.
    private final class Twofold: DatagramProtocol {
        let ports: PortList

        init(_ ports: PortList) { self.ports = ports }

        func transportStarted(_ transport: any DatagramTransport) throws {
            let second = try transport.reactor.listenForDatagrams(
                on: .ipv4(.loopback, port: 0), Single())
            ports.add(transport.localAddress)
            ports.add(second.localAddress)
        }

        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) {}
    }

    private final class Single: DatagramProtocol {
        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) {}
    }

    @Test func `the reactors of a group share a port that the kernel chose`() throws {
        let ports = PortList()
        try ReactorGroup.run(count: 3, backend: .epoll, signals: .ignore) { reactor in
            try DatagramEndpoint.udp(port: 0, interface: .loopback).listen(on: reactor) {
                Twofold(ports)
            }
            if ports.count == 6 { reactor.stop(within: .zero) }
        }
        // Each of them has the first and the second.
        #expect(ports.count == 6 && Set(ports.all).count == 2)
    }

    /// Answers each datagram with itself.
    private final class Mirror: DatagramProtocol {
        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) throws { try transport.write(Bytes(bytes), to: address) }
    }

    /// How many answers each reactor has.
    private final class Answers: Sendable {
        private let counts = Lock<[UInt32: Int]>([:])

        var all: [UInt32: Int] { counts.withLock { $0 } }

        func add(_ number: UInt32, _ count: Int) -> Int {
            counts.withLock {
                $0[number] = count
                return $0.count
            }
        }
    }

    /// Asks by the number of its reactor, and counts the answers that are its own.
    private final class Asking: DatagramProtocol {
        private static let wanted = 20
        private let server: SocketAddress
        private let answers: Answers
        private var count = 0

        init(_ server: SocketAddress, _ answers: Answers) {
            self.server = server
            self.answers = answers
        }

        func transportStarted(_ transport: any DatagramTransport) throws { try ask(transport) }

        private func ask(_ transport: any DatagramTransport) throws {
            try transport.write("\(transport.reactor.number)", to: server)
        }

        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) throws {
            let number = transport.reactor.number
            #expect(String(decoding: Bytes(bytes), as: UTF8.self) == "\(number)")
            count += 1
            guard count == Self.wanted else { return try ask(transport) }
            if answers.add(number, count) == 3 { transport.reactor.stop(within: .zero) }
        }
    }

    @Test(arguments: backendNames, [true, false])
    func `a client's answers come to the reactor that has asked`(
        name: String, isConnected: Bool
    ) throws {
        let (ports, answers) = (PortList(), Answers())
        let place = Reactor(backend: .epoll)
        let server = try place.listenForDatagrams(on: .ipv4(.loopback, port: 0), Mirror())
        let address = server.localAddress
        var options = DatagramOptions()
        if isConnected { options.peerAddress = address } else { options.isSharedInGroup = false }
        let choice = try BackendChoice.named(name, among: testedBackends)
        let settings = options
        let thread = try NativeThreadOfTest {
            do {
                try ReactorGroup.run(count: 3, backend: choice, signals: .ignore) { reactor in
                    let port = try reactor.listenForDatagrams(
                        on: .ipv4(.loopback, port: 0), options: settings, Asking(address, answers))
                    ports.add(port.localAddress)
                }
            } catch { Issue.record("\(error)") }
        }
        #expect(place.turn { answers.all.count == 3 })
        thread.join()
        place.shutDown()
        #expect(Set(ports.all).count == 3)
        #expect(answers.all.values.allSatisfy { $0 == 20 })
    }
}
