// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore
public import TorsionHTTP

/// A program's side of one WebSocket.
///
///     final class Echo: WebSocketProtocol {
///         func messageReceived(_ message: RawSpan, _ kind: WebSocketMessage.Kind, from socket: WebSocket) {
///             socket.send(message, kind)
///         }
///     }
///
/// Called on the reactor, in this order, never one inside another:
///
///     connectionMade  messageReceived*  connectionLost
///
/// A method that throws closes the connection with 1011, and the error is the reason of its loss.
public protocol WebSocketProtocol: AnyObject {
    /// The handshake is done, and messages may be sent. The default is empty.
    ///
    /// - Parameter socket: The connection, which keeps its protocol until the loss.
    /// - Throws: Anything; the connection is closed with 1011.
    func connectionMade(_ socket: WebSocket) throws

    /// A whole message has arrived.
    ///
    /// Pings are answered before this is called for what follows them, and pongs noted.
    ///
    /// - Parameters:
    ///   - message: Its bytes, borrowed until the call returns; those of a text are valid UTF-8.
    ///   - kind: Text or binary.
    ///   - socket: The connection.
    /// - Throws: Anything; the connection is closed with 1011.
    func messageReceived(
        _ message: RawSpan, _ kind: WebSocketMessage.Kind, from socket: WebSocket) throws

    /// The connection has ended. The default is empty.
    ///
    /// - Parameters:
    ///   - why: The peer's close frame, or what broke the connection.
    ///   - socket: Sends are ignored now.
    func connectionLost(_ why: WebSocketLoss, from socket: WebSocket)
}

extension WebSocketProtocol {
    /// The empty default.
    ///
    /// - Parameter socket: Ignored.
    /// - Throws: Does not throw.
    public func connectionMade(_ socket: WebSocket) throws {}

    /// The empty default.
    ///
    /// - Parameters:
    ///   - why: Ignored.
    ///   - socket: Ignored.
    public func connectionLost(_ why: WebSocketLoss, from socket: WebSocket) {}
}

/// A message, as a value.
///
///     for try await message in socket.messages {
///         if let text = message.text { print(text) }
///     }
///
/// Usable on any thread.
public struct WebSocketMessage: Hashable, Sendable, CustomStringConvertible {
    /// The kind of a message.
    @frozen
    public enum Kind: Hashable, Sendable {
        /// UTF-8.
        case text
        /// Any bytes.
        case binary
    }

    /// The kind.
    public let kind: Kind

    /// Its bytes; those of a text are valid UTF-8.
    public let bytes: Bytes

    /// Its text; `nil` if it is binary.
    public var text: String? { kind == .text ? String(decoding: bytes) : nil }

    /// A text.
    ///
    /// - Parameter text: Any.
    public init(_ text: String) {
        kind = .text
        bytes = Bytes(text)
    }

    /// A binary message.
    ///
    /// - Parameter bytes: Any number; may be empty.
    public init(_ bytes: Bytes) {
        kind = .binary
        self.bytes = bytes
    }

    init(_ kind: Kind, _ bytes: Bytes) {
        self.kind = kind
        self.bytes = bytes
    }

    /// Its bytes, readable.
    public var description: String { bytes.description }
}

/// Why a WebSocket ended.
///
///     func connectionLost(_ why: WebSocketLoss, from socket: WebSocket) {
///         if why.code == .goingAway { reconnectLater() }
///     }
///
/// A plain value, usable on any thread.
public struct WebSocketLoss: PeerFailure, Sendable, CustomStringConvertible {
    /// That of the peer's close frame.
    ///
    /// Without one: that of ours if the peer broke the protocol, else
    /// 1006, ``WebSocketCloseCode/abnormal``.
    public let code: WebSocketCloseCode

    /// The text of the peer's close frame; often empty.
    public let reason: String

    /// Whether both sides have said that they close.
    public let isClean: Bool

    /// How the connection below ended: a ``WebSocketError`` is in `ConnectionLoss.protocolFailed`.
    public let cause: ConnectionLoss

    /// A sentence.
    public var description: String {
        guard isClean else { return "\(cause) (WebSocket code \(code))" }
        return "closed with code \(code)" + (reason.isEmpty ? "" : ": \(shownReason)")
    }

    /// The reason with its control characters as Swift writes them: a log has it on its line, and a
    /// terminal does not obey it.
    private var shownReason: String {
        reason.unicodeScalars.map { scalar in
            scalar.properties.generalCategory == .control
                ? scalar.escaped(asASCII: true) : String(scalar)
        }.joined()
    }
}
