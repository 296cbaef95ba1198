// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Tells a server whom a connection is made for, before its first byte.
///
///     let header = ProxyHeader(source: client.peerAddress, destination: client.localAddress)
///     backend.filtered { ProxyHeaderWriter(header) }.connect(on: reactor) { StreamProxy() }
///
/// The header is sent when the stream is connected, and the filter leaves the path. If its
/// extensions do not fit, connecting fails with the ``ProxyHeaderError``.
///
/// - SeeAlso: "The PROXY protocol", HAProxy's `doc/proxy-protocol.txt`; ``ProxyHeaderReader``.
public final class ProxyHeaderWriter: StreamFilter {
    private let header: ProxyHeader

    /// Makes a writer for one connection.
    ///
    /// - Parameter header: Sent before the first byte.
    public init(_ header: ProxyHeader) {
        self.header = header
        super.init()
    }

    /// Sends the header.
    public override func begin() throws {
        send(try header.encoded())
        withdraw()
    }
}
