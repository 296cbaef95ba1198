// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Sends requests over HTTP/1.1, and keeps connections for further ones.
///
///     let client = HTTPClient(on: reactor)
///     client.get("http://127.0.0.1:8080/")
///         .addCallback { response in response.body.collect(limitBytes: 1 << 20) }
///         .addCallback { body in print(body) }
///         .whenFailed { error in print("\(error)") }
///
/// In a task: `let response = try await client.get(url).value`, then
/// `for try await piece in response.body`.
///
/// An answer of any status is an answer: look at ``ClientResponse/status``. A request fails with
/// `IOError` if the connection cannot be made, ``ResponseError`` if the answer is malformed or
/// broke off, `ConnectionLoss` if the connection broke, ``HTTPTimeout`` if something took too long,
/// ``HTTPClientError`` or ``HTTPURLError`` if it was not sent. It follows redirects, decodes and
/// remembers only if you ask for it.
///
/// Cancelling what a request returned closes its connection. A request is sent once more by itself
/// only if it is idempotent, its connection had carried another one, and broke before the first
/// byte of an answer. A client that is released closes its idle connections; what is under way goes
/// on. At the end of the reactor connections are closed when their requests are answered. It
/// belongs to its reactor.
public final class HTTPClient {
    /// The reactor that it belongs to.
    public let reactor: Reactor
    let options: HTTPClientOptions
    private let headLimits: HeadLimits
    private let poolLimits: OriginPool.Limits
    private let security: ClientSecurity?
    private var origins: [OriginKey: Origin] = [:]

    private struct OriginKey: Hashable {
        let isSecure: Bool
        let host: String
        let port: UInt16
    }

    /// Makes a client.
    ///
    /// - Parameters:
    ///   - reactor: Where it and its connections belong.
    ///   - options: The limits of servers.
    ///   - security: How connections are secured, `.tls` of the product TorsionTLS; `nil` refuses URLs
    ///     that need it.
    public init(
        on reactor: Reactor, options: HTTPClientOptions = HTTPClientOptions(),
        security: ClientSecurity? = nil
    ) {
        self.reactor = reactor
        self.options = options
        self.security = security
        headLimits = options.headLimits
        poolLimits = options.poolLimits
    }

    deinit { closeIdleConnections() }

    /// Asks for what is at a URL.
    ///
    /// - Parameters:
    ///   - url: The whole URL.
    ///   - fields: Fields of the request.
    /// - Returns: The answer, when its head has come.
    public func get(_ url: String, _ fields: FieldList = [:]) -> Deferred<ClientResponse> {
        send(.get, url, fields, .none)
    }

    /// Sends something to a URL.
    ///
    /// - Parameters:
    ///   - url: The whole URL.
    ///   - fields: Fields of the request, `Content-Type` for one.
    ///   - body: The bytes to send.
    /// - Returns: The answer, when its head has come.
    public func post(
        _ url: String, _ fields: FieldList = [:], body: Bytes
    ) -> Deferred<ClientResponse> {
        send(.post, url, fields, .bytes(body))
    }

    private func send(
        _ method: HTTPMethod, _ url: String, _ fields: FieldList, _ body: ClientRequest.Body
    ) -> Deferred<ClientResponse> {
        do {
            let url = try HTTPURL(parsing: url)
            return send(ClientRequest(url, method: method, fields: fields, body: body))
        } catch {
            return .failed(error, on: reactor)
        }
    }

    /// Sends a request.
    ///
    /// - Parameter request: The request.
    /// - Returns: The answer, when its head has come.
    public func send(_ request: ClientRequest) -> Deferred<ClientResponse> {
        Sending(request, by: self).start()
    }

    /// Closes the idle connections.
    public func closeIdleConnections() {
        for origin in origins.values { origin.closeIdle() }
    }

    /// How many connections there are to all servers, idle or not.
    public var connectionCount: Int { origins.values.reduce(0) { $0 + $1.connectionCount } }

    /// How many of them are idle.
    public var idleConnectionCount: Int { origins.values.reduce(0) { $0 + $1.idleCount } }

    /// Where a URL's requests go.
    func origin(of url: HTTPURL) throws -> Origin {
        let key = OriginKey(isSecure: url.scheme.isSecure, host: url.host, port: url.port)
        if let origin = origins[key] { return origin }
        var endpoint: any StreamClientEndpoint =
            options.endpoint?(url) ?? ClientEndpoint.tcp(host: url.host, port: url.port)
        if url.scheme.isSecure {
            guard let security else { throw HTTPClientError.needsSecurity(url) }
            endpoint = try security.endpoint(over: endpoint, serverName: url.host)
        }
        // Those that are not in use cost little; but a crawler would gather them for ever.
        if origins.count >= Self.originLimit { origins = origins.filter { !$0.value.isEmpty } }
        let origin = Origin(endpoint, on: reactor, options, headLimits, poolLimits)
        origins[key] = origin
        return origin
    }

    private static let originLimit = 256
}

extension HTTPClient: InvariantChecking {
    /// Checks the pools of all origins.
    package func checkInvariants() { for origin in origins.values { origin.checkInvariants() } }
}
