// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Carries one WebSocket over a transport: what the two pure parts decide, ``WebSocketDecoder`` and
/// ``WebSocketStateMachine``.
///
/// The program is called when everything here is in its place, and nothing that was read before is used
/// afterwards. Its parts: this file, what arrives; `+Sending`; `+Ending`, closes, times and losses.
final class WebSocketConnection: StreamProtocol {
    let isServer: Bool
    let options: WebSocketOptions
    let subprotocol: String?
    /// `nil` if it was not agreed on.
    let compression: MessageCompression?
    @exclusivity(unchecked) var transport: (any StreamTransport)? {
        didSet { link = transport.map { WebSocketLink($0) } }
    }
    /// The same, to send by.
    @exclusivity(unchecked) private var link: WebSocketLink? {
        didSet { unsafe unretainedLink = link.map { .passUnretained($0) } }
    }
    @exclusivity(unchecked) private(set) var unretainedLink: Unmanaged<WebSocketLink>?
    @exclusivity(unchecked) var machine: WebSocketStateMachine
    @exclusivity(unchecked) private var decoder: WebSocketDecoder
    /// There from `connectionMade` on.
    @exclusivity(unchecked) var shared: WebSocketShared!
    /// That of ``shared``.
    @exclusivity(unchecked) private var block: UnsafeMutablePointer<WebSocketShared.Block>!

    /// One of the two is there until the loss: a protocol with callbacks, or what tasks read from.
    @exclusivity(unchecked) var proto: (any WebSocketProtocol)?
    @exclusivity(unchecked) var mailbox: WebSocketMailbox?
    /// What the protocol is given; tasks hold theirs, whose last reference closes.
    @exclusivity(unchecked) var socket: WebSocket?
    /// What only some need: producers, broadcasts, tasks that wait for room.
    @exclusivity(unchecked) var output: WebSocketOutput?

    @exclusivity(unchecked) var look: DelayedCall?
    /// Bytes handed to the transport, but for headers of long frames.
    @exclusivity(unchecked) var putByteCount = 0
    /// What the program wants, and what a full queue wants.
    @exclusivity(unchecked) var isPausedByProgram = false
    @exclusivity(unchecked) var isThrottled = false
    /// The peer's close frame, or ours to a peer that broke the protocol.
    @exclusivity(unchecked) var farewell: (code: WebSocketCloseCode, reason: String)?
    /// Whether the peer has sent a close frame.
    @exclusivity(unchecked) var wasAnswered = false
    /// Called once, behind the protocol's `connectionMade`.
    var whenMade: (() -> Void)?
    /// A close that came before the connection.
    private var earlyClose: (code: WebSocketCloseCode, reason: String)?
    /// How the connection ended, when it has.
    private(set) var loss: WebSocketLoss?
    private(set) var place: (id: ConnectionID, peer: SocketAddress)?
    private(set) var reactorWhenMade: Reactor?

    /// - Parameters:
    ///   - isServer: Which side this is.
    ///   - options: Checked.
    ///   - terms: What was agreed on.
    init(isServer: Bool, _ options: WebSocketOptions, _ terms: WebSocketTerms) {
        self.isServer = isServer
        self.options = options
        subprotocol = terms.subprotocol
        compression = terms.compression.map {
            MessageCompression(
                $0, isServer: isServer,
                minimumByteCount: options.compression?.minimumByteCount ?? 0)
        }
        machine = WebSocketStateMachine(
            isServer: isServer,
            WebSocketStateMachine.Times(
                pingInterval: options.pingInterval, closeTimeout: options.closeTimeout),
            at: MonotonicInstant(nanoseconds: 0))
        decoder = WebSocketDecoder(
            from: isServer ? .client : .server, messageLimitBytes: options.messageLimitBytes,
            frameLimitBytes: options.frameLimitBytes,
            mayBeCompressed: terms.compression != nil)
    }

    var reactor: Reactor {
        guard let reactorWhenMade else {
            mistake("WebSocket: there is no connection yet; wait for connectionMade")
        }
        return reactorWhenMade
    }

    var id: ConnectionID {
        guard let place else {
            mistake("WebSocket: there is no connection yet; wait for connectionMade")
        }
        return place.id
    }

    var peerAddress: SocketAddress { place?.peer ?? .ipv4(.any, port: 0) }

    var isOpen: Bool { transport != nil && machine.maySend }

    // MARK: What arrives

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        reactorWhenMade = transport.reactor
        place = (transport.id, transport.peerAddress)
        shared = transport.reactor.companion(of: WebSocketShared.self)
        unsafe block = shared.block
        machine.heard(at: transport.reactor.now)
        planLook()
        if mailbox != nil {
            useOutput()
        } else if let proto {
            // Not before: a connection that is refused would be held by it for ever.
            let made = WebSocket(self, mailbox: nil)
            socket = made
            do { try proto.connectionMade(made) } catch { programFailed(error) }
        }
        let whenMade = whenMade.take()
        whenMade?()
        if let early = earlyClose.take() { close(early.code, reason: early.reason) }
    }

    /// The program closes what is not open yet.
    func closeLater(_ code: WebSocketCloseCode, _ reason: String) {
        if loss == nil { earlyClose = (code, reason) }
    }

    func note(_ loss: WebSocketLoss) { self.loss = loss }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        // Asking the transport for its reactor would retain it.
        unsafe block.pointee.reactor._withUnsafeGuaranteedRef { machine.heard(at: $0.now) }
        if unsafe block.pointee.isScratchLent {
            receiveInside(bytes, transport)
        } else {
            // The block is gone with its reactor, later than any connection.
            let block: UnsafeMutablePointer<WebSocketShared.Block> = unsafe block
            unsafe block.pointee.isScratchLent = true
            let scratch = unsafe block.pointee.scratch
            unsafe receive(bytes, transport, scratch)
            unsafe block.pointee.isScratchLent = false
        }
    }

    /// While another connection's message is being delivered, which has the scratch.
    @inline(never)
    private func receiveInside(_ bytes: RawSpan, _ transport: any StreamTransport) {
        let scratch = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(bytes.byteCount, WebSocketDecoder.controlFrameLimitBytes), alignment: 8)
        defer { unsafe scratch.deallocate() }
        unsafe receive(bytes, transport, scratch)
    }

    @inline(__always)
    private func receive(
        _ bytes: RawSpan, _ transport: any StreamTransport,
        _ scratch: UnsafeMutableRawBufferPointer
    ) {
        var position = 0
        do throws(WebSocketError) {
            while true {
                let short = unsafe decoder.takeShortMessage(bytes, &position, scratch: scratch)
                if short >= 0 {
                    let count = short & 0xffff_ffff
                    let kind: WebSocketMessage.Kind = short &>> 32 == 1 ? .text : .binary
                    if isServer {
                        let message = unsafe UnsafeRawBufferPointer(
                            start: scratch.baseAddress, count: count)
                        deliver(unsafe message.bytes, kind)
                    } else {
                        deliver(bytes.extracting((position &- count)..<position), kind)
                    }
                    if position == bytes.byteCount { return }
                    guard transport.isDelivering else {
                        return transport.unread(bytes[position...])
                    }
                    continue
                }
                let event = try unsafe decoder.next(bytes, &position, scratch: scratch)
                guard unsafe handle(event, bytes, scratch) else { return }
                if position == bytes.byteCount { return }
                // The program may have paused, or ended the connection.
                if !transport.isDelivering {
                    return transport.unread(bytes[position...])
                }
            }
        } catch {
            peerFailed(error)
        }
    }

    /// - Returns: Whether there may be more events.
    @inline(__always)
    private func handle(
        _ event: WebSocketDecoder.Event, _ bytes: RawSpan,
        _ scratch: UnsafeMutableRawBufferPointer
    ) -> Bool {
        switch event {
        case .needsMore: return false
        case .message(let isText, let isCompressed, let place):
            let kind: WebSocketMessage.Kind = isText ? .text : .binary
            if isCompressed { return unsafe inflate(place, bytes, scratch, kind) }
            switch place {
            case .input(let range): deliver(bytes.extracting(range), kind)
            case .scratch(let count):
                let message = unsafe UnsafeRawBufferPointer(rebasing: scratch[..<count])
                deliver(unsafe message.bytes, kind)
            case .held: deliverHeld(kind)
            }
        case .ping(let place): withPayload(place, bytes, scratch) { pingReceived($0) }
        case .close(let code, let place):
            withPayload(place, bytes, scratch) { closeReceived(code, $0) }
        // A sign of life, as anything is.
        case .pong: break
        }
        return true
    }

    /// Delivers a compressed message.
    ///
    /// - Returns: Whether there may be more events.
    @inline(never)
    private func inflate(
        _ place: WebSocketDecoder.Place, _ bytes: RawSpan,
        _ scratch: UnsafeMutableRawBufferPointer, _ kind: WebSocketMessage.Kind
    ) -> Bool {
        let held = place == .held ? decoder.takeHeld() : nil
        guard machine.delivers, let compression else { return true }
        let shared = shared.compression
        let output = shared.takeBuffer()
        defer { shared.giveBack(output) }
        do {
            let inflate = { [limit = options.messageLimitBytes] (message: RawSpan) throws in
                try compression.inflate(message, into: output, limitBytes: limit, shared)
            }
            switch place {
            case .input(let range): try inflate(bytes.extracting(range))
            case .scratch(let count):
                let message = unsafe UnsafeRawBufferPointer(rebasing: scratch[..<count])
                try inflate(unsafe message.bytes)
            case .held:
                if let held { try inflate(unsafe held.bytes.bytes) }
            }
            let message = unsafe output.bytes
            var check = TextCheck()
            let isValid = kind == .binary || check.add(unsafe message.bytes) && check.isComplete
            guard isValid else { throw WebSocketError.notUTF8 }
            deliver(unsafe message.bytes, kind)
            return true
        } catch let error as WebSocketError {
            peerFailed(error)
        } catch {
            programFailed(error)
        }
        return false
    }

    @inline(never)
    private func deliverHeld(_ kind: WebSocketMessage.Kind) {
        guard let held = decoder.takeHeld() else { return }
        let message = unsafe held.bytes
        deliver(unsafe message.bytes, kind)
        extendLifetime(held)
    }

    /// A control frame's payload, which the decoder does not hold.
    @inline(never)
    private func withPayload(
        _ place: WebSocketDecoder.Place, _ bytes: RawSpan,
        _ scratch: UnsafeMutableRawBufferPointer, _ body: (RawSpan) -> Void
    ) {
        switch place {
        case .input(let range): body(bytes.extracting(range))
        case .scratch(let count):
            let payload = unsafe UnsafeRawBufferPointer(rebasing: scratch[..<count])
            body(unsafe payload.bytes)
        case .held: break
        }
    }

    @inline(__always)
    private func deliver(_ message: RawSpan, _ kind: WebSocketMessage.Kind) {
        // Behind our close frame nothing is delivered, as a rule.
        guard machine.delivers else { return }
        // Taken out and put back: calling them where they are would retain both. Nothing else arrives
        // meanwhile, and a loss is delivered behind the present event.
        guard let calledProtocol = proto.take(), let calledSocket = socket.take() else {
            mailbox?.messageReceived(message, kind)
            return
        }
        var failure: (any Error)?
        do {
            try calledProtocol.messageReceived(message, kind, from: calledSocket)
        } catch {
            failure = error
        }
        proto = calledProtocol
        socket = calledSocket
        if let failure { programFailed(failure) }
    }

    // MARK: Slowing down

    func pauseReceiving() {
        isPausedByProgram = true
        transport?.pauseProducing()
    }

    func resumeReceiving() {
        guard isPausedByProgram else { return }
        isPausedByProgram = false
        if !isThrottled { transport?.resumeProducing() }
    }

    func setThrottled(_ isFull: Bool) {
        guard isThrottled != isFull else { return }
        isThrottled = isFull
        if isFull {
            transport?.pauseProducing()
        } else if !isPausedByProgram {
            transport?.resumeProducing()
        }
    }
}

/// The transport of a connection as a constant: reading a variable one retains it for each message.
///
/// What is called of it while bytes are written does not end the connection, which holds this.
final class WebSocketLink {
    let transport: any StreamTransport

    init(_ transport: any StreamTransport) { self.transport = transport }
}

extension WebSocketConnection: InvariantChecking {
    private var heldLimitBytes: Int {
        let limit = options.messageLimitBytes
        return WebSocketDecoder.controlFrameLimitBytes
            + (compression == nil ? limit : WebSocketDecoder.compressedLimit(for: limit))
    }

    func checkInvariants() {
        require(
            transport != nil || look == nil, "WebSocketConnection: a timer outlives its connection")
        require(
            decoder.heldByteCount <= heldLimitBytes,
            "WebSocketConnection: holds \(decoder.heldByteCount) bytes")
        require(
            !isThrottled || output != nil, "WebSocketConnection: throttled without a full queue")
    }
}
