// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// Orders the addresses of a host as RFC 6724 §6 says: rules 1, 2, 5, 6, 8 and 9.
///
/// They compare how this machine would reach each address, which the kernel says when a port for
/// datagrams is connected to it: nothing is sent. What it said is remembered for five
/// seconds. Rules 3, 4 and 7 are about addresses of this machine that are deprecated, mobile or
/// tunnelled, which no portable call tells.
struct AddressOrder {
    private var sources: [SocketAddress: SocketAddress?] = [:]
    /// When the kernel is asked again.
    private var end = MonotonicInstant(nanoseconds: 0)
    private static let limit = 256
    private static let age = Duration.seconds(5)

    /// - Returns: The same addresses; a single one costs nothing.
    mutating func sort(_ addresses: [SocketAddress], on reactor: Reactor) -> [SocketAddress] {
        guard addresses.count > 1 else { return addresses }
        if reactor.now >= end {
            sources = [:]
            end = reactor.now.advanced(by: Self.age)
        }
        let rated = addresses.map { address in
            AddressRating(address, source: source(for: address, on: reactor))
        }
        return AddressRating.sorted(rated).map(\.address)
    }

    /// From where this machine would send to an address; nil if it cannot.
    private mutating func source(
        for address: SocketAddress, on reactor: Reactor
    ) -> SocketAddress? {
        var key = address
        key.port = 9
        if let known = sources[key] { return known }
        var options = DatagramOptions()
        options.peerAddress = key
        let port = try? reactor.backend.bindDatagrams(on: key.anyPort, options: options)
        let source = port?.localAddress
        port?.close()
        if sources.count >= Self.limit { sources = [:] }
        sources[key] = .some(source)
        return source
    }
}

/// What RFC 6724 compares of one address, as a value.
struct AddressRating {
    let address: SocketAddress
    let isUsable: Bool
    private let sameScope: Bool
    private let scope: Int
    private let sameLabel: Bool
    private let precedence: Int
    /// How many bits source and destination share, within IPv6's first half.
    private let commonBits: Int

    init(_ address: SocketAddress, source: SocketAddress?) {
        self.address = address
        isUsable = source != nil
        let own = Self.policy(address)
        scope = Self.scope(address)
        precedence = own.precedence
        sameScope = source.map { Self.scope($0) } == scope
        sameLabel = source.map { Self.policy($0).label } == own.label
        if case .ipv6(let destination, _) = address, case .ipv6(let source, _)? = source {
            commonBits = (destination.high ^ source.high).leadingZeroBitCount
        } else {
            commonBits = 0
        }
    }

    /// The preferred first; what no rule tells apart stays in order.
    static func sorted(_ ratings: [AddressRating]) -> [AddressRating] {
        ratings.enumerated().sorted { left, right in
            left.element.precedes(right.element)
                ?? (left.offset < right.offset)
        }.map(\.element)
    }

    private func precedes(_ other: AddressRating) -> Bool? {
        if isUsable != other.isUsable { return isUsable }
        if sameScope != other.sameScope { return sameScope }
        if sameLabel != other.sameLabel { return sameLabel }
        if precedence != other.precedence { return precedence > other.precedence }
        if scope != other.scope { return scope < other.scope }
        guard case .ipv6 = address, case .ipv6 = other.address, commonBits != other.commonBits
        else { return nil }
        return commonBits > other.commonBits
    }

    /// The table of RFC 6724 §2.1.
    private static func policy(_ address: SocketAddress) -> (precedence: Int, label: Int) {
        guard case .ipv6(let address, _) = address, address.mappedIPv4 == nil else {
            return (35, 4)
        }
        if address.isLoopback { return (50, 0) }
        if address.high == 0, address.low >> 32 == 0 { return (1, 3) }
        switch address.high >> 48 {
        case 0x2002: return (30, 2)
        case 0x2001 where address.high >> 32 == 0x2001_0000: return (5, 5)
        case 0xfec0...0xfeff: return (1, 11)
        case 0xfc00...0xfdff: return (3, 13)
        case 0x3ffe: return (1, 12)
        default: return (40, 1)
        }
    }

    /// 2 is the link, 5 the site, 14 the world: RFC 6724 §3.1, §3.2.
    private static func scope(_ address: SocketAddress) -> Int {
        switch address {
        case .ipv4(let address, _):
            address.isLoopback || address.bits >> 16 == 0xa9fe ? 2 : 14
        case .ipv6(let address, _):
            if address.isMulticast {
                Int(address.high >> 48 & 0xf)
            } else if address.isLinkLocal || address.isLoopback {
                2
            } else {
                address.high >> 54 == 0xfec0 >> 6 ? 5 : 14
            }
        case .unix, .descriptor: 2
        }
    }
}
