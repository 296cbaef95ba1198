// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// Names and signals on a simulated host.
///
/// Every host knows the others by name; there are no signals, since there is no process.
final class SimulatedServices: ReactorServices {
    let resolver: any NameResolver
    let signals: any SignalSource = NoSignals()
    private unowned let reactor: Reactor
    /// Virtual time zero is here: 2026-01-01T00:00:00Z.
    private static let beginning: Int64 = 1_767_225_600

    init(network: SimulatedNetwork, reactor: Reactor) {
        self.reactor = reactor
        resolver = SimulatedResolver(network: network, reactor: reactor)
    }

    /// Goes with the world's clock.
    func wallTime() -> WallTime {
        let now = reactor.now.nanoseconds
        return WallTime(
            seconds: Self.beginning + Int64(now / 1_000_000_000),
            nanoseconds: Int32(now % 1_000_000_000))
    }

    /// Follows from the world's seed.
    func randomBytes(count: Int) -> [UInt8] {
        var generator = reactor.chance ?? SeededGenerator(seed: 0)
        defer { reactor.chance = generator }
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    }

    func shutDown() {}
}

private final class SimulatedResolver: NameResolver {
    private unowned let network: SimulatedNetwork
    private unowned let reactor: Reactor

    init(network: SimulatedNetwork, reactor: Reactor) {
        self.network = network
        self.reactor = reactor
    }

    func resolve(_ host: String, port: UInt16) -> Deferred<[SocketAddress]> {
        var lookup: DelayedCall?
        let result = Deferred<[SocketAddress]>(on: reactor) { _ in lookup?.cancel() }
        // The time of one question and its answer.
        lookup = reactor.callLater(network.conditions.latency * 2) { [network] in
            if host == "localhost" {
                result.succeed([.ipv4(.loopback, port: port)])
            } else if let node = network.node(host) {
                result.succeed([.ipv4(node.address, port: port)])
            } else {
                result.fail(IOError(.resolve, function: "", code: .hostNotFound, subject: host))
            }
        }
        return result
    }
}

private final class NoSignals: SignalSource {
    func catchSignal(
        _ signal: Signal, _ body: @escaping (Signal) -> Void
    ) throws(IOError) -> any SignalRegistration {
        throw IOError(.signal, function: "", code: .notSupported, subject: "\(signal)")
    }

    func die(by signal: Signal) -> Never {
        fatalError("SimulatedHost: there is no process to end by \(signal)")
    }
}
