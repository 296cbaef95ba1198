// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore
public import TorsionHTTP

extension WebSocket {
    /// Connects, for async code.
    ///
    ///     let socket = try await WebSocket.connect("ws://127.0.0.1:8080/chat", on: reactor).value
    ///     for try await message in socket.messages { print(message) }
    ///
    /// - Parameters:
    ///   - url: Begins with `ws:`, or `wss:`, which is reached over TLS.
    ///   - reactor: Where the socket belongs.
    ///   - security: `.tls` of `TorsionTLS`, for a `wss:` URL.
    ///   - options: The limits of the server, and the subprotocols to offer.
    ///   - fields: Added to the request: `Origin`, `Authorization`, `Cookie`.
    /// - Returns: The socket, open. It fails with an `HTTPURLError`, an `IOError` that names address and
    ///   cause, a ``WebSocketHandshakeError``, or a `ConnectionLoss`. Cancelling it gives up.
    public static func connect(
        _ url: String, on reactor: Reactor, security: ClientSecurity? = nil,
        options: WebSocketOptions = WebSocketOptions(), fields: FieldList = [:]
    ) -> Deferred<WebSocket> {
        open(url, on: reactor, security, through: nil, to: nil, options, fields)
    }

    /// Connects, for a protocol with callbacks.
    ///
    /// - Parameters:
    ///   - url: Begins with `ws:`, or `wss:`, which is reached over TLS.
    ///   - reactor: Where the socket belongs.
    ///   - newProtocol: Gets the messages.
    ///   - security: `.tls` of `TorsionTLS`, for a `wss:` URL.
    ///   - options: The limits of the server, and the subprotocols to offer.
    ///   - fields: Added to the request.
    /// - Returns: The socket, when `connectionMade` was called; it fails as
    ///   ``connect(_:on:security:options:fields:)`` does.
    @discardableResult
    public static func connect(
        _ url: String, on reactor: Reactor, to newProtocol: any WebSocketProtocol,
        security: ClientSecurity? = nil, options: WebSocketOptions = WebSocketOptions(),
        fields: FieldList = [:]
    ) -> Deferred<WebSocket> {
        open(url, on: reactor, security, through: nil, to: newProtocol, options, fields)
    }

    /// Connects by an endpoint of yours: a UNIX socket, or one that secures.
    ///
    /// - Parameters:
    ///   - url: Says what is asked for; its host is not connected to.
    ///   - reactor: Where the socket belongs.
    ///   - endpoint: Whom to connect to.
    ///   - options: The limits of the server, and the subprotocols to offer.
    ///   - fields: Added to the request.
    /// - Returns: The socket, open; it fails as ``connect(_:on:security:options:fields:)`` does.
    public static func connect(
        _ url: String, on reactor: Reactor, through endpoint: any StreamClientEndpoint,
        options: WebSocketOptions = WebSocketOptions(), fields: FieldList = [:]
    ) -> Deferred<WebSocket> {
        open(url, on: reactor, nil, through: endpoint, to: nil, options, fields)
    }

    private static func open(
        _ url: String, on reactor: Reactor, _ security: ClientSecurity?,
        through endpoint: (any StreamClientEndpoint)?, to newProtocol: (any WebSocketProtocol)?,
        _ options: WebSocketOptions,
        _ fields: FieldList
    ) -> Deferred<WebSocket> {
        options.check()
        do {
            let url = try HTTPURL(parsing: url)
            guard url.scheme == .ws || url.scheme == .wss else {
                throw WebSocketHandshakeError.noWebSocketURL(url)
            }
            let handshake = try ClientHandshake(
                url, nonce: reactor.randomBytes(count: 16), options, fields: fields)
            let endpoint = try endpoint ?? Self.endpoint(url, security)
            let opening = WebSocketOpening(handshake, options, newProtocol, on: reactor)
            return endpoint.connect(on: reactor) { opening }.addCallback { $0.result }
        } catch {
            return Deferred.failed(error, on: reactor)
        }
    }
}

extension WebSocket {
    private static func endpoint(
        _ url: HTTPURL, _ security: ClientSecurity?
    ) throws -> any StreamClientEndpoint {
        let plain = ClientEndpoint.tcp(host: url.host, port: url.port)
        guard url.scheme.isSecure else { return plain }
        guard let security else { throw WebSocketHandshakeError.noSecurity(url) }
        return try security.endpoint(over: plain, serverName: url.host)
    }
}

/// Stands above a client's connection until the server has answered.
private final class WebSocketOpening: StreamProtocol {
    private let handshake: ClientHandshake
    private let options: WebSocketOptions
    private let newProtocol: (any WebSocketProtocol)?
    private var reader = AnswerReader()
    private var transport: (any StreamTransport)?
    private var timeout: DelayedCall?
    private var error: (any Error)?
    /// What takes over when the present event ends, if the connection lives so long.
    private var successor: WebSocketConnection?
    private(set) var result: Deferred<WebSocket>!

    init(
        _ handshake: ClientHandshake, _ options: WebSocketOptions,
        _ newProtocol: (any WebSocketProtocol)?, on reactor: Reactor
    ) {
        self.handshake = handshake
        self.options = options
        self.newProtocol = newProtocol
        result = Deferred(on: reactor) { [weak self] _ in self?.transport?.abortConnection() }
    }

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        reader.begin(.get, mayUpgrade: true)
        transport.write(handshake.request)
        timeout = transport.reactor.callLater(options.handshakeTimeout) { [unowned self] in
            timeout = nil
            self.transport?.abortConnection(because: ConnectionLoss.deadlinePassed(.handshaking))
        }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        var position = 0
        do {
            while let event = try reader.next(bytes, &position) {
                guard case .head(let head) = event else { return }
                if head.status.isInterim { continue }
                let terms = try handshake.accept(head)
                return upgrade(transport, terms, bytes[position...])
            }
        } catch {
            self.error = error
            transport.loseConnection(because: error)
        }
    }

    private func upgrade(
        _ transport: any StreamTransport, _ terms: WebSocketTerms, _ remaining: RawSpan
    ) {
        endTimeout()
        self.transport = nil
        let connection = WebSocketConnection(isServer: false, options, terms)
        successor = connection
        let result: Deferred<WebSocket> = result
        if let newProtocol {
            connection.use(newProtocol)
            connection.whenMade = { [unowned connection] in
                if let socket = connection.socket { result.succeed(socket) }
            }
        } else {
            // Held by the closure until it is handed over.
            let socket = connection.makeSocketForTasks()
            connection.whenMade = { result.succeed(socket) }
        }
        transport.switchProtocol(to: connection, remaining: remaining)
    }

    private func endTimeout() {
        timeout?.cancel()
        timeout = nil
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        endTimeout()
        self.transport = nil
        // It was never made, and its closure would keep it for ever.
        successor?.whenMade = nil
        successor = nil
        if result.isPending { result.fail(error ?? why) }
    }
}
