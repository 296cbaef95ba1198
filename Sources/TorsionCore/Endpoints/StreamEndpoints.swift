// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Where a server listens: a ``ServerEndpoint``, or one whose connections have layers.
///
/// A value, which can be used on any reactor, and on many. A program that learns from its
/// configuration whether there are layers keeps `any StreamServerEndpoint`.
///
///     var endpoint: any StreamServerEndpoint = try ServerEndpoint(parsing: text)
///     if isVerbose { endpoint = endpoint.logged { print($0) } }
///     try endpoint.listen(on: reactor) { Echo() }
///
/// - SeeAlso: Twisted `IStreamServerEndpoint`.
public protocol StreamServerEndpoint: Sendable {
    /// Listens, and makes a protocol for each client by a factory. Called on the reactor.
    ///
    /// - Throws: ``IOError`` that names the place and the cause.
    @discardableResult
    func listen(
        on reactor: Reactor, factory: any StreamProtocolFactory
    ) throws(IOError) -> ListeningPort
}

extension StreamServerEndpoint {
    /// Listens, and makes a protocol for each client by a closure.
    ///
    /// `makeProtocol`: Called for each client; nil refuses it.
    /// Throws ``IOError`` that names the address and the cause.
    @discardableResult
    public func listen(
        on reactor: Reactor, _ makeProtocol: @escaping () throws -> (any StreamProtocol)?
    ) throws(IOError) -> ListeningPort {
        try listen(on: reactor, factory: ClosureFactory { _ in try makeProtocol() })
    }

    /// Listens, and makes a protocol for each client by a closure that is given its address.
    @discardableResult
    public func listen(
        on reactor: Reactor,
        _ makeProtocol: @escaping (_ peer: SocketAddress) throws -> (any StreamProtocol)?
    ) throws(IOError) -> ListeningPort {
        try listen(on: reactor, factory: ClosureFactory(makeProtocol))
    }

    /// The same place with a layer under each connection's protocol, above those named before.
    ///
    ///     endpoint.wrapped { Logged(above: $0) { print($0) } }.listen(on: reactor) { Echo() }
    public func wrapped(by wrap: @escaping LayerMaker) -> WrappedServerEndpoint {
        wrapped(byFactory: { LayerFactory($0, wrap) })
    }

    /// The same place with a factory in front of the program's, behind those named before: one that
    /// refuses clients, counts them, or makes layers that have something in common.
    ///
    /// `wrap`: Called once for each port that listens, on its reactor.
    public func wrapped(byFactory wrap: @escaping FactoryMaker) -> WrappedServerEndpoint {
        WrappedServerEndpoint(self, wrap)
    }
}

/// Where a client connects to: a ``ClientEndpoint``, or one whose connections have layers.
///
/// A value, which can be used on any reactor, and often. One of your own adds to another:
///
///     struct DatabaseEndpoint: StreamClientEndpoint {
///         let place: ClientEndpoint
///         var layered: WrappedClientEndpoint {
///             place.timeouts(Timeouts(handshake: .seconds(10)))
///         }
///     }
///
/// - SeeAlso: Twisted `IStreamClientEndpoint`.
public protocol StreamClientEndpoint: Sendable {
    /// The place with the layers that its connections have, or with none. Asked at each connect.
    var layered: WrappedClientEndpoint { get }
}

extension StreamClientEndpoint {
    /// Connects, and puts the protocol that `makeProtocol` makes above the connection.
    ///
    /// Cancelling the Deferred gives up at every stage.
    ///
    /// - Returns: The protocol, once the connection can be used: after `connectionMade`. It fails
    ///   with an ``IOError`` that names each address and its cause, or with what the closure or
    ///   `connectionMade` threw.
    public func connect<Made: StreamProtocol>(
        on reactor: Reactor, _ makeProtocol: @escaping () throws -> Made
    ) -> Deferred<Made> {
        connect(on: reactor) { _ in try makeProtocol() }
    }

    /// Connects, with a closure that is given the address which was reached.
    public func connect<Made: StreamProtocol>(
        on reactor: Reactor, _ makeProtocol: @escaping (_ peer: SocketAddress) throws -> Made
    ) -> Deferred<Made> {
        Connector(to: layered, on: reactor, makeProtocol: makeProtocol).start()
    }

    /// The same place with a layer under each connection's protocol, above those named before.
    public func wrapped(by wrap: @escaping LayerMaker) -> WrappedClientEndpoint {
        let layered = layered
        return WrappedClientEndpoint(layered.endpoint) { layered.wrap(wrap($0)) }
    }
}
