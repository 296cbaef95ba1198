// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Scenarios
import TestPrograms
import Testing
import TorsionTesting

@Suite
struct ScenarioTests {
    /// Some hundreds, or what `TEST_SEEDS` says.
    ///
    /// Unlike `SEEDS` it leaves alone what is a test for the seeds that it names.
    private static let seeds = TestScope.seeds(all: 300, few: 10, variable: "TEST_SEEDS")

    /// `make sim` runs ten thousand of each.
    @Test(arguments: Scenario.all)
    func `scenarios lose nothing, double nothing and leave nothing`(scenario: Scenario) throws {
        let report = try scenario.search(Self.seeds)
        #expect(report.faultCount > report.runCount / 3)
    }

    /// A task of the server opens the port, and a host that stalls runs it late.
    @Test func `issue 7: clients of the tasks wait for a server that stalls`() throws {
        let stall = try #require(Fault("stall 1. 0"))
        let tasks = try #require(Scenario.all.first { $0.name == "tasks" })
        for seed in UInt64(1)...20 {
            let world = SimulatedWorld(seed: seed, script: [stall])
            try tasks.run(in: world)
            try world.finish()
            #expect(world.network.faults == [stall])
        }
    }
}
