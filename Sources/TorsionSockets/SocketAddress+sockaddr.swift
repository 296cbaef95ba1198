// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
@_spi(Backend) package import TorsionCore

extension SocketAddress {
    /// The address family, `AF_INET`, `AF_INET6` or `AF_UNIX`; `AF_UNSPEC` for what is no socket.
    var family: Int32 {
        switch self {
        case .ipv4: AF_INET
        case .ipv6: AF_INET6
        case .unix: AF_UNIX
        case .descriptor: AF_UNSPEC
        }
    }

    /// Reads what the kernel filled in: `ip(7)`, `ipv6(7)`, `unix(7)`.
    init(_ storage: sockaddr_storage, size: socklen_t) {
        self = withUnsafeBytes(of: storage) { SocketAddress($0, size: size) }
    }

    /// The same, where it lies: `sockaddr` is a whole `sockaddr_storage`.
    package init(sockaddr: UnsafeRawBufferPointer, size: UInt32) {
        self.init(sockaddr, size: size)
    }

    /// The same, where it lies: `raw` is a whole `sockaddr_storage`.
    init(_ raw: UnsafeRawBufferPointer, size: socklen_t) {
        switch Int32(raw.loadUnaligned(as: sa_family_t.self)) {
        case AF_INET:
            let address = raw.loadUnaligned(as: sockaddr_in.self)
            self = .ipv4(
                IPv4Address(bits: UInt32(bigEndian: address.sin_addr.s_addr)),
                port: UInt16(bigEndian: address.sin_port))
        case AF_INET6:
            let address = raw.loadUnaligned(as: sockaddr_in6.self)
            let offset = MemoryLayout<sockaddr_in6>.offset(of: \.sin6_addr)!
            self = .ipv6(
                IPv6Address(
                    high: UInt64(
                        bigEndian: raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)),
                    low: UInt64(
                        bigEndian: raw.loadUnaligned(
                            fromByteOffset: offset + 8, as: UInt64.self)),
                    scopeID: address.sin6_scope_id),
                port: UInt16(bigEndian: address.sin6_port))
        default:
            self = .unix(UnixAddress(raw, size: Int(size)))
        }
    }

    /// Why the kernel cannot be given this address; nil if it can.
    ///
    /// What is too long would be cut, what has a zero byte end there, and an empty path would be an
    /// abstract name: each of them another address.
    var refusal: ErrorCode? {
        switch self {
        case .ipv4, .ipv6, .unix(.unnamed): nil
        case .descriptor: .addressFamilyNotSupported
        case .unix(.abstract(let name)):
            name.count > UnixAddress.maximumByteCount ? .nameTooLong : nil
        case .unix(.path(let path)):
            if path.utf8.count > UnixAddress.maximumByteCount {
                .nameTooLong
            } else if path.isEmpty || path.utf8.contains(0) {
                .invalidArgument
            } else {
                nil
            }
        }
    }

    /// Shows the address as the kernel takes it, for the length of a call.
    ///
    /// - Precondition: There is no ``refusal``.
    func withSockaddr<Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var storage = sockaddr_storage()
        let size = withUnsafeMutableBytes(of: &storage) { write(into: $0) }
        return withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(size)) }
        }
    }

    /// Writes it as the kernel takes it, into a whole `sockaddr_storage`.
    ///
    /// - Returns: Its size.
    func write(into raw: UnsafeMutableRawBufferPointer) -> Int {
        switch self {
        case .ipv4(let host, let port):
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = host.bits.bigEndian
            raw.storeBytes(of: address, as: sockaddr_in.self)
            return MemoryLayout<sockaddr_in>.size
        case .ipv6(let host, let port):
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            address.sin6_scope_id = host.scopeID
            raw.storeBytes(of: address, as: sockaddr_in6.self)
            let offset = MemoryLayout<sockaddr_in6>.offset(of: \.sin6_addr)!
            raw.storeBytes(of: host.high.bigEndian, toByteOffset: offset, as: UInt64.self)
            raw.storeBytes(of: host.low.bigEndian, toByteOffset: offset + 8, as: UInt64.self)
            return MemoryLayout<sockaddr_in6>.size
        case .unix(let address):
            raw.storeBytes(of: sa_family_t(AF_UNIX), as: sa_family_t.self)
            return address.fill(raw)
        case .descriptor:
            return MemoryLayout<sa_family_t>.size
        }
    }
}

extension UnixAddress {
    private static let pathOffset = MemoryLayout<sa_family_t>.size

    /// An abstract name begins with a zero byte and has no end mark; a path has one.
    fileprivate init(_ raw: UnsafeRawBufferPointer, size: Int) {
        guard size > Self.pathOffset else {
            self = .unnamed
            return
        }
        let name = raw[Self.pathOffset..<min(size, raw.count)]
        if name.first == 0 {
            self = .abstract(Array(name.dropFirst()))
        } else {
            self = .path(String(decoding: name.prefix { $0 != 0 }, as: UTF8.self))
        }
    }

    /// - Returns: The size of the whole address.
    fileprivate func fill(_ raw: UnsafeMutableRawBufferPointer) -> Int {
        let room = UnsafeMutableRawBufferPointer(rebasing: raw[Self.pathOffset...])
        switch self {
        case .unnamed:
            return Self.pathOffset
        case .abstract(let name):
            room[0] = 0
            UnsafeMutableRawBufferPointer(rebasing: room[1...]).copyBytes(from: name)
            return Self.pathOffset + 1 + name.count
        case .path(let path):
            room.copyBytes(from: path.utf8)
            room[path.utf8.count] = 0
            return Self.pathOffset + path.utf8.count + 1
        }
    }
}
