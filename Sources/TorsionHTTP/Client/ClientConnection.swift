// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Speaks HTTP/1.1 with a server on one connection, one request after the other.
///
/// What is to be done is decided by ``ClientStateMachine`` and ``AnswerReader``; this class carries it out.
/// Code of the program, and the pool, which may send the next request at once, are called when everything
/// here is in its place; what was read before is looked at again afterwards.
///
/// A body is delivered while somebody asks for it. Otherwise one read is held here, without a system
/// call, and reading pauses when more arrives than that.
final class ClientConnection: HalfCloseableProtocol {
    let reactor: Reactor
    /// Its name in the pool.
    let number: Int
    private let options: HTTPClientOptions
    /// Gone when the program has let go of the client.
    private weak var origin: Origin?
    @exclusivity(unchecked) private(set) var transport: (any StreamTransport)?
    @exclusivity(unchecked) private var machine = ClientStateMachine()
    @exclusivity(unchecked) private var reader: AnswerReader
    /// The present request, until the head of its answer has been delivered.
    @exclusivity(unchecked) private var sending: Sending?
    /// The body of the present answer.
    ///
    /// Whoever reads it need not hold it, as it is in use; else it is the program's.
    @exclusivity(unchecked) private weak var body: HTTPBody?
    @exclusivity(unchecked) private var bodyInUse: HTTPBody?
    /// Nobody wants the body of the present answer; of it so much has been read past.
    @exclusivity(unchecked) private var discardedByteCount: Int?
    /// What came and cannot be used yet.
    @exclusivity(unchecked) private var waiting: HeldBytes?
    /// How the connection has ended, behind what is held.
    @exclusivity(unchecked) private var end: End?
    @exclusivity(unchecked) private var upgradeTarget: (any StreamProtocol)?
    /// How long the server keeps the connection idle, if it says so.
    @exclusivity(unchecked) private var serverTime: Duration?
    @exclusivity(unchecked) private var isAdvancing = false
    @exclusivity(unchecked) private var isPaused = false
    @exclusivity(unchecked) private var isPumpPlanned = false

    // Its times: see `lookAtTime`.
    @exclusivity(unchecked) private var look: DelayedCall?
    @exclusivity(unchecked) private var lastProgress = MonotonicInstant(nanoseconds: 0)
    /// Since when the head of the answer is waited for.
    @exclusivity(unchecked) private var headStart = MonotonicInstant(nanoseconds: 0)
    @exclusivity(unchecked) private var writtenByteCount = 0
    @exclusivity(unchecked) private var takenByteCount = 0

    private enum End {
        case ended
        case lost(ConnectionLoss)
    }

    init(_ number: Int, of origin: Origin, on reactor: Reactor) {
        self.number = number
        self.origin = origin
        self.reactor = reactor
        options = origin.options
        reader = AnswerReader(limits: origin.headLimits)
    }

    // MARK: The request

    /// Sends a request.
    ///
    /// - Precondition: None is under way.
    func send(_ sending: Sending, _ plan: RequestPlan) {
        guard let transport else { return sending.failed(ConnectionLoss.aborted) }
        let request = sending.request
        machine.requestBegins(closes: plan.closes)
        reader.begin(request.method, mayUpgrade: request.upgrade != nil)
        self.sending = sending
        serverTime = nil
        lastProgress = reactor.now
        headStart = lastProgress
        (writtenByteCount, takenByteCount) = (0, 0)
        if look == nil { planLook(at: lastProgress.advanced(by: options.shortestTimeout)) }
        switch request.body {
        case .none:
            plan.write(request, to: transport, inline: Bytes())
            machine.requestEnded()
        case .bytes(let bytes):
            let isInline = bytes.count <= 2 * 1024
            plan.write(request, to: transport, inline: isInline ? bytes : Bytes())
            if !isInline { transport.write(bytes) }
            machine.requestEnded()
        case .source(let source, _):
            plan.write(request, to: transport, inline: Bytes())
            let writer = ResponseWriter(
                self, machine.number, .ok, plan.framing, isOmitted: false)
            // What breaks it is told to the writer.
            source.pipe(to: writer).whenFailed { _ in }
        }
    }

    /// Nobody wants the answer any more.
    func giveUp() {
        sending = nil
        close(aborts: true)
    }

    // MARK: What arrives

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        lastProgress = reactor.now
        guard waiting == nil else {
            isPaused = true
            transport.pauseProducing()
            return transport.unread(bytes)
        }
        let used = advance(bytes)
        if used < bytes.byteCount { waiting = HeldBytes(bytes[used...]) }
    }

    /// Uses bytes as far as the state allows.
    ///
    /// - Returns: How many were used.
    private func advance(_ bytes: RawSpan) -> Int {
        isAdvancing = true
        var position = 0
        do throws(ResponseError) {
            loop: while true {
                switch machine.phase {
                case .over: position = bytes.byteCount
                case .upgraded: break
                case .idle:
                    // Nobody has asked for them (H-52).
                    if position < bytes.byteCount { throw .unexpectedBytes }
                case .asked, .answering:
                    guard acceptsMore, let event = try reader.next(bytes, &position) else { break }
                    try take(event, bytes, &position)
                    continue loop
                }
                break loop
            }
        } catch {
            isAdvancing = false
            fail(error)
            return bytes.byteCount
        }
        isAdvancing = false
        guard machine.phase == .upgraded, upgradeTarget != nil else { return position }
        performUpgrade(remaining: bytes[position...])
        return bytes.byteCount
    }

    /// Whether what comes next is wanted now: a head always is, a body only while somebody reads.
    private var acceptsMore: Bool {
        machine.phase == .asked || discardedByteCount != nil || body?.accepts ?? false
            || reader.restByteCount == 0
    }

    private func take(
        _ event: AnswerReader.Event, _ bytes: RawSpan, _ position: inout Int
    ) throws(ResponseError) {
        switch event {
        case .head(let head) where reader.isUpgraded: deliverUpgrade(head)
        case .head(let head) where head.status.isInterim:
            headStart = lastProgress
            sending?.informed(head)
        case .head(let head): try takeHead(head, bytes, &position)
        case .body(let range):
            guard let discarded = discardedByteCount else {
                bodyInUse?.receive(bytes.extracting(range))
                return holdBody()
            }
            discardedByteCount = discarded + range.count
            if discarded + range.count > options.discardLimitBytes { close(aborts: true) }
        case .end:
            let body = body
            body?.trailers = reader.trailers
            endAnswer(hasMore: position < bytes.byteCount)
            body?.end()
        }
    }

    private func takeHead(
        _ head: ResponseHead, _ bytes: RawSpan, _ position: inout Int
    ) throws(ResponseError) {
        let rest = reader.restByteCount
        machine.headArrived(closes: head.closes || reader.lastsToClose)
        serverTime = head.keepAliveTimeout
        guard let sending = sending.take() else { return }
        let body = HTTPBody(self, isEmpty: rest == 0)
        // An answer without a body ends with its head: its connection is free before it is delivered.
        if rest == 0 {
            _ = try reader.next(bytes, &position)
            endAnswer(hasMore: position < bytes.byteCount)
        } else {
            self.body = body
            if let rest, rest <= UInt64(min(bytes.byteCount - position, options.discardLimitBytes))
            {
                body.offer(bytes[position..<position + Int(rest)])
            }
        }
        sending.answered(head, contentLength: rest.map { Int($0) }, body, upgraded: nil)
        // What was taken is read past, as what nobody wants is.
        if rest != 0, body.endOffer(), machine.phase == .answering { discardedByteCount = 0 }
    }

    private func deliverUpgrade(_ head: ResponseHead) {
        machine.upgraded()
        leavePool()
        stopLooking()
        let body = HTTPBody(self, isEmpty: true)
        sending.take()?.answered(head, contentLength: 0, body, upgraded: self)
    }

    /// The answer is whole.
    private func endAnswer(hasMore: Bool) {
        (body, bodyInUse, discardedByteCount) = (nil, nil, nil)
        let isCut = hasMore || isPaused || waiting != nil || end != nil
        switch machine.answerEnded(hasMore: isCut) {
        case .keep:
            guard let origin else { return close(aborts: false) }
            origin.connectionFreed(self, serverTime: serverTime)
        case .close: close(aborts: false)
        case .abort: close(aborts: true)
        }
    }

    /// Holds the body while somebody reads it.
    private func holdBody() {
        guard let body else { return bodyInUse = nil }
        bodyInUse = body.isRead ? body : nil
    }

    // MARK: Going on

    private func pump() {
        isPumpPlanned = false
        guard let held = waiting.take() else { return }
        let (bytes, start) = (held.bytes, held.start)
        let used = advance(bytes.span.bytes[start...])
        // A protocol that took over has got what was left.
        if held.use(used), machine.phase != .over,
            machine.phase != .upgraded || upgradeTarget == nil
        {
            waiting = held
        } else {
            continueInput()
        }
    }

    /// All that was held is used: what came behind it has its turn.
    private func goOn() {
        if isPaused {
            isPaused = false
            transport?.resumeProducing()
        } else if let end = end.take() {
            switch end {
            case .ended: inputEnded()
            case .lost(let why): fail(why)
            }
        }
    }

    func readConnectionLost(from transport: any StreamTransport) {
        if waiting != nil { return end = .ended }
        inputEnded()
    }

    /// The server has ended its direction, and everything before was used.
    private func inputEnded() {
        switch machine.phase {
        case .over, .upgraded: return
        case .idle: return close(aborts: false)
        case .asked, .answering: break
        }
        do throws(ResponseError) {
            guard try reader.inputEnded() else { return }
            let body = body
            endAnswer(hasMore: true)
            body?.end()
        } catch {
            fail(error)
        }
    }

    func writeConnectionLost(from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        isPaused = false
        stopLooking()
        leavePool()
        switch machine.phase {
        case .over, .upgraded: waiting = nil
        case .idle: machine.lost()
        case .asked, .answering:
            // Both directions have ended in peace: its own end was told before, if it was one.
            if waiting != nil { return end = end ?? .lost(why) }
            fail(why)
        }
    }

    /// The reactor stops: the present request may be answered.
    func shutdownRequested(_ transport: any StreamTransport) {
        if machine.phase == .upgraded {
            giveUp()
        } else if machine.endWasRequested() {
            close(aborts: false)
        }
    }

    // MARK: The end

    /// The answer is none, or will not come: whoever waits is told.
    private func fail(_ error: any Error) {
        let sending = sending.take()
        let body = body
        let repeats = machine.mayRepeat(
            isIdempotent: sending?.request.mayRepeat ?? false, hasAnswer: reader.hasBegun,
            wasRepeated: sending?.wasRepeated ?? false)
        close(aborts: true)
        if let sending {
            if repeats { sending.sendAgain() } else { sending.failed(error) }
        } else {
            body?.fail(error)
        }
    }

    private func close(aborts: Bool) {
        machine.lost()
        stopLooking()
        (waiting, end, body, bodyInUse, discardedByteCount) = (nil, nil, nil, nil, nil)
        let transport = transport.take()
        leavePool()
        if aborts { transport?.abortConnection() } else { transport?.loseConnection() }
        // What it has not read would keep it from being closed.
        if isPaused, !aborts { transport?.resumeProducing() }
        isPaused = false
    }

    /// The pool has no use for it any more.
    private func leavePool() {
        let origin = origin
        self.origin = nil
        origin?.connectionLost(self)
    }

    /// The pool closes it: it is idle, and the pool knows it no more.
    func closeIdle() {
        origin = nil
        close(aborts: false)
    }

    // MARK: Another protocol

    func upgrade(to newProtocol: any StreamProtocol) {
        upgradeTarget = newProtocol
        guard !isAdvancing else { return }
        let held = waiting.take()
        guard let held else { return performUpgrade(remaining: RawSpan()) }
        let bytes = held.bytes
        performUpgrade(remaining: bytes.span.bytes[held.start...])
    }

    private func performUpgrade(remaining: RawSpan) {
        guard let target = upgradeTarget.take(), let transport = transport.take() else { return }
        machine.lost()
        transport.switchProtocol(to: target, remaining: remaining)
        if isPaused { transport.resumeProducing() }
        isPaused = false
    }

    // MARK: Times

    // As in a server no timer is moved for a request. One looks at what is being waited for and since
    // when, and comes again when that may have lasted too long, as long as something is waited for.

    private func planLook(at instant: MonotonicInstant) {
        let delay = min(reactor.now.duration(to: instant), options.shortestTimeout)
        look = reactor.callLater(max(delay, .zero)) { [self] in
            look = nil
            lookAtTime()
        }
    }

    private func stopLooking() {
        look?.cancel()
        look = nil
    }

    private func lookAtTime() {
        guard let transport else { return }
        let now = reactor.now
        let taken = writtenByteCount - transport.pendingByteCount
        let isStalled = transport.pendingByteCount > 0 && taken == takenByteCount
        if taken != takenByteCount { (takenByteCount, lastProgress) = (taken, now) }
        switch machine.phase {
        case .idle, .upgraded, .over: return
        case .asked where isStalled: expire(.sending, options.sendTimeout, since: lastProgress, now)
        case .asked where transport.pendingByteCount > 0 || !machine.isRequestWhole:
            // It is under way, or waits for its source, which has times of its own.
            headStart = now
            planLook(at: now.advanced(by: options.shortestTimeout))
        case .asked: expire(.head, options.headTimeout, since: headStart, now)
        case .answering:
            let isWanted = discardedByteCount != nil || body?.accepts ?? false
            expire(.body, options.bodyTimeout, since: isWanted ? lastProgress : now, now)
        }
    }

    private func expire(
        _ step: HTTPTimeout.Step, _ limit: Duration, since start: MonotonicInstant,
        _ now: MonotonicInstant
    ) {
        let deadline = start.advanced(by: limit)
        if now < deadline { return planLook(at: deadline) }
        fail(HTTPTimeout(step: step, limit: limit))
    }
}

extension ClientConnection: BodyCarrier {
    func bodyWasAskedFor() {
        lastProgress = reactor.now
        continueInput()
    }

    func continueInput() {
        holdBody()
        guard !isAdvancing else { return }
        guard waiting != nil else { return goOn() }
        // In a turn of its own: whoever asks does not find the bytes inside of it.
        guard !isPumpPlanned else { return }
        isPumpPlanned = true
        reactor.callLater(.zero) { [self] in pump() }
    }

    /// What is left of a short body is read past.
    func bodyWasDropped() {
        guard machine.phase == .answering, discardedByteCount == nil else { return }
        let isShort = reader.restByteCount.map { $0 <= UInt64(options.discardLimitBytes) } ?? true
        guard isShort, !reader.lastsToClose else { return close(aborts: true) }
        discardedByteCount = 0
        lastProgress = reactor.now
        continueInput()
    }
}

extension ClientConnection: BodyOutlet {
    func isWriting(_ number: UInt32) -> Bool {
        machine.number == number && !machine.isRequestWhole && transport != nil
    }

    func bodyWritten(byteCount: Int) { writtenByteCount = byteCount }

    func sendsFile(_ isSendingFile: Bool) {}

    /// The source broke, or has more or fewer bytes than announced.
    func abort(because error: any Error) { fail(error) }

    func writerEnded(_ status: HTTPStatus, byteCount: Int) {
        machine.requestEnded()
        headStart = reactor.now
    }
}

extension ClientConnection: InvariantChecking {
    func checkInvariants() {
        require(!isAdvancing, "ClientConnection: between events in the middle of one")
        require(
            machine.phase != .idle || sending == nil && waiting == nil,
            "ClientConnection: it is idle and holds something")
        require(
            (machine.phase == .asked) == (sending != nil),
            "ClientConnection: whoever waits for an answer is not known, or waits for none")
    }
}
