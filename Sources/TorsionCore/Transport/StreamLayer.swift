// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Something between a transport and a protocol: TLS, a traffic log, a throttle.
///
/// To the transport below a layer is its protocol, to the protocol above it is the transport; the
/// protocol cannot tell how many layers are below it. This class passes everything through, borrowed
/// bytes as they lie; a layer overrides what it changes:
///
///     final class Upper: StreamLayer {
///         override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
///             try deliver(Bytes(String(decoding: bytes).uppercased()).span)
///         }
///     }
///
/// A layer that buffers what is written asks for ``flush()`` by `reactor.flushAtEndOfEvent`.
///
/// - SeeAlso: Twisted `twisted.protocols.policies.ProtocolWrapper`.
open class StreamLayer: HalfCloseableProtocol, StreamTransport, EndOfEventFlushing {
    /// The transport below; there from `connectionMade` on.
    public private(set) var below: (any StreamTransport)!

    private var above: (any StreamProtocol)?
    private var pendingSwitch: (any StreamProtocol)?
    private var unreadBytes = Bytes()

    /// A layer under a protocol.
    public init(above: any StreamProtocol) { self.above = above }

    /// Delivers bytes to the protocol above.
    ///
    /// Called inside ``dataReceived(_:from:)``.
    ///
    /// - Parameter bytes: Borrowed for the call; kept if the protocol above has paused meanwhile.
    /// - Throws: What the protocol throws; passed on, it ends the connection.
    public final func deliver(_ bytes: RawSpan) throws {
        guard bytes.byteCount > 0 else { return }
        guard isDelivering, unreadBytes.isEmpty else { return keep(unreadBytes.span, bytes) }
        try above?.dataReceived(bytes, from: self)
    }

    private func keep(_ first: RawSpan, _ second: RawSpan) {
        var whole = [UInt8](first)
        whole += second
        unreadBytes = Bytes(whole)
    }

    // MARK: Towards the transport below

    /// Keeps the transport, and passes the call up.
    open func connectionMade(_ transport: any StreamTransport) throws {
        below = transport
        try above?.connectionMade(self)
    }

    /// Passes the bytes up.
    open func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try deliver(bytes)
    }

    /// What the protocol above says of itself.
    open var keepsHalfOpen: Bool {
        (above as? any HalfCloseableProtocol)?.keepsHalfOpen ?? false
    }

    /// Passes the call up.
    open func readConnectionLost(from transport: any StreamTransport) throws {
        try (above as? any HalfCloseableProtocol)?.readConnectionLost(from: self)
    }

    /// Passes the call up.
    open func writeConnectionLost(from transport: any StreamTransport) throws {
        try (above as? any HalfCloseableProtocol)?.writeConnectionLost(from: self)
    }

    /// Passes the call up, and lets go of the protocol above.
    open func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        unreadBytes = Bytes()
        pendingSwitch = nil
        above?.connectionLost(why, from: self)
        above = nil
    }

    /// Passes the call up.
    open func shutdownRequested(_ transport: any StreamTransport) {
        above?.shutdownRequested(self)
    }

    // MARK: Towards the protocol above

    /// That of the transport below.
    open var reactor: Reactor { below.reactor }

    /// That of the connection at the bottom.
    open var id: ConnectionID { below.id }

    /// That of the connection at the bottom.
    open var peerAddress: SocketAddress { below.peerAddress }

    /// That of the connection at the bottom.
    open var localAddress: SocketAddress { below.localAddress }

    /// That of the transport below.
    open var pendingByteCount: Int { below.pendingByteCount }

    /// That of the transport below.
    open var watermarks: Watermarks {
        get { below.watermarks }
        set { below.watermarks = newValue }
    }

    /// Passes the bytes down.
    open func write(_ bytes: RawSpan) { below.write(bytes) }

    /// Passes the bytes down.
    open func write(_ bytes: Bytes) { below.write(bytes) }

    /// Passes the call down.
    open func loseConnection() { below.loseConnection() }

    /// Passes the call down.
    open func abortConnection() { below.abortConnection() }

    /// Passes the call down.
    open func abortConnection(because error: any Error) { below.abortConnection(because: error) }

    /// Passes the call down.
    open func loseWriteConnection() { below.loseWriteConnection() }

    /// Passes the call down.
    open func registerProducer(_ producer: any PushProducer) { below.registerProducer(producer) }

    /// Passes the call down.
    open func registerProducer(_ producer: any PullProducer) { below.registerProducer(producer) }

    /// Passes the call down.
    open func unregisterProducer() { below.unregisterProducer() }

    /// Passes the call down.
    open func pauseProducing() { below.pauseProducing() }

    /// Passes the call down, and delivers what was kept when the event ends.
    open func resumeProducing() {
        below.resumeProducing()
        if !unreadBytes.isEmpty { reactor.flushAtEndOfEvent(self) }
    }

    /// Passes the call down.
    open func stopProducing() { below.stopProducing() }

    /// Whether the next bytes would be delivered to the protocol above.
    open var isDelivering: Bool { pendingSwitch == nil && below.isDelivering }

    /// Keeps bytes that the protocol above has not used.
    open func unread(_ bytes: RawSpan) {
        guard above != nil, bytes.byteCount > 0 else { return }
        if isDelivering {
            fatalError("StreamTransport: unread needs a pause or a switch before it")
        }
        keep(bytes, unreadBytes.span)
    }

    /// Puts another protocol above this layer.
    open func switchProtocol(to newProtocol: any StreamProtocol, remaining: RawSpan) {
        guard above != nil else { return }
        precondition(pendingSwitch == nil, "StreamTransport: switchProtocol twice in one event")
        pendingSwitch = newProtocol
        unread(remaining)
        reactor.flushAtEndOfEvent(self)
    }

    /// Carries out a switch, and delivers what was kept.
    ///
    /// A layer that buffers writes passes them down, then calls this.
    open func flush() {
        do {
            if let next = pendingSwitch.take() {
                above = next
                try next.connectionMade(self)
            }
            guard !unreadBytes.isEmpty, isDelivering else { return }
            var bytes = Bytes()
            swap(&bytes, &unreadBytes)
            try above?.dataReceived(bytes.span, from: self)
        } catch {
            below.abortConnection(because: error)
        }
    }
}

/// Puts a layer under a protocol, for one connection.
public typealias LayerMaker = @Sendable (_ above: any StreamProtocol) -> any StreamProtocol

/// A server endpoint whose connections have a layer each: see ``ServerEndpoint/wrapped(by:)``.
public struct WrappedServerEndpoint: Sendable {
    private let endpoint: ServerEndpoint
    private let wrap: LayerMaker

    init(_ endpoint: ServerEndpoint, _ wrap: @escaping LayerMaker) {
        self.endpoint = endpoint
        self.wrap = wrap
    }

    /// Puts another layer under the protocol, above those named before.
    public func wrapped(by next: @escaping LayerMaker) -> WrappedServerEndpoint {
        WrappedServerEndpoint(endpoint) { [wrap] above in wrap(next(above)) }
    }

    /// Listens, and makes a protocol for each client by a closure.
    ///
    /// - Throws: ``IOError`` that names the address and the cause.
    @discardableResult
    public func listen(
        on reactor: Reactor, _ makeProtocol: @escaping () throws -> (any StreamProtocol)?
    ) throws(IOError) -> ListeningPort {
        try endpoint.listen(on: reactor) { [wrap] in try makeProtocol().map(wrap) }
    }
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
        WrappedServerEndpoint(self, wrap)
    }
}

extension ClientEndpoint {
    /// The same place with a layer under each connection's protocol.
    public func wrapped(by wrap: @escaping LayerMaker) -> WrappedClientEndpoint {
        WrappedClientEndpoint(self, wrap)
    }
}
