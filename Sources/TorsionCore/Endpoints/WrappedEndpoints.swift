// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Puts a layer under a protocol, for one connection.
public typealias LayerMaker = @Sendable (_ above: any StreamProtocol) -> any StreamProtocol

/// Puts a factory in front of another, for one port.
public typealias FactoryMaker =
    @Sendable (_ inner: any StreamProtocolFactory) -> any StreamProtocolFactory

/// A server endpoint whose connections have a layer each: see ``StreamServerEndpoint/wrapped(by:)``.
public struct WrappedServerEndpoint: StreamServerEndpoint {
    private let endpoint: any StreamServerEndpoint
    private let wrap: FactoryMaker

    init(_ endpoint: any StreamServerEndpoint, _ wrap: @escaping FactoryMaker) {
        self.endpoint = endpoint
        self.wrap = wrap
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
}

/// Puts a layer under each protocol that another factory makes.
final class LayerFactory: StreamProtocolFactory {
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

/// A client endpoint whose connections have a layer each: see ``StreamClientEndpoint/wrapped(by:)``.
public struct WrappedClientEndpoint: StreamClientEndpoint {
    let endpoint: ClientEndpoint
    let wrap: LayerMaker

    init(_ endpoint: ClientEndpoint, _ wrap: @escaping LayerMaker) {
        self.endpoint = endpoint
        self.wrap = wrap
    }

    /// This endpoint.
    public var layered: WrappedClientEndpoint { self }
}
