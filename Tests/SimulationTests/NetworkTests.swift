// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// Faults by hand and by script: each does what it says.
@Suite
struct NetworkTests {
    @Test func `bytes take the latency, and a host is found by name`() throws {
        let pair = try Pair()
        pair.world.network.conditions.latency = .milliseconds(40)
        try pair.connect()
        let start = pair.world.elapsed
        pair.client.transport?.write("hello")
        try pair.world.run { pair.server.text == "hello" }
        #expect(pair.world.elapsed - start >= .milliseconds(40))
        #expect(pair.world.elapsed - start < .milliseconds(41))
        try pair.world.finish()
    }

    @Test func `a bandwidth bounds what arrives in a second`() throws {
        let pair = try Pair()
        try pair.connect()
        pair.world.network.conditions.bandwidth = 10_000
        let start = pair.world.elapsed
        pair.client.transport?.write(String(repeating: "x", count: 30_000))
        try pair.world.run { pair.server.text.utf8.count == 30_000 }
        #expect(pair.world.elapsed - start >= .seconds(3))
        try pair.world.finish()
    }

    @Test func `a partition delays and loses nothing`() throws {
        let pair = try Pair()
        try pair.connect()
        pair.world.network.partition("client", "server", for: .seconds(50))
        let start = pair.world.elapsed
        pair.client.transport?.write("after all")
        try pair.world.run { pair.server.text == "after all" }
        #expect(pair.world.elapsed - start >= .seconds(50))
        try pair.world.finish()
    }

    @Test func `an hour without an answer takes no time and ends in a timeout`() throws {
        let pair = try Pair()
        pair.world.host("server").isDown = true
        pair.begin()
        try pair.world.run { pair.failure != nil }
        #expect(pair.failure?.code == .timedOut)
        #expect(pair.world.elapsed >= .seconds(30))
        try pair.world.run(for: .seconds(3_600))
        #expect(pair.world.elapsed > .seconds(3_600))
        try pair.world.finish()
    }

    @Test func `a port where nobody listens refuses`() throws {
        let pair = try Pair()
        ClientEndpoint.tcp(host: "server", port: 8).connect(on: pair.world.host("client").reactor) {
            Witness()
        }.whenFailed { pair.failure = $0 as? IOError }
        try pair.world.run { pair.failure != nil }
        #expect(pair.failure?.code == .connectionRefused)
        try pair.world.finish()
    }

    @Test func `a name that no host has is not found`() throws {
        let pair = try Pair()
        ClientEndpoint.tcp(host: "nobody", port: 7).connect(on: pair.world.host("client").reactor) {
            Witness()
        }.whenFailed { pair.failure = $0 as? IOError }
        try pair.world.run { pair.failure != nil }
        #expect(pair.failure?.code == .hostNotFound)
        try pair.world.finish()
    }

    @Test func `a reset by hand is seen by both ends`() throws {
        let pair = try Pair()
        try pair.connect()
        pair.world.network.reset(connection: 1)
        try pair.world.run { pair.server.loss != nil && pair.client.loss != nil }
        for witness in [pair.server, pair.client] {
            guard case .failed(let error) = witness.loss else {
                Issue.record("\(witness.loss as Any)")
                continue
            }
            #expect(error.code == .connectionReset)
        }
        try pair.world.finish()
    }

    @Test func `an end by hand is an end to the receiver, and an error to the sender`() throws {
        let pair = try Pair()
        try pair.connect()
        pair.world.network.end(connection: 1, from: .client)
        try pair.world.run { pair.server.loss != nil && pair.client.loss != nil }
        #expect(pair.server.loss == .closedByPeer)
        #expect(pair.client.loss?.isClean == false)
        try pair.world.finish()
    }

    /// Such a sender is shut down to its peer, as by a process that shares its descriptor: what it
    /// never reads is answered by a reset when it closes, or the peer would wait for ever.
    @Test func `issue 7: who sends to one whose direction was ended hears of it`() throws {
        final class Stubborn: Witness, HalfCloseableProtocol {
            func readConnectionLost(from transport: any StreamTransport) {}
            func writeConnectionLost(from transport: any StreamTransport) {}
        }
        let client = Stubborn(), world = SimulatedWorld(seed: 1)
        world.network.conditions.receiveBufferBytes = 10
        let pair = try Pair(world, client: client)
        try pair.connect()
        world.host("server").stall(for: .seconds(1))
        world.network.end(connection: 1, from: .server)
        // More than the server's kernel holds.
        client.transport?.write(String(repeating: "z", count: 100))
        try world.run { pair.server.loss != nil && client.loss != nil }
        for loss in [pair.server.loss, client.loss] { #expect(loss?.isClean == false) }
        try world.finish()
    }

    @Test func `a machine that vanishes leaves its peer waiting, but not after a close`() throws {
        let pair = try Pair()
        try pair.connect()
        pair.world.host("server").isDown = true
        pair.client.transport?.write("anybody?")
        try pair.world.run(for: .seconds(1_000))
        #expect(pair.client.loss == nil && pair.server.text == "")
        pair.client.transport?.loseConnection()
        try pair.world.run { pair.client.loss != nil }
        #expect(pair.client.loss == .closedLocally, "its kernel has everything")
        try pair.world.finish()
    }

    // R3, S19
    @Test func `the end of a run gives time to what a peer that sends on has not taken`() throws {
        let pair = try Pair()
        try pair.connect()
        let client = try #require(pair.client.transport)
        pair.world.network.conditions.bandwidth = 100_000
        pair.world.network.conditions.sendBufferBytes = 1_000_000
        let second = Witness()
        ClientEndpoint.tcp(host: "server", port: 7).connect(on: client.reactor) { second }
            .whenFailed { Issue.record("\($0)") }
        try pair.world.run { second.transport != nil }
        let server = try #require(pair.server.transport)
        server.write(String(repeating: "y", count: 200_000))
        server.loseConnection()
        for count in 1...20 {
            client.reactor.callLater(.milliseconds(100 * count)) { second.transport?.write("late") }
        }
        try pair.world.run { pair.server.loss != nil }
        try pair.world.run(for: .milliseconds(300))
        pair.world.host("server").reactor.stop()
        try pair.world.run { second.loss != nil }
        #expect(second.text.utf8.count == 200_000, "\(second.loss!)")
        client.abortConnection()
        try pair.world.finish()
    }

    @Test func `a client that agrees on its terms late in a stop is asked to end as well`() throws {
        /// Has agreed when it has a byte.
        final class Token: StreamFilter {
            override func begin() {}

            override func receive(_ bytes: RawSpan) {
                if hasAgreed { deliver(bytes) } else { agree() }
            }
        }
        /// Holds the stop for as long as it may.
        final class Stubborn: StreamProtocol {
            var transport: (any StreamTransport)?
            var loss: ConnectionLoss?

            func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

            func shutdownRequested(_ transport: any StreamTransport) {}

            func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
                loss = why
                self.transport = nil
            }
        }
        let world = SimulatedWorld(seed: 1)
        let early = Stubborn(), late = Witness()
        try world.host("server").run { reactor in
            var protocols: [any StreamProtocol] = [late, early]
            try ServerEndpoint.address(.ipv4(.any, port: 7)).filtered { Token() }
                .listen(on: reactor) { protocols.popLast() }
        }
        let clients = [Witness(), Witness()]
        try world.host("client").run { reactor in
            for client in clients {
                ClientEndpoint.tcp(host: "server", port: 7).connect(on: reactor) { client }
                    .whenFailed { Issue.record("\($0)") }
            }
        }
        try world.run { clients.allSatisfy { $0.transport != nil } }
        clients[0].transport?.write("x")
        try world.run { early.transport != nil }
        world.host("server").reactor.stop(within: .seconds(60))
        try world.run(for: .seconds(3))
        clients[1].transport?.write("x")
        try world.run { late.loss != nil }
        #expect(late.loss == .closedLocally && early.loss == nil)
        clients[0].transport?.abortConnection()
        try world.finish()
    }

    @Test func `a host that stalls whenever it may makes a turn between two stalls`() throws {
        var rates = FaultRates.none
        rates[.stall] = 10_000
        let pair = try Pair(SimulatedWorld(seed: 1, faults: rates))
        pair.begin(timeout: .seconds(100))
        try pair.world.run { pair.client.transport != nil && pair.server.transport != nil }
        pair.client.transport?.write("late")
        let start = pair.world.elapsed
        try pair.world.run { pair.server.text == "late" }
        // Both stalled meanwhile, each for five seconds at most.
        #expect(pair.world.elapsed - start < .seconds(20))
        pair.world.network.endFaults()
        try pair.world.finish()
    }

    @Test func `a stalled host does nothing until it goes on`() throws {
        let pair = try Pair()
        try pair.connect()
        pair.world.host("server").stall(for: .seconds(9))
        let start = pair.world.elapsed
        pair.client.transport?.write("late")
        try pair.world.run { pair.server.text == "late" }
        #expect(pair.world.elapsed - start >= .seconds(9))
        try pair.world.finish()
    }

    @Test func `a host without descriptors refuses and recovers`() throws {
        let pair = try Pair()
        pair.world.host("server").descriptorLimit = 1
        pair.begin()
        try pair.world.run { pair.client.loss != nil }
        #expect(pair.server.transport == nil)
        pair.client.loss = nil
        pair.world.host("server").descriptorLimit = 2
        try pair.connect()
        try pair.world.finish()
    }

    @Test func `a full buffer pauses the sender's producer, not the world`() throws {
        let pair = try Pair()
        pair.world.network.conditions.sendBufferBytes = 10
        pair.world.network.conditions.receiveBufferBytes = 10
        try pair.connect()
        pair.server.transport?.pauseProducing()
        pair.client.transport?.write(String(repeating: "y", count: 100))
        try pair.world.run(for: .seconds(1))
        #expect(pair.client.transport?.pendingByteCount == 80)
        pair.server.transport?.resumeProducing()
        try pair.world.run { pair.server.text.utf8.count == 100 }
        try pair.world.finish()
    }

    @Test func `a script makes exactly its faults happen`() throws {
        let script = try ["cutRead 1< 0", "cutRead 1< 2"].map { try #require(Fault($0)) }
        let pair = try Pair(SimulatedWorld(seed: 3, script: script))
        try pair.connect()
        pair.client.transport?.write("0123456789")
        try pair.world.run { pair.server.text.utf8.count == 10 }
        #expect(pair.world.network.faults.first == script[0])
        #expect(pair.server.readCount >= 2)
        try pair.world.finish()
    }

    @Test func `names of faults are read as they are written`() throws {
        for kind in Fault.Kind.allCases {
            for place in [Fault.Place.client, .server, .host] {
                let fault = Fault(kind: kind, number: 12, place: place, ordinal: 345)
                #expect(Fault("\(fault)") == fault)
            }
        }
        #expect(Fault("reset 3> 1")?.ordinal == 1)
        for text in ["", "reset", "reset 3> x", "reset 3 1", "nothing 3> 1", "reset -3> 1"] {
            #expect(Fault(text) == nil)
        }
    }
}
