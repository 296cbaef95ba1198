// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionTesting

/// Every backend under TLS.
private let secured: [BackendUnderTest] = {
    let backends = TestScope.isWhole ? BackendChoice.tested + [.simulated] : [.simulated]
    let plain = backends.map { choice in BackendUnderTest(.secured(choice)) }
    return plain + [BackendUnderTest(.secured(.faulty(.simulated, .irregular(seed: 1))))]
}()

struct SecuredConformanceTests {
    /// TLS passes no descriptors.
    @Test(arguments: ConformanceSuite.checks.filter { !$0.needsDescriptors && !$0.isSlow }, secured)
    func `the contract holds over TLS`(check: Check, backend: BackendUnderTest) throws {
        try check.run(on: backend.choice)
    }
}

#endif
