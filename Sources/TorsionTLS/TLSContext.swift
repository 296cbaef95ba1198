// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import CTorsionTLS
internal import Synchronization

/// A server's configuration, checked and ready: connections share its certificates and ticket keys.
///
/// `endpoint.tls(_:)` makes one for you. Make one yourself for `transport.startTLS(_:)`, or so that
/// several ports resume each other's sessions. Usable on any thread.
public final class TLSServerContext: Sendable {
    let shared: SharedContext

    /// Checks a configuration.
    ///
    /// - Throws: ``TLSError`` for what cannot be used.
    public init(_ configuration: TLSServer) throws(TLSError) {
        var settings = torsion_tls_settings()
        settings.is_server = 1
        var roots: TLSRoots?
        (settings.verification, roots) =
            switch configuration.clientCertificates {
            case .ignored: (Int32(TORSION_TLS_VERIFY_NOTHING.rawValue), nil)
            case .wanted(let roots): (Int32(TORSION_TLS_VERIFY_IF_SHOWN.rawValue), roots)
            case .required(let roots): (Int32(TORSION_TLS_VERIFY_CHAIN.rawValue), roots)
            }
        if let roots, roots.box == nil {
            throw TLSError(
                .unusableConfiguration,
                "client certificates need roots of their own: the system's are for servers")
        }
        settings.has_tickets = configuration.hasSessionTickets ? 1 : 0
        shared = try SharedContext(
            settings, roots, configuration.identity, configuration.applicationProtocols,
            (configuration.minimumVersion, configuration.maximumVersion),
            truncation: configuration.truncation, keyLog: configuration.keyLog)
        for (name, identity) in configuration.identitiesByName {
            let name = try validServerName(name)
            guard torsion_tls_context_add_identity(shared.raw, name, identity.box.raw) == 1 else {
                throw TLSError(.outOfMemory, "there is no memory")
            }
        }
    }
}

/// A client's configuration, checked and ready: connections share its roots and sessions.
///
/// `endpoint.tls(_:serverName:)` makes one for you. Usable on any thread.
public final class TLSClientContext: Sendable {
    let shared: SharedContext
    let requiresApplicationProtocol: Bool
    let sessions: SessionCache?

    /// Checks a configuration.
    ///
    /// - Throws: ``TLSError`` for what cannot be used.
    public init(_ configuration: TLSClient = TLSClient()) throws(TLSError) {
        var settings = torsion_tls_settings()
        settings.verification =
            switch configuration.verification {
            case .chainAndName: Int32(TORSION_TLS_VERIFY_NAME.rawValue)
            case .insecurelyChainOnly: Int32(TORSION_TLS_VERIFY_CHAIN.rawValue)
            case .insecurelyNothing: Int32(TORSION_TLS_VERIFY_NOTHING.rawValue)
            }
        settings.has_tickets = configuration.resumesSessions ? 1 : 0
        requiresApplicationProtocol = configuration.requiresApplicationProtocol
        sessions = configuration.resumesSessions ? SessionCache() : nil
        shared = try SharedContext(
            settings, configuration.roots, configuration.identity,
            configuration.applicationProtocols,
            (configuration.minimumVersion, configuration.maximumVersion),
            truncation: configuration.truncation, keyLog: configuration.keyLog)
    }
}

/// OpenSSL's `SSL_CTX`.
///
/// `@unchecked`: it is set up by the thread that makes it; then OpenSSL lets any thread make
/// connections of it.
final class SharedContext: @unchecked Sendable {
    let raw: OpaquePointer
    let truncation: TLSTruncation
    let keyLog: TLSKeyLog?

    init(
        _ settings: torsion_tls_settings, _ roots: TLSRoots?, _ identity: TLSIdentity?,
        _ protocols: [String], _ versions: (oldest: TLSVersion, newest: TLSVersion),
        truncation: TLSTruncation, keyLog: TLSKeyLog?
    ) throws(TLSError) {
        self.truncation = truncation
        self.keyLog = keyLog
        var settings = settings
        guard versions.oldest <= versions.newest else {
            throw TLSError(
                .unusableConfiguration, "the oldest version is newer than the newest one")
        }
        settings.minimum_version = versions.oldest.rawValue
        settings.maximum_version = versions.newest.rawValue
        settings.logs_keys = keyLog == nil ? 0 : 1
        settings.roots = roots?.box?.raw
        settings.identity = identity?.box.raw
        let names = try Self.encoded(protocols)
        var failure = torsion_tls_failure()
        let made = names.withUnsafeBufferPointer { names in
            settings.protocols = names.baseAddress
            settings.protocol_count = names.count
            return torsion_tls_context_new(&settings, &failure)
        }
        guard let made else { throw TLSError(failure) }
        raw = made
    }

    deinit { torsion_tls_context_free(raw) }

    /// RFC 7301 §3.1: each name behind its length.
    private static func encoded(_ protocols: [String]) throws(TLSError) -> [UInt8] {
        var bytes: [UInt8] = []
        for name in protocols {
            guard 1...255 ~= name.utf8.count else {
                throw TLSError(
                    .unusableConfiguration,
                    "the name of an application protocol has 1 to 255 bytes: \"\(name)\"")
            }
            bytes.append(UInt8(name.utf8.count))
            bytes += name.utf8
        }
        guard bytes.count < 65_536 else {
            throw TLSError(.unusableConfiguration, "there are too many application protocols")
        }
        return bytes
    }
}

/// Sessions of servers, by name and port.
///
/// In TLS 1.3 each is used once, as RFC 8446 §C.4 wants; the server's next ticket takes its place.
final class SessionCache: Sendable {
    private static let limit = 1_024
    private let table = Mutex([String: [UInt8]]())

    func take(_ server: String) -> [UInt8]? {
        table.withLock { $0.removeValue(forKey: server) }
    }

    func put(_ session: [UInt8], for server: String) {
        table.withLock { table in
            // Any will do: one that is missed costs a whole handshake.
            if table.count >= Self.limit, table[server] == nil {
                table.remove(at: table.startIndex)
            }
            table[server] = session
        }
    }
}

/// A name as a certificate has it, or an address.
///
/// What OpenSSL would take for something else is refused: an empty name turns its check off, one that
/// begins with a dot stands for all names below, and one with a zero is cut there.
func validServerName(_ name: String) throws(TLSError) -> String {
    var bytes = Array(name.utf8)
    if bytes.count > 1, bytes.last == UInt8(ascii: ".") { bytes.removeLast() }
    let isFine =
        1...253 ~= bytes.count && bytes[0] != UInt8(ascii: ".")
        && bytes.allSatisfy { 0x21...0x7e ~= $0 }
    guard isFine else {
        throw TLSError(
            .unusableConfiguration,
            "a server's name has 1 to 253 printable ASCII characters, the first of them no dot")
    }
    return String(decoding: bytes, as: UTF8.self)
}

#endif
