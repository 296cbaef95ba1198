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
}

@Suite(.serialized)
struct ConformanceTests {
    @Test(arguments: ConformanceSuite.checks, BackendUnderTest.all)
    func `every backend keeps the contract`(check: Check, backend: BackendUnderTest) throws {
        try check.run(on: backend.choice)
    }
}
