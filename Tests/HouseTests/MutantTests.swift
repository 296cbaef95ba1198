// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing

/// `make mutants` takes minutes; that its patches have not been left behind shows at once.
@Test func `every mutant still applies to the engine`() throws {
    let outcome = try run("run-mutants", ["check"])
    #expect(outcome.status == 0, "\(outcome.output)")
}
