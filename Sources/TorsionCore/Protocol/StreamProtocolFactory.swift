// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Makes the protocol of each connection.
///
/// A closure is enough for most programs; a factory is for state that is shared, and for knowing
/// when a port opens and closes.
///
/// - SeeAlso: Twisted `IProtocolFactory`.
public protocol StreamProtocolFactory: AnyObject {
    /// Makes the protocol for a new peer, or refuses it: nil closes the connection.
    ///
    /// An error closes it too, and is reported to the reactor's `unhandledError`.
    ///
    /// - Parameter peer: The client's address; for a UNIX socket mostly ``UnixAddress/unnamed``.
    /// - Returns: The protocol; `nil` closes the connection.
    /// - Throws: An error that closes the connection, and is reported.
    func makeProtocol(for peer: SocketAddress) throws -> (any StreamProtocol)?

    /// A port that uses this factory has opened; called for each. The default is empty.
    ///
    /// - Parameter port: Listening, with its final address.
    func started(on port: ListeningPort)

    /// A port that used this factory has closed. The default is empty.
    ///
    /// - Parameter port: Closed.
    func stopped(on port: ListeningPort)
}

extension StreamProtocolFactory {
    /// The empty default.
    ///
    /// - Parameter port: Ignored.
    public func started(on port: ListeningPort) {}

    /// The empty default.
    ///
    /// - Parameter port: Ignored.
    public func stopped(on port: ListeningPort) {}
}

/// A factory that is a closure.
final class ClosureFactory: StreamProtocolFactory {
    private let make: (SocketAddress) throws -> (any StreamProtocol)?

    init(_ make: @escaping (SocketAddress) throws -> (any StreamProtocol)?) { self.make = make }

    func makeProtocol(for peer: SocketAddress) throws -> (any StreamProtocol)? { try make(peer) }
}
