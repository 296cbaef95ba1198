// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionTesting

/// Every backend under filters that pass everything: one and three, by their hooks, and one that is
/// transparent.
private let filtered: [BackendUnderTest] = {
    let backends = TestScope.isWhole ? BackendChoice.tested + [.simulated] : [.simulated]
    let plain = backends.map { choice in BackendUnderTest(choice) }
    let cut = BackendUnderTest(.faulty(.simulated, .irregular(seed: 1)))
    return (plain + [cut]).flatMap { inner in
        let stacked = BackendUnderTest(.filtered(inner.choice, count: 3))
        guard TestScope.isWhole || !inner.description.contains("faulty") else { return [stacked] }
        return [
            BackendUnderTest(.filtered(inner.choice)), stacked,
            BackendUnderTest(.filtered(inner.choice, kind: .transparent)),
        ]
    }
}()

struct FilteredConformanceTests {
    /// A filter that has hooks passes no descriptors, so those checks are for streams of sockets alone.
    @Test(
        arguments: ConformanceSuite.checks.filter { !$0.needsDescriptors && !$0.isSlow }, filtered)
    func `the contract holds over filters`(check: Check, backend: BackendUnderTest) throws {
        try check.run(on: backend.choice)
    }
}
