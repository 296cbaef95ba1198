// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// A host as its network knows it: addresses, ports and a share of luck.
final class NetworkNode {
    /// Counted from 0, in the order of making.
    let index: Int
    let name: String
    let address: IPv4Address
    let chances: Chances
    /// The kernel's side of what listens here.
    var listeners: [SimulatedListener] = []
    var datagramPorts: [SimulatedDatagramPort] = []
    var unixNames = 0
    /// Sockets, listeners and watches beyond this many are refused.
    var descriptorLimit = Int.max
    /// Whether nothing answers here: a packet for it vanishes.
    var isDown = false
    private var nextPort: UInt16 = 32_768

    init(index: Int, name: String) {
        self.index = index
        self.name = name
        address = IPv4Address(10, 0, UInt8(index / 250), UInt8(index % 250 + 1))
        chances = Chances(index + 1, .host)
    }

    /// Whether a socket here can be bound to the address.
    func owns(_ address: SocketAddress) -> Bool {
        switch address {
        case .ipv4(let ip, _): ip == self.address || ip.isLoopback || ip == .any
        case .ipv6(let ip, _): ip.isLoopback || ip == .any
        case .unix, .descriptor: true
        }
    }

    /// Whether packets for the address stay on this host.
    func isLocal(_ address: SocketAddress) -> Bool {
        if case .ipv4(let ip, _) = address, ip == self.address { return true }
        return address.isLocal
    }

    /// The one that listens on an address as a client names it.
    func listener(for address: SocketAddress) -> SimulatedListener? {
        listeners.first { $0.isReached(by: address) }
    }

    /// The address with a port that nobody listens on, if it asks for one.
    func withPort(_ address: SocketAddress) -> SocketAddress {
        guard address.port == 0 else { return address }
        var result = address
        repeat {
            nextPort = nextPort == 60_999 ? 32_768 : nextPort + 1
            result.port = nextPort
        } while listeners.contains { $0.localAddress.port == nextPort }
        return result
    }

    /// Where a client's socket is, when nothing else was asked for.
    func clientAddress(for peer: SocketAddress) -> SocketAddress {
        switch peer {
        case .ipv4(let ip, _):
            withPort(.ipv4(ip.isLoopback ? ip : address, port: 0))
        case .ipv6: withPort(.ipv6(.loopback, port: 0))
        case .unix, .descriptor: .unix(.unnamed)
        }
    }
}
