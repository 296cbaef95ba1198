// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Sends and receives datagrams, each of which arrives whole, or not at all.
///
/// A transport belongs to the reactor that made it: call every member on that reactor; from
/// elsewhere the call traps. It is usable from ``DatagramProtocol/transportStarted(_:)`` until
/// ``DatagramProtocol/transportStopped(_:)`` returns; later writes are ignored.
///
/// As a ``PushProducer`` it is paused and resumed. Datagrams meanwhile wait in the kernel's buffer,
/// and are dropped there when it is full.
///
/// - SeeAlso: Twisted `IUDPTransport`, `IMulticastTransport`.
public protocol DatagramTransport: PushProducer {
    /// The reactor that this transport belongs to.
    var reactor: Reactor { get }

    /// Where it is bound, with the port that the kernel chose; also after it has closed.
    var localAddress: SocketAddress { get }

    /// The only peer, if the port is connected.
    var peerAddress: SocketAddress? { get }

    /// Figures about this port.
    var statistics: DatagramStatistics { get }

    /// Sends a datagram with a copy of `bytes`, and returns at once.
    ///
    /// Datagrams are coalesced, and leave together when the event ends: `sendmmsg(2)`. Datagrams
    /// that the kernel has no room for then wait, in order, up to
    /// ``DatagramOptions/queueLimitBytes``. An error that the kernel has with one of them is
    /// reported later, by ``DatagramProtocol/datagramFailed(_:on:)``, and the others leave all the
    /// same. A datagram of more than 16 KiB leaves at once, behind those before it, and its error
    /// is thrown, unless it has to wait for room.
    ///
    /// - Parameters:
    ///   - bytes: Any number of bytes, or empty. Borrowed for the call only.
    ///   - address: The receiver, of the port's family; on a connected port the peer.
    /// - Throws: ``IOError`` of operation `write`; the datagram is not sent. Its code is
    ///   `messageTooLong` for more than the kernel takes (UDP: 65,507 bytes over IPv4), and
    ///   `noBufferSpace` when too much is waiting.
    /// - Complexity: O(*n*) in the number of bytes. UDP datagrams of one size to one peer, in a row,
    ///   cost the kernel about half; see `UDP_SEGMENT`, `udp(7)`.
    func write(_ bytes: RawSpan, to address: SocketAddress) throws(IOError)

    /// Limits the port to one peer: `connect(2)`.
    ///
    /// The kernel drops what others send, except what had arrived before, and refusals are
    /// reported: ``DatagramProtocol/connectionRefused(on:)``.
    ///
    /// - Parameter peer: Of the family of the port's own address.
    /// - Throws: ``IOError`` of operation `connect`, naming the peer.
    /// - Precondition: Not connected.
    func connect(to peer: SocketAddress) throws(IOError)

    /// Joins a multicast group, and so receives what is sent to it and to the port.
    ///
    /// - Parameter group: The group's address and the interface to join it on.
    /// - Throws: ``IOError`` of operation `configure`, naming the group.
    func join(_ group: MulticastGroup) throws(IOError)

    /// Leaves a multicast group.
    ///
    /// - Parameter group: One that was joined.
    /// - Throws: ``IOError`` of operation `configure`, naming the group.
    func leave(_ group: MulticastGroup) throws(IOError)

    /// Offers the kernel what was written so far, drops the rest, and closes. Harmless when
    /// repeated.
    ///
    /// - Returns: Fires when the address can be bound again: at once.
    @discardableResult
    func stopListening() -> Deferred<Void>
}

extension DatagramTransport {
    /// Sends a datagram to the peer of a connected port.
    ///
    /// - Parameter bytes: One datagram, which may be empty; borrowed for the call, and copied.
    /// - Throws: As ``write(_:to:)-(RawSpan,_)``.
    /// - Precondition: The port is connected.
    @inlinable
    public func write(_ bytes: RawSpan) throws(IOError) {
        guard let peer = peerAddress else { noPeer() }
        try write(bytes, to: peer)
    }

    /// Sends a datagram.
    ///
    /// - Parameters:
    ///   - bytes: One datagram, which may be empty.
    ///   - address: Where it goes, of the port's family.
    /// - Throws: As ``write(_:to:)-(RawSpan,_)``.
    @inlinable
    public func write(_ bytes: Bytes, to address: SocketAddress) throws(IOError) {
        try write(bytes.span, to: address)
    }

    /// Sends a datagram.
    ///
    /// - Parameters:
    ///   - bytes: One datagram, which may be empty; copied.
    ///   - address: Where it goes, of the port's family.
    /// - Throws: As ``write(_:to:)-(RawSpan,_)``.
    @inlinable
    public func write(_ bytes: [UInt8], to address: SocketAddress) throws(IOError) {
        try write(bytes.span.bytes, to: address)
    }

    /// Sends the UTF-8 of a text as a datagram.
    ///
    /// - Parameters:
    ///   - text: One datagram, which may be empty.
    ///   - address: Where it goes, of the port's family.
    /// - Throws: As ``write(_:to:)-(RawSpan,_)``.
    @inlinable
    public func write(_ text: String, to address: SocketAddress) throws(IOError) {
        var text = text
        text.makeContiguousUTF8()
        try write(text.utf8Span.span.bytes, to: address)
    }

    /// Sends the UTF-8 of a text to the peer of a connected port.
    ///
    /// - Parameter text: One datagram, which may be empty.
    /// - Throws: As ``write(_:to:)-(RawSpan,_)``.
    /// - Precondition: The port is connected.
    @inlinable
    public func write(_ text: String) throws(IOError) {
        guard let peer = peerAddress else { noPeer() }
        try write(text, to: peer)
    }

    /// Closes.
    public func stopProducing() { stopListening() }
}

@usableFromInline
func noPeer() -> Never {
    mistake("DatagramTransport: write without an address needs a connected port")
}

/// Figures about a port for datagrams.
public struct DatagramStatistics: Hashable, Sendable {
    /// All counts are zero.
    public init() {}

    /// Datagrams that were delivered to the protocol.
    public internal(set) var received: UInt64 = 0
    /// Datagrams that the kernel took.
    public internal(set) var sent: UInt64 = 0
    /// Datagrams that were written and not sent: the kernel refused them, or too much was waiting.
    public internal(set) var unsent: UInt64 = 0
    /// Datagrams that wait for room in the kernel, or for the end of the event.
    public internal(set) var pending = 0
}
