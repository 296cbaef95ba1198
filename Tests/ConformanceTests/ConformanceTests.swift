// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// One backend under test, with a name that a test runner can show.
struct BackendUnderTest: CustomStringConvertible, Sendable {
    let choice: BackendChoice

    var description: String { choice.name }

    static let all = BackendChoice.linked.map(BackendUnderTest.init)

    static let irregular = BackendChoice.linked.map {
        BackendUnderTest(choice: .faulty($0, .irregular(seed: 1)))
    }
}

@Suite(.serialized)
struct ConformanceTests {
    @Test(arguments: ConformanceSuite.checks, BackendUnderTest.all)
    func `every backend keeps the contract`(check: Check, backend: BackendUnderTest) throws {
        try check.run(on: backend.choice)
    }

    /// A backend may deliver in pieces, take less than it was offered, and be late: no check may
    /// depend on the kernel being generous.
    @Test(arguments: ConformanceSuite.checks.filter { !$0.isSlow }, BackendUnderTest.irregular)
    func `the contract holds when calls are cut and late`(
        check: Check, backend: BackendUnderTest
    ) throws {
        try check.run(on: backend.choice)
    }
}
