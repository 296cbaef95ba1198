// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Closures that are called with the events of every connection of a reactor, each nil by default.
///
///     reactor.connectionObserver.lost = { why, transport in
///         if !why.isClean { log("\(transport.id) \(transport.peerAddress): \(why)") }
///     }
///
/// For bytes, and for the connections of one endpoint, there is ``ConnectionObserver``. Every closure
/// is called on the reactor; one that is nil costs a branch a connection.
public struct ConnectionHooks {
    /// A connection is made; its protocol is called next, unless this closes it.
    public var made: ((_ transport: any StreamTransport) -> Void)?
    /// A connection is lost; its protocol was called before.
    public var lost: ((_ why: ConnectionLoss, _ transport: any StreamTransport) -> Void)?
    /// A client was refused: by an observer of the port, by a filter that did not agree with it, by the
    /// factory, which is an ``ErrorCode/connectionRefused``, or by what the factory threw.
    public var refused: ((_ error: any Error, _ peer: SocketAddress) -> Void)?
    /// A port has stopped accepting for a while, by an error that it met.
    public var backedOff: ((_ error: IOError, _ port: ListeningPort) -> Void)?

    /// Makes an empty value.
    public init() {}
}
