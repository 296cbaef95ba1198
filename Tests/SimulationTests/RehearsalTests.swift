// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Scenarios
import TestedBackends
import Testing
import Torsion
import TorsionTesting

/// Fail call N of each scenario's programs over each real backend, for N = 1, 2, 3, … until they
/// are done before: whatever fails, every connection ends once and nothing is left.
@Suite
struct RehearsalTests {
    private static let backends = BackendChoice.tested

    @Test(arguments: Rehearsal.all, backends.map(\.name))
    func `whichever call of a scenario fails, each connection ends once`(
        rehearsal: Rehearsal, name: String
    ) throws {
        let backend = try BackendChoice.named(name, among: Self.backends)
        // A kernel may lack io_uring, or forbid it.
        if let reason = backend.unavailableReason() { try Test.cancel("no \(name): \(reason)") }
        #expect(
            try rehearsal.run(over: backend, limit: .seconds(30)),
            "it does not end where nothing fails")
        let count = try failingEachCall(of: backend, with: .noBufferSpace) { backend in
            try rehearsal.run(over: backend)
        }
        #expect(count >= 6, "\(count) calls are too few to prove anything")
    }
}
