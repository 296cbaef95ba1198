// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Scenarios
import TestPrograms
import Testing
import Torsion
import TorsionTesting

@Suite
struct DeterminismTests {
    @Test(arguments: Scenario.all)
    func `the same seeds give the same traces`(scenario: Scenario) throws {
        let count: UInt64 = TestScope.isWhole ? 20 : 1
        let first = try scenario.search(1...count), second = try scenario.search(1...count)
        #expect(first.digest == second.digest)
        #expect(first.description == second.description)
        #expect(try scenario.search((count + 1)...(count * 2)).digest != first.digest)
    }

    @Test func `the same seed gives the same picture, byte for byte`() throws {
        func picture() throws -> String {
            let world = SimulatedWorld(seed: 11, faults: .harsh)
            try Scenario.all[0].run(in: world)
            return world.network.diagram()
        }
        let first = try picture()
        #expect(try picture() == first)
        #expect(first.contains("connect"))
    }

    /// Dice and faults are ours alone, so that a script written on one machine is one on another.
    @Test func `chance is the same on every machine`() {
        var dice = SeededDice(seed: 7)
        let words = (0..<4).map { _ in dice.next() }
        #expect(
            words == [
                7_191_089_600_892_374_487, 309_689_372_594_955_804, 16_616_101_746_815_609_346,
                10_753_165_928_301_472_203,
            ])
        let world = SimulatedWorld(seed: 7, faults: .harsh)
        #expect(world.dice.below(1_000) == 487)
    }

    /// One program, small enough to stay as it is.
    ///
    /// The hash moves when the engine sends otherwise; then take the new one, when it is the same on
    /// two machines.
    @Test func `a trace is the same on every machine`() throws {
        let report = try simulate("pinned", seeds: 1...50) { world in
            let server = Parrot(isServer: true), client = Parrot(isServer: false)
            try world.host("server").run { reactor in
                try reactor.listen(on: .ipv4(.any, port: 7)) { _ in server }
            }
            try world.host("client").run { reactor in
                ClientEndpoint.tcp(host: "server", port: 7).connect(on: reactor) { client }
                    .whenFailed { _ in client.isOver = true }
            }
            try world.run { client.isOver }
        }
        #expect(report.stepCount == 695)
        #expect(report.digest.value == 17_450_044_646_007_711_342)
    }

    /// Says a word and hears it, or the other way round.
    private final class Parrot: StreamProtocol {
        private let isServer: Bool
        var isOver = false

        init(isServer: Bool) { self.isServer = isServer }

        func connectionMade(_ transport: any StreamTransport) {
            if !isServer { transport.write([UInt8].pattern(count: 5_000, seed: 3)) }
        }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            if isServer { transport.write(bytes) } else { transport.loseConnection() }
        }

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            isOver = true
        }
    }

    /// Hash tables are seeded anew in each process, and addresses differ.
    @Test func `another process gives the same traces`() throws {
        let count: UInt64 = TestScope.isWhole ? 10 : 2
        var total = SimulationReport()
        for scenario in Scenario.all { total.add(try scenario.search(1...count)) }
        // Two random seeds of the hash tables, and the one seed that can be asked for.
        let outputs = try ["", "", "SWIFT_DETERMINISTIC_HASHING=1 "].map {
            try output(of: "\($0)'\(program())'", "\(count)")
        }
        #expect(outputs[0] == outputs[1] && outputs[1] == outputs[2])
        #expect(outputs[0].contains("all: \(total)"))
    }

    /// What `SEED=12 make sim FILTER=echo` does.
    @Test func `one seed alone is played again`() throws {
        let alone = try Scenario.all[0].search(12...12)
        let text = try output(of: "SEED=12 '\(program())'", "10000 \(Scenario.all[0])")
        #expect(text.contains("\(Scenario.all[0]): \(alone)"))
        #expect(alone.runCount == 1)
    }

    /// Where the build put the programs, which is where it put this test.
    private func program() throws -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        let path = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let end = try #require(path.lastIndex(of: "/"))
        return path[..<end] + "/Simulate"
    }

    private func output(of program: String, _ argument: String) throws -> String {
        let pipe = try #require(popen("\(program) \(argument)", "r"))
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while case let count = fread(&buffer, 1, buffer.count, pipe), count > 0 {
            text += buffer[..<count]
        }
        #expect(pclose(pipe) == 0)
        return String(decoding: text, as: UTF8.self)
    }
}
