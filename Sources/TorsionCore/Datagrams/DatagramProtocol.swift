// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A program's side of a port for datagrams: one object for all its peers.
///
/// The engine calls these methods on the reactor, never one inside another. An error that one of
/// them throws leaves the port up and goes to ``Reactor/unhandledError``: one bad datagram must not
/// end the service of all others.
///
///     final class Echo: DatagramProtocol {
///         func datagramReceived(
///             _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
///         ) throws {
///             try transport.write(bytes, to: address)
///         }
///     }
///
/// - SeeAlso: Twisted `twisted.internet.protocol.DatagramProtocol`; `udp(7)`.
public protocol DatagramProtocol: AnyObject {
    /// The port is bound. Called once, first; the default is empty.
    ///
    /// - Parameter transport: The port, which can be written to.
    /// - Throws: An error that is reported to ``Reactor/unhandledError``; the port stays open.
    func transportStarted(_ transport: any DatagramTransport) throws

    /// A datagram arrived, whole.
    ///
    /// Those that arrived together are delivered within one event, so that all answers leave in one
    /// system call.
    ///
    /// - Parameters:
    ///   - bytes: Any number; may be empty. Borrowed until the call returns; copy to keep.
    ///   - address: The sender; `unix:(unnamed)` for a UNIX socket that was never bound.
    ///   - transport: The port that it came to.
    /// - Throws: An error that is reported to ``Reactor/unhandledError``; the port stays open.
    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport) throws

    /// The peer's socket is closed, or was when an earlier datagram got there. Called only for a
    /// connected port, for some of the datagrams; the default is empty.
    ///
    /// - Parameter transport: The connected port, which goes on.
    /// - Throws: An error that is reported to ``Reactor/unhandledError``; the port stays open.
    func connectionRefused(on transport: any DatagramTransport) throws

    /// One datagram was lost, for any other reason: the kernel refused to send it, or could not
    /// deliver it whole. The port goes on.
    ///
    /// Called in a later turn than the write. By default reports the error to
    /// ``Reactor/unhandledError``.
    ///
    /// - Parameters:
    ///   - error: Names the operation and, where it is known, the address.
    ///   - transport: The port, which goes on.
    /// - Throws: An error that is reported to ``Reactor/unhandledError``; the port stays open.
    func datagramFailed(_ error: IOError, on transport: any DatagramTransport) throws

    /// The port has closed. Called once, last; the default is empty.
    ///
    /// - Parameter transport: The port; writes are ignored now.
    func transportStopped(_ transport: any DatagramTransport)
}

extension DatagramProtocol {
    /// The empty default.
    ///
    /// - Parameter transport: Ignored.
    /// - Throws: Does not throw.
    public func transportStarted(_ transport: any DatagramTransport) throws {}

    /// The empty default.
    ///
    /// - Parameter transport: Ignored.
    /// - Throws: Does not throw.
    public func connectionRefused(on transport: any DatagramTransport) throws {}

    /// Reports the error as unhandled.
    ///
    /// - Parameters:
    ///   - error: Reported to ``Reactor/unhandledError``.
    ///   - transport: The port, which goes on.
    /// - Throws: Does not throw.
    public func datagramFailed(_ error: IOError, on transport: any DatagramTransport) throws {
        throw error
    }

    /// The empty default.
    ///
    /// - Parameter transport: Ignored.
    public func transportStopped(_ transport: any DatagramTransport) {}
}
