// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Watches one connection without changing a byte: a log, limits, timeouts, metrics.
///
///     final class Meter: ConnectionObserver {
///         var received = 0
///         func willDeliver(_ bytes: RawSpan, of transport: any StreamTransport) {
///             received += bytes.byteCount
///         }
///     }
///     try endpoint.observed { Meter() }.listen(on: reactor) { Echo() }
///
/// It sees what the protocol reads and writes, above all filters. It may end the connection, and
/// must not write. Every call is made on the reactor; every default is empty.
///
/// - Complexity: A connection without observers pays for them neither time nor memory.
public protocol ConnectionObserver: AnyObject {
    /// The connection is made; its protocol is called next.
    ///
    /// - Parameter transport: The connection, which it may keep until ``didLose(_:of:)``.
    /// - Throws: What ends the connection, as if the protocol had thrown it: the protocol is
    ///   released without a call.
    func connectionMade(_ transport: any StreamTransport) throws

    /// Bytes arrived, which the protocol is given next.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed until the call returns.
    ///   - transport: The connection.
    func willDeliver(_ bytes: RawSpan, of transport: any StreamTransport)

    /// The protocol has been given what arrived.
    ///
    /// - Parameters:
    ///   - byteCount: How many bytes that were.
    ///   - transport: The connection.
    func didDeliver(byteCount: Int, of transport: any StreamTransport)

    /// The protocol wrote, and the bytes are on their way or queued.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed until the call returns.
    ///   - transport: The connection.
    func didWrite(_ bytes: RawSpan, of transport: any StreamTransport)

    /// Bytes left that the protocol did not write: of a file, or spliced from another connection.
    ///
    /// - Parameters:
    ///   - byteCount: At least 1.
    ///   - transport: The connection.
    func didSend(byteCount: Int, of transport: any StreamTransport)

    /// Something else happened.
    ///
    /// - Parameters:
    ///   - change: The event.
    ///   - transport: The connection.
    func stateDidChange(_ change: ConnectionChange, of transport: any StreamTransport)

    /// The connection is lost; its protocol is called next. Once, last.
    ///
    /// - Parameters:
    ///   - why: As the protocol gets it.
    ///   - transport: The connection; it can be asked but not used.
    func didLose(_ why: ConnectionLoss, of transport: any StreamTransport)
}

/// An event of a connection other than bytes.
@nonexhaustive
public enum ConnectionChange: Hashable, Sendable {
    /// EOF: the peer has ended its direction.
    case readClosed
    /// The program has paused the transport.
    case paused
    /// The program has resumed the transport.
    case resumed
}

extension ConnectionObserver {
    /// The empty default.
    ///
    /// - Parameter transport: Ignored.
    /// - Throws: Does not throw.
    public func connectionMade(_ transport: any StreamTransport) throws {}

    /// The empty default.
    ///
    /// - Parameters:
    ///   - bytes: Ignored.
    ///   - transport: Ignored.
    public func willDeliver(_ bytes: RawSpan, of transport: any StreamTransport) {}

    /// The empty default.
    ///
    /// - Parameters:
    ///   - byteCount: Ignored.
    ///   - transport: Ignored.
    public func didDeliver(byteCount: Int, of transport: any StreamTransport) {}

    /// The empty default.
    ///
    /// - Parameters:
    ///   - bytes: Ignored.
    ///   - transport: Ignored.
    public func didWrite(_ bytes: RawSpan, of transport: any StreamTransport) {}

    /// The empty default.
    ///
    /// - Parameters:
    ///   - byteCount: Ignored.
    ///   - transport: Ignored.
    public func didSend(byteCount: Int, of transport: any StreamTransport) {}

    /// The empty default.
    ///
    /// - Parameters:
    ///   - change: Ignored.
    ///   - transport: Ignored.
    public func stateDidChange(_ change: ConnectionChange, of transport: any StreamTransport) {}

    /// The empty default.
    ///
    /// - Parameters:
    ///   - why: Ignored.
    ///   - transport: Ignored.
    public func didLose(_ why: ConnectionLoss, of transport: any StreamTransport) {}
}

/// Several observers of one connection, in the order in which they were named.
final class ObserverList: ConnectionObserver, InvariantChecking {
    private let members: [any ConnectionObserver]
    /// Those that were called with the connection.
    private var madeCount = 0

    private init(_ members: [any ConnectionObserver]) { self.members = members }

    /// None, one as it is, or a list.
    static func of(_ members: [any ConnectionObserver]) -> (any ConnectionObserver)? {
        members.count < 2 ? members.first : ObserverList(members)
    }

    func connectionMade(_ transport: any StreamTransport) throws {
        for member in members {
            madeCount += 1
            try member.connectionMade(transport)
        }
    }

    func willDeliver(_ bytes: RawSpan, of transport: any StreamTransport) {
        for member in members { member.willDeliver(bytes, of: transport) }
    }

    func didDeliver(byteCount: Int, of transport: any StreamTransport) {
        for member in members { member.didDeliver(byteCount: byteCount, of: transport) }
    }

    func didWrite(_ bytes: RawSpan, of transport: any StreamTransport) {
        for member in members { member.didWrite(bytes, of: transport) }
    }

    func didSend(byteCount: Int, of transport: any StreamTransport) {
        for member in members { member.didSend(byteCount: byteCount, of: transport) }
    }

    func stateDidChange(_ change: ConnectionChange, of transport: any StreamTransport) {
        for member in members { member.stateDidChange(change, of: transport) }
    }

    func didLose(_ why: ConnectionLoss, of transport: any StreamTransport) {
        for member in members[..<madeCount] { member.didLose(why, of: transport) }
    }

    package func checkInvariants() {
        for member in members { (member as? any InvariantChecking)?.checkInvariants() }
    }
}

/// Watches the clients of one port, from their arrival.
///
///     try endpoint.observed(byPort: { Doorkeeper() }).listen(on: reactor) { Echo() }
public protocol PortObserver: AnyObject {
    /// A client has come. Its filters have not agreed yet, so the address is that of the socket.
    ///
    /// - Parameter peer: The other end.
    /// - Returns: An observer, released when the connection ends or is not made; `nil` without one.
    /// - Throws: What refuses the client: its connection is closed. The error is reported to
    ///   ``Reactor/unhandledError``, unless it is a limit's.
    func clientArrived(from peer: SocketAddress) throws -> (any ConnectionObserver)?

    /// A client's filters have not agreed with it, and it is gone. The default is empty.
    ///
    /// - Parameters:
    ///   - error: Why. It is reported to ``Reactor/unhandledError`` as well, unless it is an
    ///     ``IOError``, of a peer that went, or says that the peer's proxy header was refused.
    ///   - peer: The other end of the socket.
    func handshakeFailed(_ error: any Error, with peer: SocketAddress)
}

extension PortObserver {
    /// The empty default.
    ///
    /// - Parameters:
    ///   - error: Ignored.
    ///   - peer: Ignored.
    public func handshakeFailed(_ error: any Error, with peer: SocketAddress) {}
}

/// A port observer that is a closure.
final class ClosurePortObserver: PortObserver {
    private let make: ObserverMaker

    init(_ make: @escaping ObserverMaker) { self.make = make }

    func clientArrived(from peer: SocketAddress) -> (any ConnectionObserver)? { make() }
}
