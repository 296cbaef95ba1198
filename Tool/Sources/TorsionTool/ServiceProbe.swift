// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Synchronization
internal import Torsion
@_spi(Tool) internal import TorsionCore
internal import TorsionTLS

/// What a probe of a service has found.
struct ProbeReport: Encodable {
    struct Resolution: Encodable {
        let name: String
        let addresses: [String]
        let milliseconds: Double
    }

    struct Connection: Encodable {
        let peer: String
        /// Without TLS.
        let milliseconds: Double
    }

    struct Security: Encodable {
        let version: String
        let cipher: String
        let applicationProtocol: String?
        let certificate: String?
        let notAfter: String?
        /// From when the stream was connected until its handshake was done.
        let milliseconds: Double
    }

    struct FirstByte: Encodable {
        /// From when all before was done.
        let milliseconds: Double
        let byteCount: Int
    }

    var up = false
    var attempts = 0
    var seconds = 0.0
    var resolution: Resolution?
    var connection: Connection?
    var security: Security?
    var firstByte: FirstByte?

    /// For people.
    var lines: [String] {
        var lines: [String] = []
        if let resolution {
            let addresses = resolution.addresses.joined(separator: ", ")
            lines.append(
                "resolved \(resolution.name) in \(resolution.milliseconds) ms: \(addresses)")
        }
        if let connection {
            lines.append("connected to \(connection.peer) in \(connection.milliseconds) ms")
        }
        if let security {
            let certificate = security.certificate.map { ", certificate \($0)" } ?? ""
            let end = security.notAfter.map { " until \($0)" } ?? ""
            lines.append(
                "agreed on \(security.version) \(security.cipher) in \(security.milliseconds) ms"
                    + certificate + end)
        }
        if let firstByte {
            lines.append(
                "first \(firstByte.byteCount) bytes after \(firstByte.milliseconds) ms")
        }
        let tries = attempts == 1 ? "" : ", at attempt \(attempts)"
        return lines + [Colour.green("up") + " after \(seconds) s\(tries)"]
    }
}

/// Asks a service whether it is there, once or until it is.
final class ServiceProbe {
    private enum Step: String {
        case resolving = "resolving its name"
        case connecting
        case agreeing = "it is connected, and agreeing on TLS"
        case waiting = "it is connected, and waiting for its first byte"
    }

    private let endpoint: any StreamClientEndpoint
    /// As it was asked for.
    private let place: String
    /// What is looked up before it is connected to; nil for a place without a name.
    private let host: String?
    private let limit: Duration
    private let triesAgain: Bool
    private let waitsForByte: Bool
    private(set) var report = ProbeReport()
    private(set) var failure: (any Error)?
    /// Told why it is not up yet: when that is another reason than before.
    var whenNotYet: (String) -> Void = { _ in }
    private var lastReason = ""
    private var start: MonotonicInstant!
    /// What it is about.
    private var step = Step.resolving
    private var arrival: Arrival?
    private var delay = Duration.milliseconds(50)
    private static let longestDelay = Duration.seconds(1)

    init(
        _ endpoint: any StreamClientEndpoint, place: String, host: String?, limit: Duration,
        triesAgain: Bool,
        waitsForByte: Bool
    ) {
        self.endpoint = endpoint
        self.place = place
        self.host = host
        self.limit = limit
        self.triesAgain = triesAgain
        self.waitsForByte = waitsForByte
    }

    /// The name that an endpoint's text has, if it has one to be looked up.
    static func host(of text: String) -> String? {
        let words = text.split(separator: ":", omittingEmptySubsequences: false)
        guard words.count > 2, ["tcp", "tls"].contains(words[0]) else { return nil }
        let name = String(words[1].hasPrefix("host=") ? words[1].dropFirst(5) : words[1])
        let isAddress = name.hasPrefix("[") || SocketAddress(host: name, port: 0) != nil
        return isAddress || name.isEmpty ? nil : name
    }

    func start(on reactor: Reactor) throws {
        start = reactor.now
        let resolver = try reactor.resolver
        attempt(on: reactor, resolver)
    }

    private func attempt(on reactor: Reactor, _ resolver: any NameResolver) {
        report = ProbeReport(attempts: report.attempts + 1)
        let left = limit - start.duration(to: reactor.now)
        step = .resolving
        resolve(on: reactor, resolver)
            .addCallback { [self] in connect(on: reactor) }
            .addTimeout(max(.milliseconds(1), left))
            .addBoth { [self] (result: Result<Void, any Error>) in
                switch result {
                case .success:
                    report.up = true
                    report.seconds = seconds(start.duration(to: reactor.now))
                    reactor.stop(within: .zero)
                case .failure(let error):
                    failed(placed(error), on: reactor, resolver)
                }
            }
    }

    /// With what was tried, and where, if the error does not say that itself.
    private func placed(_ error: any Error) -> any Error {
        if step == .connecting, arrival?.time != nil { step = .agreeing }
        return error is TimeoutError
            ? PlacedError("\(place): \(step.rawValue)", error) : PlacedError.of(error, at: place)
    }

    private func failed(_ error: any Error, on reactor: Reactor, _ resolver: any NameResolver) {
        let left = limit - start.duration(to: reactor.now)
        guard triesAgain, left > delay, !reactor.isStopping else {
            if !reactor.isStopping { failure = error }
            _ = reactor.stop(within: .zero)
            return
        }
        let reason = (error as? IOError)?.sentence ?? "\(error)"
        if reason != lastReason { whenNotYet(reason) }
        lastReason = reason
        reactor.callLater(delay) { self.attempt(on: reactor, resolver) }
        delay = min(delay * 2, Self.longestDelay)
    }

    private func resolve(
        on reactor: Reactor, _ resolver: any NameResolver
    ) -> Deferred<Void> {
        guard let host else { return .succeeded((), on: reactor) }
        let start = reactor.now
        return resolver.resolve(host, port: 0).addCallback { [self] addresses in
            report.resolution = ProbeReport.Resolution(
                name: host, addresses: addresses.map { $0.host ?? "\($0)" },
                milliseconds: milliseconds(start.duration(to: reactor.now)))
        }
    }

    private func connect(on reactor: Reactor) -> Deferred<Void> {
        let start = reactor.now
        let byte = Deferred<Void>(on: reactor)
        let arrival = Arrival()
        self.arrival = arrival
        step = .connecting
        return endpoint.filteredNextToNetwork { ArrivalClock(arrival) }.connect(on: reactor) {
            [self] in
            let made = reactor.now
            return Side(waitsForByte ? byte : nil) { count in
                self.report.firstByte = ProbeReport.FirstByte(
                    milliseconds: milliseconds(made.duration(to: reactor.now)), byteCount: count)
            }
        }.addCallback { [self] side in
            guard let transport = side.transport else { throw ConnectionLoss.closedByPeer }
            let connected = arrival.time ?? reactor.now
            report.connection = ProbeReport.Connection(
                peer: "\(transport.peerAddress)",
                milliseconds: milliseconds(start.duration(to: connected)))
            report.security = transport.security.map { security in
                Self.described(security, connected.duration(to: reactor.now))
            }
            step = .waiting
            return waitsForByte ? byte : .succeeded((), on: reactor)
        }
    }

    private static func described(
        _ security: TransportSecurity, _ handshake: Duration
    ) -> ProbeReport.Security {
        let certificate = security.peerCertificate.flatMap { try? TLSCertificate(der: $0) }
        return ProbeReport.Security(
            version: security.version, cipher: security.cipher,
            applicationProtocol: security.applicationProtocol,
            certificate: certificate.map { "\($0.subject)" },
            notAfter: certificate.map { "\($0.notAfter)" },
            milliseconds: milliseconds(handshake))
    }

    /// This end of the connection, which says nothing.
    private final class Side: StreamProtocol {
        private(set) var transport: (any StreamTransport)?
        private let byte: Deferred<Void>?
        private let whenRead: (Int) -> Void
        private var isDone = false

        init(_ byte: Deferred<Void>?, _ whenRead: @escaping (Int) -> Void) {
            self.byte = byte
            self.whenRead = whenRead
        }

        func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            guard !isDone, let byte else { return }
            isDone = true
            whenRead(bytes.byteCount)
            byte.succeed()
        }

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            guard !isDone, let byte else { return }
            isDone = true
            byte.fail(EndedSilently(cause: why))
        }
    }
}

/// When a stream was connected.
private final class Arrival: Sendable {
    private let instant = Mutex<MonotonicInstant?>(nil)

    var time: MonotonicInstant? { instant.withLock { $0 } }

    func note(_ time: MonotonicInstant) { instant.withLock { $0 = time } }
}

/// Stands next to the network, and so is called before TLS begins.
private final class ArrivalClock: StreamFilter {
    private let arrival: Arrival

    init(_ arrival: Arrival) {
        self.arrival = arrival
        super.init()
    }

    override func begin() {
        arrival.note(reactor.now)
        withdraw()
    }
}

/// The server was there, and has sent nothing.
private struct EndedSilently: CausedError, CustomStringConvertible {
    let cause: any Error
    var description: String { "the server sent nothing: \(cause)" }
}
