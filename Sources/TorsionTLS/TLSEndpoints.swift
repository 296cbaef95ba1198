// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

public import TorsionCore

extension StreamServerEndpoint {
    /// The same endpoint with TLS over each connection.
    ///
    /// - Parameter configuration: The server's; checked now.
    /// - Returns: The endpoint.
    /// - Throws: ``TLSError`` for what cannot be used.
    public func tls(_ configuration: TLSServer) throws(TLSError) -> WrappedServerEndpoint {
        tls(try TLSServerContext(configuration))
    }

    /// The same endpoint with TLS over each connection.
    ///
    /// - Parameter context: Several endpoints may share it.
    /// - Returns: The endpoint.
    public func tls(_ context: TLSServerContext) -> WrappedServerEndpoint {
        filtered { TLSFilter(context) }
    }
}

extension StreamClientEndpoint {
    /// The same endpoint with TLS over each connection.
    ///
    /// - Parameters:
    ///   - configuration: The client's; checked now.
    ///   - serverName: The server's name or address, which is verified.
    /// - Returns: The endpoint.
    /// - Throws: ``TLSError`` for what cannot be used.
    public func tls(
        _ configuration: TLSClient = TLSClient(), serverName: String
    ) throws(TLSError) -> WrappedClientEndpoint {
        try tls(try TLSClientContext(configuration), serverName: serverName)
    }

    /// The same endpoint with TLS over each connection.
    ///
    /// - Parameters:
    ///   - context: Several endpoints may share it.
    ///   - serverName: The server's name or address, which is verified.
    /// - Returns: The endpoint.
    /// - Throws: ``TLSError`` for a name that cannot be verified.
    public func tls(
        _ context: TLSClientContext, serverName: String
    ) throws(TLSError) -> WrappedClientEndpoint {
        let name = try validServerName(serverName)
        return filtered { TLSFilter(context, validName: name) }
    }
}

extension ClientSecurity {
    private static let ordinary = Result { try TLSClientContext(http(TLSClient())) }

    /// TLS with the roots of the system; a server that negotiates a protocol is offered `http/1.1`.
    ///
    ///     HTTPClient(on: reactor, security: .tls)
    public static var tls: ClientSecurity {
        ClientSecurity { endpoint, serverName in
            try endpoint.tls(try ordinary.get(), serverName: serverName)
        }
    }

    /// TLS of a configuration's.
    ///
    /// - Parameter configuration: The client's; checked now. Without application protocols, it
    ///   offers `http/1.1`.
    /// - Returns: A value for `HTTPClient`.
    /// - Throws: ``TLSError`` for what cannot be used.
    public static func tls(_ configuration: TLSClient) throws(TLSError) -> ClientSecurity {
        let context = try TLSClientContext(http(configuration))
        return ClientSecurity { try $0.tls(context, serverName: $1) }
    }

    private static func http(_ configuration: TLSClient) -> TLSClient {
        var configuration = configuration
        if configuration.applicationProtocols.isEmpty {
            configuration.applicationProtocols = ["http/1.1"]
        }
        return configuration
    }
}

extension StreamTransport {
    /// Goes on with TLS as the server: STARTTLS.
    ///
    /// Earlier writes leave unencrypted; bytes behind the present event, and `remaining`, are TLS,
    /// or the handshake fails. Deliveries wait until the handshake is done.
    ///
    /// - Parameters:
    ///   - context: The server's.
    ///   - remaining: The bytes that were received behind the command that led here; copied.
    /// - Returns: A Deferred that succeeds when the handshake is done. If it fails, the connection is
    ///   lost, and the Deferred fails with that `ConnectionLoss`.
    @discardableResult
    public func startTLS(
        _ context: TLSServerContext, remaining: RawSpan = RawSpan()
    ) -> Deferred<Void> {
        startFilter(TLSFilter(context), remaining: remaining)
    }

    /// Goes on with TLS as the client: STARTTLS.
    ///
    /// - Parameters:
    ///   - context: The client's.
    ///   - serverName: The server's name or address, which is verified.
    ///   - remaining: The bytes that were received behind the answer that led here; copied.
    /// - Returns: As ``startTLS(_:remaining:)``.
    /// - Throws: ``TLSError`` for a name that cannot be verified.
    @discardableResult
    public func startTLS(
        _ context: TLSClientContext, serverName: String, remaining: RawSpan = RawSpan()
    ) throws(TLSError) -> Deferred<Void> {
        startFilter(try TLSFilter(context, serverName: serverName), remaining: remaining)
    }
}

extension AsyncConnection {
    /// Goes on with TLS as the server: STARTTLS.
    ///
    /// Returns when the handshake is done. Earlier writes leave unencrypted; bytes that have
    /// arrived and were not read are TLS, or the handshake fails. Call it from the task that reads.
    ///
    /// - Parameter context: The server's.
    /// - Throws: `ConnectionLoss`, with the ``TLSError`` in it if the handshake fails; the connection
    ///   is lost then.
    public nonisolated(nonsending) func startTLS(_ context: TLSServerContext) async throws {
        try await startFilter(TLSFilter(context))
    }

    /// Goes on with TLS as the client: STARTTLS.
    ///
    /// Returns when the handshake is done.
    ///
    /// - Parameters:
    ///   - context: The client's.
    ///   - serverName: The server's name or address, which is verified.
    /// - Throws: As ``startTLS(_:)``; ``TLSError`` for a name that cannot be verified.
    public nonisolated(nonsending) func startTLS(
        _ context: TLSClientContext, serverName: String
    ) async throws {
        try await startFilter(try TLSFilter(context, serverName: serverName))
    }
}

#else

public import TorsionCore

extension ClientSecurity {
    /// TLS with the roots of the system, which this build is without: turn the trait on.
    @available(
        *, unavailable,
        message: "depend on Torsion with the trait: .package(…, traits: [\"TLS\"])"
    )
    public static var tls: ClientSecurity { fatalError("ClientSecurity: no TLS in this build") }
}

#endif
