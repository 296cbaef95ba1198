// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import CTorsionTLS
public import TorsionCore

/// TLS over one connection's stream.
///
/// `endpoint.tls(…)` and `transport.startTLS(…)` make it. The connection is made when the handshake is
/// done and the peer verified; `transport.security` says what was agreed on. Each write of an event up
/// to 16 KiB is one record. A connection that is closed ends with `close_notify`; a peer that ends
/// without one is `ConnectionLoss/truncated`.
public final class TLSFilter: StreamFilter {
    private enum State {
        case handshaking, open
        /// The peer has sent `close_notify`: what comes behind it is dropped.
        case ended
        case failed
        case closed
    }

    private let context: SharedContext
    private let client: TLSClientContext?
    private let serverName: String?
    private var state = State.handshaking
    private var buffers: TLSBuffers!
    private var raw: OpaquePointer?
    private var messages = MessageRate()
    /// What the handshake offers to resume.
    private var usedSession: [UInt8]?
    /// Calls of this filter that use ``raw``, and inside of which the connection may end.
    private var callCount = 0

    /// A server's side of one connection.
    public init(_ context: TLSServerContext) {
        self.context = context.shared
        client = nil
        serverName = nil
        super.init()
    }

    /// A client's side of one connection.
    ///
    /// - Parameters:
    ///   - context: The client's.
    ///   - serverName: The server's name or address, which is verified.
    /// - Throws: ``TLSError`` for a name that cannot be verified.
    public convenience init(_ context: TLSClientContext, serverName: String) throws(TLSError) {
        self.init(context, validName: try validServerName(serverName))
    }

    init(_ context: TLSClientContext, validName: String) {
        self.context = context.shared
        client = context
        serverName = validName
        super.init()
    }

    deinit { if let raw { torsion_tls_free(raw) } }

    // MARK: The handshake

    /// Begins the handshake.
    public override func begin() throws {
        buffers = reactor.companion(of: TLSBuffers.self)
        // Without services that know the time, dates are compared with the machine's.
        let now = (try? reactor.wallTime().seconds) ?? -1
        raw = withOptionalCString(serverName) { torsion_tls_new(context.raw, $0, now) }
        guard let raw else { throw TLSError(.outOfMemory, "there is no memory for a connection") }
        guard client != nil else { return }
        if let session = client?.sessions?.take(sessionName) {
            torsion_tls_use_session(raw, session, session.count)
            usedSession = session
        }
        var input = Input(start: nil, count: 0)
        inCall { shakeHands(raw, &input) }
    }

    /// Keeps OpenSSL's object until the call is over, whatever happens inside.
    private func inCall<Result>(_ body: () -> Result) -> Result {
        callCount += 1
        defer {
            callCount -= 1
            if callCount == 0, state == .closed { free() }
        }
        return body()
    }

    private struct Input {
        var start: UnsafePointer<UInt8>?
        var count: Int
    }

    /// Ports may have sessions of different servers.
    private var sessionName: String { "\(serverName ?? "") \(peerAddress)" }

    private func shakeHands(_ raw: OpaquePointer, _ input: inout Input) {
        var result: Int32
        var before: Int
        repeat {
            before = input.count
            result = sending { torsion_tls_handshake(raw, &input.start, &input.count, &$0) }
            // It has not read all, where it met something else than a handshake on its way.
        } while result == TORSION_TLS_MORE.rawValue && 0 < input.count && input.count < before
        logKeys(raw)
        switch result {
        case TORSION_TLS_MORE.rawValue: return
        case TORSION_TLS_OK.rawValue: finishHandshake(raw)
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
            return fail(
                with: TLSError(
                    .noApplicationProtocol, "the server chose none of the application protocols"))
        }
        state = .open
        var details = ConnectionDetails()
        details.security = security
        // In TLS 1.2 a server that resumes need not send another ticket, and this one goes on.
        if security.isResumed, security.version == "TLSv1.2", let usedSession {
            client?.sessions?.put(usedSession, for: sessionName)
        }
        usedSession = nil
        keepSession(raw)
        agree(details)
        // What was written meanwhile, of a connection that goes on.
        resumeTransmitting()
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

    // MARK: From below

    /// Opens what arrived.
    public override func receive(_ bytes: RawSpan) {
        guard let raw else { return }
        bytes.withUnsafeBytes { bytes in
            bytes.withMemoryRebound(to: UInt8.self) { bytes in
                var input = Input(start: bytes.baseAddress, count: bytes.count)
                inCall { take(&input, raw) }
            }
        }
    }

    private func take(_ input: inout Input, _ raw: OpaquePointer) {
        if state == .handshaking { shakeHands(raw, &input) }
        guard state == .open, input.count > 0 else { return }
        let plain = buffers.takePlain()
        defer { buffers.givePlain(plain) }
        while input.count > 0, state == .open { openRecord(raw, &input, into: plain) }
    }

    private func openRecord(
        _ raw: OpaquePointer, _ input: inout Input, into plain: UnsafeMutablePointer<UInt8>
    ) {
        var count = 0
        let result = sending {
            torsion_tls_open(
                raw, &input.start, &input.count, &$0, plain, TLSBuffers.plainCapacity, &count)
        }
        switch result {
        case TORSION_TLS_OK.rawValue:
            deliver(UnsafeRawBufferPointer(start: plain, count: count).bytes)
        case TORSION_TLS_MORE.rawValue:
            guard torsion_tls_was_idle_record(raw) == 1 else {
                // Only the beginning of a record was left, and OpenSSL has it.
                return input.count = 0
            }
            keepSession(raw)
            logKeys(raw)
            guard messages.admitsOne(at: reactor.now) else {
                return fail(
                    with: TLSError(
                        .tooManyMessages, "the peer sends too many messages that carry nothing"))
            }
        case TORSION_TLS_END.rawValue:
            state = .ended
            deliverEnd()
        default:
            fail(with: failure(raw))
        }
    }

    /// The peer has ended without `close_notify`, unless that came before.
    public override func receiveEnd() throws {
        switch state {
        case .handshaking: try super.receiveEnd()
        case .open where context.truncation == .isEnd:
            state = .ended
            deliverEnd()
        case .open: throw ConnectionLoss.truncated
        case .ended, .failed, .closed: break
        }
    }

    // MARK: From above

    /// Makes one record of what is written.
    public override func transmit(_ bytes: RawSpan) throws -> Int {
        guard let raw, state == .open || state == .ended else { return 0 }
        return try bytes.withUnsafeBytes { bytes in
            try bytes.withMemoryRebound(to: UInt8.self) { bytes in
                guard let start = bytes.baseAddress else { return 0 }
                let result = sending { torsion_tls_seal(raw, start, bytes.count, &$0) }
                guard result == TORSION_TLS_OK.rawValue else {
                    state = .failed
                    throw failure(raw)
                }
                return bytes.count
            }
        }
    }

    /// Says `close_notify`.
    public override func endTransmission() {
        guard let raw, state == .open || state == .ended else { return }
        sending { torsion_tls_end(raw, &$0) }
    }

    /// Frees what OpenSSL keeps.
    public override func closed() {
        state = .closed
        if callCount == 0 { free() }
    }

    private func free() {
        guard let raw else { return }
        self.raw = nil
        torsion_tls_free(raw)
    }

    // MARK: Between both

    /// Calls OpenSSL, and sends what it wants to be sent: also the alert of a call that failed.
    @discardableResult
    private func sending<Result>(_ body: (inout torsion_tls_output) -> Result) -> Result {
        // Not in place: sending may lead to another filter, in memory.
        var output = buffers.takeOutput()
        let result = body(&output)
        if output.count > 0 {
            send(UnsafeRawBufferPointer(start: output.base, count: output.count).bytes)
        }
        buffers.giveOutput(output)
        return result
    }

    /// The alert has been sent; the peer is to get it.
    private func fail(with error: TLSError) {
        guard state != .closed else { return }
        state = .failed
        fail(error, behind: RawSpan())
    }

    private func failure(_ raw: OpaquePointer) -> TLSError {
        var failure = torsion_tls_failure()
        torsion_tls_why(raw, &failure)
        return TLSError(failure, serverName: serverName)
    }

    private func keepSession(_ raw: OpaquePointer) {
        guard let sessions = client?.sessions else { return }
        if let session = taken({ torsion_tls_take_session(raw, &$0) }) {
            sessions.put(session, for: sessionName)
        }
    }

    private func logKeys(_ raw: OpaquePointer) {
        guard let keyLog = context.keyLog else { return }
        if let lines = taken({ torsion_tls_take_key_log(raw, &$0) }) {
            keyLog(String(decoding: lines, as: UTF8.self))
        }
    }
}

/// Bytes that C has made, as an array; nil if there are none.
private func taken(_ body: (inout UnsafeMutablePointer<UInt8>?) -> Int) -> [UInt8]? {
    var bytes: UnsafeMutablePointer<UInt8>?
    let count = body(&bytes)
    defer { torsion_tls_free_bytes(bytes, count) }
    return count > 0 ? Array(UnsafeBufferPointer(start: bytes, count: count)) : nil
}

/// How many messages for TLS itself a peer may send: new keys, tickets.
///
/// Each costs a computation, and none of them is the program's.
private struct MessageRate {
    private static let burst = 100
    private static let perSecond = 100
    private var count = 0
    private var since = MonotonicInstant(nanoseconds: 0)

    mutating func admitsOne(at now: MonotonicInstant) -> Bool {
        if count == 0 { since = now }
        count += 1
        let second: Duration = .seconds(1)
        if count > Self.burst, since.advanced(by: second) <= now {
            count = 1
            since = now
        }
        return count <= Self.burst
    }
}

/// Buffers that connections of a reactor use one after the other.
final class TLSBuffers: ReactorCompanion {
    /// A record holds 16 KiB at most.
    static let plainCapacity = 17 * 1024
    /// Beyond it a buffer goes back to the allocator.
    private static let outputCapacity = 64 * 1024

    private var plain: [UnsafeMutablePointer<UInt8>] = []
    private var output: [torsion_tls_output] = []

    init(on reactor: Reactor) {}

    deinit {
        for buffer in plain { buffer.deallocate() }
        for buffer in output { torsion_tls_free_bytes(buffer.base, 0) }
    }

    func takePlain() -> UnsafeMutablePointer<UInt8> {
        plain.popLast() ?? .allocate(capacity: Self.plainCapacity)
    }

    func givePlain(_ buffer: UnsafeMutablePointer<UInt8>) {
        if plain.count < 2 { plain.append(buffer) } else { buffer.deallocate() }
    }

    func takeOutput() -> torsion_tls_output { output.popLast() ?? torsion_tls_output() }

    func giveOutput(_ buffer: torsion_tls_output) {
        var buffer = buffer
        buffer.count = 0
        if output.count < 2, buffer.capacity <= Self.outputCapacity {
            output.append(buffer)
        } else {
            torsion_tls_free_bytes(buffer.base, 0)
        }
    }
}

#endif
