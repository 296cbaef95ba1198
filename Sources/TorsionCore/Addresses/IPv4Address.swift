// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// An IPv4 address: four bytes, without a port.
///
/// A plain value, usable on any thread. Text is the strict dotted quad: four decimal numbers
/// without leading zeros, which some readers take for octal.
///
///     IPv4Address("192.0.2.1")    // an address
///     IPv4Address("192.0.2.01")   // nil
///
/// - SeeAlso: RFC 6943 §3.1.1, on what loose readers of addresses let in.
public struct IPv4Address: Hashable, Sendable {
    /// The address as a number: `127.0.0.1` is `0x7f00_0001` on every machine.
    public var bits: UInt32

    /// Makes an address from a number: `0x7f00_0001` is `127.0.0.1` on every machine.
    ///
    /// - Parameter bits: The first of the four bytes is the highest.
    public init(bits: UInt32) {
        self.bits = bits
    }

    /// Makes an address from its four bytes, in the order in which they are written.
    ///
    /// - Parameters:
    ///   - first: The byte written first, the highest.
    ///   - second: The byte written second.
    ///   - third: The byte written third.
    ///   - fourth: The byte written last.
    public init(_ first: UInt8, _ second: UInt8, _ third: UInt8, _ fourth: UInt8) {
        bits = UInt32(first) << 24 | UInt32(second) << 16 | UInt32(third) << 8 | UInt32(fourth)
    }

    /// `0.0.0.0`: every interface, for a port that listens.
    public static let any = IPv4Address(bits: 0)

    /// `127.0.0.1`: this machine.
    public static let loopback = IPv4Address(127, 0, 0, 1)

    /// `255.255.255.255`: everybody on the link.
    public static let broadcast = IPv4Address(bits: .max)

    /// Whether the address is this machine: `127.0.0.0/8` (RFC 1122 §3.2.1.3).
    public var isLoopback: Bool { bits >> 24 == 127 }

    /// Whether the address is a multicast group: `224.0.0.0/4` (RFC 5771).
    public var isMulticast: Bool { bits >> 28 == 0xe }
}

extension IPv4Address: LosslessStringConvertible {
    /// Reads four decimal numbers from 0 to 255 joined by dots; anything else is `nil`.
    ///
    /// - Parameter text: For example `192.0.2.1`.
    public init?(_ text: String) {
        self.init(ascii: Array(text.utf8)[...])
    }

    /// The dotted quad.
    public var description: String {
        "\(bits >> 24).\(bits >> 16 & 0xff).\(bits >> 8 & 0xff).\(bits & 0xff)"
    }

    package init?(ascii text: ArraySlice<UInt8>) {
        let parts = text.split(
            separator: UInt8(ascii: "."), maxSplits: 4, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        bits = 0
        for part in parts {
            guard let byte = decimal(part, max: 255) else { return nil }
            bits = bits << 8 | UInt32(byte)
        }
    }
}

/// Reads a decimal number of `max` at most: digits only, no sign, no leading zero.
package func decimal(_ text: ArraySlice<UInt8>, max: UInt32) -> UInt32? {
    guard let first = text.first, text.count <= 10 else { return nil }
    guard first != UInt8(ascii: "0") || text.count == 1 else { return nil }
    var value: UInt64 = 0
    for character in text {
        guard case UInt8(ascii: "0")...UInt8(ascii: "9") = character else { return nil }
        value = value * 10 + UInt64(character - UInt8(ascii: "0"))
    }
    return value <= UInt64(max) ? UInt32(value) : nil
}
