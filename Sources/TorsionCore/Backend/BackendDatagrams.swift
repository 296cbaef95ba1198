// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// The seam for datagrams, on one page: what the core calls on a port of a backend, and what that
// port calls back. The rules of `BackendStream.swift` hold here too: all of it on the reactor's
// thread; calls back from inside `ReactorBackend.turn(until:)` only; nothing after `close()`.
//
// Nothing here ends a port. An error is about one datagram, the port goes on.

/// A socket for datagrams as a backend provides it: UDP, or UNIX.
///
/// A port starts out not receiving. It is used by the core alone, on the reactor's thread.
@_spi(Backend) public protocol BackendDatagramPort: AnyObject {
    /// Where it is bound, with the port that the kernel chose. Asked of the kernel when it is read.
    var localAddress: SocketAddress { get }

    /// The only peer, if the port is connected: by its options, by ``connect(to:)``, or before it was
    /// adopted.
    var peerAddress: SocketAddress? { get }

    /// The descriptor, of which other reactors of a group may adopt duplicates; nil, the default,
    /// without one.
    var sharedDescriptor: Int32? { get }

    /// Sets the receiver of the port's events. Called once, before receiving begins.
    ///
    /// The port holds the receiver until it is closed.
    ///
    /// - Parameter receiver: Held until the port is closed.
    func deliver(to receiver: any DatagramReceiver)

    /// Limits the port to one peer: `connect(2)`.
    ///
    /// The kernel drops datagrams from others, and refusals are reported from now on.
    ///
    /// - Parameter peer: Of the family of the port's own address.
    /// - Throws: ``IOError`` of operation `connect`, naming the peer.
    func connect(to peer: SocketAddress) throws(IOError)

    /// Asks for what arrives, until ``stopReceiving()``. Asking twice is harmless.
    ///
    /// Datagrams left over from a batch are delivered first.
    func startReceiving()

    /// Stops deliveries at once. Errors of a connected port are still reported.
    func stopReceiving()

    /// Offers the kernel datagrams, in this order, in one call and without waiting: `sendmmsg(2)`.
    ///
    /// They are borrowed for the length of the call. A connected port sends to its peer, whatever
    /// addresses they have. An error that an earlier datagram met on its way, such as a refusal,
    /// may be reported here too, as the kernel does it.
    ///
    /// - Parameter datagrams: At least one, and as many as the caller likes; some may be left for
    ///   the next call.
    /// - Returns: How many the kernel took, from the first on, or what failed.
    func trySend(_ datagrams: UnsafeBufferPointer<BorrowedDatagram>) -> DatagramSendResult

    /// Calls `portCanSend` of the receiver once, when the kernel has room again.
    func awaitRoom()

    /// Joins a multicast group.
    ///
    /// - Parameter group: The group's address and the interface to join it on.
    /// - Throws: ``IOError`` of operation `configure`, naming the group.
    func join(_ group: MulticastGroup) throws(IOError)

    /// Leaves a multicast group.
    ///
    /// - Parameter group: One that was joined.
    /// - Throws: ``IOError`` of operation `configure`, naming the group.
    func leave(_ group: MulticastGroup) throws(IOError)

    /// Closes the socket and releases the receiver. The address can be bound again.
    func close()
}

/// The events of a datagram port, as the core receives them.
@_spi(Backend) public protocol DatagramReceiver: AnyObject {
    /// Datagrams arrived together, at least one, in order. Borrowed until the call returns.
    ///
    /// - Parameter datagrams: At least one, borrowed until the call returns.
    /// - Returns: How many were taken. Fewer than all only if the port was stopped meanwhile: it
    ///   then keeps a copy of the rest for the next `startReceiving`, or was closed.
    func portDidReceive(_ datagrams: UnsafeBufferPointer<BorrowedDatagram>) -> Int

    /// The kernel may have room again. Once for each `awaitRoom`.
    func portCanSend()

    /// One datagram was lost on its way in or out; on a connected port a refusal, for example.
    ///
    /// - Parameter error: Names the operation, and the peer where it is known.
    func portDidFail(_ error: IOError)
}

/// One datagram that is lent for the length of a call.
@_spi(Backend) public struct BorrowedDatagram {
    /// Its payload, which may be empty.
    public let bytes: UnsafeRawBufferPointer
    /// Where it came from, or goes to.
    public let address: SocketAddress

    /// Lends a datagram.
    ///
    /// - Parameters:
    ///   - bytes: Not copied; they must outlive the value.
    ///   - address: Where they came from, or go to.
    @inlinable
    public init(bytes: UnsafeRawBufferPointer, address: SocketAddress) {
        self.bytes = bytes
        self.address = address
    }
}

/// How many of the offered datagrams the kernel took.
@_spi(Backend) public enum DatagramSendResult {
    /// So many; zero when it is full now.
    case sent(Int)
    /// Not even the first, and why.
    case failed(ErrorCode)
}
