// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// A search finds, tells and shrinks.
@Suite
struct SearchTests {
    /// Believes that what was sent at once is read at once.
    private final class Gullible: StreamProtocol {
        var lines: [String] = []

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            lines.append(String(decoding: bytes))
        }
    }

    private struct Wrong: Error, CustomStringConvertible {
        let description: String
    }

    private func gullible(_ world: SimulatedWorld) throws {
        let server = Gullible()
        try world.host("server").run { reactor in
            try reactor.listen(on: .ipv4(.any, port: 7)) { _ in server }
        }
        final class Client: StreamProtocol {
            var transport: (any StreamTransport)?
            func connectionMade(_ transport: any StreamTransport) { self.transport = transport }
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
        }
        let client = Client()
        try world.host("client").run { reactor in
            ClientEndpoint.tcp(host: "server", port: 7).connect(on: reactor) { client }
                .whenFailed { _ in }
        }
        try world.run { client.transport != nil }
        client.transport?.write("twenty bytes at once")
        try world.run { !server.lines.isEmpty }
        guard server.lines == ["twenty bytes at once"] else {
            throw Wrong(description: "read \(server.lines)")
        }
    }

    @Test func `a bug is found by seed, shrunk to one fault, and drawn`() throws {
        let found = #expect(throws: SimulationFailure.self) {
            try simulate("gullible", seeds: 1...200, faults: .gentle, gullible)
        }
        let failure = try #require(found)
        #expect(failure.faults.count == 1)
        let kind = try #require(failure.faults.first?.kind)
        #expect([.cutRead, .split, .cutWrite].contains(kind))
        #expect(failure.error.hasPrefix("read "))
        let text = failure.description
        #expect(text.contains("SEED=\(failure.seed) set"))
        #expect(text.contains("*** \(failure.faults[0])"))
        #expect(text.contains("#1 connect"))

        // The list is a script: it fails again, and without it the seed does not.
        let world = SimulatedWorld(seed: failure.seed, script: failure.faults)
        #expect(throws: Wrong.self) { try gullible(world) }
        try gullible(SimulatedWorld(seed: failure.seed, script: []))
    }

    @Test func `a right program is reported with what it went through`() throws {
        let report = try simulate("calm", seeds: 1...5, faults: .none, gullible)
        #expect(report.runCount == 5 && report.faultCount == 0 && report.elapsed > .zero)
    }

    @Test func `a scenario that waits for what never happens fails`() throws {
        let world = SimulatedWorld(seed: 1)
        try world.host("alone").run { _ in }
        let failure = #expect(throws: CheckFailure.self) { try world.run { false } }
        #expect(failure?.description == "SimulatedWorld: nothing is left to happen")
    }

    @Test func `an invariant is checked after every step`() throws {
        let world = SimulatedWorld(seed: 1)
        var ticks = 0
        try world.host("alone").run { reactor in
            func tick() {
                ticks += 1
                reactor.callLater(.seconds(1)) { tick() }
            }
            tick()
        }
        world.always { if ticks > 9 { throw Wrong(description: "ten") } }
        let failure = #expect(throws: Wrong.self) { try world.run { ticks > 100 } }
        #expect(failure?.description == "ten" && ticks == 10)
        #expect(world.elapsed >= .seconds(9))
    }

    @Test func `an error that no program took fails the run`() throws {
        let world = SimulatedWorld(seed: 1)
        try world.host("alone").run { reactor in
            reactor.callLater(.seconds(1)) { throw Wrong(description: "nobody's") }
        }
        try world.run(for: .seconds(2))
        let failure = #expect(throws: CheckFailure.self) { try world.finish() }
        #expect(failure?.description.contains("nobody's") == true)
    }

    @Test func `what a program's beginning throws ends the scenario`() throws {
        let world = SimulatedWorld(seed: 1)
        try world.host("alone").run { _ in throw Wrong(description: "no beginning") }
        #expect(throws: Wrong.self) { try world.run { false } }
    }

    // An event often holds the network that holds it.
    @Test func `what was to happen later keeps no network`() throws {
        weak var network: SimulatedNetwork?
        _ = try simulate("calm", seeds: 1...1, faults: .none) { world in
            network = world.network
            world.at(.seconds(60)) { [network = world.network] in network.endFaults() }
        }
        #expect(network == nil)
    }
}
