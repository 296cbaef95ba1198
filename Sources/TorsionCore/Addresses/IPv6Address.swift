// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// An IPv6 address: sixteen bytes and the link it is meant on, without a port.
///
/// A plain value, usable on any thread. Read as RFC 4291 §2.2 has it, written as RFC 5952 wants it,
/// so that equal addresses have equal texts.
///
///     IPv6Address("2001:DB8:0:0::1")!.description    // "2001:db8::1"
///     IPv6Address("fe80::1%2")!.scopeID              // 2
public struct IPv6Address: Hashable, Sendable {
    /// The first eight bytes as a number, the first byte highest.
    public var high: UInt64

    /// The last eight bytes as a number, the last byte lowest.
    public var low: UInt64

    /// The number of the interface that a link-local address is on; 0 for every other address.
    public var scopeID: UInt32

    /// Makes an address from its two halves.
    ///
    /// - Parameters:
    ///   - high: The first eight bytes, the first of them highest.
    ///   - low: The last eight bytes, the first of them highest.
    ///   - scopeID: The number of the interface for a link-local address; 0 for any other.
    public init(high: UInt64, low: UInt64, scopeID: UInt32 = 0) {
        self.high = high
        self.low = low
        self.scopeID = scopeID
    }

    /// Makes the address by which IPv6 sockets name an IPv4 peer: `::ffff:192.0.2.1`.
    ///
    /// - Parameter address: The peer's address as IPv4 writes it.
    public init(mapping address: IPv4Address) {
        self.init(high: 0, low: 0xffff_0000_0000 | UInt64(address.bits))
    }

    /// `::`: every interface, for a port that listens.
    public static let any = IPv6Address(high: 0, low: 0)

    /// `::1`: this machine.
    public static let loopback = IPv6Address(high: 0, low: 1)

    /// Whether the address is this machine: `::1`.
    public var isLoopback: Bool { high == 0 && low == 1 }

    /// Whether the address is a multicast group: `ff00::/8` (RFC 4291 §2.7).
    public var isMulticast: Bool { high >> 56 == 0xff }

    /// Whether the address is of one link only: `fe80::/10` (RFC 4291 §2.5.6).
    public var isLinkLocal: Bool { high >> 54 == 0xfe80 >> 6 }

    /// The IPv4 address within a mapped one, `::ffff:0:0/96`; `nil` for any other.
    public var mappedIPv4: IPv4Address? {
        guard high == 0, low >> 32 == 0xffff else { return nil }
        return IPv4Address(bits: UInt32(truncatingIfNeeded: low))
    }

    /// The eight groups of sixteen bits, as they are written.
    private var groups: [UInt16] {
        [high, low].flatMap { half in
            [48, 32, 16, 0].map { UInt16(truncatingIfNeeded: half >> UInt64($0)) }
        }
    }
}

extension IPv6Address: LosslessStringConvertible {
    /// Reads any form of RFC 4291 §2.2, with `%` and the interface's number after it or not.
    ///
    /// An interface's name after `%` gives `nil`: only the machine knows its number.
    ///
    /// - Parameter text: For example `2001:db8::1` or `fe80::1%2`.
    public init?(_ text: String) {
        self.init(ascii: Array(text.utf8)[...])
    }

    /// The one text that RFC 5952 §4 and §5 allow for this address.
    public var description: String {
        let zone = scopeID == 0 ? "" : "%\(scopeID)"
        if let mappedIPv4 { return "::ffff:\(mappedIPv4)\(zone)" }
        let groups = groups
        func text(_ range: Range<Int>) -> String {
            groups[range].map { String($0, radix: 16) }.joined(separator: ":")
        }
        guard let zeros = longestZeros(in: groups) else { return text(0..<8) + zone }
        return "\(text(0..<zeros.lowerBound))::\(text(zeros.upperBound..<8))\(zone)"
    }

    package init?(ascii text: ArraySlice<UInt8>) {
        let parts = text.split(
            separator: UInt8(ascii: "%"), maxSplits: 1, omittingEmptySubsequences: false)
        scopeID = 0
        if parts.count == 2 {
            guard let scope = decimal(parts[1], max: .max) else { return nil }
            scopeID = scope
        }
        guard let address = parts.first, let groups = readGroups(address) else { return nil }
        high = groups[..<4].reduce(0) { $0 << 16 | UInt64($1) }
        low = groups[4...].reduce(0) { $0 << 16 | UInt64($1) }
    }
}

/// The first of the longest runs of two zeros or more: RFC 5952 §4.2.2 and §4.2.3 leave no choice.
private func longestZeros(in groups: [UInt16]) -> Range<Int>? {
    var longest = 0..<1
    var start: Int?
    for (index, group) in groups.enumerated() {
        guard group == 0 else {
            start = nil
            continue
        }
        let run = (start ?? index)..<index + 1
        start = run.lowerBound
        if run.count > longest.count { longest = run }
    }
    return longest.count > 1 ? longest : nil
}

/// Reads eight groups, with `::` in place of at least one zero (RFC 4291 §2.2, 2).
private func readGroups(_ text: ArraySlice<UInt8>) -> [UInt16]? {
    let colon = UInt8(ascii: ":")
    // The longest text has eight groups of four digits, or six and a dotted quad.
    guard text.count <= 45 else { return nil }
    let gap = text.indices.dropLast().first { text[$0] == colon && text[$0 + 1] == colon }
    guard let gap else {
        let groups = readList(text)
        return groups?.count == 8 ? groups : nil
    }
    guard let head = readList(text[..<gap], mayEndInQuad: false) else { return nil }
    guard let tail = readList(text[(gap + 2)...]) else { return nil }
    let missing = 8 - head.count - tail.count
    return missing >= 1 ? head + Array(repeating: 0, count: missing) + tail : nil
}

/// Reads groups joined by single colons, the last two perhaps as a dotted quad (RFC 4291 §2.2, 3).
private func readList(_ text: ArraySlice<UInt8>, mayEndInQuad: Bool = true) -> [UInt16]? {
    guard !text.isEmpty else { return [] }
    var groups: [UInt16] = []
    let parts = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    for (index, part) in parts.enumerated() {
        if let group = hexadecimal(part) {
            groups.append(group)
        } else if mayEndInQuad, index == parts.count - 1, let quad = IPv4Address(ascii: part) {
            groups += [
                UInt16(truncatingIfNeeded: quad.bits >> 16), UInt16(truncatingIfNeeded: quad.bits),
            ]
        } else {
            return nil
        }
    }
    return groups
}

/// Reads one to four hexadecimal digits.
private func hexadecimal(_ text: ArraySlice<UInt8>) -> UInt16? {
    guard (1...4).contains(text.count) else { return nil }
    var value: UInt16 = 0
    for character in text {
        let digit: UInt8
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = character - UInt8(ascii: "A") + 10
        default: return nil
        }
        value = value << 4 | UInt16(digit)
    }
    return value
}
