// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import CTorsionTLS
public import TorsionCore

/// TLS over one connection's stream.
///
/// `endpoint.tls(…)` and `transport.startTLS(…)` make it. The connection is made when the handshake is
/// done and the peer verified, also by a check of the program's; `transport.security` says what was agreed on. Each write of an event below
/// 4 KiB is one record. A connection that is closed ends with `close_notify`; a peer that ends
/// without one is `ConnectionLoss/truncated`.
public final class TLSFilter: StreamFilter {
    enum State {
        case handshaking
        /// The program chooses a configuration, or checks the peer.
        case deciding
        case open
        /// The peer has sent `close_notify`: what comes behind it is dropped.
        case ended
        case failed
        case closed
    }

    struct Input {
        var start: UnsafePointer<UInt8>?
        var count: Int
    }

    @exclusivity(unchecked) var context: SharedContext
    @exclusivity(unchecked) var server: TLSServerContext?
    let client: TLSClientContext?
    let serverName: String?
    @exclusivity(unchecked) var state = State.handshaking
    @exclusivity(unchecked) private var buffers: TLSBuffers!
    /// Those of ``buffers``, which keeps them: to load a reference would retain it for each message.
    @exclusivity(unchecked) private var scratch: UnsafeMutablePointer<TLSScratch>!
    @exclusivity(unchecked) var raw: OpaquePointer?
    @exclusivity(unchecked) private var messages = MessageRate()
    @exclusivity(unchecked) private var pace = RecordPace()
    /// What is of no use once the connection is made and its ticket sent.
    @exclusivity(unchecked) var handshake: TLSHandshake?
    /// Its place among those that keep OpenSSL's buffers; -1 if it does not.
    @exclusivity(unchecked) private var holderPlace = -1
    /// Calls of this filter that use ``raw``, and inside of which the connection may end.
    @exclusivity(unchecked) private var callCount = 0

    /// A server's side of one connection.
    ///
    /// - Parameter context: Shared with other connections.
    public init(_ context: TLSServerContext) {
        self.context = context.shared
        server = context
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
        server = nil
        serverName = validName
        super.init()
    }

    deinit { free() }

    /// Begins the handshake.
    public override func begin() throws {
        buffers = reactor.companion(of: TLSBuffers.self)
        scratch = buffers.scratch
        try beginHandshake()
    }

    /// Keeps OpenSSL's object until the call is over, whatever happens inside.
    @inline(__always)
    func inCall<Result>(_ body: () -> Result) -> Result {
        callCount += 1
        defer {
            callCount -= 1
            if callCount == 0, state == .closed { free() }
        }
        return body()
    }

    // MARK: From below

    /// Opens what arrived, as long as the connection takes it; the rest stays as it came.
    ///
    /// - Parameter bytes: Records, cut anywhere; borrowed until the call returns.
    public override func receive(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { bytes in
            bytes.withMemoryRebound(to: UInt8.self) { bytes in
                var input = Input(start: bytes.baseAddress, count: bytes.count)
                inCall { take(&input) }
                guard input.count > 0, state == .open || state == .deciding else { return }
                unread(UnsafeRawBufferPointer(start: input.start, count: input.count).bytes)
            }
        }
    }

    private func take(_ input: inout Input) {
        if state == .handshaking { shakeHands(&input) }
        guard state == .open, input.count > 0, isDelivering, let raw else { return }
        keepBuffers()
        let plain = scratch.pointee.takePlain()
        repeat {
            openRecord(raw, &input, into: plain)
        } while input.count > 0 && state == .open && isDelivering
        scratch.pointee.givePlain(plain)
    }

    private func openRecord(
        _ raw: OpaquePointer, _ input: inout Input, into plain: UnsafeMutablePointer<UInt8>
    ) {
        var count = 0
        let result = sending {
            torsion_tls_open(
                raw, &input.start, &input.count, &$0, plain, TLSScratch.plainCapacity, &count)
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
        case .handshaking, .deciding: try super.receiveEnd()
        case .open where context.truncation == .isEnd:
            state = .ended
            deliverEnd()
        case .open: throw ConnectionLoss.truncated
        case .ended, .failed, .closed: break
        }
    }

    // MARK: From above

    /// Several records at once, which are sent by one call.
    public override var transmitLimitBytes: Int { 4 * RecordPace.longest }

    /// Makes records of what is written: one of a small write.
    ///
    /// - Parameter bytes: Written above; borrowed until the call returns.
    /// - Returns: How many of them went into records.
    /// - Throws: ``TLSError``, which ends the connection.
    public override func transmit(_ bytes: RawSpan) throws -> Int {
        guard let raw, state == .open || state == .ended else { return 0 }
        keepBuffers()
        let limit =
            bytes.byteCount >= RecordPace.large && context.startsWithSmallRecords
            ? pace.limit(forWriting: bytes.byteCount, at: reactor.now) : RecordPace.longest
        try bytes.withUnsafeBytes { bytes in
            try bytes.withMemoryRebound(to: UInt8.self) { bytes in
                guard let start = bytes.baseAddress else { return }
                let result = sending { torsion_tls_seal(raw, start, bytes.count, limit, &$0) }
                guard result == TORSION_TLS_OK.rawValue else {
                    state = .failed
                    throw failure(raw)
                }
            }
        }
        if handshake != nil { endHandshake() }
        return bytes.byteCount
    }

    /// Says `close_notify`.
    public override func endTransmission() {
        guard let raw, state == .open || state == .ended else { return }
        endHandshake()
        sending { torsion_tls_end(raw, &$0) }
    }

    /// Frees what OpenSSL keeps.
    public override func closed() {
        state = .closed
        endHandshake()
        if callCount == 0 { free() }
    }

    /// OpenSSL is about to use its buffers.
    @inline(__always)
    func keepBuffers() {
        if holderPlace < 0 { holderPlace = buffers.admit(self) }
    }

    /// Other connections had something to do since this one had.
    ///
    /// In the middle of a record they are needed, and stay until the next one.
    func giveUpBuffers() {
        holderPlace = -1
        if let raw { _ = torsion_tls_free_buffers(raw) }
    }

    /// Puts another object in the place of one that is done.
    func replace(_ next: OpaquePointer) {
        free()
        raw = next
    }

    private func free() {
        if holderPlace >= 0 { buffers.dismiss(holderPlace) }
        holderPlace = -1
        guard let raw else { return }
        self.raw = nil
        torsion_tls_free(raw)
    }

    // MARK: Between both

    /// Calls OpenSSL, and sends what it wants to be sent: also the alert of a call that failed.
    @inline(__always)
    @discardableResult
    func sending<Result>(_ body: (inout torsion_tls_output) -> Result) -> Result {
        let result = body(&scratch.pointee.output)
        if scratch.pointee.output.count > 0 { sendOutput() }
        return result
    }

    /// Not in place: sending may lead to another filter of the reactor, in memory.
    @inline(never)
    private func sendOutput() {
        let output = scratch.pointee.takeOutput()
        send(UnsafeRawBufferPointer(start: output.base, count: output.count).bytes)
        scratch.pointee.giveOutput(output)
    }

    /// The alert has been sent; the peer is to get it.
    func fail(with error: TLSError) {
        guard state != .closed else { return }
        state = .failed
        fail(error, behind: RawSpan())
    }

    func failure(_ raw: OpaquePointer) -> TLSError {
        var failure = torsion_tls_failure()
        torsion_tls_why(raw, &failure)
        return TLSError(failure, serverName: serverName)
    }

    func logKeys(_ raw: OpaquePointer) {
        guard let keyLog = context.keyLog else { return }
        if let lines = taken({ torsion_tls_take_key_log(raw, &$0) }) {
            keyLog(String(decoding: lines, as: UTF8.self))
        }
    }
}

/// Bytes that C has made, as an array; nil if there are none.
func taken(_ body: (inout UnsafeMutablePointer<UInt8>?) -> Int) -> [UInt8]? {
    var bytes: UnsafeMutablePointer<UInt8>?
    let count = body(&bytes)
    defer { torsion_tls_free_bytes(bytes, count) }
    return count > 0 ? Array(UnsafeBufferPointer(start: bytes, count: count)) : nil
}

#endif
