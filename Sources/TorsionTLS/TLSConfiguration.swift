// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import CTorsionTLS

/// A version of the protocol.
public enum TLSVersion: Int32, Hashable, Sendable, Comparable {
    /// TLS 1.2, RFC 5246: only with ECDHE and AEAD.
    case v12 = 0x0303
    /// TLS 1.3, RFC 8446.
    case v13 = 0x0304

    /// Older is less.
    public static func < (left: TLSVersion, right: TLSVersion) -> Bool {
        left.rawValue < right.rawValue
    }
}

/// What an end of the connection without `close_notify` means.
public enum TLSTruncation: Hashable, Sendable {
    /// `ConnectionLoss/truncated`: somebody between the peers may have cut it.
    case isLoss
    /// An end as any other, for protocols whose messages say themselves where they end.
    case isEnd
}

/// Takes lines of NSS's key log format, with which Wireshark opens a recorded connection.
///
/// Called on the reactor of the connection.
public typealias TLSKeyLog = @Sendable (_ lines: String) -> Void

/// How a server speaks TLS.
///
///     let identity = try TLSIdentity.files(certificate: "cert.pem", key: "key.pem")
///     try ServerEndpoint.tcp(port: 443).tls(TLSServer(identity)).listen(on: reactor) { Echo() }
///
/// A plain value, usable on any thread.
public struct TLSServer: Sendable {
    /// Which certificate clients have to show.
    public enum ClientCertificates: Sendable {
        /// None is asked for.
        case ignored
        /// One is asked for, and verified if there is one.
        case wanted(TLSRoots)
        /// Without one that leads to these roots the handshake fails.
        case required(TLSRoots)
    }

    /// Shown to clients that ask for no name, or for one that ``identitiesByName`` has not.
    public var identity: TLSIdentity

    /// Shown to clients that ask for one of these names: RFC 6066 §3.
    ///
    /// `*.example.org` covers one label.
    public var identitiesByName: [String: TLSIdentity] = [:]

    /// Which certificate clients have to show.
    public var clientCertificates = ClientCertificates.ignored

    /// The oldest version that is spoken.
    public var minimumVersion = TLSVersion.v12

    /// The newest version that is spoken.
    public var maximumVersion = TLSVersion.v13

    /// What is offered by RFC 7301, the preferred first: "h2", "http/1.1".
    ///
    /// A client that offers others only is refused; one that offers none is not.
    public var applicationProtocols: [String] = []

    /// Whether clients get tickets to resume sessions by.
    ///
    /// The key of the tickets is made with the configuration's context and kept as long as that, so
    /// that all reactors that share it resume each other's sessions.
    public var hasSessionTickets = true

    /// What an end without `close_notify` means.
    public var truncation = TLSTruncation.isLoss

    /// Takes the secrets of each connection, for looking into a recording; `nil` as a rule.
    public var keyLog: TLSKeyLog?

    /// A server with this identity, and the defaults.
    public init(_ identity: TLSIdentity) { self.identity = identity }
}

/// How a client speaks TLS.
///
/// By default it verifies the server's certificate, up to the system's roots, and its name.
///
///     ClientEndpoint.tcp(host: "example.org", port: 443).tls(serverName: "example.org")
///
/// A plain value, usable on any thread.
public struct TLSClient: Sendable {
    /// What of a server is verified.
    public enum Verification: Hashable, Sendable {
        /// That its certificate leads to a root, is valid now, and is for the server's name.
        case chainAndName
        /// Any name: everybody with a certificate of one of the roots can pose as the server.
        case insecurelyChainOnly
        /// Everybody can pose as the server.
        case insecurelyNothing
    }

    /// The authorities that are trusted.
    public var roots = TLSRoots.system

    /// What of a server is verified.
    public var verification = Verification.chainAndName

    /// Shown to a server that asks for a certificate.
    public var identity: TLSIdentity?

    /// The oldest version that is spoken.
    public var minimumVersion = TLSVersion.v12

    /// The newest version that is spoken.
    public var maximumVersion = TLSVersion.v13

    /// What is offered by RFC 7301, the preferred first.
    public var applicationProtocols: [String] = []

    /// Whether a server that chooses none of ``applicationProtocols`` is refused.
    public var requiresApplicationProtocol = false

    /// Whether sessions are resumed; they are kept with the configuration's context, for 1,024 servers.
    public var resumesSessions = true

    /// What an end without `close_notify` means.
    public var truncation = TLSTruncation.isLoss

    /// Takes the secrets of each connection, for looking into a recording; `nil` as a rule.
    public var keyLog: TLSKeyLog?

    /// A client with the defaults.
    public init() {}
}

#else

/// How a server speaks TLS, which this build is without: turn the trait on.
@available(
    *, unavailable, message: "depend on Torsion with the trait: .package(…, traits: [\"TLS\"])"
)
public struct TLSServer {}

/// How a client speaks TLS, which this build is without: turn the trait on.
@available(
    *, unavailable, message: "depend on Torsion with the trait: .package(…, traits: [\"TLS\"])"
)
public struct TLSClient {}

#endif
