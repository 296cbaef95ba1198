// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc
@_spi(Backend) internal import TorsionCore

// What a socket for datagrams is set up with: `socket(7)`, `ip(7)`, `ipv6(7)`.

/// Sets what `options` asks for; of a socket that somebody else made, operation `open`, what does
/// not have to precede `bind`.
func configure(
    _ descriptor: Int32, for address: SocketAddress, _ options: DatagramOptions,
    _ operation: IOError.Operation
) throws(IOError) {
    func set(_ level: Int32, _ name: Int32, _ value: Int32) throws(IOError) {
        guard setOption(descriptor, level, name, value) else {
            throw lastError(operation, "setsockopt", address)
        }
    }
    if let count = options.receiveBufferBytes {
        try set(SOL_SOCKET, SO_RCVBUF, Int32(clamping: count))
    }
    if let count = options.sendBufferBytes {
        try set(SOL_SOCKET, SO_SNDBUF, Int32(clamping: count))
    }
    let isBound = operation == .open
    if case .unix = address {
        // The file that `bind(2)` makes has the mode of the socket, under the process's mask.
        if !isBound, let mode = options.unixMode { _ = fchmod(descriptor, mode_t(mode)) }
        return
    }
    let names = OptionNames(of: address)
    if !isBound {
        if options.reuseAddress { try set(SOL_SOCKET, SO_REUSEADDR, 1) }
        if options.reusePort { try set(SOL_SOCKET, SO_REUSEPORT, 1) }
        if names.isIPv6, options.ipv6Only { try set(names.level, IPV6_V6ONLY, 1) }
    }
    if options.allowsBroadcast { try set(SOL_SOCKET, SO_BROADCAST, 1) }
    if let hops = options.hops { try set(names.level, names.hops, Int32(hops)) }
    if let hops = options.multicastHops { try set(names.level, names.multicastHops, Int32(hops)) }
    if !options.multicastLoop { try set(names.level, names.multicastLoop, 0) }
    // Else the port hears the groups that other sockets of this machine have joined.
    try set(names.level, multicastAllOption(isIPv6: names.isIPv6), 0)
    if let interface = options.multicastInterface {
        try send(through: interface, on: descriptor, names, address, operation)
    }
}

/// `setsockopt(2)` of a number, or of a structure of C.
private func setOption<Value>(
    _ descriptor: Int32, _ level: Int32, _ name: Int32, _ value: Value
) -> Bool {
    withUnsafePointer(to: value) {
        setsockopt(descriptor, level, name, $0, socklen_t(MemoryLayout<Value>.size)) == 0
    }
}

/// The names that the two versions of IP have for the same.
private struct OptionNames {
    let isIPv6: Bool

    init(of address: SocketAddress) {
        if case .ipv6 = address { isIPv6 = true } else { isIPv6 = false }
    }

    var level: Int32 { isIPv6 ? Int32(IPPROTO_IPV6) : Int32(IPPROTO_IP) }
    var hops: Int32 { isIPv6 ? IPV6_UNICAST_HOPS : IP_TTL }
    var multicastHops: Int32 { isIPv6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL }
    var multicastLoop: Int32 { isIPv6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP }
}

private func send(
    through interface: NetworkInterface, on descriptor: Int32, _ names: OptionNames,
    _ address: SocketAddress, _ operation: IOError.Operation
) throws(IOError) {
    let isSet: Bool
    switch (interface, names.isIPv6) {
    case (.number(let number), true):
        isSet = setOption(descriptor, names.level, IPV6_MULTICAST_IF, Int32(bitPattern: number))
    case (.address, true):
        throw IOError(operation, function: "", code: .invalidArgument, subject: address)
    case (_, false):
        isSet = setOption(
            descriptor, names.level, IP_MULTICAST_IF, request(IPv4Address.any, interface))
    }
    guard isSet else { throw lastError(operation, "setsockopt", address) }
}

private func request(_ group: IPv4Address, _ interface: NetworkInterface?) -> ip_mreqn {
    var request = ip_mreqn()
    request.imr_multiaddr.s_addr = group.bits.bigEndian
    switch interface {
    case nil: break
    case .address(let address): request.imr_address.s_addr = address.bits.bigEndian
    case .number(let number): request.imr_ifindex = Int32(bitPattern: number)
    }
    return request
}

private func request(_ group: IPv6Address) -> ipv6_mreq {
    var request = ipv6_mreq()
    withUnsafeMutableBytes(of: &request.ipv6mr_multiaddr) { raw in
        raw.storeBytes(of: group.high.bigEndian, as: UInt64.self)
        raw.storeBytes(of: group.low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    request.ipv6mr_interface = group.scopeID
    return request
}

/// `IP_ADD_MEMBERSHIP`, `IPV6_JOIN_GROUP`.
func join(_ group: MulticastGroup, on descriptor: Int32) throws(IOError) {
    try change(group, on: descriptor, IP_ADD_MEMBERSHIP, IPV6_JOIN_GROUP)
}

/// `IP_DROP_MEMBERSHIP`, `IPV6_LEAVE_GROUP`.
func leave(_ group: MulticastGroup, on descriptor: Int32) throws(IOError) {
    try change(group, on: descriptor, IP_DROP_MEMBERSHIP, IPV6_LEAVE_GROUP)
}

private func change(
    _ group: MulticastGroup, on descriptor: Int32, _ ipv4Name: Int32, _ ipv6Name: Int32
) throws(IOError) {
    let isDone =
        switch group {
        case .ipv4(let address, let interface):
            setOption(descriptor, Int32(IPPROTO_IP), ipv4Name, request(address, interface))
        case .ipv6(let address):
            setOption(descriptor, Int32(IPPROTO_IPV6), ipv6Name, request(address))
        }
    guard !isDone else { return }
    throw IOError(
        .configure, function: "setsockopt", code: ErrorCode(errno: errno), subject: "\(group)")
}
