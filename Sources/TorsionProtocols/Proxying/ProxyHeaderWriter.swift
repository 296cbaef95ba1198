// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// A layer that tells a server whom a connection is made for, before its first byte.
///
///     let header = ProxyHeader(source: client.peerAddress, destination: client.localAddress)
///     backend.wrapped { ProxyHeaderWriter(above: $0, header) }.connect(on: reactor) { StreamProxy() }
///
/// The header leaves with the first bytes that are written in the same event. If its extensions do
/// not fit, `connectionMade` throws, and connecting fails with the ``ProxyHeaderError``.
///
/// - SeeAlso: "The PROXY protocol", HAProxy's `doc/proxy-protocol.txt`; ``ProxyHeaderReader``.
public final class ProxyHeaderWriter: StreamLayer {
    private let header: ProxyHeader

    /// A writer under a protocol.
    public init(above: any StreamProtocol, _ header: ProxyHeader) {
        self.header = header
        super.init(above: above)
    }

    /// Writes the header, then passes the call up.
    public override func connectionMade(_ transport: any StreamTransport) throws {
        transport.write(try header.encoded())
        try super.connectionMade(transport)
    }
}
