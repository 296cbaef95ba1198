// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What a program does with a port for datagrams: one object for all its peers.
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
    /// The port is bound. Called once, first; by default does nothing.
    func transportStarted(_ transport: any DatagramTransport) throws

    /// A datagram arrived, whole.
    ///
    /// Those that arrived together are told within one event, so that all answers leave in one
    /// system call.
    ///
    /// `bytes`: Any number, also none. Borrowed until the call returns; copy to keep.
    /// `address`: Who sent it; `unix:(unnamed)` for a UNIX socket that was never bound.
    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport) throws

    /// Nobody listens at the peer's address, or did not when an earlier datagram got there. Told
    /// only to a connected port, for some of the datagrams; by default does nothing.
    func connectionRefused(on transport: any DatagramTransport) throws

    /// One datagram was lost, for any other reason: the kernel refused to send it, or could not
    /// deliver it whole. The port goes on.
    ///
    /// Told in a later turn than the write. By default reports the error to
    /// ``Reactor/unhandledError``.
    func datagramFailed(_ error: IOError, on transport: any DatagramTransport) throws

    /// The port has closed. Called once, last; by default does nothing.
    func transportStopped(_ transport: any DatagramTransport)
}

extension DatagramProtocol {
    /// Does nothing.
    public func transportStarted(_ transport: any DatagramTransport) throws {}

    /// Does nothing.
    public func connectionRefused(on transport: any DatagramTransport) throws {}

    /// Reports the error as unhandled.
    public func datagramFailed(_ error: IOError, on transport: any DatagramTransport) throws {
        throw error
    }

    /// Does nothing.
    public func transportStopped(_ transport: any DatagramTransport) {}
}
