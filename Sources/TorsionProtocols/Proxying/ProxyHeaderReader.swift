// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// A layer that takes a proxy's header off a connection: what is above sees the proxy's client.
///
///     let proxies = [AddressBlock("10.0.0.0/24")!]
///     try endpoint.wrapped { ProxyHeaderReader(above: $0, trusting: proxies) }
///         .listen(on: reactor) { Chat(room) }
///
/// The protocol above is told of the connection once the header is complete, with the addresses of
/// the client that the proxy speaks for; those of the proxy itself if it speaks for nobody. The rest
/// of the header is at `transport.proxyHeader`.
///
/// Anybody could claim any address, so only those named may send a header, and from them one must
/// come: the protocol says that whether there is one is never guessed. Everything else resets the
/// connection: another sender, a malformed header, one that is not complete in time.
///
/// - SeeAlso: "The PROXY protocol", HAProxy's `doc/proxy-protocol.txt`; Twisted `haproxy:`.
public final class ProxyHeaderReader: StreamLayer {
    /// What the proxy said, once the protocol above knows of the connection.
    public private(set) var header: ProxyHeader?

    private let senders: [AddressBlock]
    private let timeout: Duration
    private let refused: ((ConnectionLoss, SocketAddress) -> Void)?
    private var decoder: ProxyHeaderDecoder?
    private var deadline: DelayedCall?

    /// A reader under a protocol.
    ///
    /// `senders`: Who may send a header; see `AddressBlock.local` for this machine.
    /// `timeout`: How long the header may take. A lost packet costs a second or three.
    /// `limitBytes`: The longest header, 16 at least.
    /// `refused`: Told of each connection that ends in a wrong header or without one, with its
    ///     sender; nil reports it to `Reactor.unhandledError`. Who connects and ends without a byte,
    ///     as checks of health do, is no error.
    public init(
        above: any StreamProtocol, trusting senders: [AddressBlock],
        timeout: Duration = .seconds(10), limitBytes: Int = 4096,
        refused: ((ConnectionLoss, SocketAddress) -> Void)? = nil
    ) {
        self.senders = senders
        self.timeout = timeout
        self.refused = refused
        decoder = ProxyHeaderDecoder(limitBytes: limitBytes)
        super.init(above: above)
    }

    /// Waits for the header, or throws if the sender is not trusted.
    public override func connectionMade(_ transport: any StreamTransport) throws {
        attach(to: transport)
        guard senders.contains(where: { $0.contains(transport.peerAddress) }) else {
            throw ProxyHeaderError.untrustedSender(transport.peerAddress)
        }
        deadline = transport.reactor.callLater(timeout) {
            transport.abortConnection(because: ConnectionLoss.deadlinePassed(.handshaking))
        }
    }

    /// Takes the header, then passes the bytes up.
    public override func dataReceived(
        _ bytes: RawSpan, from transport: any StreamTransport
    ) throws {
        guard header == nil else { return try deliver(bytes) }
        guard let found = try decoder?.decode(bytes) else { return }
        decoder = nil
        deadline?.cancel()
        deadline = nil
        header = found.header
        try connectAbove()
        try deliver(bytes.extracting(found.usedByteCount..<bytes.byteCount))
    }

    /// Passes the call up, or tells of a connection that had no header.
    public override func connectionLost(
        _ why: ConnectionLoss, from transport: any StreamTransport
    ) {
        deadline?.cancel()
        deadline = nil
        if header == nil { tellRefusal(why, transport) }
        super.connectionLost(why, from: transport)
    }

    /// Asserts, besides what holds of every layer, that a header which is waited for has a deadline.
    public override func checkInvariants() {
        require(
            (decoder != nil) == (header == nil),
            "ProxyHeaderReader: waits for no header, and has none")
        require(
            (deadline?.isActive ?? false) == (header == nil),
            "ProxyHeaderReader: waits for a header without a deadline")
        decoder?.checkInvariants()
        super.checkInvariants()
    }

    private func tellRefusal(_ why: ConnectionLoss, _ transport: any StreamTransport) {
        var why = why
        switch why {
        case .protocolFailed, .deadlinePassed(.handshaking): break
        case .closedByPeer:
            guard let count = decoder?.partialByteCount, count > 0 else { return }
            why = .protocolFailed(ProxyHeaderError.incomplete(byteCount: count))
        // Broken or closed from here before anything was wrong.
        case .closedLocally, .aborted, .failed, .deadlinePassed, .writeLimitExceeded: return
        }
        let sender = transport.peerAddress
        guard let refused else {
            return transport.reactor.report(why, in: "the PROXY header of \(sender)")
        }
        refused(why, sender)
    }

    /// That of the proxy's client; that of the proxy if it speaks for itself.
    public override var peerAddress: SocketAddress {
        header?.addresses?.source ?? super.peerAddress
    }

    /// Where the proxy's client connected to; this end if the proxy speaks for itself.
    public override var localAddress: SocketAddress {
        header?.addresses?.destination ?? super.localAddress
    }
}

extension StreamTransport {
    /// What a proxy said of this connection, if there is a ``ProxyHeaderReader`` below.
    public var proxyHeader: ProxyHeader? {
        var transport: (any StreamTransport)? = self
        while let layer = transport as? StreamLayer {
            if let reader = layer as? ProxyHeaderReader { return reader.header }
            transport = layer.below
        }
        return nil
    }
}
