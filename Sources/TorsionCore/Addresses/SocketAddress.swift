// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The address of one end of a connection, or of a port.
///
/// A plain value, usable on any thread, as a key and as text:
///
///     SocketAddress("127.0.0.1:8007")
///     SocketAddress("[fe80::1%2]:8007")
///     SocketAddress("unix:/run/app.socket")
///     SocketAddress("unix:@name")            // abstract, Linux only
///
/// A host's name is not an address: see `NameResolver`.
@nonexhaustive
public enum SocketAddress: Hashable, Sendable {
    /// An IPv4 address and a port. Port 0 asks the kernel to choose one.
    case ipv4(IPv4Address, port: UInt16)

    /// An IPv6 address and a port. Port 0 asks the kernel to choose one.
    case ipv6(IPv6Address, port: UInt16)

    /// A UNIX socket's address.
    case unix(UnixAddress)

    /// No socket, but a pipe, a terminal, a file, or what a child process reads and writes: what it is
    /// called, as in `fd:3 (a pipe)`, `stdio:`, `standard output of sort (2317)`.
    case descriptor(String)

    /// Makes an address from the text of an IPv4 or IPv6 address, the latter without brackets.
    ///
    /// Gives `nil` for anything else, such as a host's name.
    ///
    /// - Parameters:
    ///   - host: `192.0.2.1` or `2001:db8::1`.
    ///   - port: From 0 to 65,535; 0 lets the kernel choose where a socket is bound.
    public init?(host: String, port: UInt16) {
        if let address = IPv4Address(host) {
            self = .ipv4(address, port: port)
        } else if let address = IPv6Address(host) {
            self = .ipv6(address, port: port)
        } else {
            return nil
        }
    }

    /// The port; `nil` for a UNIX address.
    ///
    /// Setting it there is ignored, and so is setting `nil`.
    public var port: UInt16? {
        get {
            switch self {
            case .ipv4(_, let port), .ipv6(_, let port): port
            case .unix, .descriptor: nil
            }
        }
        set {
            guard let newValue else { return }
            switch self {
            case .ipv4(let address, _): self = .ipv4(address, port: newValue)
            case .ipv6(let address, _): self = .ipv6(address, port: newValue)
            case .unix, .descriptor: break
            }
        }
    }

    /// The address without its port, as ``init(host:port:)`` reads it; `nil` for a UNIX address.
    public var host: String? {
        switch self {
        case .ipv4(let address, _): address.description
        case .ipv6(let address, _): address.description
        case .unix, .descriptor: nil
        }
    }

    /// Whether the other end can only be on this machine.
    public var isLocal: Bool {
        switch self {
        case .ipv4(let address, _): address.isLoopback
        case .ipv6(let address, _): address.mappedIPv4?.isLoopback ?? address.isLoopback
        case .unix, .descriptor: true
        }
    }
}

extension SocketAddress: LosslessStringConvertible {
    /// Reads `address:port`, `[address]:port`, `unix:path` or `unix:@name`.
    ///
    /// Gives `nil` for anything else. A path must not be empty, nor a path or name longer than
    /// ``UnixAddress/maximumByteCount``, nor a path contain a zero byte. An abstract name is taken
    /// as it stands, also a backslash: only printable names come back from ``description``.
    ///
    /// - Parameter text: For example `127.0.0.1:80`, `[::1]:80` or `unix:/run/app.sock`.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        if bytes.starts(with: "unix:".utf8) {
            guard let address = UnixAddress(utf8: bytes[5...]) else { return nil }
            self = .unix(address)
            return
        }
        guard let colon = bytes.lastIndex(of: UInt8(ascii: ":")) else { return nil }
        guard let port = decimal(bytes[(colon + 1)...], max: 65535) else { return nil }
        let host = bytes[..<colon]
        if host.first == UInt8(ascii: "["), host.last == UInt8(ascii: "]") {
            guard let address = IPv6Address(ascii: host.dropFirst().dropLast()) else { return nil }
            self = .ipv6(address, port: UInt16(port))
        } else {
            guard let address = IPv4Address(ascii: host) else { return nil }
            self = .ipv4(address, port: UInt16(port))
        }
    }

    /// `127.0.0.1:80`, `[::1]:80`, `unix:/run/app.socket`, `unix:@name`, `unix:(unnamed)`, or what
    /// something is called that is no socket.
    public var description: String {
        switch self {
        case .ipv4(let address, let port): "\(address):\(port)"
        case .ipv6(let address, let port): "[\(address)]:\(port)"
        case .unix(let address): "unix:\(address)"
        case .descriptor(let name): name
        }
    }
}

extension UnixAddress {
    fileprivate init?(utf8 text: ArraySlice<UInt8>) {
        guard let first = text.first, text.count <= Self.maximumByteCount + 1 else { return nil }
        if first == UInt8(ascii: "@") {
            self = .abstract(Array(text.dropFirst()))
        } else {
            guard text.count <= Self.maximumByteCount, !text.contains(0) else { return nil }
            self = .path(String(decoding: text, as: UTF8.self))
        }
    }
}
