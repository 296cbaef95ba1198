// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Puts a factory in front of another, for one port.
public typealias FactoryMaker =
    @Sendable (_ inner: any StreamProtocolFactory) -> any StreamProtocolFactory

/// A server endpoint with something between it and the program: filters, observers, factories.
public struct WrappedServerEndpoint: StreamServerEndpoint {
    private let endpoint: any StreamServerEndpoint
    private let wrapFactory: FactoryMaker
    private let wrapLayers: @Sendable (StreamLayers) -> StreamLayers

    init(
        _ endpoint: any StreamServerEndpoint, factory: @escaping FactoryMaker = { $0 },
        layers: @escaping @Sendable (StreamLayers) -> StreamLayers = { $0 }
    ) {
        self.endpoint = endpoint
        wrapFactory = factory
        wrapLayers = layers
    }

    /// Listens, and makes a protocol for each client by a factory.
    ///
    /// - Parameters:
    ///   - reactor: Where the port and its connections belong; call this on its thread.
    ///   - factory: Wrapped, then makes the protocol of each connection.
    ///   - layers: The filters and observers above those of this endpoint.
    /// - Returns: The open port.
    /// - Throws: ``IOError`` that names the place and the cause.
    @discardableResult
    public func listen(
        on reactor: Reactor, factory: any StreamProtocolFactory, layers: StreamLayers
    ) throws(IOError) -> ListeningPort {
        try endpoint.listen(
            on: reactor, factory: wrapFactory(factory), layers: wrapLayers(layers))
    }
}

/// A client endpoint with something between it and the program: filters, observers.
public struct WrappedClientEndpoint: StreamClientEndpoint {
    private let endpoint: any StreamClientEndpoint
    private let filters: [FilterMaker]
    private let observers: [ObserverMaker]

    init(
        _ endpoint: any StreamClientEndpoint, filters: [FilterMaker] = [],
        observers: [ObserverMaker] = []
    ) {
        self.endpoint = endpoint
        self.filters = filters
        self.observers = observers
    }

    /// Opens a stream, and waits until its filters have agreed.
    ///
    /// - Parameter reactor: Where the stream belongs; call this on its thread.
    /// - Returns: A Deferred for the stream, which gives up when it is cancelled. It fails with an
    ///   ``IOError``, or with the error of a filter.
    public func openStream(on reactor: Reactor) -> Deferred<ByteStream> {
        let opening = endpoint.openStream(on: reactor)
        guard !filters.isEmpty else {
            return opening.addCallback { [observers] stream in
                for make in observers.reversed() { stream.observe(by: make()) }
                return stream
            }
        }
        return FilteredOpening(filters, on: reactor).start(opening)
    }
}

extension StreamClientEndpoint {
    /// The same place with a filter next to the network, below those that the endpoint has, such as TLS.
    ///
    /// For the command `torsion`, which reads its endpoints from texts: a PROXY header precedes the
    /// handshake of TLS, and a clock between the two tells what each of them took.
    ///
    /// - Parameter make: Called for each connection, on its reactor.
    /// - Returns: An endpoint that can be used like this one.
    @_spi(Tool) public func filteredNextToNetwork(
        by make: @escaping FilterMaker
    ) -> WrappedClientEndpoint {
        (self as? WrappedClientEndpoint)?.filteredBelow(by: make) ?? filtered(by: make)
    }
}

extension WrappedClientEndpoint {
    fileprivate func filteredBelow(by make: @escaping FilterMaker) -> WrappedClientEndpoint {
        WrappedClientEndpoint(
            endpoint.filteredNextToNetwork(by: make), filters: filters, observers: observers)
    }
}

/// Waits for a stream, then for its filters.
private final class FilteredOpening: DeferredWork<ByteStream> {
    private let filters: [FilterMaker]
    private var agreement: Agreement?

    init(_ filters: [FilterMaker], on reactor: Reactor) {
        self.filters = filters
        super.init(on: reactor)
    }

    func start(_ opening: Deferred<ByteStream>) -> Deferred<ByteStream> {
        let result = begin()
        wait(for: opening) { [self] stream in agree(over: stream) }
        return result
    }

    private func agree(over stream: ByteStream) {
        // Cancelled meanwhile.
        guard isUnderWay else { return }
        let limit = stream.options.value.handshakeTimeout
        let agreement = reactor.agree(over: stream.take(), filters, within: limit) {
            [self] outcome in
            self.agreement = nil
            finish(outcome.map { ByteStream($0, stream) })
        }
        if isUnderWay { self.agreement = agreement }
    }

    override func giveUp() {
        agreement?.cancel()
        agreement = nil
    }
}
