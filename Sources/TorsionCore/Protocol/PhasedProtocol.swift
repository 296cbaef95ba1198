// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The part of an exchange that a connection waits for.
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

    /// Between requests: the peer may send or stay silent.
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
    /// The present phase. Cheap, and without effects.
    var phase: ConnectionPhase { get }

    /// A deadline has passed: what is written here is the last that the peer gets.
    ///
    ///     func timedOut(_ deadline: ConnectionLoss.Deadline, from transport: any StreamTransport) {
    ///         transport.write("421 too slow\r\n")
    ///     }
    ///
    /// When it returns, a producer is stopped, and the connection is lost as by
    /// ``StreamTransport/loseConnection(because:)``: what is queued leaves within
    /// ``StreamOptions/closeTimeout``, and the reason of the loss is
    /// ``ConnectionLoss/deadlinePassed(_:)``. The default aborts the connection. Called at most once, on
    /// the reactor.
    ///
    /// - Parameters:
    ///   - deadline: Which one.
    ///   - transport: The connection, which still can be written to.
    func timedOut(_ deadline: ConnectionLoss.Deadline, from transport: any StreamTransport)
}

extension PhasedProtocol {
    /// Aborts the connection.
    ///
    /// - Parameters:
    ///   - deadline: Which one has passed.
    ///   - transport: Aborted.
    public func timedOut(_ deadline: ConnectionLoss.Deadline, from transport: any StreamTransport) {
        transport.abortConnection(because: ConnectionLoss.deadlinePassed(deadline))
    }
}

extension StreamTransport {
    /// Ends the connection because of a deadline, with what its protocol has to say.
    package func end(because deadline: ConnectionLoss.Deadline) {
        let loss = ConnectionLoss.deadlinePassed(deadline)
        // A connection that closes already has said what it had to say.
        guard let connection = self as? StreamConnection, connection.machine.acceptsWrites,
            connection.isPhased
        else { return abortConnection(because: loss) }
        connection.reactor.performEvent {
            connection.attempt {
                ($0 as? any PhasedProtocol)?.timedOut(deadline, from: connection)
            }
            // Else the close would wait for it, and the peer would keep its place beyond the deadline.
            connection.stopProducer()
            connection.loseConnection(because: loss)
        }
    }

    /// Whether what is written may still reach the peer.
    ///
    /// It is over before the protocol is called with the loss: a producer is stopped first, and what had
    /// arrived is delivered.
    package var acceptsWrites: Bool { (self as? StreamConnection)?.acceptsWrites ?? true }

    /// What the protocol above this connection waits for, for those that keep deadlines.
    package var phase: ConnectionPhase { (self as? StreamConnection)?.phase ?? .open }
}

extension StreamConnection {
    var phase: ConnectionPhase { (proto as? any PhasedProtocol)?.phase ?? .open }

    var isPhased: Bool { proto is any PhasedProtocol }
}
