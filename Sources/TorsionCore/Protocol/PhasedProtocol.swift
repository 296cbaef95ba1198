// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What a connection waits for from its peer.
///
/// A plain value. Each phase may take only so long: see ``PhasedProtocol``.
@nonexhaustive
public enum ConnectionPhase: Hashable, Sendable {
    /// The two sides agree on their terms: a log-in, for example.
    case handshaking

    /// The peer has begun to send something, and has not finished.
    ///
    /// `number`: Another for each, so that one does not use up the time of the next.
    case request(number: Int)

    /// Whatever comes next, or nothing.
    case open
}

/// A protocol that says what it waits for, so that a deadline can be kept for it.
///
///     final class Login: PhasedProtocol {
///         private var isLoggedIn = false
///         var phase: ConnectionPhase { isLoggedIn ? .open : .handshaking }
///         func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
///             if bytes == "open sesame" { isLoggedIn = true }
///         }
///     }
///
/// Asked on the reactor after each piece that arrives, and when a deadline has come; only of
/// connections that have timeouts.
public protocol PhasedProtocol: StreamProtocol {
    /// What the connection waits for now. Cheap, and without effects.
    var phase: ConnectionPhase { get }
}

extension StreamTransport {
    /// What the protocol above this connection waits for, for those that keep deadlines.
    package var phase: ConnectionPhase { (self as? StreamConnection)?.phase ?? .open }
}

extension StreamConnection {
    var phase: ConnectionPhase { (proto as? any PhasedProtocol)?.phase ?? .open }
}
