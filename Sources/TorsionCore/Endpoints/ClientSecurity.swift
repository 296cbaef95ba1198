// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// How a client's connections are secured, for a module that does not import TLS.
///
///     HTTPClient(on: reactor, security: .tls)     // with `import TorsionTLS`
///
/// A value, usable on any thread.
public struct ClientSecurity: Sendable {
    private let secure:
        @Sendable (any StreamClientEndpoint, _ serverName: String) throws ->
            any StreamClientEndpoint

    /// Makes a way to secure connections.
    ///
    /// - Parameter secure: Puts a filter under the connections to an endpoint, which verifies that the
    ///   server is the one of this name; throws if the name cannot be verified.
    public init(
        _ secure:
            @escaping @Sendable (
                _ endpoint: any StreamClientEndpoint, _ serverName: String
            ) throws -> any StreamClientEndpoint
    ) {
        self.secure = secure
    }

    /// The same place with a secured connection.
    ///
    /// - Parameters:
    ///   - endpoint: The place.
    ///   - serverName: The server's name or address, which is verified.
    /// - Returns: An endpoint that can be used like it.
    /// - Throws: What says why the name cannot be verified.
    public func endpoint(
        over endpoint: any StreamClientEndpoint, serverName: String
    ) throws -> any StreamClientEndpoint {
        try secure(endpoint, serverName)
    }
}
