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
/// A layer that first has to agree on something with the peer keeps the protocol above waiting: see
/// ``connectionMade(_:)``. A layer that buffers what is written asks for ``flush()`` by `reactor.flushAtEndOfEvent`.
///
/// - SeeAlso: Twisted `twisted.protocols.policies.ProtocolWrapper`.
open class StreamLayer: HalfCloseableProtocol, PhasedProtocol, StreamTransport, EndOfEventFlushing {
    /// The transport below; there from `connectionMade` on.
    public private(set) var below: (any StreamTransport)!

    private var above: (any StreamProtocol)?
    /// The protocol above was told of the connection, and is to be told of its loss.
    private var isAboveConnected = false
    private var pendingSwitch: (any StreamProtocol)?
    /// What the protocol above has not used; nil if there is nothing.
    private var unreadBytes: KeptBytes?
    private var hasReadEnded = false
    /// The end is to be told to the protocol above, behind what is kept for it.
    private var owesReadClosed = false

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
        guard isDelivering, unreadBytes?.isEmpty ?? true else {
            return keep { $0.append(bytes) }
        }
        try above?.dataReceived(bytes, from: self)
    }

    private func keep(_ body: (KeptBytes) -> Void) {
        let kept = unreadBytes ?? KeptBytes(countedIn: reactor.queues)
        unreadBytes = kept
        body(kept)
    }

    // MARK: Towards the transport below

    /// Keeps the transport, and passes the call up.
    ///
    /// A layer that has to agree on its terms first calls ``attach(to:)`` instead of this, and
    /// ``connectAbove()`` when it has. Until then the protocol above is told nothing: not of a loss
    /// either, and a peer's end is the end.
    open func connectionMade(_ transport: any StreamTransport) throws {
        attach(to: transport)
        try connectAbove()
    }

    /// Keeps the transport.
    public final func attach(to transport: any StreamTransport) { below = transport }

    /// Tells the protocol above that the connection can be used.
    ///
    /// Once, inside a callback from below.
    ///
    /// - Throws: What the protocol throws; passed on, it ends the connection.
    public final func connectAbove() throws {
        require(!isAboveConnected, "StreamLayer: connectAbove twice")
        isAboveConnected = true
        try above?.connectionMade(self)
    }

    /// Passes the bytes up.
    open func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try deliver(bytes)
    }

    /// What the protocol above says of itself.
    open var keepsHalfOpen: Bool {
        guard isAboveConnected, let above else { return false }
        return reactor.asHalfCloseable(above)?.keepsHalfOpen ?? false
    }

    /// What the protocol above says of itself; handshaking, as long as that one is kept waiting.
    open var phase: ConnectionPhase {
        guard isAboveConnected else { return .handshaking }
        return (above as? any PhasedProtocol)?.phase ?? .open
    }

    /// Passes the call up, behind what is kept for the protocol above.
    open func readConnectionLost(from transport: any StreamTransport) throws {
        hasReadEnded = true
        guard isAboveConnected else { return }
        guard pendingSwitch == nil, unreadBytes == nil else {
            owesReadClosed = true
            return
        }
        try (above as? any HalfCloseableProtocol)?.readConnectionLost(from: self)
    }

    /// Passes the call up.
    open func writeConnectionLost(from transport: any StreamTransport) throws {
        guard isAboveConnected else { return }
        try (above as? any HalfCloseableProtocol)?.writeConnectionLost(from: self)
    }

    /// Passes the call up, and lets go of the protocol above.
    open func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        unreadBytes = nil
        pendingSwitch = nil
        if isAboveConnected { above?.connectionLost(why, from: self) }
        above = nil
    }

    /// Passes the call up; loses the connection if the protocol above does not know of it.
    open func shutdownRequested(_ transport: any StreamTransport) {
        guard isAboveConnected else { return below.loseConnection() }
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
        deliverKept()
    }

    /// Those above kept what they could not deliver, too, while a layer such as a throttle rested.
    private func deliverKept() {
        if unreadBytes != nil || owesReadClosed { reactor.flushAtEndOfEvent(self) }
        (above as? StreamLayer)?.deliverKept()
    }

    /// Passes the call down.
    open func stopProducing() { below.stopProducing() }

    /// Whether the next bytes would be delivered to the protocol above.
    open var isDelivering: Bool { pendingSwitch == nil && below.isDelivering }

    /// Keeps bytes that the protocol above has not used.
    open func unread(_ bytes: RawSpan) {
        guard above != nil, bytes.byteCount > 0 else { return }
        if isDelivering {
            mistake("StreamTransport: unread needs a pause or a switch before it")
        }
        keep { $0.append(bytes) }
    }

    /// Puts another protocol above this layer.
    open func switchProtocol(to newProtocol: any StreamProtocol, remaining: RawSpan) {
        guard above != nil else { return }
        require(pendingSwitch == nil, "StreamTransport: switchProtocol twice in one event")
        pendingSwitch = newProtocol
        if remaining.byteCount > 0 { keep { $0.prepend(remaining) } }
        reactor.flushAtEndOfEvent(self)
    }

    /// Carries out a switch, and delivers what was kept.
    ///
    /// A layer that buffers writes passes them down, then calls this.
    open func flush() {
        do {
            if let next = pendingSwitch.take() {
                // The loss is on its way to the protocol that was there; after a close in the same
                // event it is the successor's.
                guard !isLost || lossReason?.isClean ?? false else { return }
                above = next
                owesReadClosed = hasReadEnded
                try next.connectionMade(self)
            }
            if let kept = unreadBytes, isDelivering {
                defer { if kept.isEmpty { unreadBytes = nil } }
                try kept.deliver { try above?.dataReceived($0, from: self) }
            }
            if owesReadClosed, unreadBytes == nil, isDelivering { try reportReadClosed() }
        } catch {
            reactor.report(.protocolFailed(error), of: peerAddress)
            below.abortConnection(because: error)
        }
    }

    // MARK: What must hold

    /// Asserts what must hold between events, of this layer and of those above it.
    ///
    /// `Reactor.checkInvariants()`, which the simulator calls after each step, asks the layers of
    /// each connection. A layer with a state of its own overrides this, and calls `super`. O(1) for
    /// each layer.
    open func checkInvariants() {
        require(below != nil && above != nil, "StreamLayer: in between nothing")
        require(pendingSwitch == nil, "StreamLayer: a protocol waits to take over")
        require(!(unreadBytes?.isEmpty ?? false), "StreamLayer: keeps nothing for later")
        require(
            unreadBytes == nil && !owesReadClosed || !isDelivering,
            "StreamLayer: what is owed to the protocol above was not told")
        if isAboveConnected { (above as? any InvariantChecking)?.checkInvariants() }
    }

    private func reportReadClosed() throws {
        owesReadClosed = false
        guard keepsHalfOpen else { return below.loseWriteConnection() }
        try (above as? any HalfCloseableProtocol)?.readConnectionLost(from: self)
    }
}

/// A transport that knows of its loss before its protocol is told.
package protocol LossReporting: AnyObject {
    var isLost: Bool { get }
    /// Why, also of a loss that will be told behind what had arrived before it.
    var lossReason: ConnectionLoss? { get }
}

extension StreamLayer: ClosingObserver {
    func connectionIsClosing() { (above as? any ClosingObserver)?.connectionIsClosing() }
}

extension StreamLayer: LossReporting {
    package var isLost: Bool { (below as? any LossReporting)?.isLost ?? false }

    package var lossReason: ConnectionLoss? { (below as? any LossReporting)?.lossReason }
}

extension StreamLayer: InvariantChecking {}
