// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// A backend without a kernel: connections of a ``SimulatedNetwork``, and its virtual time.
///
/// Used in two ways. In a ``SimulatedWorld`` it belongs to one of several hosts, never waits, and
/// the world moves the clock. By itself, as `BackendChoice.simulated`, it is a host of its own,
/// whose clock jumps to what happens next whenever its reactor waits; so it runs every program that
/// talks to itself, and the conformance suite.
///
/// Descriptors of the system are refused: there are none here.
final class SimulatedBackend: ReactorBackend {
    let network: SimulatedNetwork
    let node: NetworkNode
    /// Whether a world moves the clock.
    private let isDriven: Bool
    private let conditionWaker: ConditionWaker
    var openHandleCount = 0
    /// Streams and ports that have something to tell.
    var ready: [SimulatedHandle] = []

    init(network: SimulatedNetwork, node: NetworkNode, isDriven: Bool) {
        self.network = network
        self.node = node
        self.isDriven = isDriven
        conditionWaker = ConditionWaker()
    }

    func start() throws(IOError) {}

    var now: MonotonicInstant { network.now }

    var waker: any BackendWaker { conditionWaker }

    /// Whether no descriptor is left.
    var isShort: Bool { openHandleCount >= node.descriptorLimit }

    /// Whether there is something to tell, or somebody called from elsewhere.
    var hasWork: Bool { !ready.isEmpty || conditionWaker.isRung }

    func turn(until deadline: MonotonicInstant?) {
        guard !isDriven else {
            conditionWaker.takeRing()
            _ = deliver()
            return
        }
        // A turn takes time, or a program that never waits would never hear of anything.
        let cost = network.conditions.turnCost.wholeNanoseconds
        network.advance(to: network.now.nanoseconds + cost)
        while !deliver(), !conditionWaker.takeRing() {
            let next = [network.nextEventTime, deadline?.nanoseconds].compactMap(\.self).min()
            guard let next else { return conditionWaker.wait() }
            guard next > network.now.nanoseconds else { return }
            network.advance(to: next)
        }
    }

    func listen(
        on address: SocketAddress, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> any BackendListener {
        if isShort { throw IOError(.listen, function: "socket", code: .tooManyOpenFiles) }
        return try SimulatedListener(
            backend: self, address: address, options: options, receiver: receiver)
    }

    func connect(
        to address: SocketAddress, options: StreamOptions, receiver: any StreamReceiver
    ) throws(IOError) -> any BackendStream {
        if isShort {
            throw IOError(
                .connect, function: "socket", code: .tooManyOpenFiles, subject: address)
        }
        if let own = options.bindAddress, !node.owns(own) {
            throw IOError(.bind, function: "bind", code: .addressNotAvailable, subject: own)
        }
        guard let other = network.node(at: address, from: node) else {
            throw IOError(.connect, function: "connect", code: .hostUnreachable, subject: address)
        }
        let local = options.bindAddress.map(node.withPort) ?? node.clientAddress(for: address)
        let socket = SimulatedSocket(
            network: network, number: network.nextConnection(), isClient: true, at: node,
            to: other, local: local, peer: address, options: options)
        let stream = SimulatedStream(backend: self, socket: socket, receiver: receiver)
        socket.connect()
        return stream
    }

    func bindDatagrams(
        on address: SocketAddress, options: DatagramOptions
    ) throws(IOError) -> any BackendDatagramPort {
        if isShort { throw IOError(.listen, function: "socket", code: .tooManyOpenFiles) }
        return try SimulatedDatagramPort(backend: self, address: address, options: options)
    }

    func open(input: Int32, output: Int32) throws(IOError) -> any BackendStream {
        throw noDescriptors(.open, input < 0 ? input : output)
    }

    func watch(
        descriptor: Int32, for interest: Readiness, receiver: any WatchReceiver
    ) throws(IOError) -> any BackendWatch {
        throw noDescriptors(.watch, descriptor)
    }

    private func noDescriptors(_ operation: IOError.Operation, _ descriptor: Int32) -> IOError {
        IOError(
            operation, function: "", code: descriptor < 0 ? .badDescriptor : .notSupported,
            subject: "descriptor \(descriptor) of the system, which a simulated host lacks")
    }

    func shutDown() {
        precondition(openHandleCount == 0, "SimulatedBackend: shut down with handles open")
        ready = []
    }
}

extension BackendChoice {
    /// A host of its own on virtual time, without faults.
    ///
    /// Descriptors of the system are refused with `notSupported`. Calls from other threads work; a
    /// wait with a deadline does not last until one comes, for the clock jumps.
    public static let simulated = simulated("simulated") { FaultDraws(seed: 0, rates: .none) }

    /// A host of its own on virtual time, with faults.
    ///
    /// - Parameters:
    ///   - seed: The same seed gives the same run.
    ///   - faults: How often each kind happens.
    /// - Returns: A choice; each backend has a network of its own.
    public static func simulated(seed: UInt64, faults: FaultRates) -> BackendChoice {
        simulated("simulated, seed \(seed)") { FaultDraws(seed: seed, rates: faults) }
    }

    private static func simulated(
        _ name: String, _ makeDraws: @escaping @Sendable () -> FaultDraws
    ) -> BackendChoice {
        BackendChoice(name: name) {
            let network = SimulatedNetwork(draws: makeDraws())
            return SimulatedBackend(
                network: network, node: network.addNode("host"), isDriven: false)
        }
    }
}
