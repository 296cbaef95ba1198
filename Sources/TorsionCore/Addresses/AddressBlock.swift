// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A block of addresses, for lists of who may do something.
///
/// A plain value, usable on any thread. Its text is an IPv4 or IPv6 address, the first of the block,
/// with the length of the prefix behind a slash; or an address alone; or `unix`, which are all UNIX
/// sockets, and pipes and terminals.
///
///     AddressBlock("10.0.0.0/8")
///     AddressBlock("2001:db8::/32")
///     AddressBlock("10.1.2.3/8")        // nil: not the first of its block
///
/// - SeeAlso: RFC 4632 §3.1, RFC 4291 §2.3.
public struct AddressBlock: Hashable, Sendable {
    private enum Family: Hashable {
        case ipv4(IPv4Address)
        case ipv6(IPv6Address)
        case unix
    }

    private let family: Family
    private let prefixBitCount: Int

    private init(_ family: Family, _ prefixBitCount: Int) {
        self.family = family
        self.prefixBitCount = prefixBitCount
    }

    /// Every peer of a UNIX socket.
    public static let unix = AddressBlock(.unix, 0)

    /// This machine: `127.0.0.0/8`, `::1`, and UNIX sockets.
    public static let local = [
        AddressBlock(.ipv4(IPv4Address(127, 0, 0, 0)), 8), AddressBlock(.ipv6(.loopback), 128),
        .unix,
    ]

    /// Whether an address is in the block, whatever its port.
    ///
    /// An IPv4 address as an IPv6 socket names it, `::ffff:192.0.2.1`, is an IPv4 address here.
    ///
    /// - Parameter address: Of any family; the port is not looked at.
    /// - Returns: False for an address of another family than the block's.
    public func contains(_ address: SocketAddress) -> Bool {
        switch (family, address) {
        case (.ipv4(let first), .ipv4(let address, _)): contains(first, address)
        case (.ipv4(let first), .ipv6(let address, _)):
            address.mappedIPv4.map { contains(first, $0) } ?? false
        case (.ipv6(let first), .ipv6(let address, _)):
            address.masked(to: prefixBitCount) == first && address.mappedIPv4 == nil
        case (.unix, .unix), (.unix, .descriptor): true
        case (.ipv4, .unix), (.ipv6, .ipv4), (.ipv6, .unix), (.unix, .ipv4), (.unix, .ipv6),
            (.ipv4, .descriptor), (.ipv6, .descriptor):
            false
        }
    }

    private func contains(_ first: IPv4Address, _ address: IPv4Address) -> Bool {
        address.masked(to: prefixBitCount) == first
    }
}

extension IPv4Address {
    /// The address with all bits behind a prefix zero.
    fileprivate func masked(to bitCount: Int) -> IPv4Address {
        IPv4Address(bits: bits & ~(UInt32.max >> UInt32(bitCount)))
    }
}

extension IPv6Address {
    /// The address with all bits behind a prefix zero, and on no link.
    package func masked(to bitCount: Int) -> IPv6Address {
        // A shift by 64 and more gives zero, one by less than nothing shifts the other way.
        IPv6Address(
            high: high & ~(UInt64.max >> UInt64(min(bitCount, 64))),
            low: low & ~(UInt64.max >> UInt64(max(bitCount - 64, 0))))
    }
}

extension AddressBlock: LosslessStringConvertible {
    /// Reads a block; nil if the text is not a block, or has bits set behind its prefix.
    ///
    /// - Parameter text: `192.0.2.0/24`, `2001:db8::/32`, or an address alone.
    public init?(_ text: String) {
        guard text != "unix" else {
            self = .unix
            return
        }
        let parts = Array(text.utf8).split(
            separator: UInt8(ascii: "/"), maxSplits: 1, omittingEmptySubsequences: false)
        var length: Int?
        if parts.count == 2 {
            guard let number = decimal(parts[1], max: 128) else { return nil }
            length = Int(number)
        }
        if let address = IPv4Address(ascii: parts[0]) {
            self.init(.ipv4(address), length ?? 32)
            guard prefixBitCount <= 32, address.masked(to: prefixBitCount) == address else {
                return nil
            }
        } else if let address = IPv6Address(ascii: parts[0]) {
            // A mapped block would never match, since mapped addresses are IPv4 here.
            self.init(.ipv6(address), length ?? 128)
            guard address.masked(to: prefixBitCount) == address, address.mappedIPv4 == nil else {
                return nil
            }
        } else {
            return nil
        }
    }

    /// As ``init(_:)`` reads it.
    public var description: String {
        switch family {
        case .ipv4(let address): "\(address)/\(prefixBitCount)"
        case .ipv6(let address): "\(address)/\(prefixBitCount)"
        case .unix: "unix"
        }
    }
}
