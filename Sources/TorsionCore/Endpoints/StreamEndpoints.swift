// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Where a server listens: a ``ServerEndpoint``, one with filters or observers, or one of your own.
///
/// A value, which can be used on any reactor, and on many. A program that learns from its
/// configuration whether there are any keeps `any StreamServerEndpoint`.
///
///     var endpoint: any StreamServerEndpoint = try ServerEndpoint(parsing: text)
///     if isVerbose { endpoint = endpoint.logged { print($0) } }
///     try endpoint.listen(on: reactor) { Echo() }
///
/// - SeeAlso: Twisted `IStreamServerEndpoint`.
public protocol StreamServerEndpoint: Sendable {
    /// Listens, and makes a protocol for each client by a factory. Called on the reactor.
    ///
    /// - Parameters:
    ///   - reactor: Where the port and its connections belong.
    ///   - factory: Makes the protocol of each connection, when its filters have agreed.
    ///   - layers: The filters and observers of its connections.
    /// - Returns: The port, which accepts from now on.
    /// - Throws: ``IOError`` that names the place and the cause.
    @discardableResult
    func listen(
        on reactor: Reactor, factory: any StreamProtocolFactory, layers: StreamLayers
    ) throws(IOError) -> ListeningPort
}

extension StreamServerEndpoint {
    /// Listens, and makes a protocol for each client by a factory.
    ///
    /// - Parameters:
    ///   - reactor: Where the port and its connections belong; call this on its thread.
    ///   - factory: Makes the protocol of each connection, when its filters have agreed.
    /// - Returns: The open port.
    /// - Throws: ``IOError`` that names the place and the cause.
    @discardableResult
    public func listen(
        on reactor: Reactor, factory: any StreamProtocolFactory
    ) throws(IOError) -> ListeningPort {
        try listen(on: reactor, factory: factory, layers: StreamLayers())
    }

    /// Listens, and makes a protocol for each client by a closure.
    ///
    /// - Parameters:
    ///   - reactor: Where the port and its connections belong; call this on its thread.
    ///   - makeProtocol: Called for each client; nil refuses it.
    /// - Returns: The open port.
    /// - Throws: ``IOError`` that names the address and the cause.
    @discardableResult
    public func listen(
        on reactor: Reactor, _ makeProtocol: @escaping () throws -> (any StreamProtocol)?
    ) throws(IOError) -> ListeningPort {
        try listen(on: reactor, factory: ClosureFactory { _ in try makeProtocol() })
    }

    /// Listens, and makes a protocol for each client by a closure that is given its address.
    ///
    /// - Parameters:
    ///   - reactor: Where the port and its connections belong; call this on its thread.
    ///   - makeProtocol: Called for each client with its address; nil refuses it.
    /// - Returns: The open port.
    /// - Throws: ``IOError`` that names the address and the cause.
    @discardableResult
    public func listen(
        on reactor: Reactor,
        _ makeProtocol: @escaping (_ peer: SocketAddress) throws -> (any StreamProtocol)?
    ) throws(IOError) -> ListeningPort {
        try listen(on: reactor, factory: ClosureFactory(makeProtocol))
    }

    /// The same place with a filter under each connection, above those named before.
    ///
    ///     try endpoint.filtered { Throttle(writing: rate) }.listen(on: reactor) { Echo() }
    ///
    /// - Parameter make: Called for each client, on its reactor.
    /// - Returns: An endpoint that can be used like this one.
    public func filtered(by make: @escaping FilterMaker) -> WrappedServerEndpoint {
        WrappedServerEndpoint(self, layers: { $0.above(StreamLayers().filtered(by: make)) })
    }

    /// The same place with an observer of each connection.
    ///
    /// - Parameter make: Called for each client, on its reactor.
    /// - Returns: An endpoint that can be used like this one.
    public func observed(by make: @escaping ObserverMaker) -> WrappedServerEndpoint {
        observed(byPort: { ClosurePortObserver(make) })
    }

    /// The same place with an observer of each port, which may refuse clients before anything is made
    /// for them.
    ///
    /// - Parameter make: Called once for each port that listens, on its reactor.
    /// - Returns: An endpoint that can be used like this one.
    public func observed(byPort make: @escaping PortObserverMaker) -> WrappedServerEndpoint {
        WrappedServerEndpoint(self, layers: { $0.above(StreamLayers().observed(byPort: make)) })
    }

    /// The same place with a factory in front of the program's, behind those named before: one that
    /// refuses clients by their addresses, or makes protocols that have something in common.
    ///
    /// - Parameter wrap: Called once for each port that listens, on its reactor.
    /// - Returns: An endpoint that can be used any number of times.
    public func wrapped(byFactory wrap: @escaping FactoryMaker) -> WrappedServerEndpoint {
        WrappedServerEndpoint(self, factory: wrap)
    }
}

/// Where a client connects to: a ``ClientEndpoint``, one with filters, or one of your own.
///
/// A value, which can be used on any reactor, and often. One of your own opens a stream, mostly over
/// another endpoint:
///
///     struct TunnelEndpoint: StreamClientEndpoint {
///         let proxy: ClientEndpoint, host: String
///         func openStream(on reactor: Reactor) -> Deferred<ByteStream> {
///             proxy.filtered { [host] in TunnelHandshake(to: host) }.openStream(on: reactor)
///         }
///     }
///
/// - SeeAlso: Twisted `IStreamClientEndpoint`.
public protocol StreamClientEndpoint: Sendable {
    /// Opens a stream to the peer, without a protocol. Called on the reactor, at each connect.
    ///
    /// - Parameter reactor: Where the stream belongs.
    /// - Returns: A Deferred for the stream, which gives up when it is cancelled. It fails with an
    ///   ``IOError`` that names what was tried, and the cause.
    func openStream(on reactor: Reactor) -> Deferred<ByteStream>
}

extension StreamClientEndpoint {
    /// Connects, and puts the protocol that `makeProtocol` makes above the connection.
    ///
    /// Cancelling the Deferred gives up at every stage.
    ///
    /// - Parameters:
    ///   - reactor: Where the connection belongs.
    ///   - makeProtocol: Called when the stream is there and its filters have agreed.
    /// - Returns: The protocol, once the connection can be used: after `connectionMade`. It fails
    ///   with an ``IOError`` that names each address and its cause, with what a filter refused, or
    ///   with what the closure or `connectionMade` threw.
    public func connect<Made: StreamProtocol>(
        on reactor: Reactor, _ makeProtocol: @escaping () throws -> Made
    ) -> Deferred<Made> {
        connect(on: reactor) { _ in try makeProtocol() }
    }

    /// Connects, with a closure that is given the address which was reached.
    ///
    /// - Parameters:
    ///   - reactor: Where the connection belongs.
    ///   - makeProtocol: Called when the stream is there and its filters have agreed.
    /// - Returns: As for a closure without the address.
    public func connect<Made: StreamProtocol>(
        on reactor: Reactor, _ makeProtocol: @escaping (_ peer: SocketAddress) throws -> Made
    ) -> Deferred<Made> {
        Connector(on: reactor, makeProtocol: makeProtocol).start(openStream(on: reactor))
    }

    /// The same place with a filter under each connection, above those named before.
    ///
    /// - Parameter make: Called for each connection, on its reactor.
    /// - Returns: An endpoint that can be used like this one.
    public func filtered(by make: @escaping FilterMaker) -> WrappedClientEndpoint {
        WrappedClientEndpoint(self, filters: [make])
    }

    /// The same place with an observer of each connection.
    ///
    /// - Parameter make: Called for each connection, on its reactor.
    /// - Returns: An endpoint that can be used like this one.
    public func observed(by make: @escaping ObserverMaker) -> WrappedClientEndpoint {
        WrappedClientEndpoint(self, observers: [make])
    }
}
