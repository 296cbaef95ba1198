// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// Fail call N of a scenario, for N = 1, 2, 3, …, until it passes untouched: whatever fails, each
/// connection ends once, an error is told to somebody, and nothing stays open.
@Suite struct FaultTests {
    @Test(
        arguments: testedBackends.map(\.name),
        [ErrorCode.connectionReset, .outOfMemory])
    func `connect and echo survive the failure of any call`(name: String, code: ErrorCode) throws {
        let backend = try BackendChoice.named(name, among: testedBackends)
        var number = 1
        while true {
            let plan = FaultPlan.failCall(number, with: code)
            let isUntouched = try echo(over: backend, plan)
            if plan.failureCount == 0 {
                #expect(isUntouched, "the scenario fails without a fault")
                break
            }
            number += 1
            try #require(number < 1_000)
        }
        #expect(number > 5, "the scenario makes too few calls to prove anything")
    }

    @Test(arguments: testedBackends.map(\.name), 1...20)
    func `cut and late calls change nothing`(name: String, seed: Int) throws {
        let backend = try BackendChoice.named(name, among: testedBackends)
        let plans = [FaultPlan.irregular(seed: UInt64(seed)), .pieces(of: seed)]
        for plan in plans { #expect(try echo(over: backend, plan)) }
    }

    private final class Side: StreamProtocol {
        var text = ""
        var made = 0, lost = 0
        var greeting = ""
        var onText: (any StreamTransport, String) -> Void = { _, _ in }

        func connectionMade(_ transport: any StreamTransport) {
            made += 1
            transport.write(greeting)
        }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            text += String(decoding: bytes)
            onText(transport, text)
        }

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            lost += 1
            if made != 1 || lost != 1 { fatalError("made \(made), lost \(lost)") }
        }
    }

    /// - Returns: Whether all bytes came back.
    private func echo(over backend: BackendChoice, _ plan: FaultPlan) throws -> Bool {
        let reactor = Reactor(backend: .faulty(backend, plan), services: nil)
        var reports = 0
        reactor.unhandledError = { _ in reports += 1 }
        let message = String(repeating: "torsion ", count: 40)
        var servers: [Side] = []
        let client = Side()
        client.greeting = message
        var hasFailed = false
        var isComplete = false
        do {
            try reactor.run(signals: .ignore) { reactor in
                let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in
                    let server = Side()
                    servers.append(server)
                    server.onText = { transport, text in
                        if text == message { transport.write(text) }
                    }
                    return server
                }
                client.onText = { transport, text in
                    guard text == message else { return }
                    isComplete = true
                    transport.loseConnection()
                    reactor.stop(within: .milliseconds(200))
                }
                ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                    .whenFailed { _ in
                        hasFailed = true
                        reactor.stop(within: .zero)
                    }
                // What a failed call left waiting is ended a while later; where none has failed, a
                // busy machine has the time that it needs.
                func watch(_ sawFailure: Bool) {
                    reactor.callLater(.milliseconds(150)) {
                        if sawFailure {
                            reactor.stop(within: .zero)
                        } else {
                            watch(plan.failureCount > 0)
                        }
                    }
                }
                watch(false)
            }
        } catch {
            // Starting or listening failed: that is told by the throw.
            #expect(error is IOError)
            return false
        }
        #expect(client.made == client.lost)
        for server in servers { #expect(server.made == server.lost) }
        #expect(reactor.statistics.openHandles == 0)
        #expect(reactor.statistics.liveTransports == 0)
        return isComplete && !hasFailed
    }
}
