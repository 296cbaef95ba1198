// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc
internal import Torsion
@_spi(Tool) internal import TorsionCore
internal import TorsionTLS

/// The two ends of the command's one conversation.
final class TerminalSession {
    private(set) var failure: (any Error)?
    /// Both sides have said all.
    private(set) var isComplete = false
    /// Nobody reads standard output any more.
    private(set) var isOutputBroken = false
    private var hasPeerEnded = false
    private var hasInputEnded = false
    private let isOutputClosed = ClosedOutput.isSo
    /// A reader that takes its time (`| less`) does not lose what has arrived.
    private let gracePeriod = Duration.seconds(86_400)

    /// Puts standard input and output beside the connection, and a pipe in each direction.
    func joinTerminal(to remote: TerminalSide, on reactor: Reactor) throws {
        let local = TerminalSide(self)
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
        // it has left by standard output. But a peer that has said all may still listen, and nothing
        // but the answer to a byte tells: so input that nobody types is sent to its end, as nc(1) does.
        // Pipes take the protocols' places, and of their destinations say only that they were lost.
        reactor.watchLoss(of: terminal) { [self] why in localLost(why) }
        reactor.watchLoss(of: peer) { [self] why in peerLost(why, on: reactor) }
        peer.pipe(to: terminal)
            .addCallback { [self] byteCount in
                if isOutputClosed, byteCount > 0 {
                    throw ClosedOutput(what: "what the other side sends")
                }
                hasPeerEnded = true
                if hasInputEnded || isatty(STDIN_FILENO) == 1 { end(on: reactor) }
            }
            .whenFailed { [self] error in end(with: error, on: reactor) }
        terminal.pipe(to: peer)
            .addCallback { [self] _ in
                hasInputEnded = true
                if hasPeerEnded { end(on: reactor) }
            }
            // Its failure says no more than the other's, or than the loss of its end.
            .whenFailed { _ in }
        // The connection is the program: a signal ends both sides, not the terminal first.
        reactor.addTrigger(.during, .shutdown) { peer.loseConnection() }
    }

    private func end(on reactor: Reactor) {
        // A signal closes both sides as well.
        if !reactor.isStopping { isComplete = true }
        reactor.stop(within: gracePeriod)
    }

    /// Behind its end: nobody takes what is left of the input.
    private func peerLost(_ why: ConnectionLoss, on reactor: Reactor) {
        guard hasPeerEnded, !reactor.isStopping else { return }
        if !why.isClean, failure == nil { failure = why }
        end(on: reactor)
    }

    func end(with error: any Error, on reactor: Reactor) {
        if failure == nil { failure = error }
        reactor.stop(within: .zero)
    }

    private func localLost(_ why: ConnectionLoss) {
        guard case .failed(let error) = why else { return }
        isOutputBroken = error.code == .brokenPipe
        // It says more than the pipe, which only knows that its end was lost.
        failure = error
    }
}

/// One end, until a pipe takes it over.
final class TerminalSide: StreamProtocol {
    private let session: TerminalSession
    private let isVerbose: Bool
    private(set) var transport: (any StreamTransport)?
    var whenMade: ((any StreamTransport) -> Void)?

    init(_ session: TerminalSession, isVerbose: Bool = false) {
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
