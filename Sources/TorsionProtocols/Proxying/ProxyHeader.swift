// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// The header by which a proxy tells, before the first byte of a connection, for which client it
/// speaks.
///
/// A plain value, usable on any thread. ``ProxyHeaderReader`` takes it from a connection,
/// ``ProxyHeaderWriter`` puts it in front of one.
///
///     ProxyHeader(source: client.peerAddress, destination: client.localAddress)
///
/// - SeeAlso: "The PROXY protocol", HAProxy's `doc/proxy-protocol.txt`, sections 2.1 and 2.2.
public struct ProxyHeader: Hashable, Sendable {
    /// How the header is written.
    @nonexhaustive
    public enum Version: Hashable, Sendable {
        /// A line of text. It lacks extensions and UNIX sockets.
        case v1
        /// Binary.
        case v2
    }

    /// How the header is written.
    public var version: Version

    /// Whom the proxy speaks for; nil if for itself, as in its health checks, or for a client whose
    /// address it does not know.
    public var addresses: Addresses?

    /// The two ends of the connection that the proxy has accepted.
    public struct Addresses: Hashable, Sendable {
        /// The client.
        public var source: SocketAddress
        /// Where the client connected to.
        public var destination: SocketAddress

        /// The two ends.
        ///
        /// - Parameters:
        ///   - source: The client.
        ///   - destination: Where the client connected to.
        public init(source: SocketAddress, destination: SocketAddress) {
            self.source = source
            self.destination = destination
        }
    }

    /// The extensions of version 2, in the order sent, unknown types included.
    ///
    /// The checksum is not among them: see ``hasChecksum``.
    public var extensions: [Extension] = []

    /// Whether version 2 carries a CRC32C of the header.
    ///
    /// One that is received was right; a wrong one is a ``ProxyHeaderError``.
    public var hasChecksum = false

    /// A header about a connection that the proxy has accepted.
    ///
    /// - Parameters:
    ///   - source: The client.
    ///   - destination: Where the client connected to.
    ///   - version: How the header is written.
    public init(source: SocketAddress, destination: SocketAddress, version: Version = .v2) {
        self.init(
            version: version, addresses: Addresses(source: source, destination: destination))
    }

    /// A header without a client: the addresses are those of the proxy's own connection.
    ///
    /// - Parameter version: How the header is written.
    /// - Returns: A header without addresses.
    public static func local(version: Version = .v2) -> ProxyHeader {
        ProxyHeader(version: version, addresses: nil)
    }

    init(version: Version, addresses: Addresses?) {
        self.version = version
        self.addresses = addresses
    }
}

extension ProxyHeader {
    /// One thing that version 2 says besides the addresses: a type and a value.
    public struct Extension: Hashable, Sendable {
        /// The type: see the constants.
        public var type: UInt8
        /// Up to 65,535 bytes.
        public var value: Bytes

        /// A type and a value.
        ///
        /// - Parameters:
        ///   - type: See the constants; others are allowed.
        ///   - value: Up to 65,535 bytes.
        public init(type: UInt8, value: Bytes) {
            self.type = type
            self.value = value
        }

        /// The protocol agreed upon by TLS (RFC 7301).
        public static let alpn: UInt8 = 0x01
        /// The name of the host that the client asked for, in UTF-8.
        public static let authority: UInt8 = 0x02
        /// The checksum; never in ``ProxyHeader/extensions``.
        static let checksum: UInt8 = 0x03
        /// Padding.
        public static let padding: UInt8 = 0x04
        /// The connection's name through all proxies, up to 128 bytes.
        public static let uniqueID: UInt8 = 0x05
        /// The client's TLS: a structure of its own, see section 2.2.6.
        public static let tls: UInt8 = 0x20
        /// The name of the network namespace.
        public static let networkNamespace: UInt8 = 0x30
    }

    /// The value of the first extension of a type.
    ///
    /// - Parameter type: See ``Extension``.
    /// - Returns: `nil` if the type is absent.
    public func value(of type: UInt8) -> Bytes? {
        extensions.first { $0.type == type }?.value
    }

    /// The host's name that the client asked for, if the proxy tells it and it is UTF-8.
    public var authority: String? {
        value(of: Extension.authority).flatMap { String(validating: $0.span) }
    }
}

/// An error in the header of a proxy.
///
/// It is the reason of the loss of the connection that brought it. A plain value, usable on any
/// thread.
@nonexhaustive
public enum ProxyHeaderError: Error, Hashable, Sendable {
    /// The sender is not among those that may say who a client is.
    case untrustedSender(SocketAddress)

    /// The bytes do not begin a header; the last of so many bytes shows it.
    case notAHeader(byteCount: Int)

    /// The header is longer than is allowed.
    case tooLong(byteCount: Int, limitBytes: Int)

    /// A header of so many bytes breaks the rules for `part`.
    case malformed(String, byteCount: Int)

    /// The checksum is not that of the header.
    case wrongChecksum(expected: UInt32, received: UInt32)

    /// The peer ended behind the first bytes of a header.
    case incomplete(byteCount: Int)
}

extension ProxyHeaderError: PeerRefusal {}

extension ProxyHeaderError: CustomStringConvertible {
    /// A sentence.
    public var description: String {
        switch self {
        case .untrustedSender(let address):
            "\(address) is not trusted to send a PROXY header"
        case .notAHeader(let byteCount):
            "no PROXY header: byte \(byteCount) does not belong to one"
        case .tooLong(let byteCount, let limit):
            "a PROXY header of \(byteCount) bytes; \(limit) are allowed"
        case .malformed(let part, let byteCount):
            "a PROXY header of \(byteCount) bytes with a malformed \(part)"
        case .wrongChecksum(let expected, let received):
            "a PROXY header with the checksum \(expected), which says \(received)"
        case .incomplete(let byteCount):
            "the peer ended after \(byteCount) bytes of a PROXY header"
        }
    }
}
