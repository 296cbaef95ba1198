// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Makes a filter for one connection.
public typealias FilterMaker = @Sendable () -> StreamFilter

/// Makes an observer for one connection.
public typealias ObserverMaker = @Sendable () -> any ConnectionObserver

/// Makes the observer of one port; called on the port's reactor.
public typealias PortObserverMaker = @Sendable () -> any PortObserver

/// The filters and observers between a port's connections and their sockets.
///
/// Endpoints collect it; one of your own passes it on. A value, usable on any thread.
public struct StreamLayers: Sendable {
    /// The lowest first.
    var filters: [FilterMaker] = []
    var observers: [PortObserverMaker] = []

    /// Makes an empty value: connections stand on their sockets.
    public init() {}

    /// Whether there are neither filters nor observers.
    public var isEmpty: Bool { filters.isEmpty && observers.isEmpty }

    /// The same with a filter above all others.
    ///
    /// - Parameter make: Called once for each connection, on its reactor.
    /// - Returns: A value with one filter more.
    public func filtered(by make: @escaping FilterMaker) -> StreamLayers {
        var layers = self
        layers.filters.append(make)
        return layers
    }

    /// The same with an observer of each connection, called behind all others.
    ///
    /// - Parameter make: Called once for each connection, on its reactor.
    /// - Returns: A value with one observer more.
    public func observed(by make: @escaping ObserverMaker) -> StreamLayers {
        observed(byPort: { ClosurePortObserver(make) })
    }

    /// The same with an observer of the port, called behind all others.
    ///
    /// - Parameter make: Called once for each port, on its reactor.
    /// - Returns: A value with one observer more.
    public func observed(byPort make: @escaping PortObserverMaker) -> StreamLayers {
        var layers = self
        layers.observers.append(make)
        return layers
    }

    /// The same on top of others: for an endpoint that adds its own below those it is given.
    ///
    /// - Parameter lower: Stays below.
    /// - Returns: Both together.
    public func above(_ lower: StreamLayers) -> StreamLayers {
        var layers = lower
        layers.filters += filters
        layers.observers += observers
        return layers
    }
}

/// A stream of bytes to a connected peer, before it has a protocol: a ``StreamClientEndpoint``
/// opens it.
///
/// It belongs to its reactor. One that is released unused is closed.
public final class ByteStream {
    var agreed: AgreedStream
    let options: SharedOptions
    private var observers: [any ConnectionObserver] = []
    private var isTaken = false

    /// A stream that a backend's author, or a test, has made.
    ///
    /// - Parameters:
    ///   - stream: One that is connected; closed with the value.
    ///   - options: How the connection is set up.
    @_spi(Backend)
    public init(_ stream: any BackendStream, options: StreamOptions = StreamOptions()) {
        agreed = AgreedStream(stream: stream)
        self.options = SharedOptions(options)
    }

    init(_ agreed: AgreedStream, _ former: ByteStream) {
        self.agreed = agreed
        options = former.options
        observers = former.observers
    }

    deinit { if !isTaken { agreed.stream.close() } }

    /// The other end.
    public var peerAddress: SocketAddress { agreed.peerAddress }

    /// The facts that its filters learnt.
    public var details: ConnectionDetails { agreed.details }

    func observe(by observer: any ConnectionObserver) { observers.insert(observer, at: 0) }

    var observer: (any ConnectionObserver)? { ObserverList.of(observers) }

    /// What it holds, which is the caller's from now on.
    func take() -> AgreedStream {
        isTaken = true
        return agreed
    }
}
