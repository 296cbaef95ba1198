// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Serves HTTP/1.1 on one connection.
///
/// What is to be done is decided by ``ServerStateMachine``; this class carries it out: it parses what
/// arrives, calls the responder, writes what that answers. The responder and all other code of the program
/// are called when everything here is in its place, and nothing that was read before is used afterwards.
///
/// One request at a time. What comes behind it is held: one read here, without a system call, and reading
/// pauses only when more arrives than that. So a client that sends one request after the other costs no
/// pause, and one that goes away is noticed.
///
/// Its parts: this file, what arrives; `+Answering`, what the program says; `+Deadlines`, its times.
final class HTTPConnection: HalfCloseableProtocol {
    let responder: any HTTPResponder
    let options: SharedServerOptions
    @exclusivity(unchecked) var machine = ServerStateMachine()
    @exclusivity(unchecked) private(set) var transport: (any StreamTransport)?
    /// The same for what each request needs, see ``CorkedConnection``; `nil` if it is none.
    @exclusivity(unchecked) private var corked: Unmanaged<CorkedConnection>?
    /// There from `connectionMade` on.
    @exclusivity(unchecked) var shared: HTTPShared!
    /// That of ``shared``, there from `connectionMade` on as well: nothing is called before.
    var block: UnsafeMutablePointer<HTTPShared.Block> {
        @inline(__always)
        get { unsafe sharedBlock.unsafelyUnwrapped }
    }
    @exclusivity(unchecked) private var sharedBlock: UnsafeMutablePointer<HTTPShared.Block>?
    /// What only some requests need.
    @exclusivity(unchecked) var extras: Extras?
    /// Of the present request; see ``HTTPMethod``.
    @exclusivity(unchecked) var method: UInt8 = 0
    @exclusivity(unchecked) var minorVersion: UInt8 = 1

    /// A head that has come in part.
    @exclusivity(unchecked) private var partial: HeldHead?
    /// What came behind that which is in hand.
    @exclusivity(unchecked) private var waiting: HeldBytes?
    /// Whether ``advance(_:)`` runs, which goes on by itself.
    @exclusivity(unchecked) private(set) var isAdvancing = false
    @exclusivity(unchecked) private var isPaused = false
    @exclusivity(unchecked) private var isPumpPlanned = false
    @exclusivity(unchecked) private var hasPeerEnded = false
    /// The number of the request that the responder is being called with; 0 if it is not.
    @exclusivity(unchecked) private var calledNumber: UInt32 = 0
    /// The number of the request whose exchange does not keep this connection alive: 0 if there is none.
    ///
    /// Whoever calls this connection keeps it, so that an exchange that is used inside of the responder's
    /// call, as nearly all are, need not be counted. One that outlives the call is, when that returns.
    @exclusivity(unchecked) private var uncountedNumber: UInt32 = 0
    @exclusivity(unchecked) private var wasDroppedInCall = false
    private(set) var hasUpgraded = false

    /// When something was read last, or an answer ended.
    @exclusivity(unchecked) var lastActivity = MonotonicInstant(nanoseconds: 0)
    @exclusivity(unchecked) var headStart = MonotonicInstant(nanoseconds: 0)
    @exclusivity(unchecked) var look: DelayedCall?
    @exclusivity(unchecked) var lastRequestCall: DelayedCall?

    /// What only some requests need: those with a body, or an answer that comes later.
    final class Extras {
        var body: HTTPBody?
        var decoder: ChunkedDecoder?
        /// Called if the client goes before the answer is written.
        var whenGone: [() -> Void] = []
        var upgraded: (any StreamProtocol)?
        var isSendingFile = false
        /// Of the answer's body, handed to the transport.
        var writtenByteCount = 0
        var stall = AnswerStall()
        var record: HTTPRequestRecord?
        var recordStart = MonotonicInstant(nanoseconds: 0)
    }

    init(_ responder: any HTTPResponder, _ options: SharedServerOptions) {
        self.responder = responder
        self.options = options
    }

    func makeExtras() -> Extras {
        if let extras { return extras }
        let made = Extras()
        extras = made
        return made
    }

    var reactor: Reactor { shared.reactor }

    /// Whether a head has come in part.
    var hasPartialHead: Bool { partial != nil }

    // MARK: What arrives

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        unsafe corked = (transport as? CorkedConnection).map { unsafe .passUnretained($0) }
        shared = transport.reactor.companion(of: HTTPShared.self)
        unsafe sharedBlock = shared.block
        lastActivity = refreshTime()
        planLook()
    }

    /// Calls `body` with the connection, which is not retained for it.
    @inline(__always)
    func withCorked<Result>(_ body: (CorkedConnection) -> Result) -> Result? {
        // It is cleared when the connection is lost, or another protocol takes over.
        guard let corked = unsafe corked else { return nil }
        return unsafe corked._withUnsafeGuaranteedRef(body)
    }

    private func forgetTransport() {
        transport = nil
        unsafe corked = nil
    }

    /// Reads the time, which is that of the present turn.
    @discardableResult
    func refreshTime() -> MonotonicInstant {
        let now = withCorked { $0.presentTime } ?? reactor.now
        unsafe block.pointee.now = now
        return now
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        lastActivity = refreshTime()
        if partial == nil, waiting == nil {
            take(bytes)
        } else {
            takeBehindHeld(bytes, transport)
        }
    }

    /// Uses what can be used of new bytes, and holds the rest.
    @inline(__always)
    private func take(_ bytes: RawSpan) {
        let used = advance(bytes)
        if used < bytes.byteCount { hold(bytes.extracting(used..<bytes.byteCount)) }
    }

    @inline(never)
    private func takeBehindHeld(_ bytes: RawSpan, _ transport: any StreamTransport) {
        guard let held = partial else {
            isPaused = true
            transport.pauseProducing()
            return transport.unread(bytes)
        }
        switch held.add(bytes) {
        case .incomplete: return
        case .failed(let error):
            partial = nil
            refuse(error)
        case .complete:
            partial = nil
            let whole = held.bytes
            isAdvancing = true
            held.withHead { deliver($0) }
            isAdvancing = false
            let rest = whole.span.bytes[held.parser.facts.byteCount...]
            take(rest)
        }
    }

    /// Keeps what cannot be used yet.
    @inline(never)
    private func hold(_ rest: RawSpan) {
        switch machine.input {
        case .over:
            if extras?.upgraded != nil { performUpgrade(remaining: rest) }
        case .head:
            partial = HeldHead(rest, limits: options.headLimits)
            headStart = unsafe block.pointee.now
        case .body, .chunked, .ended: waiting = HeldBytes(rest)
        }
    }

    /// Uses bytes as far as the state allows.
    ///
    /// - Returns: How many were used.
    @inline(__always)
    private func advance(_ bytes: RawSpan) -> Int {
        isAdvancing = true
        var used = 0
        loop: while used < bytes.byteCount {
            switch machine.input {
            case .head:
                let rest = bytes.extracting(used..<bytes.byteCount)
                let count = takeHead(rest)
                if count == 0 { break loop }
                used &+= count
            case .body, .chunked:
                let count = takeBody(bytes.extracting(used..<bytes.byteCount))
                if count == 0 { break loop }
                used += count
            case .ended: break loop
            case .over:
                if extras?.upgraded == nil { used = bytes.byteCount }
                break loop
            }
        }
        isAdvancing = false
        if used == bytes.byteCount, extras?.upgraded != nil { performUpgrade(remaining: RawSpan()) }
        return used
    }

    /// Parses a head, and delivers it.
    ///
    /// - Returns: How many bytes it has; 0 if it is not whole.
    @inline(__always)
    private func takeHead(_ bytes: RawSpan) -> Int {
        if unsafe block.pointee.areSlotsLent { return takeHeadInside(bytes) }
        let slots = unsafe block.pointee.slots
        var parser = unsafe HeadParser(
            limits: options.headLimits, names: block.pointee.names,
            recentHost: block.pointee.recentHost)
        switch unsafe parser.parse(bytes, slots) {
        case .incomplete: return 0
        case .failed(let error):
            refuse(error)
            return bytes.byteCount
        case .complete:
            let count = Int(parser.facts.fieldCount)
            let fields = unsafe Span<FieldSlot>(_unsafeStart: slots, count: count)
            unsafe block.pointee.areSlotsLent = true
            deliver(RequestHead(bytes: bytes, slots: fields, facts: parser.facts))
            unsafe block.pointee.areSlotsLent = false
            return parser.facts.byteCount
        }
    }

    /// While another connection's head is being delivered, which has the slots.
    @inline(never)
    private func takeHeadInside(_ bytes: RawSpan) -> Int {
        let held = HeldHead(limits: options.headLimits)
        switch held.add(bytes) {
        case .incomplete: return 0
        case .failed(let error):
            refuse(error)
            return bytes.byteCount
        case .complete:
            held.withHead { deliver($0) }
            return held.parser.facts.byteCount
        }
    }

    /// Calls the responder.
    @inline(__always)
    private func deliver(_ head: borrowing RequestHead) {
        let facts = head.facts
        machine.headArrived(facts)
        method = facts.method
        minorVersion = facts.minorVersion
        if facts.flags.contains(.expectsOther) { return refuse(.unknownExpectation) }
        if options.value.observer != nil { beginRecord(head) }
        let number = machine.number
        calledNumber = number
        uncountedNumber = number
        do {
            try responder.requestReceived(head, HTTPExchange(uncounted: self, number))
            calledNumber = 0
            if wasDroppedInCall { answerDropped(number, nil) }
        } catch {
            calledNumber = 0
            answerDropped(number, error)
        }
        if uncountedNumber != 0 { countExchange() }
    }

    /// The exchange was kept, and may outlive this connection from now on.
    @inline(never)
    private func countExchange() {
        uncountedNumber = 0
        _ = unsafe Unmanaged.passRetained(self)
    }

    /// An exchange is used, or released.
    ///
    /// - Returns: Whether it keeps this connection alive.
    @inline(__always)
    func takesBack(_ number: UInt32) -> Bool {
        guard uncountedNumber == number else { return true }
        uncountedNumber = 0
        return false
    }

    @inline(never)
    private func answerDropped(_ number: UInt32, _ error: (any Error)?) {
        wasDroppedInCall = false
        responderFailed(number, error ?? AnswerError.dropped)
    }

    /// Whether the responder is being called with this request now.
    @inline(__always)
    func isCalled(_ number: UInt32) -> Bool { calledNumber == number }

    /// The exchange was released without an answer.
    func exchangeWasDropped(_ number: UInt32) {
        guard isAwaiting(number) else { return }
        // What it throws says more, and is not known yet.
        if calledNumber == number { return wasDroppedInCall = true }
        responderFailed(number, AnswerError.dropped)
    }

    // MARK: Bodies

    /// Gives the body's reader what there is for it.
    ///
    /// - Returns: How many bytes were used; 0 if nobody wants any now.
    @inline(never)
    private func takeBody(_ bytes: RawSpan) -> Int {
        let body = extras?.body
        let isDiscarded = machine.output == .done && !(body?.isRead ?? false)
        guard isDiscarded || body?.accepts ?? false else { return 0 }
        guard case .body(let rest) = machine.input else {
            return takeChunks(bytes, body, isDiscarded: isDiscarded)
        }
        let count = Int(min(rest, UInt64(bytes.byteCount)))
        let number = machine.number
        machine.bodyArrived(byteCount: count)
        record { $0.receivedByteCount += count }
        if isDiscarded {
            perform(machine.discarded(byteCount: count, limit: options.value.discardLimitBytes))
        } else {
            body?.receive(bytes.extracting(0..<count))
        }
        if machine.number == number, machine.input == .body(0) { endBody(of: body) }
        return count
    }

    private func takeChunks(_ bytes: RawSpan, _ body: HTTPBody?, isDiscarded: Bool) -> Int {
        let extras = makeExtras()
        var decoder = extras.decoder ?? ChunkedDecoder()
        var used = 0
        let number = machine.number
        do throws(RequestError) {
            while let range = try decoder.next(bytes, &used) {
                extras.decoder = decoder
                machine.bodyArrived(byteCount: range.count)
                record { $0.receivedByteCount += range.count }
                if isDiscarded {
                    let limit = options.value.discardLimitBytes
                    perform(machine.discarded(byteCount: range.count, limit: limit))
                    // White space and extensions are bounded by the decoder.
                    if machine.input != .chunked { return bytes.byteCount }
                } else {
                    body?.receive(bytes.extracting(range))
                    // It may have paused, answered, or ended the connection.
                    guard machine.input == .chunked, machine.number == number,
                        body?.accepts ?? false
                    else { return used }
                }
            }
            extras.decoder = decoder
            guard decoder.isOver else { return used }
            body?.trailers = decoder.trailers
            extras.decoder = nil
            endBody(of: body)
        } catch {
            refuse(error)
            return bytes.byteCount
        }
        return used
    }

    private func endBody(of body: HTTPBody?) {
        machine.bodyEnded()
        body?.end()
        perform(machine.requestEnded())
    }

    /// The body of the present request.
    func requestBody(_ number: UInt32) -> HTTPBody {
        let isPresent = machine.number == number && transport != nil
        if isPresent, let body = extras?.body { return body }
        // Behind the answer nobody may have it: some of it may have been read past.
        guard isAwaiting(number) || isWriting(number), isPresent else {
            return HTTPBody(failed: BodyTruncated(byteCount: 0), on: reactor)
        }
        let extras = makeExtras()
        let body = HTTPBody(self, isEmpty: machine.input == .ended)
        if body.isOpen { extras.body = body }
        return body
    }

    /// Somebody asks for the body, for the first time or again.
    func bodyWasAskedFor() {
        if machine.bodyWasAskedFor() { transport?.write("HTTP/1.1 100 Continue\r\n\r\n") }
        if let extras {
            let received = extras.body?.receivedByteCount ?? 0
            extras.stall.bodyWasAskedFor(at: reactor.now, receivedByteCount: received)
        }
        lastActivity = reactor.now
        continueInput()
    }

    // MARK: Going on

    /// Something has happened by which what is held may be used.
    func continueInput() {
        guard !isAdvancing else { return }
        if waiting != nil {
            // In a turn of its own: whoever has answered does not find the next request inside of it.
            guard !isPumpPlanned else { return }
            isPumpPlanned = true
            reactor.callLater(.zero) { [self] in pump() }
        } else if isPaused {
            isPaused = false
            transport?.resumeProducing()
        } else if hasPeerEnded {
            inputEnded()
        }
    }

    private func pump() {
        isPumpPlanned = false
        guard transport != nil, let held = waiting.take() else { return }
        let start = held.start
        let bytes = held.bytes
        let used = advance(bytes.span.bytes[start...])
        guard transport != nil else { return }
        if held.use(used) {
            switch machine.input {
            case .body, .chunked, .ended: waiting = held
            case .head, .over: hold(bytes.span.bytes[(start + used)...])
            }
        }
        if waiting == nil { continueInput() }
    }

    func perform(_ action: ServerStateMachine.Action) {
        switch action {
        case .none: if machine.output == .done { continueInput() }
        case .proceed:
            endRequest()
            continueInput()
        case .close:
            endRequest()
            transport?.loseConnection()
        }
    }

    /// Drops what belonged to one request.
    @inline(__always)
    func endRequest() {
        if extras != nil { dropExtras() }
    }

    @inline(never)
    private func dropExtras() {
        let body = extras?.body
        let upgraded = extras?.upgraded
        extras = nil
        if upgraded != nil { makeExtras().upgraded = upgraded }
        body?.fail(BodyTruncated(byteCount: body?.receivedByteCount ?? 0))
    }

    // MARK: The end

    /// Answers what is no request, and closes.
    @inline(never)
    func refuse(_ error: RequestError) { refuse(error.status, error) }

    /// A request did not come in time.
    func timedOut() {
        refuse(.requestTimeout, ConnectionLoss.deadlinePassed(.request))
    }

    private func refuse(_ status: HTTPStatus, _ error: any Error) {
        waiting = nil
        partial = nil
        let body = extras?.body
        let whenGone = extras?.whenGone ?? []
        if machine.requestFailed() {
            write(AnswerPlan(status, .length(0), closes: true))
            endRecord(status, isWhole: true)
        }
        machine.lost()
        extras = nil
        transport?.loseConnection(because: error)
        body?.fail(error)
        for body in whenGone { body() }
    }

    func readConnectionLost(from transport: any StreamTransport) {
        hasPeerEnded = true
        // What is held comes first.
        if waiting == nil { inputEnded() }
    }

    /// Everything that the client has sent is used: a request that is not whole never will be.
    private func inputEnded() {
        partial = nil
        let isBodyCut: Bool
        switch machine.input {
        case .body, .chunked: isBodyCut = true
        case .head, .ended, .over: isBodyCut = false
        }
        let body = extras?.body
        perform(machine.inputEnded())
        if isBodyCut { body?.fail(BodyTruncated(byteCount: body?.receivedByteCount ?? 0)) }
    }

    func writeConnectionLost(from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        look?.cancel()
        look = nil
        lastRequestCall?.cancel()
        lastRequestCall = nil
        partial = nil
        waiting = nil
        let wasAnswering = machine.output == .awaited || machine.output == .begun
        endRecord(nil, isWhole: false)
        machine.lost()
        forgetTransport()
        let lost = extras
        extras = nil
        let whenGone = wasAnswering ? lost?.whenGone ?? [] : []
        lost?.body?.fail(why)
        for body in whenGone { body() }
        responder.connectionLost()
    }

    func shutdownRequested(_ transport: any StreamTransport) { endWasRequested() }

    /// The server ends: the present request is the last one.
    func endWasRequested() {
        guard machine.endWasRequested(), partial == nil else { return }
        // A request may be on its way, from a client that could not know.
        let limit = options.value.lastRequestTimeout
        lastRequestCall = reactor.callLater(limit) { [self] in
            lastRequestCall = nil
            if !machine.isBusy, partial == nil { self.transport?.loseConnection() }
        }
    }

    private func performUpgrade(remaining: RawSpan) {
        guard let upgraded = extras?.upgraded, let transport else { return }
        extras = nil
        look?.cancel()
        look = nil
        lastRequestCall?.cancel()
        lastRequestCall = nil
        forgetTransport()
        hasUpgraded = true
        (responder as? TaskResponder)?.upgraded(to: upgraded, on: transport)
        transport.switchProtocol(to: upgraded, remaining: remaining)
        if isPaused { transport.resumeProducing() }
    }

    /// The upgrade was answered outside of a delivery: what is held goes over.
    func upgradeLater() {
        guard !isAdvancing else { return }
        guard let held = waiting.take() else { return performUpgrade(remaining: RawSpan()) }
        let bytes = held.bytes
        performUpgrade(remaining: bytes.span.bytes[held.start...])
    }
}

extension HTTPConnection: BodyCarrier {
    /// It is kept until its request is answered, and read past then.
    func bodyWasDropped() {}
}

extension HTTPConnection: InvariantChecking {
    func checkInvariants() {
        require(!isAdvancing, "HTTPConnection: between events in the middle of one")
        require(partial == nil || waiting == nil, "HTTPConnection: holds both kinds of bytes")
        require(partial == nil || machine.input == .head, "HTTPConnection: a head in a body")
        require(
            !isPaused || waiting != nil || transport == nil || machine.isBusy,
            "HTTPConnection: paused for nothing")
    }
}
