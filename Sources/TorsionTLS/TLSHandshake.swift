// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import CTorsionTLS
internal import TorsionCore

/// What a connection needs until it is made and its session's ticket is sent.
final class TLSHandshake {
    /// Seconds since 1970; -1 for the machine's time.
    let now: Int64
    /// What a client offers to resume.
    var usedSession: [UInt8]?
    /// What has come until the client's hello was whole, if the program chooses by that.
    var hello: [UInt8] = []
    var isChosen: Bool
    /// What the program decides by.
    var pending: AnyDeferred?
    /// Sends the ticket if the program writes nothing.
    var ticket: DelayedCall?

    init(now: Int64, isChosen: Bool) {
        self.now = now
        self.isChosen = isChosen
    }
}

extension TLSFilter {
    /// Ports may have sessions of different servers.
    private var sessionName: String { "\(serverName ?? "") \(peerAddress)" }

    func beginHandshake() throws(TLSError) {
        // Without services that know the time, dates are compared with the machine's.
        let now = (try? reactor.wallTime().seconds) ?? -1
        let handshake = TLSHandshake(now: now, isChosen: server?.choose == nil)
        self.handshake = handshake
        raw = try makeRaw(handshake)
        guard let raw, let client else { return }
        if let session = client.sessions?.take(sessionName) {
            torsion_tls_use_session(raw, session, session.count)
            handshake.usedSession = session
        }
        var input = Input(start: nil, count: 0)
        inCall { shakeHands(&input) }
    }

    private func makeRaw(_ handshake: TLSHandshake) throws(TLSError) -> OpaquePointer {
        let made = withOptionalCString(serverName) {
            torsion_tls_new(context.raw, $0, handshake.now)
        }
        guard let made else { throw TLSError(.outOfMemory, "there is no memory for a connection") }
        if handshake.isChosen { torsion_tls_pass_hello(made) }
        return made
    }

    func shakeHands(_ input: inout Input) {
        guard let raw, let handshake else { return }
        keepBuffers()
        var result: Int32
        var before: Input
        repeat {
            before = input
            result = sending { torsion_tls_handshake(raw, &input.start, &input.count, &$0) }
            if !handshake.isChosen {
                let used = before.count - input.count
                handshake.hello += UnsafeBufferPointer(start: before.start, count: used)
            }
            // It has not read all, where it met something else than a handshake on its way.
        } while result == TORSION_TLS_MORE.rawValue && 0 < input.count
            && input.count < before.count
        logKeys(raw)
        switch result {
        case TORSION_TLS_MORE.rawValue: return
        case TORSION_TLS_OK.rawValue: finishHandshake(raw)
        case TORSION_TLS_HELLO.rawValue: choose(raw, handshake, &input)
        case TORSION_TLS_END.rawValue:
            fail(with: TLSError(.protocolViolation, "the peer closed during the handshake"))
        default: fail(with: failure(raw))
        }
    }

    private func finishHandshake(_ raw: OpaquePointer) {
        // Sending its end may have failed.
        guard state == .handshaking else { return }
        let security = security(of: raw)
        if let client, client.requiresApplicationProtocol, security.applicationProtocol == nil {
            sending { torsion_tls_refuse(raw, Self.noApplicationProtocol, &$0) }
            return fail(
                with: TLSError(
                    .noApplicationProtocol, "the server chose none of the application protocols"))
        }
        guard let check = server?.checkPeer ?? client?.checkPeer else {
            return open(raw, security)
        }
        decide({ try check(security, reactor) }) { [self] outcome in
            switch outcome {
            case .success: open(raw, security)
            case .failure(let error):
                sending { torsion_tls_refuse(raw, Self.accessDenied, &$0) }
                fail(with: refusal(error))
            }
        }
    }

    // RFC 8446 §6.2, RFC 7301 §3.2.
    private static let accessDenied: Int32 = 49
    private static let noApplicationProtocol: Int32 = 120

    private func open(_ raw: OpaquePointer, _ security: TransportSecurity) {
        state = .open
        var details = ConnectionDetails()
        details.security = security
        // In TLS 1.2 a server that resumes need not send another ticket, and this one goes on.
        if security.isResumed, security.version == "TLSv1.2", let used = handshake?.usedSession {
            client?.sessions?.put(used, for: sessionName)
        }
        keepSession(raw)
        if torsion_tls_owes_ticket(raw) == 1 {
            handshake?.ticket = reactor.callLater(.milliseconds(100)) { [self] in sendTicket() }
        } else {
            endHandshake()
        }
        agree(details)
        // What was written meanwhile, of a connection that goes on.
        resumeTransmitting()
    }

    /// The program has written nothing that it could go with.
    private func sendTicket() {
        guard let raw, state == .open else { return endHandshake() }
        inCall { sending { torsion_tls_send_ticket(raw, &$0) } }
        endHandshake()
    }

    /// Drops what only a handshake needs.
    func endHandshake() {
        guard let handshake = handshake.take() else { return }
        handshake.ticket?.cancel()
        handshake.pending?.cancel()
    }

    func keepSession(_ raw: OpaquePointer) {
        guard let sessions = client?.sessions else { return }
        if let session = taken({ torsion_tls_take_session(raw, &$0) }) {
            sessions.put(session, for: sessionName)
        }
    }

    private func security(of raw: OpaquePointer) -> TransportSecurity {
        var name: UnsafePointer<UInt8>?
        let count = torsion_tls_protocol(raw, &name)
        let application = UnsafeBufferPointer(start: name, count: count)
        return TransportSecurity(
            version: String(cString: torsion_tls_version(raw)),
            cipher: String(cString: torsion_tls_cipher(raw)),
            applicationProtocol: count > 0 ? String(decoding: application, as: UTF8.self) : nil,
            serverName: serverName ?? torsion_tls_server_name(raw).map { String(cString: $0) },
            peerCertificate: taken { torsion_tls_peer_certificate(raw, &$0) }.map { Bytes($0) },
            isPeerVerified: torsion_tls_is_peer_verified(raw) == 1,
            isResumed: torsion_tls_is_resumed(raw) == 1)
    }

    // MARK: What the program decides

    /// Asks the program, and goes on with its answer: at once if it has one, else in a turn of its own.
    ///
    /// Nothing is read meanwhile.
    private func decide<Answer>(
        _ ask: () throws -> Deferred<Answer>,
        _ goOn: @escaping (Result<Answer, any Error>) -> Void
    ) {
        state = .deciding
        let decision: Deferred<Answer>
        do { decision = try ask() } catch { return goOn(.failure(error)) }
        var isAtOnce = true
        let link = decision.addBoth { [self] outcome in
            handshake?.pending = nil
            guard state == .deciding else { return }
            if isAtOnce { return goOn(outcome) }
            reactor.callLater(.zero) { [self] in
                guard state == .deciding else { return }
                inCall { goOn(outcome) }
                resumeReceiving()
            }
        }
        isAtOnce = false
        guard link.isPending, state == .deciding else { return }
        handshake?.pending = link
        pauseReceiving()
    }

    private func refusal(_ error: any Error) -> TLSError {
        (error as? TLSError) ?? TLSError(.refusedHere, "refused here: \(error)")
    }

    private func choose(_ raw: OpaquePointer, _ handshake: TLSHandshake, _ input: inout Input) {
        guard let choose = server?.choose else { return }
        var bytes: UnsafePointer<UInt8>?
        let count = torsion_tls_hello_protocols(raw, &bytes)
        let hello = TLSClientHello(
            serverName: torsion_tls_hello_name(raw).map { String(cString: $0) },
            applicationProtocols: names(UnsafeBufferPointer(start: bytes, count: count)))
        decide({ try choose(hello, reactor) }) { [self] outcome in
            switch outcome {
            case .success(let chosen): goOn(with: chosen, handshake)
            case .failure(let error):
                sending { torsion_tls_refuse_hello(raw, &$0) }
                fail(with: refusal(error))
            }
        }
        if state == .handshaking, input.count > 0 { shakeHands(&input) }
    }

    /// Begins again, as if the client had come to this configuration in the first place.
    private func goOn(with chosen: TLSServerContext?, _ handshake: TLSHandshake) {
        if let chosen {
            server = chosen
            context = chosen.shared
        }
        state = .handshaking
        handshake.isChosen = true
        do { replace(try makeRaw(handshake)) } catch { return fail(with: error) }
        let hello = handshake.hello
        handshake.hello = []
        hello.withUnsafeBufferPointer { bytes in
            var input = Input(start: bytes.baseAddress, count: bytes.count)
            shakeHands(&input)
        }
    }

    /// RFC 7301 §3.1: each behind its length.
    private func names(_ list: UnsafeBufferPointer<UInt8>) -> [String] {
        var found: [String] = []
        var at = 0
        while at < list.count, at + 1 + Int(list[at]) <= list.count {
            let end = at + 1 + Int(list[at])
            found.append(String(decoding: list[(at + 1)..<end], as: UTF8.self))
            at = end
        }
        return found
    }
}

#endif
