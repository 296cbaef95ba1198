// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The facts that a connection's filters learnt in their handshakes.
///
/// A protocol finds it at ``StreamTransport/details``. A plain value; empty, and free of cost, for
/// a connection without filters.
public struct ConnectionDetails {
    /// The other end, where that is not the stream's: a proxy's client.
    ///
    /// `nil` leaves the stream's.
    public var peerAddress: SocketAddress?

    /// This end, where that is not the stream's.
    ///
    /// `nil` leaves the stream's.
    public var localAddress: SocketAddress?

    /// How the connection is secured; `nil` if it is not.
    public var security: TransportSecurity?

    private var values: [ObjectIdentifier: Any] = [:]

    /// Makes an empty value.
    public init() {}

    /// A value of a filter's own, found by its type.
    ///
    /// - Parameter type: The type of the value.
    public subscript<Value>(_ type: Value.Type) -> Value? {
        get { values[ObjectIdentifier(type)] as? Value }
        set { values[ObjectIdentifier(type)] = newValue }
    }

    /// Whether it is empty.
    public var isEmpty: Bool {
        peerAddress == nil && localAddress == nil && security == nil && values.isEmpty
    }

    /// Adds what a filter learnt that stands above the former ones: it knows better.
    mutating func merge(_ upper: ConnectionDetails) {
        if let address = upper.peerAddress { peerAddress = address }
        if let address = upper.localAddress { localAddress = address }
        if let security = upper.security { self.security = security }
        values.merge(upper.values) { _, new in new }
    }
}

/// How a connection is secured, as its handshake has agreed.
///
/// A plain value, usable on any thread.
public struct TransportSecurity: Hashable, Sendable {
    /// The version of the protocol, for example "TLSv1.3".
    public var version: String

    /// The cipher suite, by its name in the registry: "TLS_AES_128_GCM_SHA256".
    public var cipher: String

    /// The application's protocol that both sides chose: RFC 7301, for example "h2".
    ///
    /// `nil` without one.
    public var applicationProtocol: String?

    /// The name that the client asked for: RFC 6066 §3.
    ///
    /// `nil` without one.
    public var serverName: String?

    /// The peer's certificate, DER; `nil` if it did not show one.
    public var peerCertificate: Bytes?

    /// Whether the peer's certificate was verified.
    public var isPeerVerified: Bool

    /// Whether a former session was resumed.
    public var isResumed: Bool

    /// Describes a secured connection.
    ///
    /// - Parameters:
    ///   - version: Of the protocol, for example "TLSv1.3".
    ///   - cipher: The suite's name in the registry, "TLS_AES_128_GCM_SHA256".
    ///   - applicationProtocol: The protocol of the choice, for example "h2"; `nil` without a
    ///     choice.
    ///   - serverName: The name that the client asked for; `nil` without one.
    ///   - peerCertificate: In DER; `nil` if the peer did not show one.
    ///   - isPeerVerified: Whether the peer's certificate was verified.
    ///   - isResumed: Whether a former session was resumed.
    public init(
        version: String, cipher: String, applicationProtocol: String? = nil,
        serverName: String? = nil, peerCertificate: Bytes? = nil, isPeerVerified: Bool = false,
        isResumed: Bool = false
    ) {
        self.version = version
        self.cipher = cipher
        self.applicationProtocol = applicationProtocol
        self.serverName = serverName
        self.peerCertificate = peerCertificate
        self.isPeerVerified = isPeerVerified
        self.isResumed = isResumed
    }
}

/// The details of a connection that has some.
final class DetailsBox {
    var value: ConnectionDetails

    init(_ value: ConnectionDetails) { self.value = value }
}
