// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

// Datagrams under way: each by itself, so that they may be lost, doubled and out of order.
extension SimulatedNetwork {
    /// Sends a datagram to those that are at the address now.
    func send(
        _ datagram: Datagram, to address: SocketAddress, _ targets: [SimulatedDatagramPort],
        from port: SimulatedDatagramPort, isReliable: Bool
    ) {
        guard !targets.isEmpty else { return refuse(port, address) }
        for target in targets {
            guard !isReliable else {
                deliver(datagram, to: target, from: port, late: 0)
                continue
            }
            if port.strike(.lose) != nil { continue }
            let spread = max(1, conditions.spread.wholeNanoseconds)
            deliver(
                datagram, to: target, from: port,
                late: port.strike(.reorder).map { $0 % spread } ?? 0)
            if let word = port.strike(.duplicate) {
                deliver(datagram, to: target, from: port, late: word % spread)
            }
        }
    }

    private func deliver(
        _ datagram: Datagram, to target: SimulatedDatagramPort,
        from port: SimulatedDatagramPort, late: UInt64
    ) {
        let node = port.backend.node, other = target.backend.node
        // Nobody sends a datagram again.
        guard partitionEnd(node, other) == nil, !other.isDown else { return }
        let arrival = now.nanoseconds + latency(node, other) + late
        trace.add(
            time: now.nanoseconds, host: node.index, other: other.index,
            .sent(.datagram(datagram.bytes.count), arrival: arrival))
        target.willArrive()
        schedule(.call { target.arrive(datagram) }, at: arrival)
    }

    /// A port that is connected hears that nobody is there: ICMP port unreachable, RFC 792.
    private func refuse(_ port: SimulatedDatagramPort, _ address: SocketAddress) {
        let sender = port.backend.node
        guard let other = node(at: address, from: sender), !other.isDown else { return }
        schedule(.call { port.refused() }, at: now.nanoseconds + 2 * latency(sender, other))
    }

    private func latency(_ one: NetworkNode, _ other: NetworkNode) -> UInt64 {
        (one === other ? conditions.loopbackLatency : conditions.latency).wholeNanoseconds
    }

    /// Who gets what is sent to an address.
    func ports(at address: SocketAddress, from sender: NetworkNode) -> [SimulatedDatagramPort] {
        if address.isMulticast {
            return nodes.flatMap(\.datagramPorts).filter { $0.hears(group: address) }
        }
        if address.isBroadcast {
            let own = address.isLoopbackBroadcast ? [sender] : nodes
            return own.flatMap(\.datagramPorts).filter {
                $0.boundAddress.isAny && $0.boundAddress.port == address.port
            }
        }
        guard let other = node(at: address, from: sender) else { return [] }
        let found = other.datagramPorts.filter { $0.boundAddress.isReached(by: address) }
        // One that is connected to the sender goes before those that hear everybody.
        return Array(found.prefix(1))
    }

    /// Gives one chance away, and writes it down if it is a fault.
    func strike(_ kind: Fault.Kind, _ chances: Chances, at node: NetworkNode) -> UInt64? {
        guard let word = draws.strike(kind, chances) else { return nil }
        if let fault = draws.struck.last {
            trace.add(time: now.nanoseconds, host: node.index, .struck(fault))
        }
        return word
    }
}

extension SimulatedDatagramPort {
    fileprivate func hears(group address: SocketAddress) -> Bool {
        guard boundAddress.port == address.port else { return false }
        return groups.contains {
            switch ($0, address) {
            case (.ipv4(let group, _), .ipv4(let ip, _)): group == ip
            case (.ipv6(let group), .ipv6(let ip, _)): group == ip
            case (.ipv4, _), (.ipv6, _): false
            }
        }
    }
}

extension NetworkNode {
    /// The address with a port, or a UNIX name, that no other port for datagrams has.
    func withDatagramPort(_ address: SocketAddress) -> SocketAddress {
        if case .unix(.unnamed) = address {
            unixNames += 1
            return .unix(.abstract(Array("\(name)-\(unixNames)".utf8)))
        }
        guard address.port == 0 else { return address }
        var result: SocketAddress
        repeat {
            result = withPort(address)
        } while datagramPorts.contains {
            $0.boundAddress.port == result.port
        }
        return result
    }

    /// Where a datagram comes from, as its receiver sees it.
    func source(of bound: SocketAddress, to address: SocketAddress) -> SocketAddress {
        switch (bound, address) {
        case (.ipv4(.any, let port), .ipv4(let ip, _)):
            .ipv4(ip.isLoopback ? .loopback : self.address, port: port)
        case (.ipv6(.any, let port), _): .ipv6(.loopback, port: port)
        case (.ipv4, _), (.ipv6, _), (.unix, _), (.descriptor, _): bound
        }
    }
}

extension SocketAddress {
    var isMulticast: Bool {
        switch self {
        case .ipv4(let ip, _): ip.isMulticast
        case .ipv6(let ip, _): ip.isMulticast
        case .unix, .descriptor: false
        }
    }

    var isLoopbackBroadcast: Bool { self.host == "127.255.255.255" }

    var isBroadcast: Bool {
        guard case .ipv4(let ip, _) = self else { return false }
        return ip == .broadcast || isLoopbackBroadcast || ip.bits == 0x0aff_ffff
    }

    var isAny: Bool {
        switch self {
        case .ipv4(let ip, _): ip == .any
        case .ipv6(let ip, _): ip == .any
        case .unix, .descriptor: false
        }
    }

    /// A UNIX address that does not fit: `unix(7)`.
    var isTooLong: Bool {
        switch self {
        case .unix(.path(let path)): path.utf8.count > UnixAddress.maximumByteCount
        case .unix(.abstract(let name)): name.count > UnixAddress.maximumByteCount
        case .unix(.unnamed), .ipv4, .ipv6, .descriptor: false
        }
    }

    func isOfFamily(of other: SocketAddress) -> Bool {
        switch (self, other) {
        case (.ipv4, .ipv4), (.ipv6, .ipv6), (.unix, .unix): true
        case (.ipv4, _), (.ipv6, _), (.unix, _), (.descriptor, _): false
        }
    }

    /// Whether something bound here gets what is sent to that address of the same host.
    func isReached(by address: SocketAddress) -> Bool {
        switch (self, address) {
        case (.ipv4(let own, let port), .ipv4(let ip, let wanted)):
            port == wanted && (own == ip || own == .any || ip == .any)
        case (.ipv6(let own, let port), .ipv6(let ip, let wanted)):
            port == wanted && (own == ip || own == .any || ip == .any)
        case (.ipv4, _), (.ipv6, _), (.unix, _), (.descriptor, _): self == address
        }
    }
}
