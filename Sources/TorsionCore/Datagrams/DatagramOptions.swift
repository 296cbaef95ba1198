// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// How a socket for datagrams is set up.
///
/// The defaults suit a server without configuration.
///
///     var options = DatagramOptions()
///     options.allowsBroadcast = true
public struct DatagramOptions: Hashable, Sendable {
    /// The only peer: connects the socket, see ``DatagramTransport/connect(to:)``.
    ///
    /// Nil, the default, leaves it open to everybody, and a socket that was connected elsewhere as it
    /// is.
    public var peerAddress: SocketAddress?

    /// How much may wait for room in the kernel, in bytes.
    ///
    /// Each datagram takes a multiple of 64. A write beyond it throws.
    public var queueLimitBytes = 256 * 1024

    /// The kernel's receive buffer in bytes: `SO_RCVBUF`.
    ///
    /// The kernel drops datagrams that arrive when it is full. Nil leaves it to the kernel.
    public var receiveBufferBytes: Int?

    /// The kernel's send buffer in bytes: `SO_SNDBUF`.
    ///
    /// Nil leaves it to the kernel.
    public var sendBufferBytes: Int?

    /// Lets several sockets bind one port, among which the kernel spreads peers: `SO_REUSEPORT`.
    ///
    /// A `ReactorGroup` sets it for the ports that its reactors share.
    public var reusePort = false

    /// Whether the reactors of a `ReactorGroup` share the port, and with it the peers.
    ///
    /// True, the default, is for servers: the kernel spreads the peers among the reactors, and the port
    /// that it chooses for port 0 on the first reactor is that of the others too. For a client, to whom
    /// the answers to its own questions have to come, set false. A port with a ``peerAddress`` is never
    /// shared.
    public var isSharedInGroup = true

    /// Lets several sockets bind one port, each of which gets what is sent to a multicast group:
    /// `SO_REUSEADDR`.
    public var reuseAddress = false

    /// Whether an IPv6 socket leaves IPv4 alone: `IPV6_V6ONLY`.
    public var ipv6Only = true

    /// The access mode of a UNIX socket's file, which never has a wider one.
    public var unixMode: UInt16?

    /// Allows sending to broadcast addresses, which the kernel refuses otherwise: `SO_BROADCAST`.
    public var allowsBroadcast = false

    /// How many routers a datagram may cross: `IP_TTL`, `IPV6_UNICAST_HOPS`.
    ///
    /// Nil leaves it to the kernel, usually 64.
    public var hops: UInt8?

    /// The same for what is sent to a multicast group: `IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`.
    ///
    /// Nil leaves it to the kernel: 1, the link.
    public var multicastHops: UInt8?

    /// Whether what is sent to a multicast group is also delivered on this machine:
    /// `IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`.
    public var multicastLoop = true

    /// Where what is sent to a multicast group leaves: `IP_MULTICAST_IF`, `IPV6_MULTICAST_IF`.
    ///
    /// Nil leaves it to the kernel.
    public var multicastInterface: NetworkInterface?

    /// The defaults.
    public init() {}
}

/// Names an interface of this machine.
@nonexhaustive
public enum NetworkInterface: Hashable, Sendable {
    /// By an IPv4 address of its own; for IPv4 only.
    case address(IPv4Address)
    /// By its number: `if_nametoindex(3)`.
    case number(UInt32)
}

/// A multicast group as seen from an interface.
@nonexhaustive
public enum MulticastGroup: Hashable, Sendable, CustomStringConvertible {
    /// An IPv4 group, on an interface or on the one that the kernel chooses.
    case ipv4(IPv4Address, on: NetworkInterface? = nil)
    /// An IPv6 group, on the interface of its scope or on the one that the kernel chooses.
    case ipv6(IPv6Address)

    /// The group's address.
    public var description: String {
        switch self {
        case .ipv4(let address, _): address.description
        case .ipv6(let address): address.description
        }
    }
}
