// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
public import TorsionTesting

/// A program that is run under many seeds.
///
/// The scenarios are a module of their own, so that the tests run some hundreds of seeds of each,
/// `make sim` ten thousand, and `make mutants` as many as a broken engine survives.
public struct Scenario: Sendable, CustomStringConvertible {
    /// One word.
    public let name: String

    private let body: @Sendable (SimulatedWorld) throws -> Void

    init(_ name: String, _ body: @escaping @Sendable (SimulatedWorld) throws -> Void) {
        self.name = name
        self.body = body
    }

    /// The name.
    public var description: String { name }

    /// Runs it under each seed.
    @discardableResult
    public func search(
        _ seeds: ClosedRange<UInt64>, faults: FaultRates = .harsh
    ) throws(SimulationFailure) -> SimulationReport {
        try simulate(name, seeds: seeds, faults: faults, body)
    }

    /// Runs it in a world that was made for it.
    public func run(in world: SimulatedWorld) throws { try body(world) }

    /// All of them.
    public static let all =
        [
            echo, halfClose, lastWords, proxy, reconnecting, framing, shutDown, datagrams,
            switching, service, tasks, policies, pool, randomUser, broker, miniRedis, names,
            http, httpClients, reverseProxy, broadcast,
        ] + secured
}

extension SimulatedWorld {
    /// Buffers, bandwidth and latency by the seed, from the usual to the absurd.
    func vary() {
        network.conditions.sendBufferBytes = [262_144, 16_384, 4_000, 1, 700][dice.below(5)]
        network.conditions.receiveBufferBytes = [262_144, 16_384, 4_000, 900][dice.below(4)]
        network.conditions.latency = .microseconds([50, 500, 20_000, 150_000][dice.below(4)])
        network.conditions.bandwidth = [nil, nil, 1_000_000, 50_000][dice.below(4)]
        // A handshake of thousands of sends would take longer than it may.
        if !network.endFilters.server.isEmpty {
            network.conditions.sendBufferBytes = max(700, network.conditions.sendBufferBytes)
        }
        if network.conditions.sendBufferBytes == 1 { network.conditions.receiveBufferBytes = 900 }
    }

    /// How much is worth sending through such buffers.
    func payload() -> [UInt8] {
        let most = network.conditions.sendBufferBytes == 1 ? 300 : 40_000
        let count = 1 + dice.below([10, 1_000, most, most][dice.below(4)])
        return .pattern(count: count, seed: dice.next())
    }

    /// Nothing happened that a right program may lose a connection by.
    var isCalm: Bool { !network.isDamaged && !network.faults.contains { $0.kind.isBreaking } }

    /// Nobody was shown an end that no program asked for; a port without descriptors shows one.
    var isHonest: Bool {
        !network.faults.contains { $0.kind == .end || $0.kind == .shortage }
    }
}

/// What a scenario found.
struct Violation: Error, CustomStringConvertible {
    let description: String
}
