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
}
