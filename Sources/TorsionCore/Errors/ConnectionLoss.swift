// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Why a connection ended.
///
/// Delivered once, to ``StreamProtocol/connectionLost(_:from:)``. The cases say whose doing it was. A plain value, usable on any thread.
///
///     func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
///         if !why.isClean { log("\(transport.peerAddress): \(why)") }
///     }
///
/// - SeeAlso: Twisted `ConnectionDone`, `ConnectionLost`, `ConnectionAborted`.
@nonexhaustive
public enum ConnectionLoss: Error, Sendable {
    /// The peer closed its side, and everything that it had sent was delivered here.
    ///
    /// Bytes that were written here have been handed to the kernel; whether the peer took them is
    /// not known.
    case closedByPeer

    /// ``StreamTransport/loseConnection()`` finished: the kernel has every byte, and goes on to send
    /// them. Whether the peer's program has read them, only an answer of the peer could tell.
    case closedLocally

    /// ``StreamTransport/abortConnection()`` was called here; bytes may be missing in both
    /// directions.
    case aborted

    /// The network or the peer broke the connection; bytes may be missing in both directions.
    ///
    /// Bytes that had arrived were delivered first, unless the program was paused for five seconds.
    case failed(IOError)

    /// The peer ended without the farewell that its protocol asks for, TLS's `close_notify`: bytes
    /// may be missing at the end, cut off by the peer or by an attacker between.
    ///
    /// Bytes that had arrived were delivered first.
    case truncated

    /// Something took longer than allowed, so the connection was aborted.
    case deadlinePassed(Deadline)

    /// A write found more bytes queued than ``Watermarks/limit``, so the connection was aborted:
    /// the peer does not read, and the protocol did not heed being paused.
    case writeLimitExceeded

    /// The protocol threw this error from a callback, so the connection was aborted.
    case protocolFailed(any Error)

    /// A phase with a time limit.
    ///
    /// For a connect that takes too long, the Deferred of `connect` fails, with an ``IOError`` of
    /// code `timedOut`.
    @nonexhaustive
    public enum Deadline: Hashable, Sendable {
        /// Agreeing on the terms of a filter, such as TLS, or of the protocol.
        case handshaking
        /// Sending what was queued when the connection was closed.
        case closing
        /// Receiving the whole of what the peer had begun to send.
        case request
        /// Carrying something in the one direction of a ``StreamProxy`` that is left.
        case halfClosed
        /// The time without a byte in either direction.
        case idle
    }

    /// The loss of a connection that was aborted because of an error.
    ///
    /// A deadline that an observer keeps is the same loss as one that the engine keeps.
    init(because error: any Error) {
        if case .deadlinePassed(let deadline)? = error as? ConnectionLoss {
            self = .deadlinePassed(deadline)
        } else {
            self = .protocolFailed(error)
        }
    }

    /// The loss of a connection whose stream has failed: what a filter says of it, as it is.
    init(streamFailed error: any Error) {
        if let error = error as? IOError {
            self = .failed(error)
        } else {
            self = error as? ConnectionLoss ?? .protocolFailed(error)
        }
    }

    /// Whether the connection ended as one of its sides wanted, and without an error.
    ///
    /// Then everything that the peer sent before its FIN was delivered (``closedByPeer``), or the
    /// kernel has everything that was written (``closedLocally``). It is not a receipt for what the
    /// peer's program has read: a peer that closes may leave bytes unread.
    public var isClean: Bool {
        switch self {
        case .closedByPeer, .closedLocally: true
        case .aborted, .failed, .truncated, .deadlinePassed, .writeLimitExceeded, .protocolFailed:
            false
        }
    }
}

extension ConnectionLoss: Equatable {
    /// Compares case and payload; two protocol errors by their types and descriptions, since an
    /// error need not be comparable.
    ///
    /// - Parameters:
    ///   - left: A reason.
    ///   - right: Another reason.
    /// - Returns: Whether case and payload are the same.
    public static func == (left: ConnectionLoss, right: ConnectionLoss) -> Bool {
        switch (left, right) {
        case (.closedByPeer, .closedByPeer), (.closedLocally, .closedLocally),
            (.aborted, .aborted), (.truncated, .truncated),
            (.writeLimitExceeded, .writeLimitExceeded):
            true
        case (.failed(let left), .failed(let right)): left == right
        case (.deadlinePassed(let left), .deadlinePassed(let right)): left == right
        case (.protocolFailed(let left), .protocolFailed(let right)):
            type(of: left) == type(of: right)
                && String(describing: left) == String(describing: right)
        case (.closedByPeer, _), (.closedLocally, _), (.aborted, _), (.writeLimitExceeded, _),
            (.failed, _), (.truncated, _), (.deadlinePassed, _), (.protocolFailed, _):
            false
        }
    }
}

extension ConnectionLoss: CustomStringConvertible {
    /// One line for a log.
    public var description: String {
        switch self {
        case .closedByPeer: "closed by the peer"
        case .closedLocally: "closed here"
        case .aborted: "aborted here"
        case .failed(let error): error.description
        case .truncated: "the peer ended without its protocol's farewell"
        case .deadlinePassed(let deadline): "took too long: \(deadline)"
        case .writeLimitExceeded: "more bytes queued than the limit allows"
        case .protocolFailed(let error): "the protocol failed: \(error)"
        }
    }
}
