// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Scenarios
import Synchronization
import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionTesting

/// Whatever a program does inside of a callback, no byte is lost, doubled or misplaced (P8, P9).
///
/// The scenario `randomUser` is the same, simulated.
@Suite
struct RandomUserTests {
    private static let backends = BackendChoice.tested

    /// `RANDOM_USERS=500` searches as many seeds over each backend.
    private static let seeds = TestScope.seeds(all: 40, few: 8, variable: "RANDOM_USERS")

    @Test(arguments: backends.map(\.name))
    func `a random user finds every byte in its place`(name: String) throws {
        let backend = try BackendChoice.named(name, among: Self.backends)
        // A kernel may lack io_uring, or forbid it.
        if let reason = backend.unavailableReason() { try Test.cancel("no \(name): \(reason)") }
        for seed in Self.seeds {
            _ = try RandomUser.run(seed: seed, over: backend)
        }
    }

    #if TLS
    @Test(arguments: backends.map(\.name))
    func `a random user finds every byte in its place over TLS`(name: String) throws {
        let backend = try BackendChoice.named(name, among: Self.backends)
        if let reason = backend.unavailableReason() { try Test.cancel("no \(name): \(reason)") }
        for seed in Self.seeds {
            _ = try RandomUser.run(seed: seed, over: .secured(backend))
        }
    }
    #endif

    @Test(.enabled(if: TestScope.isWhole))
    func `a random user does everything from everywhere`() throws {
        let scenario = try #require(Scenario.all.first { $0.name == "randomUser" })
        var seeds = UInt64(1)...200
        // How many it takes is chance; a pair that cannot happen is never found.
        while !RandomUserCoverage.simulated.withLock(\.missing).isEmpty, seeds.lowerBound < 1_500 {
            try scenario.search(seeds, faults: .none)
            seeds = (seeds.upperBound + 1)...(seeds.upperBound + 200)
        }
        #expect(RandomUserCoverage.simulated.withLock(\.missing) == [])
    }
}
