// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Version 1: a line of text, "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443" and its end.
enum TextProxyHeader {
    static let start = Array("PROXY ".utf8)
    private static let unknown = Array("UNKNOWN".utf8)

    /// Reads a whole line that begins with ``start`` and ends in a carriage return and a line feed.
    static func decode(_ line: [UInt8]) throws(ProxyHeaderError) -> ProxyHeader {
        let words = line[start.count..<line.count - 2].split(
            separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard let family = words.first else {
            throw .malformed("family", byteCount: line.count)
        }
        // What stands behind it is to be ignored, whatever it is.
        if family.elementsEqual(unknown) { return .local(version: .v1) }
        guard words.count == 5 else { throw .malformed("line", byteCount: line.count) }
        let read: (ArraySlice<UInt8>, UInt16) -> SocketAddress?
        switch String(decoding: family, as: UTF8.self) {
        case "TCP4": read = { text, port in IPv4Address(ascii: text).map { .ipv4($0, port: port) } }
        case "TCP6": read = { text, port in ipv6(text).map { .ipv6($0, port: port) } }
        default: throw .malformed("family", byteCount: line.count)
        }
        guard let sourcePort = decimal(words[3], max: 65_535),
            let destinationPort = decimal(words[4], max: 65_535)
        else { throw .malformed("port", byteCount: line.count) }
        guard let source = read(words[1], UInt16(sourcePort)),
            let destination = read(words[2], UInt16(destinationPort))
        else { throw .malformed("address", byteCount: line.count) }
        return ProxyHeader(source: source, destination: destination, version: .v1)
    }

    /// An address, on no link: the number of an interface says nothing on another machine.
    private static func ipv6(_ text: ArraySlice<UInt8>) -> IPv6Address? {
        text.contains(UInt8(ascii: "%")) ? nil : IPv6Address(ascii: text)
    }

    static func encode(_ header: ProxyHeader) -> [UInt8] {
        Array("PROXY \(fields(header))\r\n".utf8)
    }

    private static func fields(_ header: ProxyHeader) -> String {
        guard let addresses = header.addresses else { return "UNKNOWN" }
        switch ProxiedPair(addresses) {
        case .ipv4(let source, let sourcePort, let destination, let destinationPort):
            return "TCP4 \(source) \(destination) \(sourcePort) \(destinationPort)"
        case .ipv6(let source, let sourcePort, let destination, let destinationPort):
            return
                "TCP6 \(groups(source)) \(groups(destination)) \(sourcePort) \(destinationPort)"
        case .unix, .other: return "UNKNOWN"
        }
    }

    /// All eight groups, since the line knows no dotted quad as in "::ffff:192.0.2.1".
    private static func groups(_ address: IPv6Address) -> String {
        let groups = [address.high, address.low].flatMap { half in
            [48, 32, 16, 0].map { String(half >> UInt64($0) & 0xffff, radix: 16) }
        }
        return groups.joined(separator: ":")
    }
}

/// Two addresses of one family, as a header has them.
enum ProxiedPair {
    case ipv4(IPv4Address, UInt16, IPv4Address, UInt16)
    case ipv6(IPv6Address, UInt16, IPv6Address, UInt16)
    case unix(UnixAddress, UnixAddress)
    /// Of which no header can tell.
    case other

    init(_ addresses: ProxyHeader.Addresses) {
        switch (addresses.source, addresses.destination) {
        case (.ipv4(let source, let first), .ipv4(let destination, let second)):
            self = .ipv4(source, first, destination, second)
        case (.unix(let source), .unix(let destination)):
            self = .unix(source, destination)
        case (.ipv6(let source, let first), .ipv6(let destination, let second)):
            self = .ipv6(source, first, destination, second)
        case (.ipv4(let source, let first), .ipv6(let destination, let second)):
            self = .ipv6(IPv6Address(mapping: source), first, destination, second)
        case (.ipv6(let source, let first), .ipv4(let destination, let second)):
            self = .ipv6(source, first, IPv6Address(mapping: destination), second)
        case (.unix, _), (_, .unix), (.descriptor, _), (_, .descriptor): self = .other
        }
    }
}
