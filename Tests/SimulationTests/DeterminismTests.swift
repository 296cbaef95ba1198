// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Scenarios
import Testing
import TorsionTesting

@Suite
struct DeterminismTests {
    @Test(arguments: Scenario.all)
    func `the same seeds give the same traces`(scenario: Scenario) throws {
        let first = try scenario.search(1...20), second = try scenario.search(1...20)
        #expect(first.digest == second.digest)
        #expect(first.description == second.description)
        #expect(try scenario.search(21...40).digest != first.digest)
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

    /// Hash tables are seeded anew in each process, and addresses differ.
    @Test func `another process gives the same traces`() throws {
        var total = SimulationReport()
        for scenario in Scenario.all { total.add(try scenario.search(1...10)) }
        let outputs = try [program(), program()].map { try output(of: $0, "10") }
        #expect(outputs[0] == outputs[1])
        #expect(outputs[0].contains("all: \(total)"))
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
        let pipe = try #require(popen("'\(program)' \(argument)", "r"))
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while case let count = fread(&buffer, 1, buffer.count, pipe), count > 0 {
            text += buffer[..<count]
        }
        #expect(pclose(pipe) == 0)
        return String(decoding: text, as: UTF8.self)
    }
}
