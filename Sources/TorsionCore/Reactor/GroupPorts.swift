// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The ports that the reactors of a group share.
///
/// Each listens with a socket of its own on the same port; where the port was left to the kernel,
/// the first reactor's is taken by the others. A UNIX address has room for one socket: the first
/// reactor opens it, and the others adopt duplicates of its descriptor.
package final class GroupPorts: Sendable {
    private enum Kind { case streams, datagrams }

    /// The nth port of a kind that a reactor asks for at an address.
    private struct Key: Hashable {
        let kind: Kind
        let address: SocketAddress
        let ordinal: Int
    }

    private struct Count: Hashable {
        let kind: Kind
        let address: SocketAddress
        let reactor: UInt32
    }

    private struct State {
        var chosen: [Key: SocketAddress] = [:]
        var asked: [Count: Int] = [:]
        /// The descriptors of the UNIX sockets that are open.
        var sockets: [Key: Int32] = [:]
    }

    private let state = Lock(State())

    /// How many reactors share them.
    package let reactorCount: Int

    /// Ports for so many reactors.
    package init(reactorCount: Int = 1) { self.reactorCount = reactorCount }

    /// Binds under the lock, so that two reactors never both let the kernel choose.
    ///
    /// - Parameters:
    ///   - address: Where; port 0 lets the kernel choose.
    ///   - reactor: The number of the reactor that asks.
    ///   - bind: Opens a socket.
    ///   - adopt: Opens one over a duplicate of a socket that is open.
    /// - Returns: What either opened.
    /// - Throws: What either throws.
    func listen(
        on address: SocketAddress, from reactor: UInt32,
        _ bind: (SocketAddress) throws(IOError) -> ListeningPort,
        adopting adopt: (Int32) throws(IOError) -> ListeningPort
    ) throws(IOError) -> ListeningPort {
        if case .unix = address {
            let key = key(.streams, address, reactor)
            return try share(
                address, as: key, descriptorOf: { $0.sharedDescriptor }, bind, adopting: adopt)
        }
        guard address.port == 0 else { return try bind(address) }
        let key = key(.streams, address, reactor)
        return try open(address, as: key, addressOf: { $0.localAddress }, bind)
    }

    /// The same for datagrams.
    func listenForDatagrams(
        on address: SocketAddress, from reactor: UInt32,
        _ bind: (SocketAddress) throws(IOError) -> any BackendDatagramPort,
        adopting adopt: (Int32) throws(IOError) -> any BackendDatagramPort
    ) throws(IOError) -> any BackendDatagramPort {
        if case .unix = address {
            let key = key(.datagrams, address, reactor)
            return try share(
                address, as: key, descriptorOf: { $0.sharedDescriptor }, bind, adopting: adopt)
        }
        guard address.port == 0 else { return try bind(address) }
        let key = key(.datagrams, address, reactor)
        return try open(address, as: key, addressOf: { $0.localAddress }, bind)
    }

    /// The socket of this descriptor is about to close: nobody may adopt it from now on.
    func willClose(_ descriptor: Int32) {
        state.withLock { state in
            state.sockets = state.sockets.filter { $0.value != descriptor }
        }
    }

    private func key(_ kind: Kind, _ address: SocketAddress, _ reactor: UInt32) -> Key {
        state.withLock { state in
            let count = Count(kind: kind, address: address, reactor: reactor)
            defer { state.asked[count, default: 0] += 1 }
            return Key(kind: kind, address: address, ordinal: state.asked[count, default: 0])
        }
    }

    private func share<Port>(
        _ address: SocketAddress, as key: Key, descriptorOf: (Port) -> Int32?,
        _ bind: (SocketAddress) throws(IOError) -> Port,
        adopting adopt: (Int32) throws(IOError) -> Port
    ) throws(IOError) -> Port {
        // Under the lock the socket does not close.
        try underLock { state throws(IOError) in
            if let descriptor = state.sockets[key] { return try adopt(descriptor) }
            let port = try bind(address)
            state.sockets[key] = descriptorOf(port)
            return port
        }
    }

    private func open<Port>(
        _ address: SocketAddress, as key: Key, addressOf: (Port) -> SocketAddress,
        _ bind: (SocketAddress) throws(IOError) -> Port
    ) throws(IOError) -> Port {
        try underLock { state throws(IOError) in
            let port = try bind(state.chosen[key] ?? address)
            state.chosen[key] = addressOf(port)
            return port
        }
    }

    private func underLock<Port>(
        _ open: (inout State) throws(IOError) -> Port
    ) throws(IOError) -> Port {
        // The port itself belongs to one reactor and must not leave this thread, which a result
        // of `withLock` would do for all that the compiler knows.
        var opened: Port?
        var failure: IOError?
        state.withLock { state in
            do throws(IOError) { opened = try open(&state) } catch { failure = error }
        }
        if let failure { throw failure }
        return opened!
    }
}
