// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// What datagrams cost, in calls.
@Suite struct DatagramCostTests {
    private final class Answerer: DatagramProtocol {
        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) throws { try transport.write(bytes, to: address) }
    }

    private final class Counter: DatagramProtocol {
        var count = 0

        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) { count += 1 }
    }

    @Test(arguments: testedBackends.map(\.name), [1, 16, 64])
    func `what arrives together costs one receive and one send`(name: String, count: Int) throws {
        let plan = FaultPlan.counting
        let backend = try BackendChoice.named(name, among: testedBackends)
        let reactor = Reactor(backend: .faulty(backend, plan), services: nil)
        defer { reactor.shutDown() }
        let counter = Counter()
        let server = try reactor.listenForDatagrams(on: .ipv4(.loopback, port: 0), Answerer())
        let client = try reactor.listenForDatagrams(on: .ipv4(.loopback, port: 0), counter)
        reactor.performEvent {
            for _ in 0..<count { try? client.write("hello", to: server.localAddress) }
        }
        let end = reactor.now.advanced(by: .seconds(20))
        while counter.count < count, reactor.now < end { reactor.turn(until: end) }
        #expect(counter.count == count)
        // Both sides are here. A batch that is received has 32 at most, one that is sent 64.
        #expect(plan.calls.count { $0 == .receive } == 2 * ((count + 31) / 32))
        #expect(plan.calls.count { $0 == .send } == 1 + (count + 31) / 32)
    }
}
