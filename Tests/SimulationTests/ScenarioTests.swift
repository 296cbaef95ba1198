// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Scenarios
import Testing
import TorsionTesting

@Suite
struct ScenarioTests {
    /// `make sim` runs ten thousand of each.
    @Test(arguments: Scenario.all)
    func `scenarios lose nothing, double nothing and leave nothing`(scenario: Scenario) throws {
        let report = try scenario.search(1...300)
        #expect(report.faultCount > 100)
    }
}
