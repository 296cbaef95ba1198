// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Version 2: a signature, a command, a family, a length; then addresses, then extensions.
struct BinaryProxyHeader {
    static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]
    static let prefixByteCount = 16
    /// `sun_path`, of Linux and of the protocol.
    private static let unixByteCount = 108

    private let bytes: [UInt8]

    /// A header of which some bytes may be missing.
    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// How many bytes follow the first sixteen.
    var followingByteCount: Int { number(at: 14) }

    private var isLocal: Bool { bytes[12] == 0x20 }

    func checkCommand() throws(ProxyHeaderError) {
        guard bytes[12] == 0x20 || bytes[12] == 0x21 else { throw malformed("command") }
    }

    /// The family is not looked at if the proxy speaks for itself.
    func checkFamily() throws(ProxyHeaderError) {
        guard isLocal || (bytes[13] >> 4 <= 3 && bytes[13] & 15 <= 2) else {
            throw malformed("family")
        }
    }

    private func malformed(_ part: String) -> ProxyHeaderError {
        .malformed(part, byteCount: bytes.count)
    }

    private func number(at position: Int) -> Int {
        Int(bytes[position]) << 8 | Int(bytes[position + 1])
    }

    /// Reads a header that is complete.
    func decode() throws(ProxyHeaderError) -> ProxyHeader {
        // Of a family or a transport that is unspecified nothing is known but the length.
        guard !isLocal, bytes[13] >> 4 != 0, bytes[13] & 15 != 0 else { return .local() }
        let isDatagram = bytes[13] & 15 == 2
        let end = Self.prefixByteCount + addressByteCount
        guard end <= bytes.count else { throw malformed("address") }
        let addresses = try addresses()
        // The client's connection cannot be one of datagrams, which section 2.2 lets us skip.
        var header = ProxyHeader(version: .v2, addresses: isDatagram ? nil : addresses)
        try readExtensions(from: end, into: &header)
        return header
    }

    private var addressByteCount: Int {
        switch bytes[13] >> 4 {
        case 1: 12
        case 2: 36
        default: 2 * Self.unixByteCount
        }
    }

    private func addresses() throws(ProxyHeaderError) -> ProxyHeader.Addresses {
        let start = Self.prefixByteCount
        switch bytes[13] >> 4 {
        case 1:
            return ProxyHeader.Addresses(
                source: .ipv4(ipv4(at: start), port: UInt16(number(at: start + 8))),
                destination: .ipv4(ipv4(at: start + 4), port: UInt16(number(at: start + 10))))
        case 2:
            return ProxyHeader.Addresses(
                source: .ipv6(ipv6(at: start), port: UInt16(number(at: start + 32))),
                destination: .ipv6(ipv6(at: start + 16), port: UInt16(number(at: start + 34))))
        default:
            return ProxyHeader.Addresses(
                source: .unix(try unix(at: start)),
                destination: .unix(try unix(at: start + Self.unixByteCount)))
        }
    }

    private func ipv4(at position: Int) -> IPv4Address {
        IPv4Address(
            bits: bytes[position..<position + 4].reduce(0) { $0 << 8 | UInt32($1) })
    }

    private func ipv6(at position: Int) -> IPv6Address {
        func half(_ start: Int) -> UInt64 {
            bytes[start..<start + 8].reduce(0) { $0 << 8 | UInt64($1) }
        }
        return IPv6Address(high: half(position), low: half(position + 8))
    }

    /// A path up to its zero, or behind a zero an abstract name, whose own zeros at the end cannot
    /// be told from padding.
    private func unix(at position: Int) throws(ProxyHeaderError) -> UnixAddress {
        let field = bytes[position..<position + Self.unixByteCount]
        guard field.first == 0 else {
            guard let end = field.firstIndex(of: 0),
                let path = unsafe String(validating: Array(field[..<end]).span.bytes)
            else { throw malformed("path") }
            return .path(path)
        }
        let name = field.dropFirst()
        guard let last = name.lastIndex(where: { $0 != 0 }) else { return .unnamed }
        return .abstract(Array(name[...last]))
    }

    private func readExtensions(
        from start: Int, into header: inout ProxyHeader
    ) throws(ProxyHeaderError) {
        var position = start
        while position < bytes.count {
            guard position + 3 <= bytes.count else { throw malformed("extension") }
            let type = bytes[position]
            let end = position + 3 + number(at: position + 1)
            guard end <= bytes.count else { throw malformed("extension") }
            let value = position + 3..<end
            if type == ProxyHeader.Extension.checksum {
                try checkChecksum(value)
                header.hasChecksum = true
            } else {
                header.extensions.append(
                    ProxyHeader.Extension(type: type, value: Bytes(Array(bytes[value]))))
            }
            position = end
        }
    }

    private func checkChecksum(_ range: Range<Int>) throws(ProxyHeaderError) {
        guard range.count == 4 else { throw malformed("checksum") }
        let received = bytes[range].reduce(0) { $0 << 8 | UInt32($1) }
        let expected = CRC32C.checksum(of: bytes, zeroing: range)
        guard received == expected else {
            throw .wrongChecksum(expected: expected, received: received)
        }
    }
}

extension BinaryProxyHeader {
    /// Writes a header.
    static func encode(_ header: ProxyHeader) throws(ProxyHeaderError) -> [UInt8] {
        var bytes = signature + [header.addresses == nil ? 0x20 : 0x21, 0, 0, 0]
        if let addresses = header.addresses { bytes[13] = append(addresses, to: &bytes) }
        for item in header.extensions {
            try append(item.type, [UInt8](item.value.span), to: &bytes)
        }
        var checksum: Range<Int>?
        if header.hasChecksum {
            try append(ProxyHeader.Extension.checksum, [0, 0, 0, 0], to: &bytes)
            checksum = bytes.count - 4..<bytes.count
        }
        let count = bytes.count - prefixByteCount
        guard count <= 0xffff else {
            throw .tooLong(byteCount: bytes.count, limitBytes: prefixByteCount + 0xffff)
        }
        bytes.replaceSubrange(14..<16, with: bigEndian(UInt64(count), byteCount: 2))
        if let checksum {
            let value = CRC32C.checksum(of: bytes, zeroing: checksum)
            bytes.replaceSubrange(checksum, with: bigEndian(UInt64(value), byteCount: 4))
        }
        return bytes
    }

    private static func append(
        _ type: UInt8, _ value: [UInt8], to bytes: inout [UInt8]
    ) throws(ProxyHeaderError) {
        guard value.count <= 0xffff else {
            throw .tooLong(byteCount: bytes.count + value.count, limitBytes: 0xffff)
        }
        bytes += [type] + bigEndian(UInt64(value.count), byteCount: 2) + value
    }

    /// - Returns: The byte of the family.
    private static func append(
        _ addresses: ProxyHeader.Addresses, to bytes: inout [UInt8]
    ) -> UInt8 {
        switch ProxiedPair(addresses) {
        case .ipv4(let source, let sourcePort, let destination, let destinationPort):
            bytes += bigEndian(UInt64(source.bits), byteCount: 4)
            bytes += bigEndian(UInt64(destination.bits), byteCount: 4)
            bytes += bigEndian(UInt64(sourcePort), byteCount: 2)
            bytes += bigEndian(UInt64(destinationPort), byteCount: 2)
            return 0x11
        case .ipv6(let source, let sourcePort, let destination, let destinationPort):
            for half in [source.high, source.low, destination.high, destination.low] {
                bytes += bigEndian(half, byteCount: 8)
            }
            bytes += bigEndian(UInt64(sourcePort), byteCount: 2)
            bytes += bigEndian(UInt64(destinationPort), byteCount: 2)
            return 0x21
        case .unix(let source, let destination):
            bytes += field(source) + field(destination)
            return 0x31
        case .other:
            return 0
        }
    }

    /// The 108 bytes of a UNIX address.
    private static func field(_ address: UnixAddress) -> [UInt8] {
        let start: [UInt8] =
            switch address {
            case .path(let path): Array(path.utf8)
            case .abstract(let name): [0] + name
            case .unnamed: []
            }
        // A path that is too long never was a socket's; its zero at the end has to stay.
        let kept = start.prefix(UnixAddress.maximumByteCount + (start.first == 0 ? 1 : 0))
        return kept + [UInt8](repeating: 0, count: unixByteCount - kept.count)
    }

    private static func bigEndian(_ value: UInt64, byteCount: Int) -> [UInt8] {
        (0..<byteCount).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (byteCount - 1 - $0))) }
    }
}

extension ProxyHeader {
    /// The header as it is sent.
    ///
    /// Addresses of two families are both written as IPv6. Version 1 cannot describe a UNIX socket.
    ///
    /// - Throws: ``ProxyHeaderError/tooLong(byteCount:limitBytes:)`` if the extensions do not fit.
    public func encoded() throws(ProxyHeaderError) -> Bytes {
        switch version {
        case .v1: Bytes(TextProxyHeader.encode(self))
        case .v2: Bytes(try BinaryProxyHeader.encode(self))
        }
    }
}
