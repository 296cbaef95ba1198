// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Names and signals on a simulated host.
///
/// Every host knows the others by name; there are no signals, since there is no process.
final class SimulatedServices: ReactorServices {
    let resolver: any NameResolver
    let signals: any SignalSource = NoSignals()

    init(network: SimulatedNetwork, reactor: Reactor) {
        resolver = SimulatedResolver(network: network, reactor: reactor)
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
