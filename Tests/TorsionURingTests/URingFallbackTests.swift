// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if IOUring

import CTorsionURing
import TestPrograms
import Testing
import TorsionCore
import TorsionTesting

@testable import TorsionURing

/// The contract does not depend on what a kernel offers, nor on how large the queues are.
@Suite struct URingFallbackTests {
    private static func without(_ name: String, _ features: Int...) -> RingUnderTest {
        RingUnderTest("without \(name)") { configuration in
            for feature in features { configuration.features &= ~UInt32(feature) }
        }
    }

    private static let rings = [
        without("deferred work", TORSION_URING_DEFERRED, TORSION_URING_BATCHED_SENDS),
        without("lent buffers", TORSION_URING_BUFFERS),
        without("multishot operations", TORSION_URING_MULTISHOT_RECEIVE),
        without("batched sends", TORSION_URING_BATCHED_SENDS),
        RingUnderTest("in small queues") { configuration in
            configuration.entries = 2
            configuration.completions = 4
            configuration.arenaByteCount = 1_024
            configuration.buffers.byteCount = 512
            configuration.buffers.initialCount = 2
            configuration.buffers.limit = 2
        },
    ]

    @Test(
        .enabled(if: TestScope.isWhole), arguments: rings,
        ConformanceSuite.checks.filter { !$0.isSlow })
    func `the contract holds on every ring`(ring: RingUnderTest, check: Check) throws {
        try check.run(on: ring.choice)
    }
}

#endif
