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
    let checkPeer: TLSPeerCheck?
    let choose: TLSChoice?
    private let template: ContextTemplate
    private let namedIdentities: [(name: String, identity: TLSIdentity)]
    private let current: Mutex<CurrentContext>

    /// Checks a configuration.
    ///
    /// - Parameter configuration: Read once; the context can be shared by ports and threads.
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
        settings.stops_at_hello = configuration.choose == nil ? 0 : 1
        settings.may_refuse = configuration.checkPeer == nil ? 0 : 1
        var template = try ContextTemplate(
            settings, roots, configuration.identity, configuration.applicationProtocols,
            (configuration.minimumVersion, configuration.maximumVersion))
        template.truncation = configuration.truncation
        template.keyLog = configuration.keyLog
        template.startsWithSmallRecords = configuration.startsWithSmallRecords
        if configuration.hasSessionTickets {
            template.ticketKeys = configuration.ticketKeys ?? TLSTicketKeys()
        }
        var named: [(String, TLSIdentity)] = []
        for (name, identity) in configuration.identitiesByName {
            named.append((try validServerName(name), identity))
        }
        self.template = template
        namedIdentities = named
        checkPeer = configuration.checkPeer
        choose = configuration.choose
        current = Mutex(try CurrentContext(template, named))
    }

    /// That of the next connection: made anew when a ``CertificateSource`` has changed.
    ///
    /// If that fails, which it does only without memory, the former one goes on.
    var shared: SharedContext {
        current.withLock { current in
            guard current.isOutdated(template, namedIdentities) else { return current.context }
            if let next = try? CurrentContext(template, namedIdentities) { current = next }
            return current.context
        }
    }
}

/// A client's configuration, checked and ready: connections share its roots and sessions.
///
/// `endpoint.tls(_:serverName:)` makes one for you. Usable on any thread.
public final class TLSClientContext: Sendable {
    let requiresApplicationProtocol: Bool
    let checkPeer: TLSPeerCheck?
    let sessions: SessionCache?
    private let template: ContextTemplate
    private let current: Mutex<CurrentContext>

    /// Checks a configuration.
    ///
    /// - Parameter configuration: Read once; the context can be shared by connections and threads.
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
        let mayRefuse = configuration.checkPeer != nil || configuration.requiresApplicationProtocol
        settings.may_refuse = mayRefuse ? 1 : 0
        requiresApplicationProtocol = configuration.requiresApplicationProtocol
        checkPeer = configuration.checkPeer
        sessions = configuration.resumesSessions ? SessionCache() : nil
        var template = try ContextTemplate(
            settings, configuration.roots, configuration.identity,
            configuration.applicationProtocols,
            (configuration.minimumVersion, configuration.maximumVersion))
        template.truncation = configuration.truncation
        template.keyLog = configuration.keyLog
        template.startsWithSmallRecords = configuration.startsWithSmallRecords
        self.template = template
        current = Mutex(try CurrentContext(template, []))
    }

    /// As ``TLSServerContext/shared``.
    var shared: SharedContext {
        current.withLock { current in
            guard current.isOutdated(template, []) else { return current.context }
            if let next = try? CurrentContext(template, []) { current = next }
            return current.context
        }
    }
}

/// A context, and how often its identities had changed when it was made.
private struct CurrentContext {
    let context: SharedContext
    private let generation: Int

    init(
        _ template: ContextTemplate, _ named: [(name: String, identity: TLSIdentity)]
    ) throws(TLSError) {
        // Asked first: what changes meanwhile is noticed at the next connection.
        generation = Self.generation(template, named)
        context = try SharedContext(template)
        for (name, identity) in named { try context.add(identity, for: name) }
    }

    func isOutdated(
        _ template: ContextTemplate, _ named: [(name: String, identity: TLSIdentity)]
    ) -> Bool { Self.generation(template, named) != generation }

    /// Numbers only grow, and so does their sum.
    private static func generation(
        _ template: ContextTemplate, _ named: [(name: String, identity: TLSIdentity)]
    ) -> Int {
        named.reduce(template.identity?.latest.generation ?? 0) { sum, next in
            sum + next.identity.latest.generation
        }
    }
}

/// What contexts are made of, checked.
private struct ContextTemplate: Sendable {
    private let isServer: Bool
    private let verification: Int32
    private let versions: (oldest: TLSVersion, newest: TLSVersion)
    private let roots: TLSRoots?
    private let protocolNames: [UInt8]
    private let hasTickets: Bool
    private let stopsAtHello: Bool
    private let mayRefuse: Bool
    let identity: TLSIdentity?
    var truncation = TLSTruncation.isLoss
    var keyLog: TLSKeyLog?
    var ticketKeys: TLSTicketKeys?
    var startsWithSmallRecords = true

    init(
        _ settings: torsion_tls_settings, _ roots: TLSRoots?, _ identity: TLSIdentity?,
        _ protocols: [String], _ versions: (oldest: TLSVersion, newest: TLSVersion)
    ) throws(TLSError) {
        guard versions.oldest <= versions.newest else {
            throw TLSError(
                .unusableConfiguration, "the oldest version is newer than the newest one")
        }
        isServer = settings.is_server == 1
        verification = settings.verification
        hasTickets = settings.has_tickets == 1
        stopsAtHello = settings.stops_at_hello == 1
        mayRefuse = settings.may_refuse == 1
        self.versions = versions
        self.roots = roots
        self.identity = identity
        protocolNames = try Self.encoded(protocols)
    }

    /// OpenSSL's object.
    func make(_ identity: IdentityBox?) throws(TLSError) -> OpaquePointer {
        var settings = torsion_tls_settings()
        settings.is_server = isServer ? 1 : 0
        settings.verification = verification
        settings.minimum_version = versions.oldest.rawValue
        settings.maximum_version = versions.newest.rawValue
        settings.has_tickets = hasTickets ? 1 : 0
        settings.stops_at_hello = stopsAtHello ? 1 : 0
        settings.may_refuse = mayRefuse ? 1 : 0
        settings.logs_keys = keyLog == nil ? 0 : 1
        settings.roots = roots?.box?.raw
        settings.tickets = ticketKeys?.raw
        settings.identity = identity?.raw
        var failure = torsion_tls_failure()
        let made = protocolNames.withUnsafeBufferPointer { names in
            settings.protocols = names.baseAddress
            settings.protocol_count = names.count
            return torsion_tls_context_new(&settings, &failure)
        }
        guard let made else { throw TLSError(failure) }
        return made
    }

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

/// OpenSSL's `SSL_CTX`.
///
/// `@unchecked`: it is set up by the thread that makes it; then OpenSSL lets any thread make
/// connections of it.
final class SharedContext: @unchecked Sendable {
    let raw: OpaquePointer
    let truncation: TLSTruncation
    let keyLog: TLSKeyLog?
    let startsWithSmallRecords: Bool
    /// OpenSSL's object uses them.
    private let ticketKeys: TLSTicketKeys?

    fileprivate init(_ template: ContextTemplate) throws(TLSError) {
        truncation = template.truncation
        keyLog = template.keyLog
        startsWithSmallRecords = template.startsWithSmallRecords
        ticketKeys = template.ticketKeys
        raw = try template.make(template.identity?.latest.identity)
    }

    deinit { torsion_tls_context_free(raw) }

    fileprivate func add(_ identity: TLSIdentity, for name: String) throws(TLSError) {
        let box = identity.latest.identity
        guard torsion_tls_context_add_identity(raw, name, box.raw) == 1 else {
            throw TLSError(.outOfMemory, "there is no memory")
        }
    }
}

/// The keys of a server's session tickets, which several configurations may share.
///
/// All reactors of a `ReactorGroup` share those of one context, so that each resumes every client's
/// session. The keys of a process are not those of another: it makes them itself.
///
/// A session that was begun without a client's certificate is not resumed by a configuration that
/// wants one. Usable on any thread.
public final class TLSTicketKeys: @unchecked Sendable {
    // `@unchecked`: C has a lock of its own.
    let raw: OpaquePointer

    /// Keys that are made when they are needed.
    ///
    /// - Parameter period: How often a new one is made, in whole seconds from 1 on. Tickets of the one
    ///   before are good as well: a ticket lives for one to two periods, and OpenSSL's two hours at
    ///   most.
    public init(rotatingEvery period: Duration = .seconds(12 * 3600)) {
        let seconds = period.components.seconds
        precondition(seconds >= 1, "TLSTicketKeys: rotatingEvery is a second or more")
        guard let raw = torsion_tls_tickets_new(seconds) else {
            fatalError("TLSTicketKeys: there is no memory")
        }
        self.raw = raw
    }

    deinit { torsion_tls_tickets_free(raw) }

    /// Makes a new key for the tickets from now on; those of the latest one stay good.
    ///
    /// Called twice, it ends all sessions.
    public func rotate() { torsion_tls_tickets_rotate(raw) }
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
