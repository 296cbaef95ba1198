// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// An error in the frames of a peer: RFC 6455.
///
/// The connection is closed with ``closeCode``, and the error is the reason of its loss. A plain value,
/// usable on any thread.
@nonexhaustive
public enum WebSocketError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A reserved bit is set without an extension (§5.2).
    case reservedBits
    /// The frame's kind is unknown (§5.2).
    case unknownOpcode(UInt8)
    /// A ping, pong or close frame came in pieces (§5.5).
    case fragmentedControlFrame
    /// A ping, pong or close frame has more than 125 bytes (§5.5).
    case longControlFrame
    /// A client sent a frame without a mask (§5.1).
    case notMasked
    /// A server sent a frame with a mask (§5.1).
    case masked
    /// A length is not in its shortest form, or is negative (§5.2).
    case badLength
    /// A frame goes on with a message that was not begun (§5.4).
    case unexpectedContinuation
    /// A message begins inside another one (§5.4).
    case unfinishedMessage
    /// A text is not UTF-8 (§8.1).
    case notUTF8
    /// A close frame has one byte, or a reserved code (§7.4).
    case badCloseFrame
    /// A message is longer than ``WebSocketOptions/messageLimitBytes``.
    case messageTooLong(limitBytes: Int)
    /// A frame is longer than ``WebSocketOptions/frameLimitBytes``.
    case frameTooLong(limitBytes: Int)
    /// A message cannot be decompressed (RFC 7692 §7.2.2).
    case badCompression

    /// The code that is sent to the peer.
    public var closeCode: WebSocketCloseCode {
        switch self {
        case .notUTF8, .badCompression: .invalidPayload
        case .messageTooLong, .frameTooLong: .messageTooBig
        case .reservedBits, .unknownOpcode, .fragmentedControlFrame, .longControlFrame, .notMasked,
            .masked, .badLength, .unexpectedContinuation, .unfinishedMessage, .badCloseFrame:
            .protocolError
        }
    }

    /// A sentence.
    public var description: String {
        switch self {
        case .reservedBits: "a frame has a reserved bit set"
        case .unknownOpcode(let opcode): "there is no frame of kind \(opcode)"
        case .fragmentedControlFrame: "a control frame came in pieces"
        case .longControlFrame: "a control frame has more than 125 bytes"
        case .notMasked: "a client's frame has no mask"
        case .masked: "a server's frame has a mask"
        case .badLength: "a frame's length is not in its shortest form"
        case .unexpectedContinuation: "a frame goes on with a message that was not begun"
        case .unfinishedMessage: "a message begins inside another one"
        case .notUTF8: "a text is not UTF-8"
        case .badCloseFrame: "a close frame has a code that nobody may send"
        case .messageTooLong(let limit): "a message has more than \(limit) bytes"
        case .frameTooLong(let limit): "a frame has more than \(limit) bytes"
        case .badCompression: "a message cannot be decompressed"
        }
    }
}

/// Why a WebSocket was closed: RFC 6455 §7.4, and IANA's registry.
///
/// A plain value, usable on any thread.
public struct WebSocketCloseCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The number.
    public let rawValue: UInt16

    /// Makes a code of its number.
    ///
    /// - Parameter rawValue: Any; what may be sent says ``WebSocket/close(_:reason:)``.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// 1000: the purpose is fulfilled.
    public static let normal = WebSocketCloseCode(rawValue: 1000)
    /// 1001: a server stops, or a page is left.
    public static let goingAway = WebSocketCloseCode(rawValue: 1001)
    /// 1002: the peer broke the protocol.
    public static let protocolError = WebSocketCloseCode(rawValue: 1002)
    /// 1003: data of a kind that is not accepted.
    public static let unsupportedData = WebSocketCloseCode(rawValue: 1003)
    /// 1005: a close frame without a code; never sent.
    public static let none = WebSocketCloseCode(rawValue: 1005)
    /// 1006: the connection ended without a close frame; never sent.
    public static let abnormal = WebSocketCloseCode(rawValue: 1006)
    /// 1007: a text that is not UTF-8.
    public static let invalidPayload = WebSocketCloseCode(rawValue: 1007)
    /// 1008: a rule of the program's was broken.
    public static let policyViolation = WebSocketCloseCode(rawValue: 1008)
    /// 1009: a message that is too long.
    public static let messageTooBig = WebSocketCloseCode(rawValue: 1009)
    /// 1011: the program failed.
    public static let internalError = WebSocketCloseCode(rawValue: 1011)
    /// 1012: the service restarts.
    public static let serviceRestart = WebSocketCloseCode(rawValue: 1012)
    /// 1013: try again later.
    public static let tryAgainLater = WebSocketCloseCode(rawValue: 1013)

    /// Whether it may stand in a close frame.
    public var maySend: Bool {
        switch rawValue {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }

    /// The number.
    public var description: String { "\(rawValue)" }
}
