// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

import CTestCertificates
import Glibc
import TestedBackends
import Testing
import Torsion
import TorsionTLS
import TorsionTesting

let backends = BackendChoice.tested + [.simulated]

/// A certificate and its key, PEM.
struct TestIdentity {
    let certificate: String
    let key: String

    /// Signed by an authority, or by itself; valid from 1970 to 2100 unless it says else.
    init(
        _ name: String, names: String? = nil, isAuthority: Bool = false, by issuer: Self? = nil,
        from first: Int64 = 0, to last: Int64 = 4_102_444_800, bits: Int32 = 0
    ) {
        var texts: [UnsafeMutablePointer<CChar>?] = [nil, nil]
        let signer = issuer.map { $0.certificate + $0.key } ?? ""
        let isMade = name.withCString { name in
            (names ?? "").withCString { names in
                signer.withCString { signer in
                    var what = test_certificate(
                        common_name: name, names: strlen(names) > 0 ? names : nil,
                        is_authority: isAuthority ? 1 : 0, rsa_bits: bits, not_before: first,
                        not_after: last)
                    let issuer = strlen(signer) > 0 ? signer : nil
                    return texts.withUnsafeMutableBufferPointer {
                        test_certificate_make(
                            &what, issuer, $0.baseAddress!, $0.baseAddress! + 1)
                    }
                }
            }
        }
        precondition(isMade == 1, "no certificate could be made")
        certificate = String(cString: texts[0]!)
        key = String(cString: texts[1]!)
        for text in texts { free(text) }
    }

    static let authority = TestIdentity("Test Authority", isAuthority: true)
    static let other = TestIdentity("Other Authority", isAuthority: true)
    static let server = TestIdentity(
        "a.test", names: "DNS:a.test,IP:127.0.0.1", by: .authority)
    static let client = TestIdentity("somebody", by: .authority)

    var tls: TLSIdentity {
        get throws { try .pem(certificates: certificate, key: key) }
    }

    var roots: TLSRoots { get throws { try .pem(certificate) } }

    /// The certificate as a peer sees it.
    var der: Bytes {
        var bytes: UnsafeMutablePointer<UInt8>?
        let count = test_certificate_der(certificate, &bytes)
        defer { free(bytes) }
        return Bytes(Array(UnsafeBufferPointer(start: bytes, count: count)))
    }

    /// RSA of 1,024 bits.
    static let weak = TestIdentity("weak", names: "DNS:a.test", bits: 1_024)
}

/// A folder of PEM files for programs.
final class Folder {
    let path: String
    private var files: [String] = []

    init() {
        var template = Array("/tmp/torsion-tls-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil, "mkdtemp")
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    deinit {
        for file in files { unlink(file) }
        rmdir(path)
    }

    /// Where a file is, or will be.
    @discardableResult
    func file(_ name: String, _ text: String? = nil) -> String {
        let path = "\(path)/\(name)"
        files.append(path)
        guard let text else { return path }
        let file = fopen(path, "w")!
        fputs(text, file)
        fclose(file)
        return path
    }
}

/// The configurations that most tests use.
func serverConfiguration(_ version: TLSVersion? = nil) throws -> TLSServer {
    var server = TLSServer(try TestIdentity.server.tls)
    if let version { (server.minimumVersion, server.maximumVersion) = (version, version) }
    return server
}

func clientConfiguration(_ version: TLSVersion? = nil) throws -> TLSClient {
    var client = TLSClient()
    client.roots = try TestIdentity.authority.roots
    if let version { (client.minimumVersion, client.maximumVersion) = (version, version) }
    return client
}

/// Notes what it is called with.
class Note: StreamProtocol {
    private(set) var transport: (any StreamTransport)?
    private(set) var security: TransportSecurity?
    private(set) var events: [String] = []
    private(set) var byteCount = 0
    private(set) var hash = StreamHash()
    private(set) var loss: ConnectionLoss?
    var recordsText = true
    var whenMade: (any StreamTransport) throws -> Void = { _ in }
    var whenRead: (String, any StreamTransport) throws -> Void = { _, _ in }

    var text: String { events.filter { $0.hasPrefix("<") }.map { $0.dropFirst() }.joined() }

    func add(_ event: String) { events.append(event) }

    func connectionMade(_ transport: any StreamTransport) throws {
        self.transport = transport
        security = transport.security
        events.append("made")
        try whenMade(transport)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        byteCount += bytes.byteCount
        hash.add(bytes)
        guard recordsText else { return }
        let piece = String(decoding: bytes)
        events.append("<" + piece)
        try whenRead(piece, transport)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        events.append("lost")
        self.transport = nil
    }
}

/// As ``Note``, for both directions apart.
final class HalfNote: Note, HalfCloseableProtocol {
    func readConnectionLost(from transport: any StreamTransport) { add("end") }
    func writeConnectionLost(from transport: any StreamTransport) { add("written") }
}

/// Notes handshakes that fail at a port.
final class Failures: PortObserver {
    private(set) var errors: [any Error] = []

    func clientArrived(from peer: SocketAddress) -> (any ConnectionObserver)? { nil }

    func handshakeFailed(_ error: any Error, with peer: SocketAddress) { errors.append(error) }
}

/// One reactor with a TLS port and a TLS client, turned until something has come.
final class Pair {
    let reactor: Reactor
    private(set) var port: ListeningPort!
    let server: Note
    let client: Note
    let failures = Failures()
    private(set) var made = 0
    private(set) var failure: (any Error)?
    private(set) var unhandled: [String] = []
    private let options: StreamOptions

    init(
        _ backend: BackendChoice, server: Note = Note(), client: Note = Note(),
        options: StreamOptions = StreamOptions(), context: TLSServerContext,
        address: SocketAddress = .ipv4(.loopback, port: 0),
        services: (@Sendable (Reactor) throws(IOError) -> any ReactorServices)? = nil
    ) throws {
        reactor = Reactor(backend: backend, services: services)
        (self.server, self.client, self.options) = (server, client, options)
        reactor.unhandledError = { [unowned self] in unhandled.append("\($0)") }
        nonisolated(unsafe) let failures = failures
        let endpoint = ServerEndpoint.address(address, options: options)
            .tls(context).observed(byPort: { failures })
        port = try endpoint.listen(on: reactor) {
            [unowned self] in
            made += 1
            return self.server
        }
    }

    convenience init(
        _ backend: BackendChoice, server: Note = Note(), client: Note = Note(),
        _ configuration: TLSServer? = nil
    ) throws {
        let configuration = try configuration ?? serverConfiguration()
        try self.init(
            backend, server: server, client: client, context: TLSServerContext(configuration))
    }

    /// Connects; ``failure`` is set if it fails.
    @discardableResult
    func connect(
        _ context: TLSClientContext, name: String = "a.test", as proto: Note? = nil
    ) throws -> Deferred<Note> {
        let proto = proto ?? client
        let attempt = try ClientEndpoint.address(port.localAddress, options: options)
            .tls(context, serverName: name).connect(on: reactor) { proto }
        attempt.whenFailed { [unowned self] in failure = $0 }
        return attempt
    }

    func connect(_ configuration: TLSClient? = nil, name: String = "a.test") throws {
        try connect(
            try TLSClientContext(try configuration ?? clientConfiguration()), name: name)
    }

    /// Connects without TLS, as a stranger.
    func connectPlain() {
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { [client] in client }
            .whenFailed { [unowned self] in failure = $0 }
    }

    func run(
        within limit: Duration = .seconds(20), _ place: SourceLocation = #_sourceLocation,
        until isDone: () -> Bool
    ) {
        let end = reactor.now.advanced(by: limit)
        while !isDone(), reactor.now < end { reactor.turn(until: end) }
        #expect(isDone(), sourceLocation: place)
    }

    /// Nothing is left, and nothing was said to be the program's error.
    func finish(_ place: SourceLocation = #_sourceLocation) {
        port.stopListening()
        run(within: .seconds(7), place) {
            // One side may be made while the other is aborted.
            server.transport?.abortConnection()
            client.transport?.abortConnection()
            let figures = reactor.statistics
            return figures.lingeringStreams == 0 && figures.openConnections == 0
                && figures.openHandles == 0
        }
        for _ in 0..<3 { reactor.turn(until: reactor.now) }
        reactor.checkInvariants()
        let figures = reactor.statistics
        reactor.shutDown()
        #expect(
            figures.openHandles == 0 && figures.liveTransports == 0 && figures.delayedCalls == 0,
            "\(figures)", sourceLocation: place)
        #expect(unhandled == [], sourceLocation: place)
    }
}

/// Nothing but a time of day, which goes with the reactor's clock.
final class TimeOfDay: ReactorServices {
    private unowned let reactor: Reactor
    var resolver: any NameResolver { fatalError("names are not asked for") }
    var signals: any SignalSource { fatalError("signals are not asked for") }

    init(_ reactor: Reactor) { self.reactor = reactor }

    func wallTime() throws(IOError) -> WallTime {
        let now = reactor.now.nanoseconds
        return WallTime(
            seconds: 1_800_000_000 + Int64(now / 1_000_000_000),
            nanoseconds: Int32(now % 1_000_000_000))
    }

    func shutDown() {}
}

/// Made once, since tests of damage make thousands of connections.
///
/// No session is resumed, so that all of them are the same.
private struct Contexts {
    let server: TLSServerContext
    let client: TLSClientContext

    init(_ version: TLSVersion?) throws {
        server = try TLSServerContext(serverConfiguration(version))
        var configuration = try clientConfiguration(version)
        configuration.resumesSessions = false
        client = try TLSClientContext(configuration)
    }

    static let v12 = Result { try Contexts(.v12) }
    static let v13 = Result { try Contexts(.v13) }
}

/// Two ends in memory, and what goes over the wire between them.
final class Wire {
    let clock = ManualClock()
    let client: Note
    let server: Note
    let clientEnd: MemoryTransport
    let serverEnd: MemoryTransport
    /// Changes what goes to the server, and to the client.
    var toServer: (Bytes) -> [Bytes] = { [$0] }
    var toClient: (Bytes) -> [Bytes] = { [$0] }
    private var isEndTold = (client: false, server: false)

    init(
        client: Note = Note(), server: Note = Note(), serverFilter: @escaping FilterMaker,
        clientFilter: @escaping FilterMaker, roomBytes: Int = .max
    ) {
        (self.client, self.server) = (client, server)
        clientEnd = MemoryTransport(
            client, clock: clock, roomBytes: roomBytes,
            layers: StreamLayers().filtered(by: clientFilter))
        serverEnd = MemoryTransport(
            server, clock: clock, layers: StreamLayers().filtered(by: serverFilter))
    }

    convenience init(
        client: Note = Note(), server: Note = Note(), _ version: TLSVersion = .v13,
        roomBytes: Int = .max
    ) throws {
        let contexts = try (version == .v12 ? Contexts.v12 : Contexts.v13).get()
        let (context, clientContext) = (contexts.server, contexts.client)
        self.init(
            client: client, server: server, serverFilter: { TLSFilter(context) },
            clientFilter: {
                // "a.test" is a valid name.
                try! TLSFilter(clientContext, serverName: "a.test")
            }, roomBytes: roomBytes)
    }

    /// Carries what both send, and their ends, until nothing moves.
    func carry() {
        for _ in 0..<12 {
            for piece in toServer(clientEnd.takeBytes()) where !piece.isEmpty {
                serverEnd.receive(piece)
            }
            carryEnd(of: clientEnd, to: serverEnd, &isEndTold.client)
            for piece in toClient(serverEnd.takeBytes()) where !piece.isEmpty {
                clientEnd.receive(piece)
            }
            carryEnd(of: serverEnd, to: clientEnd, &isEndTold.server)
            clock.turn()
        }
    }

    private func carryEnd(of from: MemoryTransport, to: MemoryTransport, _ isTold: inout Bool) {
        guard from.hasEnded, !isTold else { return }
        isTold = true
        if from.wasReset { to.peerResets() } else { to.peerCloses() }
    }
}

/// The records of some ciphertext: their types and lengths.
func records(_ bytes: Bytes) -> [(type: UInt8, byteCount: Int)] {
    var found: [(UInt8, Int)] = []
    var at = 0
    while at + 5 <= bytes.count {
        let count = Int(bytes[at + 3]) << 8 | Int(bytes[at + 4])
        found.append((bytes[at], count))
        at += 5 + count
    }
    return found
}

#endif
