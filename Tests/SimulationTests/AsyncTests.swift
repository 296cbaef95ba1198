// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

@Suite
struct AsyncTests {
    @Test func `async code of a host goes by virtual time`() throws {
        let world = SimulatedWorld(seed: 1)
        let reactor = world.host("alone").reactor
        var moments: [Duration] = []
        try world.host("alone").run { reactor in
            reactor.spawn { [unowned world] in
                for hours in 1...3 {
                    try await reactor.sleep(for: .seconds(hours * 3_600))
                    moments.append(world.elapsed)
                }
            }
        }
        try world.run(limit: .seconds(100_000)) { moments.count == 3 }
        #expect(moments[2] >= .seconds(6 * 3_600) && moments[2] < .seconds(6 * 3_600 + 1))
        #expect(reactor.statistics.delayedCalls == 0)
        try world.finish()
    }
}
