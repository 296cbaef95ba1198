// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionTesting

/// Every backend under filters that pass everything: one and three, by their hooks, and one that is
/// transparent.
private let filtered: [BackendUnderTest] = {
    let whole = getenv("TEST_ALL") != nil
    let backends = whole ? BackendChoice.tested + [.simulated] : [.simulated]
    let cut = BackendChoice.faulty(.simulated, .irregular(seed: 1))
    return (backends + [cut]).flatMap { choice in
        [
            BackendChoice.filtered(choice), .filtered(choice, count: 3),
            .filtered(choice, kind: .transparent),
        ]
    }.map(BackendUnderTest.init)
}()

@Suite(.serialized, .onItsOwnThread)
struct FilteredConformanceTests {
    /// A filter that has hooks passes no descriptors, so those checks are for streams of sockets alone.
    @Test(
        arguments: ConformanceSuite.checks.filter { !$0.needsDescriptors && !$0.isSlow }, filtered)
    func `the contract holds over filters`(check: Check, backend: BackendUnderTest) throws {
        try check.run(on: backend.choice)
    }
}
