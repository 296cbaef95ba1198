// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The ports that the reactors of a group share.
///
/// Each listens with a socket of its own on the same port; where the port was left to the kernel,
/// the first reactor's is taken by the others. A UNIX address has room for one socket: the first
/// reactor opens it, and the others adopt duplicates of its descriptor; so it is with a socket that has
/// a name, by which another process may take it.
package final class GroupPorts: Sendable {
    private enum Kind { case streams, datagrams }

    /// The nth port of a kind that a reactor asks for at an address.
    private struct Key: Hashable {
        let kind: Kind
        let address: SocketAddress
        let ordinal: Int
    }

    /// A socket that all reactors accept from.
    private enum Shared: Hashable {
        case unix(Key)
        case named(String)
    }

    private struct Count: Hashable {
        let kind: Kind
        let address: SocketAddress
        let reactor: UInt32
    }

    private struct State {
        var chosen: [Key: SocketAddress] = [:]
        var asked: [Count: Int] = [:]
        /// The descriptors of those that are open.
        var sockets: [Shared: Int32] = [:]
        /// What the reactors share beside their ports.
        var objects: [String: any AnyObject & Sendable] = [:]
        var readyCount = 0
        var doors: [Int: Remote<Reactor>] = [:]
        /// Called when all are ready.
        var whenAllReady: [@Sendable () -> Void] = []
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
            return try share(as: .unix(key), descriptorOf: { $0.sharedDescriptor }) {
                () throws(IOError) in
                try bind(address)
            } adopting: { descriptor throws(IOError) in
                try adopt(descriptor)
            }
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
            return try share(as: .unix(key), descriptorOf: { $0.sharedDescriptor }) {
                () throws(IOError) in
                try bind(address)
            } adopting: { descriptor throws(IOError) in
                try adopt(descriptor)
            }
        }
        guard address.port == 0 else { return try bind(address) }
        let key = key(.datagrams, address, reactor)
        return try open(address, as: key, addressOf: { $0.localAddress }, bind)
    }

    /// Opens the socket of a name if no reactor has, and adopts a duplicate of it otherwise.
    ///
    /// - Parameters:
    ///   - name: As in ``withSocket(named:_:)``.
    ///   - open: Opens it, without these ports.
    ///   - adopt: Opens a port over a duplicate of a socket that is open.
    /// - Returns: What either opened.
    /// - Throws: What either throws.
    func listen(
        named name: String, _ open: () throws(IOError) -> ListeningPort,
        adopting adopt: (Int32) throws(IOError) -> ListeningPort
    ) throws(IOError) -> ListeningPort {
        try share(
            as: .named(name), descriptorOf: { $0.sharedDescriptor }, open, adopting: adopt)
    }

    /// Calls `body` with the descriptor of the socket of a name, nil if it is not open; meanwhile it
    /// does not close.
    ///
    /// On any thread; `body` opens and closes no port.
    package func withSocket<Result>(
        named name: String, _ body: @Sendable (Int32?) -> sending Result
    ) -> sending Result {
        state.withLock { body($0.sockets[.named(name)]) }
    }

    /// What the reactors of the group share under a name: `make` makes it for the first that asks.
    ///
    /// On any thread; the name is one type's alone.
    package func shared<Object: AnyObject & Sendable>(
        _ name: String, _ make: @Sendable () -> Object
    ) -> Object {
        state.withLock { state in
            if let found = state.objects[name] as? Object { return found }
            let made = make()
            state.objects[name] = made
            return made
        }
    }

    /// The doors of the reactors, in the order of their numbers.
    ///
    /// All of them from the first call of the group's closure on.
    var doors: [Remote<Reactor>] {
        state.withLock { state in state.doors.sorted { $0.key < $1.key }.map(\.value) }
    }

    /// A reactor of the group was made; called on its thread.
    package func add(_ door: Remote<Reactor>, number: Int) {
        state.withLock { $0.doors[number] = door }
    }

    /// Calls `body` once, on any thread, when all reactors have started: at once if they have.
    package func whenAllReady(_ body: @escaping @Sendable () -> Void) {
        let isReady = state.withLock { state in
            if state.readyCount < reactorCount { state.whenAllReady.append(body) }
            return state.readyCount == reactorCount
        }
        if isReady { body() }
    }

    /// One more of the reactors has started; called on its thread.
    package func memberIsReady() {
        let bodies = state.withLock { state in
            state.readyCount += 1
            guard state.readyCount == reactorCount else { return [@Sendable () -> Void]() }
            defer { state.whenAllReady = [] }
            return state.whenAllReady
        }
        for body in bodies { body() }
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
        as key: Shared, descriptorOf: (Port) -> Int32?,
        _ open: () throws(IOError) -> Port,
        adopting adopt: (Int32) throws(IOError) -> Port
    ) throws(IOError) -> Port {
        // Under the lock the socket does not close.
        try underLock { state throws(IOError) in
            if let descriptor = state.sockets[key] { return try adopt(descriptor) }
            let port = try open()
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
