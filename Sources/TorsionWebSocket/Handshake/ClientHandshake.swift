// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

package import TorsionCore
public import TorsionHTTP

/// What a client asks a server for, and what it makes of the answer: RFC 6455 §4.1.
///
/// Pure: a key in, a request out; an answer in, terms or an error out.
package struct ClientHandshake {
    private let key: Bytes
    private let subprotocols: [String]
    private let compression: WebSocketCompression?
    /// The whole request.
    package let request: Bytes

    /// - Parameters:
    ///   - url: What is asked for.
    ///   - nonce: 16 unpredictable bytes.
    ///   - options: Subprotocols and compression, which are offered.
    ///   - fields: Added to the request.
    /// - Throws: A field that cannot be sent.
    package init(
        _ url: HTTPURL, nonce: [UInt8], _ options: WebSocketOptions, fields: FieldList
    ) throws(WebSocketHandshakeError) {
        let key = HandshakeKey.encode(nonce)
        self.key = key
        subprotocols = options.subprotocols
        compression = options.compression
        for field in fields where !Self.maySend(field) { throw .badField(field.name) }
        request = Bytes { writer in
            writer.write("GET ")
            writer.write(url.target)
            writer.write(" HTTP/1.1\r\nHost: ")
            writer.write(url.authority)
            writer.write("\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ")
            writer.write(key)
            writer.write("\r\nSec-WebSocket-Version: 13\r\n")
            if !options.subprotocols.isEmpty {
                writer.write("Sec-WebSocket-Protocol: ")
                writer.write(options.subprotocols.joined(separator: ", "))
                writer.write("\r\n")
            }
            if let compression = options.compression {
                writer.write("Sec-WebSocket-Extensions: ")
                writer.write(CompressionAgreement.offer(compression))
                writer.write("\r\n")
            }
            for field in fields {
                writer.write(field.name.bytes)
                writer.write(": ")
                writer.write(field.value)
                writer.write("\r\n")
            }
            writer.write("\r\n")
        }
    }

    /// Whether a field breaks neither the line nor the handshake.
    private static func maySend(_ field: FieldList.Field) -> Bool {
        switch field.name {
        case .host, .upgrade, .connection, .contentLength, .transferEncoding, .secWebSocketKey,
            .secWebSocketVersion, .secWebSocketProtocol, .secWebSocketExtensions:
            return false
        default: return field.value.allSatisfy { $0 >= 0x20 && $0 != 0x7f || $0 == 9 }
        }
    }

    /// Checks an answer.
    ///
    /// - Parameter head: The first that is not interim.
    /// - Returns: What the server has chosen.
    /// - Throws: Why it is no WebSocket.
    package func accept(_ head: ResponseHead) throws(WebSocketHandshakeError) -> WebSocketTerms {
        guard head.status == .switchingProtocols else { throw .refused(head) }
        let fields = head.fields
        guard has("websocket", in: fields.all(.upgrade)),
            has("upgrade", in: fields.all(.connection))
        else { throw .notWebSocket }
        guard fields.all(.secWebSocketAccept) == [HandshakeKey.accept(for: key)] else {
            throw .wrongKey
        }
        let agreement = try accept(
            WebSocketExtension.list(fields.all(.secWebSocketExtensions)))
        let chosen = fields.all(.secWebSocketProtocol).map { String(decoding: $0) }
        guard chosen.count <= 1, chosen.allSatisfy(subprotocols.contains) else {
            throw .unwantedSubprotocol
        }
        return WebSocketTerms(subprotocol: chosen.first, compression: agreement)
    }

    private func accept(
        _ extensions: [WebSocketExtension]?
    ) throws(WebSocketHandshakeError) -> CompressionAgreement? {
        guard let extensions, extensions.count <= 1 else { throw .unwantedExtension }
        guard let chosen = extensions.first else { return nil }
        guard let compression,
            let agreement = CompressionAgreement(answer: chosen, to: compression)
        else { throw .unwantedExtension }
        return agreement
    }
}

/// Why a client's handshake failed.
@nonexhaustive
public enum WebSocketHandshakeError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The URL does not begin with `ws:` or `wss:`.
    case noWebSocketURL(HTTPURL)
    /// A `wss:` URL without TLS.
    case noSecurity(HTTPURL)
    /// A field that the program adds breaks the handshake, or its line.
    case badField(FieldName)
    /// The server gave another answer than 101.
    case refused(ResponseHead)
    /// The answer is 101, for another protocol.
    case notWebSocket
    /// The server has not answered to this client's key.
    case wrongKey
    /// The server uses an extension that was not offered, or not as it was.
    case unwantedExtension
    /// The server uses a subprotocol that was not offered.
    case unwantedSubprotocol

    /// A sentence.
    public var description: String {
        switch self {
        case .noWebSocketURL(let url): "\(url) begins neither with ws: nor with wss:"
        case .noSecurity(let url):
            "\(url) is reached over TLS: connect with security: .tls of TorsionTLS"
        case .badField(let name): "the field \(name) cannot be sent with a handshake"
        case .refused(let head):
            "the server answered \(head.status.code) \(String(decoding: head.reason)), no WebSocket"
        case .notWebSocket: "the server answered 101 for another protocol"
        case .wrongKey: "the server's answer has a wrong Sec-WebSocket-Accept"
        case .unwantedExtension: "the server uses an extension that was not offered, or not so"
        case .unwantedSubprotocol: "the server uses a subprotocol that was not offered"
        }
    }
}
