// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore
public import TorsionHTTP

/// What a server makes of a request for a WebSocket: RFC 6455 §4.2.
///
/// Pure: fields in, fields or a refusal out.
package struct ServerHandshake {
    let accept: Bytes
    package let terms: WebSocketTerms

    /// Why a request is refused; the connection goes on.
    package enum Refusal: Error, Equatable {
        /// It asks for no WebSocket, or not as one is asked for.
        case badRequest(String)
        /// It asks for something else than version 13.
        case otherVersion

        var response: HTTPResponse {
            switch self {
            case .badRequest(let sentence):
                HTTPResponse(
                    .badRequest, [.contentType: "text/plain"], body: Bytes("\(sentence)\n"))
            case .otherVersion:
                HTTPResponse(
                    .upgradeRequired,
                    [
                        .contentType: "text/plain", .upgrade: "websocket", .connection: "Upgrade",
                        .secWebSocketVersion: "13",
                    ], body: "this server speaks version 13 of WebSocket\n")
            }
        }
    }

    package init(_ head: CopiedRequestHead, _ options: WebSocketOptions) throws(Refusal) {
        guard head.method == .get, head.minorVersion >= 1 else {
            throw .badRequest("a WebSocket is asked for by GET in HTTP/1.1")
        }
        let fields = head.fields
        guard has("websocket", in: fields.all(.upgrade)) else { throw .otherVersion }
        guard has("upgrade", in: fields.all(.connection)) else {
            throw .badRequest("Connection does not name Upgrade")
        }
        let versions = fields.all(.secWebSocketVersion)
        guard versions.count == 1, versions[0] == "13" else { throw .otherVersion }
        let keys = fields.all(.secWebSocketKey)
        // One that is missing is not valid either.
        let key = keys.first ?? Bytes()
        guard keys.count == 1, HandshakeKey.isValid(key.span) else {
            throw .badRequest("Sec-WebSocket-Key is not 16 bytes in Base64, once")
        }
        accept = HandshakeKey.accept(for: key)
        let offered = listed(fields.all(.secWebSocketProtocol)).map { String(decoding: $0) }
        // What is no list has to fail the handshake, whether it is used or not: RFC 6455 §9.1.
        guard let extensions = WebSocketExtension.list(fields.all(.secWebSocketExtensions)) else {
            throw .badRequest("Sec-WebSocket-Extensions is no list of extensions")
        }
        terms = WebSocketTerms(
            subprotocol: options.subprotocols.first { offered.contains($0) },
            compression: options.compression.flatMap {
                CompressionAgreement(accepting: extensions, $0)
            })
    }

    /// The answer's fields.
    package func fields(_ more: FieldList) -> FieldList {
        var fields: FieldList = [.upgrade: "websocket", .secWebSocketAccept: accept]
        if let subprotocol = terms.subprotocol {
            fields.append(.secWebSocketProtocol, subprotocol)
        }
        if let compression = terms.compression {
            fields.append(.secWebSocketExtensions, compression.answer)
        }
        for field in more { fields.append(field.name, field.value) }
        return fields
    }
}

/// What both sides of a WebSocket have agreed on.
package struct WebSocketTerms: Equatable {
    package var subprotocol: String?
    package var compression: CompressionAgreement?
}

/// The elements of a list that may be spread over several fields: RFC 9110 §5.6.1.
func listed(_ values: [Bytes]) -> [Bytes] {
    var elements: [Bytes] = []
    for value in values {
        for part in value.split(separator: UInt8(ascii: ",")) {
            let element = Bytes(part.span.trimmed)
            if !element.isEmpty { elements.append(element) }
        }
    }
    return elements
}

extension RequestHead {
    /// Whether it asks for a WebSocket: `Upgrade` names it, alone or among others.
    ///
    /// Whether it does so as RFC 6455 has it, ``TorsionHTTP/HTTPExchange/upgrade(toWebSocket:for:options:fields:)``
    /// sees.
    public var asksForWebSocket: Bool {
        var next = index(of: .upgrade)
        while let index = next {
            if has("websocket", in: [Bytes(fieldValue(index))]) { return true }
            next = self.index(of: .upgrade, from: index + 1)
        }
        return false
    }
}

func has(_ token: String, in values: [Bytes]) -> Bool {
    listed(values).contains { $0.equalsIgnoringCase(token) }
}

extension HTTPExchange {
    /// Makes a WebSocket of the connection, if the request asks for one as RFC 6455 §4.2 says.
    ///
    ///     func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
    ///         guard head.path == "/chat" else { return exchange.respond(.notFound) }
    ///         exchange.upgrade(toWebSocket: Chat(room), for: head)
    ///     }
    ///
    /// Otherwise it is answered with 400, or 426 if it does not ask for a WebSocket of version 13,
    /// and the connection goes on. Whether a page of that origin may connect is yours to check
    /// before: a browser sends `Origin`, and cookies with any page's request.
    ///
    /// - Parameters:
    ///   - newProtocol: Gets the messages.
    ///   - head: The request's.
    ///   - options: The limits of the client, and the subprotocols to choose from.
    ///   - fields: Added to the answer.
    public consuming func upgrade(
        toWebSocket newProtocol: any WebSocketProtocol, for head: borrowing RequestHead,
        options: WebSocketOptions = WebSocketOptions(), fields: FieldList = [:]
    ) {
        do throws(ServerHandshake.Refusal) {
            options.check()
            let handshake = try ServerHandshake(head.copied(), options)
            let connection = WebSocketConnection(isServer: true, options, handshake.terms)
            connection.use(newProtocol)
            upgrade(to: connection, .switchingProtocols, handshake.fields(fields))
        } catch {
            respond(error.response)
        }
    }
}

extension PendingExchange {
    /// Makes a WebSocket of the connection; see
    /// ``TorsionHTTP/HTTPExchange/upgrade(toWebSocket:for:options:fields:)``.
    ///
    /// - Parameters:
    ///   - newProtocol: Gets the messages.
    ///   - head: The request's.
    ///   - options: The limits of the client, and the subprotocols to choose from.
    ///   - fields: Added to the answer.
    public func upgrade(
        toWebSocket newProtocol: any WebSocketProtocol, for head: CopiedRequestHead,
        options: WebSocketOptions = WebSocketOptions(), fields: FieldList = [:]
    ) {
        do throws(ServerHandshake.Refusal) {
            options.check()
            let handshake = try ServerHandshake(head, options)
            let connection = WebSocketConnection(isServer: true, options, handshake.terms)
            connection.use(newProtocol)
            upgrade(to: connection, .switchingProtocols, handshake.fields(fields))
        } catch {
            respond(error.response)
        }
    }
}

extension AsyncExchange {
    /// Makes a WebSocket of the connection, for the task that answers the request.
    ///
    ///     try await endpoint.serveHTTP(on: reactor) { request, answer in
    ///         let socket = try await answer.upgradeToWebSocket(request)
    ///         for try await message in socket.messages { try await socket.send(message) }
    ///     }
    ///
    /// - Parameters:
    ///   - request: The one to answer.
    ///   - options: The limits of the client, and the subprotocols to choose from.
    ///   - fields: Added to the answer.
    /// - Returns: The socket, open. It is closed when its last reference goes.
    /// - Throws: The answer that refuses the request, to be passed on; `CancellationError` if the client
    ///   has gone.
    public nonisolated(nonsending) func upgradeToWebSocket(
        _ request: HTTPRequest, options: WebSocketOptions = WebSocketOptions(),
        fields: FieldList = [:]
    ) async throws -> WebSocket {
        options.check()
        let handshake: ServerHandshake
        do throws(ServerHandshake.Refusal) {
            handshake = try ServerHandshake(request.head, options)
        } catch {
            throw error.response
        }
        let connection = WebSocketConnection(isServer: true, options, handshake.terms)
        let opened = Deferred<Void>(on: exchange.reactor)
        let socket = connection.makeSocketForTasks()
        connection.whenMade = { opened.succeed(()) }
        exchange.upgrade(to: connection, .switchingProtocols, handshake.fields(fields))
        try await opened.value
        return socket
    }
}

extension WebSocketConnection {
    /// Gives what arrives to a protocol.
    func use(_ newProtocol: any WebSocketProtocol) {
        proto = newProtocol
    }

    /// Keeps what arrives for tasks.
    func makeSocketForTasks() -> WebSocket {
        let made = WebSocketMailbox(self)
        mailbox = made
        return WebSocket(self, mailbox: made)
    }
}
