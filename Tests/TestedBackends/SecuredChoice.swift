// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

@_spi(Backend) package import TorsionCore
package import TorsionTLS

/// TLS over every connection, for tests of what stands above it.
///
/// Whom a client may trust is no question here, and no session is resumed: so all connections are of one
/// length, and a simulation that is played again is the same.
package enum TestedTLS {
    /// The two sides.
    package struct Contexts: Sendable {
        /// Of ports.
        package let server: TLSServerContext
        /// Of connects.
        package let client: TLSClientContext
    }

    /// Made once.
    package static let contexts: Contexts = {
        do {
            let names = ["localhost"]
            let own = try SelfSignedIdentity(names: names, now: nil, isEd25519: true)
            var client = TLSClient()
            client.verification = .insecurelyNothing
            client.resumesSessions = false
            return Contexts(
                server: try TLSServerContext(TLSServer(own.identity)),
                client: try TLSClientContext(client))
        } catch { fatalError("\(error)") }
    }()

    /// One for a port's connection.
    package static func makeServer() -> StreamFilter { TLSFilter(contexts.server) }

    /// One for a client.
    package static func makeClient() -> StreamFilter {
        // It is a valid name.
        try! TLSFilter(contexts.client, serverName: "localhost")
    }

    /// Both, over each connection.
    package static var ends: EndFilters {
        var ends = EndFilters()
        ends.server = [{ makeServer() }]
        ends.client = [{ makeClient() }]
        return ends
    }
}

extension BackendChoice {
    /// A backend whose connections between ports and clients are TLS.
    package static func secured(_ inner: BackendChoice) -> BackendChoice {
        var choice = BackendChoice(
            name: "\(inner.name) under TLS", unavailableReason: inner.unavailableReason,
            library: inner.library, makeBackend: inner.makeBackend)
        choice.filters = inner.filters
        choice.endFilters = TestedTLS.ends
        return choice
    }
}

#endif
