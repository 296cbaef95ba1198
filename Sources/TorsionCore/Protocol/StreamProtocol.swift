// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A program's side of one connection.
///
/// The engine calls these methods on the reactor, in this order, and never one inside another:
///
///     connectionMade  dataReceived*  connectionLost
///
/// A method that throws aborts the connection, and the error is the reason of its loss: a parser
/// that meets bad input just throws. Keep the transport only to act between callbacks; after
/// ``connectionLost(_:from:)`` the transport releases the protocol, so that this cycle does not
/// leak.
///
///     final class Echo: StreamProtocol {
///         func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
///             transport.write(bytes)
///         }
///     }
///
/// - SeeAlso: Twisted `IProtocol`.
public protocol StreamProtocol: AnyObject {
    /// The connection can be used. Called once, first; the default is empty.
    ///
    /// - Parameter transport: The connection; keep it to write to it later.
    /// - Throws: An error that aborts the connection, and is reported to
    ///   ``Reactor/unhandledError``.
    func connectionMade(_ transport: any StreamTransport) throws

    /// Bytes arrived, at least one, cut anywhere.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed until the call returns; copy into `Bytes` or an array to keep.
    ///   - transport: The connection that brought them.
    /// - Throws: An error that aborts the connection, and is reported to
    ///   ``Reactor/unhandledError``.
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws

    /// The connection has ended. Called once, last, if ``connectionMade(_:)`` was called; the
    /// default is empty. Writes are ignored now.
    ///
    /// - Parameters:
    ///   - why: The reason; ``ConnectionLoss/isClean`` tells an orderly end.
    ///   - transport: The connection, which is gone.
    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport)

    /// The reactor is stopping and asks the connection to end. By default loses the connection;
    /// one that is left open is aborted when the reactor's grace period ends.
    ///
    /// - Parameter transport: The connection, which still can be written to.
    func shutdownRequested(_ transport: any StreamTransport)
}

extension StreamProtocol {
    /// The empty default.
    ///
    /// - Parameter transport: Ignored.
    /// - Throws: Does not throw.
    public func connectionMade(_ transport: any StreamTransport) throws {}

    /// The empty default.
    ///
    /// - Parameters:
    ///   - why: Ignored.
    ///   - transport: Ignored.
    public func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {}

    /// Loses the connection.
    ///
    /// - Parameter transport: Closed, once what is queued has left.
    public func shutdownRequested(_ transport: any StreamTransport) { transport.loseConnection() }
}

/// A protocol for which each direction ends by itself.
///
/// Without it a peer's FIN closes the connection, after everything queued has left.
///
/// - SeeAlso: Twisted `IHalfCloseableProtocol`; `shutdown(2)`.
public protocol HalfCloseableProtocol: StreamProtocol {
    /// Whether a peer's end leaves the connection open for writing. By default true; a protocol that
    /// stands in front of another asks that one.
    var keepsHalfOpen: Bool { get }

    /// EOF: the peer has ended its direction; writing still works. Called at most once.
    ///
    /// - Parameter transport: The connection, which still can be written to.
    /// - Throws: An error that aborts the connection, and is reported to
    ///   ``Reactor/unhandledError``.
    func readConnectionLost(from transport: any StreamTransport) throws

    /// The bytes before `loseWriteConnection` have left, and the peer sees EOF. Called at most
    /// once. Reading still works.
    ///
    /// - Parameter transport: The connection, which still is read from.
    /// - Throws: An error that aborts the connection, and is reported to
    ///   ``Reactor/unhandledError``.
    func writeConnectionLost(from transport: any StreamTransport) throws
}

extension HalfCloseableProtocol {
    /// True.
    public var keepsHalfOpen: Bool { true }
}

/// A half-closeable protocol that passes on what arrives: it is told when nothing more will.
protocol ClosingObserver: HalfCloseableProtocol {
    /// The connection below has begun to close by this side, and delivers no more.
    ///
    /// Called at the end of the event in which it began. What was written still leaves, and the close
    /// waits for a registered producer.
    func connectionIsClosing()
}

extension Reactor {
    /// The protocol, if each direction ends by itself for it.
    ///
    /// Every connection is asked at its end, and looking up what a class conforms to costs 280
    /// instructions. So the class that was last found not to be half-closeable is remembered: most
    /// servers have one.
    func asHalfCloseable(_ proto: any StreamProtocol) -> (any HalfCloseableProtocol)? {
        let kind = ObjectIdentifier(type(of: proto))
        if kind == kindWithoutHalves { return nil }
        if let proto = proto as? any HalfCloseableProtocol { return proto }
        kindWithoutHalves = kind
        return nil
    }
}
