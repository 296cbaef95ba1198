// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Puts a layer under a protocol, for one connection.
public typealias LayerMaker = @Sendable (_ above: any StreamProtocol) -> any StreamProtocol

/// Puts a factory in front of another, for one port.
public typealias FactoryMaker =
    @Sendable (_ inner: any StreamProtocolFactory) -> any StreamProtocolFactory

/// A server endpoint whose connections have a layer each: see ``ServerEndpoint/wrapped(by:)``.
public struct WrappedServerEndpoint: Sendable {
    private let endpoint: ServerEndpoint
    private let wrap: FactoryMaker

    init(_ endpoint: ServerEndpoint, _ wrap: @escaping FactoryMaker) {
        self.endpoint = endpoint
        self.wrap = wrap
    }

    /// Puts another layer under the protocol, above those named before.
    public func wrapped(by next: @escaping LayerMaker) -> WrappedServerEndpoint {
        wrapped(byFactory: { LayerFactory($0, next) })
    }

    /// Puts a factory in front of the program's, behind those named before: one that refuses
    /// clients, counts them, or makes layers that have something in common.
    ///
    /// `next`: Called once for each port that listens, on its reactor.
    public func wrapped(byFactory next: @escaping FactoryMaker) -> WrappedServerEndpoint {
        WrappedServerEndpoint(endpoint) { [wrap] inner in wrap(next(inner)) }
    }

    /// Listens, and makes a protocol for each client by a factory.
    ///
    /// - Throws: ``IOError`` that names the address and the cause.
    @discardableResult
    public func listen(
        on reactor: Reactor, factory: any StreamProtocolFactory
    ) throws(IOError) -> ListeningPort {
        try endpoint.listen(on: reactor, factory: wrap(factory))
    }

    /// Listens, and makes a protocol for each client by a closure; nil refuses it.
    ///
    /// - Throws: ``IOError`` that names the address and the cause.
    @discardableResult
    public func listen(
        on reactor: Reactor, _ makeProtocol: @escaping () throws -> (any StreamProtocol)?
    ) throws(IOError) -> ListeningPort {
        try listen(on: reactor, factory: ClosureFactory { _ in try makeProtocol() })
    }
}

/// Puts a layer under each protocol that another factory makes.
private final class LayerFactory: StreamProtocolFactory {
    private let inner: any StreamProtocolFactory
    private let wrap: LayerMaker

    init(_ inner: any StreamProtocolFactory, _ wrap: @escaping LayerMaker) {
        self.inner = inner
        self.wrap = wrap
    }

    func makeProtocol(for peer: SocketAddress) throws -> (any StreamProtocol)? {
        try inner.makeProtocol(for: peer).map(wrap)
    }

    func started(on port: ListeningPort) { inner.started(on: port) }

    func stopped(on port: ListeningPort) { inner.stopped(on: port) }
}

/// A client endpoint whose connections have a layer each: see ``ClientEndpoint/wrapped(by:)``.
public struct WrappedClientEndpoint: Sendable {
    let endpoint: ClientEndpoint
    let wrap: LayerMaker

    init(_ endpoint: ClientEndpoint, _ wrap: @escaping LayerMaker) {
        self.endpoint = endpoint
        self.wrap = wrap
    }

    /// Puts another layer under the protocol, above those named before.
    public func wrapped(by next: @escaping LayerMaker) -> WrappedClientEndpoint {
        WrappedClientEndpoint(endpoint) { [wrap] above in wrap(next(above)) }
    }

    /// Connects, and puts the protocol that `makeProtocol` makes above the layers.
    public func connect<Made: StreamProtocol>(
        on reactor: Reactor, _ makeProtocol: @escaping () throws -> Made
    ) -> Deferred<Made> {
        Connector(
            endpoint: endpoint, reactor: reactor, wrap: wrap,
            makeProtocol: { _ in try makeProtocol() }
        ).start()
    }
}

extension ServerEndpoint {
    /// The same place with a layer under each connection's protocol.
    ///
    ///     endpoint.wrapped { Logged(above: $0) { print($0) } }.listen(on: reactor) { Echo() }
    public func wrapped(by wrap: @escaping LayerMaker) -> WrappedServerEndpoint {
        WrappedServerEndpoint(self) { $0 }.wrapped(by: wrap)
    }

    /// The same place with a factory in front of the program's.
    public func wrapped(byFactory wrap: @escaping FactoryMaker) -> WrappedServerEndpoint {
        WrappedServerEndpoint(self, wrap)
    }
}

extension ClientEndpoint {
    /// The same place with a layer under each connection's protocol.
    public func wrapped(by wrap: @escaping LayerMaker) -> WrappedClientEndpoint {
        WrappedClientEndpoint(self, wrap)
    }
}
