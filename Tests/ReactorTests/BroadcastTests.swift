// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// What one event writes to many connections.
@Suite struct BroadcastTests {
    private final class Side: StreamProtocol {
        var transport: (any StreamTransport)?
        var byteCount = 0
        var onData: () -> Void = {}

        func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            byteCount += bytes.byteCount
            onData()
        }

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            self.transport = nil
            onData = {}
        }
    }

    @Test(arguments: testedBackends.map(\.name))
    func `five lines to each of a hundred members are one write a member`(name: String) throws {
        let plan = FaultPlan.counting
        let backend = try BackendChoice.named(name, among: testedBackends)
        let reactor = Reactor(backend: .faulty(backend, plan), services: nil)
        var members: [Side] = []
        let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in
            members.append(Side())
            return members.last
        }
        let clients = (0..<101).map { _ in Side() }
        for client in clients {
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                .whenFailed { _ in }
        }
        let end = reactor.now.advanced(by: .seconds(10))
        while members.count < 101 || clients.contains(where: { $0.transport == nil }) {
            try #require(reactor.now < end)
            reactor.turn(until: end)
        }
        let writes = { plan.calls.filter { $0 == .write }.count }
        clients[0].transport?.write("go")
        let before = writes()
        for member in members {
            member.onData = { [unowned member] in
                for _ in 0..<5 {
                    for other in members where other !== member { other.transport?.write("line\n") }
                }
            }
        }
        while clients.filter({ $0.byteCount == 25 }).count < 100 {
            try #require(reactor.now < end)
            reactor.turn(until: end)
        }
        #expect(writes() - before == 100)
        port.stopListening()
        reactor.shutDown()
    }
}
