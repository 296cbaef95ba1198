// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

// No timer is moved for a message. Each connection has one, which looks at how long the peer has been
// silent, and comes again when that may have lasted too long.

extension WebSocketConnection {
    func planLook() {
        look?.cancel()
        look = nil
        guard let transport, let instant = machine.nextLook else { return }
        let reactor = transport.reactor
        look = reactor.callLater(reactor.now.duration(to: instant)) { [self] in
            look = nil
            lookAtTime()
        }
    }

    private func lookAtTime() {
        guard let transport else { return }
        let action = machine.look(
            at: transport.reactor.now, queuedByteCount: transport.pendingByteCount,
            takenByteCount: takenByteCount, isPaused: isPausedByProgram)
        switch action {
        case .none: planLook()
        case .ping:
            planLook()
            send(0x80 | FrameOpcode.ping, RawSpan())
        case .expire(.silence):
            transport.abortConnection(because: ConnectionLoss.deadlinePassed(.idle))
        case .expire(.closing):
            let reason = ConnectionLoss.deadlinePassed(.closing)
            // What the kernel has still arrives, our close frame too; what it refuses does not.
            if transport.pendingByteCount > 0 {
                transport.abortConnection(because: reason)
            } else {
                output?.stopProducing()
                transport.unregisterProducer()
                transport.loseConnection(because: reason)
            }
        }
    }

    private var takenByteCount: Int { putByteCount - (transport?.pendingByteCount ?? 0) }

    // MARK: Closing

    private func noteQueue() {
        machine.closingBegins(
            queuedByteCount: transport?.pendingByteCount ?? 0, takenByteCount: takenByteCount)
    }

    /// - Parameters:
    ///   - code: One that may be sent.
    ///   - reason: At most 123 bytes.
    ///   - delivers: Whether the peer's messages are delivered up to its close frame.
    func close(_ code: WebSocketCloseCode, reason: String, delivers: Bool = false) {
        guard let transport else { return closeLater(code, reason) }
        guard machine.close(at: transport.reactor.now, delivers: delivers) else { return }
        noteQueue()
        putClose(code, reason)
        planLook()
        if delivers { return }
        // The peer's close frame has to be read, whatever was paused.
        readOn()
        mailbox?.closed()
    }

    private func putClose(_ code: WebSocketCloseCode, _ reason: String) {
        guard code != .none else { return put(0x80 | FrameOpcode.close, RawSpan()) }
        let payload = Bytes { writer in
            writer.writeInteger(code.rawValue)
            writer.write(reason)
        }
        put(0x80 | FrameOpcode.close, payload.span)
    }

    private func readOn() {
        guard isPausedByProgram || isThrottled else { return }
        isPausedByProgram = false
        isThrottled = false
        transport?.resumeProducing()
    }

    func closeReceived(_ code: UInt16?, _ payload: RawSpan) {
        guard let transport else { return }
        let action = machine.closeReceived(at: transport.reactor.now)
        if action == .none { return }
        noteQueue()
        let code = code.map { WebSocketCloseCode(rawValue: $0) } ?? .none
        let reason = payload.byteCount > 2 ? String(decoding: payload[2...]) : ""
        farewell = (code, reason)
        wasAnswered = true
        switch action {
        case .none: return
        case .answer(let ends):
            putClose(code, "")
            end(ends)
        case .accept(let ends): end(ends)
        }
        mailbox?.closed()
    }

    /// - Parameter isNow: Else the server ends the connection; a client that waits in vain aborts it.
    private func end(_ isNow: Bool) {
        // A producer would be waited for.
        output?.stopProducing()
        transport?.unregisterProducer()
        if isNow { transport?.loseConnection() }
        planLook()
    }

    /// The peer broke the protocol: it is told, and the connection ends.
    @inline(never)
    func peerFailed(_ error: WebSocketError) { fail(error.closeCode, because: error) }

    /// The program threw.
    @inline(never)
    func programFailed(_ error: any Error) { fail(.internalError, because: error) }

    private func fail(_ code: WebSocketCloseCode, because error: any Error) {
        let mayTell = machine.fail()
        if farewell == nil { farewell = (code, "") }
        if mayTell { putClose(code, (error as? WebSocketError).map { "\($0)" } ?? "") }
        planLook()
        output?.stopProducing()
        transport?.unregisterProducer()
        transport?.loseConnection(because: error)
    }

    // MARK: The end

    func shutdownRequested(_ transport: any StreamTransport) {
        mailbox?.shutdownRequested()
        close(.goingAway, reason: "")
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        look?.cancel()
        look = nil
        _ = machine.fail()
        let loss = WebSocketLoss(
            code: farewell?.code ?? .abnormal, reason: farewell?.reason ?? "",
            isClean: wasAnswered, cause: why)
        note(loss)
        let lostOutput = output
        let lostProtocol = proto
        let lostSocket = socket
        let lostMailbox = mailbox
        self.transport = nil
        proto = nil
        socket = nil
        mailbox = nil
        lostOutput?.stopProducing()
        output = nil
        lostMailbox?.lost(loss)
        if let lostProtocol, let lostSocket { lostProtocol.connectionLost(loss, from: lostSocket) }
    }
}
