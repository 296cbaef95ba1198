// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion
@_spi(Tool) internal import TorsionCore
internal import TorsionTLS

/// `torsion connect`: joins standard input and output to a server.
struct ConnectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connect",
        abstract: "Send standard input to a server, and print what it sends.",
        discussion: """
            The end of standard input is passed on; the command ends with the server. If whoever reads \
            standard output has gone, it ends as other tools do: by SIGPIPE, without a word. Over \
            TLS the server's certificate is verified, and a server that ends without TLS's farewell \
            is an error: tls:HOST:PORT, with the options name, roots, alpn, certificate and key. A \
            child process may be the server, exec:PROGRAM:ARGUMENT:ARGUMENT; if it exits otherwise \
            than with 0, that is an error.
            """)

    @Argument(
        help:
            "Where to connect to, for example tcp:example.org:80, tls:example.org:443, unix:/run/echo or exec:sort:-u."
    )
    var endpoint: String

    @Flag(help: "Tell on standard error what TLS has agreed on, and the server's certificate.")
    var verbose = false

    @Option(help: "libuv, epoll or io_uring; else what TORSION_BACKEND names, else libuv.")
    var backend: String?

    func validate() throws {
        _ = try readEndpoint(endpoint, EndpointParser.commandLine().client(parsing:))
        _ = try BackendChoice.chosen(backend)
    }

    func run() throws {
        let endpoint = try readEndpoint(endpoint, EndpointParser.commandLine().client(parsing:))
        let backend = try BackendChoice.chosen(backend)
        let session = Session()
        let dies = BrokenPipeSignal.isDefault
        try reportingErrors {
            try Reactor.run(backend: backend) { reactor in
                endpoint.connect(on: reactor) { Side(session, isVerbose: verbose) }
                    .addCallback { remote in try session.joinTerminal(to: remote, on: reactor) }
                    .whenFailed { error in session.end(with: error, on: reactor) }
            }
            if session.isOutputBroken, dies { BrokenPipeSignal.raise() }
            if let failure = session.failure { throw failure }
        }
    }
}

/// The two ends of the command's one conversation.
private final class Session {
    private(set) var failure: (any Error)?
    /// Nobody reads standard output any more.
    private(set) var isOutputBroken = false
    /// A reader that takes its time (`| less`) does not lose what has arrived.
    private let gracePeriod = Duration.seconds(86_400)

    /// Puts standard input and output beside the connection, and a pipe in each direction.
    func joinTerminal(to remote: Side, on reactor: Reactor) throws {
        let local = Side(self)
        local.whenMade = { [unowned self] terminal in
            guard let peer = remote.transport else { return terminal.loseConnection() }
            join(peer, terminal, on: reactor)
        }
        var endpoint = ServerEndpoint.standardStreams
        endpoint.options.closeTimeout = gracePeriod
        try endpoint.listen(on: reactor) { local }
    }

    private func join(
        _ peer: any StreamTransport, _ terminal: any StreamTransport, on reactor: Reactor
    ) {
        // What the peer sends is the command's result: with its end the command ends, once all of
        // it has left by standard output.
        // Pipes take the protocols' places, and of their destinations say only that they were lost.
        reactor.watchLoss(of: terminal) { [self] why in localLost(why) }
        pipe(from: peer, to: terminal)
            .addCallback { [gracePeriod] _ in _ = reactor.stop(within: gracePeriod) }
            .whenFailed { [self] error in end(with: error, on: reactor) }
        // Its failure says no more than the other's.
        pipe(from: terminal, to: peer).whenFailed { _ in }
        // The connection is the program: a signal ends both sides, not the terminal first.
        reactor.addTrigger(.during, .shutdown) { peer.loseConnection() }
    }

    func end(with error: any Error, on reactor: Reactor) {
        if failure == nil { failure = error }
        reactor.stop(within: .zero)
    }

    private func localLost(_ why: ConnectionLoss) {
        if case .failed(let error) = why, error.code == .brokenPipe {
            isOutputBroken = true
            failure = error
        }
    }
}

/// One end, until a pipe takes it over.
private final class Side: StreamProtocol {
    private let session: Session
    private let isVerbose: Bool
    private(set) var transport: (any StreamTransport)?
    var whenMade: ((any StreamTransport) -> Void)?

    init(_ session: Session, isVerbose: Bool = false) {
        self.session = session
        self.isVerbose = isVerbose
    }

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        // Nothing is read before there is somewhere to put it.
        transport.pauseProducing()
        if isVerbose { _ = writeStandardError(described(transport.security)) }
        whenMade?(transport)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        if !why.isClean { session.end(with: why, on: transport.reactor) }
    }
}

/// What was agreed on, in lines.
private func described(_ security: TransportSecurity?) -> String {
    guard let security else { return "the connection is not encrypted\n" }
    var lines = ["\(security.version) \(security.cipher)"]
    lines.append("application protocol: \(security.applicationProtocol ?? "none")")
    if let bytes = security.peerCertificate, let shown = try? TLSCertificate(der: bytes) {
        let names = shown.serverNames.joined(separator: ", ")
        let digest = shown.digest.map { hexadecimal($0) }.joined()
        lines.append("certificate: \(shown.subject), for \(names.isEmpty ? "no server" : names)")
        lines.append("  issued by \(shown.issuer)")
        lines.append("  valid from \(shown.notBefore) to \(shown.notAfter)")
        lines.append("  SHA-256 \(digest)")
    }
    return lines.map { $0 + "\n" }.joined()
}

private func hexadecimal(_ byte: UInt8) -> String {
    (byte < 16 ? "0" : "") + String(byte, radix: 16)
}
