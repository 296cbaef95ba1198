// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion

/// A `ClientService` over sockets.
@Suite struct ServiceTests {
    /// Greets, and hangs up on the first client.
    private final class Host: StreamProtocol {
        let number: Int
        init(_ number: Int) { self.number = number }

        func connectionMade(_ transport: any StreamTransport) {
            transport.write("hello")
            if number == 1 { transport.loseConnection() }
        }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
    }

    private final class Guest: StreamProtocol {
        let greeted: Deferred<Void>
        init(on reactor: Reactor) { greeted = Deferred(on: reactor) }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            greeted.succeed()
        }
    }

    @Test(arguments: testedBackends.map(\.name))
    func `a service comes back when the server hangs up, and ends with the reactor`(
        name: String
    ) throws {
        let reactor = Reactor(backend: try .named(name, among: testedBackends))
        var hosts = 0
        var connections = 0
        try reactor.run(signals: .ignore) { reactor in
            let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in
                hosts += 1
                return Host(hosts)
            }
            let service = ClientService(
                to: .address(port.localAddress), on: reactor,
                policy: RetryPolicy(firstDelay: .milliseconds(1), jitter: 0)
            ) {
                Guest(on: reactor)
            } prepare: {
                $0.greeted
            }
            service.start()
            service.whenConnected().addCallback { _ in connections += 1 }
            // The first connection is lost once it was greeted; who asks then is given the second.
            LoopingCall(on: reactor) {
                if hosts == 2 {
                    service.whenConnected().addCallback { _ in
                        connections += 1
                        reactor.stop()
                    }
                    throw CancellationError()
                }
            }
            .start(every: .milliseconds(1))
            reactor.callLater(.seconds(10)) {
                Issue.record("not in time"); reactor.stop()
            }
        }
        #expect(connections == 2)
        #expect(hosts == 2)
        #expect(reactor.statistics.openHandles == 0)
    }
}
