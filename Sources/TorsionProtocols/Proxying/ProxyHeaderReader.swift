// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Takes a proxy's header off a connection: what is above sees the proxy's client.
///
///     let proxies = [AddressBlock("10.0.0.0/24")!]
///     try endpoint.filtered { ProxyHeaderReader(trusting: proxies) }
///         .listen(on: reactor) { Chat(room) }
///
/// The connection is made once the header is complete, with the addresses of the client that the
/// proxy speaks for; those of the proxy itself if it speaks for itself. The factory is given that
/// address, too. The rest of the header is at `transport.proxyHeader`. Behind the header the filter
/// is not in the path any more.
///
/// Any client could claim any address, so only those named may send a header, and from them one must
/// come: the protocol says that whether there is one is never guessed. Everything else closes the
/// connection, and is counted in `ReactorStatistics.handshakesFailed`: another sender, a malformed
/// header, one that is not complete within `StreamOptions.handshakeTimeout`. A `PortObserver` is
/// called with the reason: a ``ProxyHeaderError``, the deadline, or the `IOError` of a client that
/// connects and ends without a byte, as health checks do.
///
/// - SeeAlso: "The PROXY protocol", HAProxy's `doc/proxy-protocol.txt`; Twisted `haproxy:`.
public final class ProxyHeaderReader: StreamFilter {
    private let senders: [AddressBlock]
    private var decoder: ProxyHeaderDecoder

    /// Makes a reader for one connection.
    ///
    /// - Parameters:
    ///   - senders: The trusted proxies; see `AddressBlock.local` for this machine.
    ///   - limitBytes: The longest header, 16 at least.
    public init(trusting senders: [AddressBlock], limitBytes: Int = 4096) {
        self.senders = senders
        decoder = ProxyHeaderDecoder(limitBytes: limitBytes)
        super.init()
    }

    /// Waits for the header, or throws if the sender is not trusted.
    public override func begin() throws {
        guard senders.contains(where: { $0.contains(peerAddress) }) else {
            throw ProxyHeaderError.untrustedSender(peerAddress)
        }
    }

    /// Takes the header; the rest is the connection's.
    ///
    /// - Parameter bytes: Borrowed until the call returns.
    /// - Throws: ``ProxyHeaderError``, which ends the connection.
    public override func receive(_ bytes: RawSpan) throws {
        guard let found = try decoder.decode(bytes) else { return }
        var details = ConnectionDetails()
        details.peerAddress = found.header.addresses?.source
        details.localAddress = found.header.addresses?.destination
        details[ProxyHeader.self] = found.header
        withdraw(unread: bytes.extracting(found.usedByteCount..<bytes.byteCount), details)
    }

    /// A header that has begun is not complete.
    public override func receiveEnd() throws {
        let count = decoder.partialByteCount
        if count > 0 { throw ProxyHeaderError.incomplete(byteCount: count) }
        try super.receiveEnd()
    }
}

extension StreamTransport {
    /// The proxy's header of this connection, if there is a ``ProxyHeaderReader`` below.
    public var proxyHeader: ProxyHeader? { details[ProxyHeader.self] }
}
