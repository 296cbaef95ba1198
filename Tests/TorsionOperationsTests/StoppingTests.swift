// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import TestedBackends
import Testing
import Torsion

/// A stop that others are warned of, and the end of one port.
@Suite struct StoppingTests {
    @Test(arguments: BackendChoice.tested)
    func `a reactor is ready from its start until it is told to stop`(
        backend: BackendChoice
    ) throws {
        var states: [String] = []
        func note(_ reactor: Reactor) {
            states.append(
                (reactor.isReady ? "ready" : "-") + (reactor.isStopping ? " stopping" : ""))
        }
        try run(on: backend) { reactor in
            note(reactor)
            reactor.addTrigger(.after, .startup) {
                reactor.callLater(.zero) {
                    note(reactor)
                    reactor.stop()
                    note(reactor)
                }
            }
            reactor.addTrigger(.after, .shutdown) { note(reactor) }
        }
        #expect(states == ["-", "ready", "- stopping", "- stopping"])
    }

    @Test(arguments: BackendChoice.tested)
    func `a lame duck is not ready, and serves new clients until its ports close`(
        backend: BackendChoice
    ) throws {
        let lameDuck = Duration.milliseconds(150)
        var stop: MonotonicInstant?
        var close: MonotonicInstant?
        let client = Client()
        try run(on: backend) { reactor in
            let port = try ServerEndpoint.anywhere.listen(on: reactor) { Echo() }
            reactor.addTrigger(.during, .shutdown) {
                close = reactor.now
                #expect(port.isListening)
            }
            reactor.callLater(.milliseconds(1)) {
                stop = reactor.now
                reactor.stop(lameDuck: lameDuck, within: .seconds(5))
            }
            reactor.callLater(.milliseconds(40)) {
                #expect(!reactor.isReady && reactor.isStopping && port.isListening)
                ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                    .addCallback { $0.transport?.write("late") }.orIssue()
            }
        }
        #expect(client.text == "late")
        let waited = try #require(stop).duration(to: try #require(close))
        #expect(waited >= lameDuck && waited < .seconds(4))
    }

    @Test func `the grace period contains the lame duck, and ends it`() async {
        await #expect(processExitsWith: .failure) {
            try synchronously {
                try Reactor.run(signals: .ignore) { reactor in
                    reactor.stop(lameDuck: .seconds(2), within: .seconds(1))
                }
            }
        }
    }

    @Test(arguments: BackendChoice.tested)
    func `one port is drained: who waits and who has asked is answered, other ports go on`(
        backend: BackendChoice
    ) throws {
        var waiting: [Socket] = []
        let idle = Client(), elsewhere = Client()
        var order: [String] = []
        try run(on: backend) { reactor in
            let old = try ServerEndpoint.anywhere.listen(on: reactor) { Echo() }
            let new = try ServerEndpoint.anywhere.listen(on: reactor) { Echo() }
            idle.onLoss = { order.append("idle lost") }
            let connects = [(old, idle), (new, elsewhere)].map { port, client in
                ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
            }
            DeferredList(connects, on: reactor).values().addCallback { _ in
                idle.transport?.write("asked")
                // Nobody accepts them before the next turn.
                for number in 0..<20 {
                    let client = try Socket(port: try #require(old.localAddress.port))
                    client.write("hello \(number)")
                    client.endOutput()
                    waiting.append(client)
                }
                old.drain(within: .seconds(5)).addCallback { _ in
                    order.append("drained")
                    #expect(!old.isListening && new.isListening && reactor.isReady)
                    #expect(elsewhere.transport != nil)
                    #expect(reactor.statistics.openConnections == 2)
                    reactor.stop()
                }.orIssue()
            }.orIssue()
        }
        #expect(idle.text == "asked")
        #expect(order == ["idle lost", "drained"])
        #expect(waiting.map { $0.readToEnd() } == (0..<20).map { "hello \($0)" })
    }

    /// Never closes by itself.
    private final class Stubborn: StreamProtocol {
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
        func shutdownRequested(_ transport: any StreamTransport) {}
    }

    @Test(arguments: BackendChoice.tested)
    func `a drain aborts what is left when its time is over, and each caller hears of it`(
        backend: BackendChoice
    ) throws {
        let client = Client()
        var count = 0
        try run(on: backend) { reactor in
            let port = try ServerEndpoint.anywhere.listen(on: reactor) { Stubborn() }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                .addCallback { _ in
                    let begin = reactor.now
                    for _ in 0..<2 {
                        port.drain(within: .milliseconds(50)).addCallback {
                            count += 1
                            #expect(begin.duration(to: reactor.now) >= .milliseconds(50))
                        }.orIssue()
                    }
                }.orIssue()
            client.onLoss = { reactor.callLater(.milliseconds(1)) { reactor.stop() } }
        }
        #expect(count == 2)
        #expect(client.loss?.isClean == false)
    }

    @Test(arguments: BackendChoice.tested)
    func `a drain ends with the run`(backend: BackendChoice) throws {
        var count = 0
        try run(on: backend) { reactor in
            let port = try ServerEndpoint.anywhere.listen(on: reactor) { Stubborn() }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { Client() }
                .addCallback { _ in
                    port.drain(within: .seconds(60)).addCallback { count += 1 }.orIssue()
                    reactor.stop(within: .milliseconds(20))
                }.orIssue()
        }
        #expect(count == 1)
    }

    @Test(arguments: BackendChoice.tested)
    func `a port that is paused leaves clients in the kernel, and serves them when it is resumed`(
        backend: BackendChoice
    ) throws {
        let client = Client()
        try run(on: backend) { reactor in
            let port = try ServerEndpoint.anywhere.listen(on: reactor) { Echo() }
            port.pauseAccepting()
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                .addCallback { $0.transport?.write("hello") }.orIssue()
            client.onText = { _ in reactor.stop() }
            reactor.callLater(.milliseconds(50)) {
                #expect(client.transport != nil && client.text == "")
                #expect(reactor.statistics.openConnections == 1)
                port.resumeAccepting()
            }
        }
        #expect(client.text == "hello")
    }
}
