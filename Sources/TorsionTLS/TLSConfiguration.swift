// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import CTorsionTLS
public import TorsionCore

/// A version of the protocol.
public enum TLSVersion: Int32, Hashable, Sendable, Comparable {
    /// TLS 1.2, RFC 5246: only with ECDHE and AEAD.
    case v12 = 0x0303
    /// TLS 1.3, RFC 8446.
    case v13 = 0x0304

    /// Older is less.
    ///
    /// - Parameters:
    ///   - left: A version.
    ///   - right: Another version.
    /// - Returns: Whether `left` is older.
    public static func < (left: TLSVersion, right: TLSVersion) -> Bool {
        left.rawValue < right.rawValue
    }
}

/// The meaning of an end without `close_notify`.
public enum TLSTruncation: Hashable, Sendable {
    /// `ConnectionLoss/truncated`: an attacker between the peers may have cut it.
    case isLoss
    /// An end as any other, for protocols whose messages say themselves where they end.
    case isEnd
}

/// Takes lines of NSS's key log format, with which Wireshark opens a recorded connection.
///
/// Called on the reactor of the connection.
public typealias TLSKeyLog = @Sendable (_ lines: String) -> Void

/// Decides for a program whether a peer is welcome, behind OpenSSL's own verification.
///
///     server.checkPeer = { peer, reactor in
///         reactor.spawn { try await accounts.check(peer.peerCertificate) }
///     }
///
/// Called on the connection's reactor when the handshake is done, also of a resumed session, before
/// the connection is made; reading waits meanwhile. The handshake's deadline counts on. If the
/// Deferred fails, or the closure throws, the connection ends with ``TLSError/Cause/refusedHere``.
/// A client of TLS 1.3 and a server of TLS 1.2 get the alert `access_denied`; the other two see an
/// end without `close_notify`, since OpenSSL cannot send one then.
public typealias TLSPeerCheck =
    @Sendable (_ peer: TransportSecurity, _ reactor: Reactor) throws -> Deferred<Void>

/// The wishes of a client in its first message, before the handshake.
///
/// They are not verified. A plain value, usable on any thread.
public struct TLSClientHello: Hashable, Sendable {
    /// The name that it asks for: RFC 6066 §3.
    ///
    /// `nil` without one, or if it is not a host's name.
    public var serverName: String?

    /// The protocols that it offers by RFC 7301, the preferred first.
    public var applicationProtocols: [String]

    /// Describes a client, for tests of a choice.
    ///
    /// - Parameters:
    ///   - serverName: The name it asks for; `nil` without one.
    ///   - applicationProtocols: Its offer, the preferred first.
    public init(serverName: String? = nil, applicationProtocols: [String] = []) {
        self.serverName = serverName
        self.applicationProtocols = applicationProtocols
    }
}

/// Chooses how a server goes on with a client, by what that asks for.
///
///     server.choose = { hello, reactor in
///         reactor.spawn { try await tenants.context(for: hello.serverName) }
///     }
///
/// Called on the connection's reactor; it may answer at once (`Deferred.succeeded`) or later, while
/// the handshake's deadline counts on. Keep the contexts: making one for each connection costs more
/// than a handshake, and prevents resumption.
///
/// - Returns: The configuration to go on with, as if the client had come to a port of its own; `nil` for
///   the one that asks. If it fails, the client gets the alert `unrecognized_name`.
public typealias TLSChoice =
    @Sendable (_ hello: TLSClientHello, _ reactor: Reactor) throws -> Deferred<TLSServerContext?>

/// How a server speaks TLS.
///
///     let identity = try TLSIdentity.files(certificate: "cert.pem", key: "key.pem")
///     try ServerEndpoint.tcp(port: 443).tls(TLSServer(identity)).listen(on: reactor) { Echo() }
///
/// A plain value, usable on any thread.
public struct TLSServer: Sendable {
    /// Which certificate clients have to show.
    public enum ClientCertificates: Sendable {
        /// The server does not ask for one.
        case ignored
        /// One is asked for, and verified if there is one.
        case wanted(TLSRoots)
        /// Without one that leads to these roots the handshake fails.
        case required(TLSRoots)
    }

    /// Shown to clients without a name, or with one that ``identitiesByName`` lacks.
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

    /// The protocols that are offered by RFC 7301, the preferred first: "h2", "http/1.1".
    ///
    /// A client that offers only others is refused; one without an offer is accepted.
    public var applicationProtocols: [String] = []

    /// Whether clients get tickets to resume sessions by.
    public var hasSessionTickets = true

    /// The keys of the tickets; `nil` makes some for the configuration's context, which all reactors that
    /// share it use.
    public var ticketKeys: TLSTicketKeys?

    /// Decides about each peer behind OpenSSL's verification; `nil` takes all that pass that.
    public var checkPeer: TLSPeerCheck?

    /// Chooses a configuration for each client by what that asks for; `nil` takes this one.
    ///
    /// The choice of a configuration that was chosen is not asked.
    public var choose: TLSChoice?

    /// The meaning of an end without `close_notify`.
    public var truncation = TLSTruncation.isLoss

    /// Takes the secrets of each connection, for looking into a recording; `nil` as a rule.
    public var keyLog: TLSKeyLog?

    /// Whether large writes begin in records that fit a segment.
    ///
    /// A record is opened when all of it has come. So the first 64 KiB, and those behind a second's
    /// rest, go in records of 1,369 bytes, if they are written 4 KiB or more at a time; all others in
    /// records of 16 KiB.
    public var startsWithSmallRecords = true

    /// A server with this identity, and the defaults.
    ///
    /// - Parameter identity: Shown to every client.
    public init(_ identity: TLSIdentity) { self.identity = identity }

    /// A server with what this source has, for each connection anew.
    ///
    /// - Parameter source: Asked at each handshake for what to show.
    public init(_ source: CertificateSource) { identity = .following(source) }
}

/// How a client speaks TLS.
///
/// By default it verifies the server's certificate, up to the system's roots, and its name.
///
///     ClientEndpoint.tcp(host: "example.org", port: 443).tls(serverName: "example.org")
///
/// A plain value, usable on any thread.
public struct TLSClient: Sendable {
    /// The parts of a server's certificate that are verified.
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

    /// The parts of a server's certificate that are verified.
    public var verification = Verification.chainAndName

    /// Shown to a server that asks for a certificate.
    public var identity: TLSIdentity?

    /// The oldest version that is spoken.
    public var minimumVersion = TLSVersion.v12

    /// The newest version that is spoken.
    public var maximumVersion = TLSVersion.v13

    /// The protocols that are offered by RFC 7301, the preferred first.
    public var applicationProtocols: [String] = []

    /// Whether a server must choose one of ``applicationProtocols``.
    public var requiresApplicationProtocol = false

    /// Whether sessions are resumed; they are kept with the configuration's context, for 1,024 servers.
    public var resumesSessions = true

    /// The meaning of an end without `close_notify`.
    public var truncation = TLSTruncation.isLoss

    /// Takes the secrets of each connection, for looking into a recording; `nil` as a rule.
    public var keyLog: TLSKeyLog?

    /// Decides about each server behind ``verification``; `nil` takes all that pass that.
    public var checkPeer: TLSPeerCheck?

    /// As ``TLSServer/startsWithSmallRecords``.
    public var startsWithSmallRecords = true

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
