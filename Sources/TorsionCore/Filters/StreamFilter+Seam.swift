// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// A filter at its two seams: a `BackendStream` for what is above, a `StreamReceiver` for what is
// below. It keeps the rules of both: it calls up inside a call from below, or in a turn of the
// reactor outside of every event, never inside a call from above; and it holds no more than what
// one read or one write made, so what waits, waits in the connection's own queue and counts once.

extension StreamFilter {
    // MARK: Its life

    /// Puts it over a stream.
    ///
    /// - Parameters:
    ///   - stream: Connected, with nobody else to deliver to.
    ///   - reactor: The stream's.
    ///   - input: What arrived already and is for this filter.
    ///   - queue: What is still to leave before anything of the filter's, and is leaving already.
    ///   - isReading: Whether the stream was asked to read, and whether the receiver above wants input.
    final func attach(
        over stream: any BackendStream, on reactor: Reactor, input: Bytes = Bytes(),
        leaving queue: WriteQueue? = nil, isReading: Bool = false
    ) {
        require(stage == .unattached, "StreamFilter: used for two connections; make one for each")
        below = stream
        unsafe owner = reactor
        stage = .handshaking
        if let queue {
            output = queue
            flags.remove(.isTransparent)
        }
        if isReading { flags.formUnion([.wantsInput, .readsBelow]) }
        if !input.isEmpty { extras.input = input }
        stream.deliver(to: self)
    }

    /// Begins to agree, and takes what arrived already.
    ///
    /// The caller looks at ``stage`` afterwards; only what happens later is reported.
    ///
    /// - Throws: What ends the attempt.
    final func start() throws {
        call = .starting
        defer { call = .none }
        if flags.contains(.isTransparent) { agree() } else { try begin() }
        if let extra, !extra.input.isEmpty, stage != .withdrawn {
            let input = extra.input
            extra.input = Bytes()
            if stage != .closed { try receive(input.span) }
        }
        if let failure = extra?.failure.take() { throw failure }
        if stage == .handshaking || stage == .open { updateReading() }
    }

    /// What was agreed on, once.
    final func takeDetails() -> ConnectionDetails? {
        let details = extra?.details.take()
        if let extra, extra.isIdle { self.extra = nil }
        return details
    }

    /// What arrived and is its successor's, once.
    final func takeInput() -> Bytes {
        defer { extra?.input = Bytes() }
        return extra?.input ?? Bytes()
    }

    /// Leaves to the successor what this filter has read and not used, before what a lower one has left
    /// and this one has not read yet.
    final func leaveInput(_ unread: RawSpan) {
        guard unread.byteCount > 0 else { return }
        guard let rest = extra?.input, !rest.isEmpty else { return extras.input = Bytes(unread) }
        extras.input = Bytes([UInt8](unread) + rest)
    }

    final func stopReadingBelow() {
        guard flags.contains(.readsBelow) else { return }
        flags.remove(.readsBelow)
        below.stopReading()
    }

    /// What was delivered while the connection did not want it.
    final var held: KeptBytes? {
        get { extra?.held }
        set { if newValue != nil || extra != nil { extras.held = newValue } }
    }

    final var extras: Extra {
        if let extra { return extra }
        let made = Extra()
        extra = made
        return made
    }

    final func reportAgreement() {
        if call == .starting { return }
        above?.streamDidConnect()
        if stage == .open { updateReading() }
    }

    /// Its successor has the stream below.
    final func finishWithdrawal() {
        leave()
        closed()
    }

    private final func leave() {
        stage = .closed
        above = nil
        upper = nil
        output = nil
        held = nil
        extra?.unread = nil
    }

    // MARK: Input

    /// Not inlined, so that a filter that passes everything saves fewer registers.
    @inline(never)
    final func receiveSome(_ bytes: RawSpan) {
        guard stage == .open || stage == .handshaking, extra?.failure == nil else { return }
        call = .receiving
        do { try receive(bytes) } catch { fail(error) }
        call = .none
    }

    final func hold(_ bytes: RawSpan) {
        let held = held ?? KeptBytes(countedIn: owner.queues)
        self.held = held
        held.append(bytes)
        updateReading()
        if flags.contains(.wantsInput) { deliverLater() }
    }

    /// Taken out for the call: calling a stored reference would retain it first.
    @inline(__always)
    final func passUp(_ bytes: RawSpan) {
        guard let current = above.take() else { return }
        current.streamDidRead(bytes)
        if above == nil, stage != .closed {
            unsafe withUnsafeMutablePointer(to: &above) {
                unsafe $0.initialize(to: consume current)
            }
        }
    }

    final func passEndUp() {
        flags.subtract([.holdsEnd, .wantsInput])
        above?.streamDidReadEnd()
    }

    /// Whether the filter has given back what arrived.
    final var hasUnread: Bool { extra?.unread != nil }

    /// Whether the filter is called with what it has given back, when its turn comes.
    final var mayReceiveUnread: Bool {
        guard !flags.contains(.isReceivingPaused) else { return false }
        return stage == .handshaking || isDelivering
    }

    /// Calls the filter again with what it has given back, and with the end behind it.
    private final func receiveUnread() {
        call = .receiving
        defer { call = .none }
        guard let unread = extra?.unread.take() else { return }
        unread.deliver { bytes in
            guard stage == .open || stage == .handshaking, extra?.failure == nil else { return }
            do { try receive(bytes) } catch { fail(error) }
        }
        guard let extra, extra.unread == nil, extra.endsBehindUnread else { return }
        extra.endsBehindUnread = false
        endBehindInput()
    }

    final func updateReading() {
        let isWanted =
            switch stage {
            case .handshaking: !hasUnread
            case .open: flags.contains(.wantsInput) && held == nil && !hasUnread
            case .unattached, .withdrawn, .closed: false
            }
        let reads = isWanted && !flags.contains(.isReceivingPaused)
        guard reads != flags.contains(.readsBelow), !flags.contains(.inputHasEnded),
            stage == .open || stage == .handshaking
        else { return }
        if reads {
            flags.insert(.readsBelow)
            below.startReading()
        } else {
            flags.remove(.readsBelow)
            below.stopReading()
        }
    }

    /// Delivers what is held in the next turn, as a backend does that has it in hand.
    final func deliverLater() {
        guard !flags.contains(.isListed), stage != .closed else { return }
        flags.insert(.isListed)
        owner.readyFilters.append(self)
    }

    /// What the connection could not be told when it happened.
    ///
    /// Outside of every event.
    final func deliverHeld() {
        flags.remove(.isListed)
        guard stage == .open || stage == .handshaking else { return }
        if flags.contains(.wantsInput), let kept = held {
            kept.deliver { passUp($0) }
            if held === kept, kept.isEmpty { held = nil }
        }
        if hasUnread, mayReceiveUnread { receiveUnread() }
        if let failure = extra?.failure.take(), stage != .closed {
            flags.insert(.hasFailed)
            above?.streamDidFail(failure)
        }
        guard stage == .open || stage == .handshaking, !hasUnread else { return }
        guard isDelivering else { return stage == .handshaking ? updateReading() : () }
        let isAtEnd =
            flags.contains(.holdsEnd) || flags.contains(.hasFailed) && !below.hasUnreadInput
        if isAtEnd { passEndUp() } else { updateReading() }
    }

    // MARK: Output

    final func sendBelow(_ bytes: UnsafeRawBufferPointer) {
        if let output, !output.isEmpty { return unsafe output.append(copying: bytes) }
        guard extra?.sendFailure == nil else { return }
        switch withBelow({ unsafe $0.tryWrite(bytes) }) {
        case .wrote(let count):
            guard count < bytes.count else { return }
            let output = output ?? WriteQueue(countedIn: owner.queues)
            self.output = output
            unsafe output.append(copying: UnsafeRawBufferPointer(rebasing: bytes[count...]))
            below.startWriting(from: output)
        case .failed(let code):
            extras.sendFailure = code
            if call == .transmitting { return }
            fail(IOError(.write, function: "send", code: code, subject: peerAddress))
        }
    }

    /// Not inlined, so that a filter that passes everything saves fewer registers.
    @inline(never)
    private final func transmitAtOnce(_ bytes: UnsafeRawBufferPointer) -> WriteResult {
        guard stage == .open, !isSending, extra?.failure == nil else { return .wrote(0) }
        return transmitting { unsafe transmitSome(bytes) }
    }

    /// Inside a call of the connection's, which looks at its result.
    @inline(__always)
    private final func transmitting(_ body: () -> Int) -> WriteResult {
        let outer = call
        call = .transmitting
        let used = body()
        call = outer
        if let code = extra?.sendFailure { return .failed(code) }
        return .wrote(used)
    }

    /// Offers bytes of the connection's to ``transmit(_:)`` as long as it uses some.
    ///
    /// What the stream below does not take of one piece is all that a filter holds, however much is
    /// written.
    @inline(__always)
    private final func transmitSome(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard bytes.count <= Self.smallByteCount else { return unsafe transmitPieces(bytes) }
        // Nearly always one piece, which is used.
        let used = unsafe transmitPiece(bytes)
        if used == bytes.count || used == 0 { return used }
        return unsafe used + transmitPieces(UnsafeRawBufferPointer(rebasing: bytes[used...]))
    }

    @inline(never)
    private final func transmitPieces(_ bytes: UnsafeRawBufferPointer) -> Int {
        let limit = max(transmitLimitBytes, Self.smallByteCount)
        var used = 0
        while used < bytes.count, !isSending, extra?.sendFailure == nil {
            let piece = unsafe UnsafeRawBufferPointer(rebasing: bytes[used...].prefix(limit))
            let count = unsafe transmitPiece(piece)
            if count == 0 { break }
            used += count
        }
        return used
    }

    /// So many bytes are one piece, whatever ``transmitLimitBytes`` says.
    private static let smallByteCount = 4 * 1024

    @inline(__always)
    private final func transmitPiece(_ piece: UnsafeRawBufferPointer) -> Int {
        do {
            let count = unsafe try transmit(piece.bytes)
            require(
                count >= 0 && count <= piece.count,
                "StreamFilter: transmit(_:) used \(count) of \(piece.count) bytes")
            return count
        } catch {
            extras.failure = error
            deliverLater()
            return 0
        }
    }

    /// Taken out for the call: calling a stored reference would retain it first.
    ///
    /// For calls that never lead back here.
    @inline(__always)
    final func withBelow<Result>(_ body: (any BackendStream) -> Result) -> Result {
        guard let current = below.take() else { mistake("StreamFilter: used in its own call") }
        let result = body(current)
        unsafe withUnsafeMutablePointer(to: &below) {
            unsafe $0.initialize(to: consume current)
        }
        return result
    }

    /// Goes on with the connection's queue.
    final func pump() {
        while stage == .open, !isSending, let queue = upper {
            guard !queue.isEmpty else { return upper = nil }
            let outer = call
            call = .transmitting
            let count = unsafe queue.withHead { runs in unsafe transmitSome(runs[0]) }
            call = outer
            if let code = extra?.sendFailure { return sendFailed(code) }
            guard count > 0 else { return }
            above?.streamDidWrite(byteCount: count)
        }
        if upper?.isEmpty ?? false { upper = nil }
    }

    private final func sendFailed(_ code: ErrorCode) {
        upper = nil
        fail(IOError(.write, function: "send", code: code, subject: peerAddress))
    }

    private final func outputHasLeft() {
        if writeEnd == .behindOutput {
            writeEnd = .ended
            guard let code = below.shutdownWriting() else { return }
            return fail(IOError(.shutdown, function: "shutdown", code: code, subject: peerAddress))
        }
        if stage == .withdrawn { return reportAgreement() }
        pump()
        // A close waits until nothing is held.
        if stage == .open, upper == nil, !isSending { above?.streamHasRoom() }
    }
}

@_spi(Backend) extension StreamFilter: StreamReceiver {
    /// Not called: a filter stands over a stream that is connected.
    public final func streamDidConnect() { mistake("StreamFilter: connected twice") }

    /// Passes bytes to ``receive(_:)``.
    public final func streamDidRead(_ bytes: RawSpan) {
        if flags.contains(.isTransparent) { passUp(bytes) } else { receiveSome(bytes) }
    }

    /// Passes them on where nobody looks at bytes; else closes the descriptors.
    public final func streamDidRead(_ bytes: RawSpan, carrying descriptors: PassedDescriptors) {
        guard flags.contains(.isTransparent) else { return streamDidRead(bytes) }
        above?.streamDidRead(bytes, carrying: descriptors)
    }

    /// That of the receiver above, where nobody looks at bytes.
    public final var spliceTarget: (any BackendStream)? {
        flags.contains(.isTransparent) ? above?.spliceTarget : nil
    }

    /// Passes the report up.
    public final func streamDidSplice(byteCount: Int, rest: RawSpan, failure: ErrorCode?) {
        above?.streamDidSplice(byteCount: byteCount, rest: rest, failure: failure)
    }

    /// Passes the end to ``receiveEnd()``.
    public final func streamDidReadEnd() {
        flags.insert(.inputHasEnded)
        flags.remove(.readsBelow)
        if flags.contains(.isTransparent) { above?.streamDidReadEnd(); return }
        if let extra, extra.unread != nil { return extra.endsBehindUnread = true }
        call = .receiving
        endBehindInput()
        call = .none
    }

    private final func endBehindInput() {
        switch stage {
        case .open where flags.contains(.hasFailed): deliverEnd()
        case .open, .handshaking: do { try receiveEnd() } catch { fail(error) }
        case .unattached, .withdrawn, .closed: break
        }
    }

    /// Goes on with what waits.
    public final func streamDidWrite(byteCount: Int) {
        guard let output, !output.isEmpty else {
            above?.streamDidWrite(byteCount: byteCount)
            return
        }
        output.remove(byteCount: byteCount)
        if output.isEmpty { outputHasLeft() }
    }

    /// Passes the report up.
    public final func streamHasRoom() { above?.streamHasRoom() }

    /// Passes the error up.
    public final func streamDidFail(_ error: any Error) {
        flags.insert(.hasFailed)
        above?.streamDidFail(error)
    }
}

@_spi(Backend) extension StreamFilter: BackendStream {
    /// Names who is called with what arrives.
    public final func deliver(to receiver: any StreamReceiver) { above = receiver }

    /// Delivers what is held in the next turn, then reads on below.
    public final func startReading() {
        flags.insert(.wantsInput)
        if flags.contains(.isTransparent) { return below.startReading() }
        if held != nil || hasUnread || flags.contains(.holdsEnd) || flags.contains(.hasFailed) {
            deliverLater()
        } else {
            updateReading()
        }
    }

    /// Holds what the filter delivers from now on.
    public final func stopReading() {
        flags.remove(.wantsInput)
        if stage == .handshaking { return }
        // Not only if it reads: from then on a stream that has not read notices a reset.
        flags.remove(.readsBelow)
        below.stopReading()
    }

    /// Whether this filter or the stream below has some.
    public final var hasUnreadInput: Bool { held != nil || hasUnread || below.hasUnreadInput }

    /// Drops it here and below.
    public final func discardInput() {
        held = nil
        extra?.unread = nil
        below.discardInput()
    }

    /// Offers bytes to ``transmit(_:)``.
    public final func tryWrite(_ bytes: UnsafeRawBufferPointer) -> WriteResult {
        guard flags.contains(.isTransparent) else { return unsafe transmitAtOnce(bytes) }
        return withBelow { unsafe $0.tryWrite(bytes) }
    }

    /// Offers bytes to ``transmit(_:)``, as long as the stream below takes what it makes of them.
    public final func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        if flags.contains(.isTransparent) { return unsafe below.tryWrite(first, second) }
        guard stage == .open, !isSending, extra?.failure == nil else { return .wrote(0) }
        return transmitting {
            let used = unsafe transmitSome(first)
            guard used == first.count, !isSending, extra?.sendFailure == nil else { return used }
            return unsafe used + transmitSome(second)
        }
    }

    /// Takes from the queue when what is held has left.
    public final func startWriting(from queue: WriteQueue) {
        if flags.contains(.isTransparent) { return below.startWriting(from: queue) }
        upper = queue
    }

    /// Passes the file on where nobody looks at bytes.
    public final func trySendFile(
        _ file: Int32, at offset: Int64, byteCount: Int
    ) -> SendFileResult {
        guard flags.contains(.isTransparent) else { return .unsupported }
        return below.trySendFile(file, at: offset, byteCount: byteCount)
    }

    /// Passes the call down.
    public final func awaitRoom() { below.awaitRoom() }

    /// Passes the call down where nobody looks at bytes.
    public final func spliceInput(_ isWanted: Bool) {
        if flags.contains(.isTransparent) { below.spliceInput(isWanted) }
    }

    /// That of the stream below, where nobody looks at bytes.
    public final var spliceEntrance: (any BackendStream)? {
        flags.contains(.isTransparent) ? below.spliceEntrance : nil
    }

    /// Where nobody looks at bytes, what the stream below does.
    public final var passesDescriptors: Bool {
        flags.contains(.isTransparent) && below.passesDescriptors
    }

    /// That of the stream below.
    public final var lentDescriptor: Int32? { stage == .closed ? nil : below.lentDescriptor }

    /// Those of the stream below.
    public final func socketOptions() throws(IOError) -> SocketOptions {
        try below.socketOptions()
    }

    /// Passes the call down.
    public final func setSocketOptions(_ options: SocketOptions) throws(IOError) {
        try below.setSocketOptions(options)
    }

    /// Passes the call down.
    public final func receiveDescriptors(_ isWanted: Bool) { below.receiveDescriptors(isWanted) }

    /// Passes the call down.
    public final func duplicate(_ descriptors: [Int32]) throws(IOError) -> PassedDescriptors {
        try below.duplicate(descriptors)
    }

    /// Passes the call down.
    public final func tryWrite(
        _ bytes: UnsafeRawBufferPointer, passing descriptors: PassedDescriptors
    ) -> WriteResult { unsafe below.tryWrite(bytes, passing: descriptors) }

    /// Ends the outgoing direction behind what is held, and behind the farewell.
    public final func shutdownWriting() -> ErrorCode? {
        if flags.contains(.isTransparent) { return below.shutdownWriting() }
        writeEnd = .ended
        do { try endTransmission() } catch {
            extras.failure = error
            deliverLater()
        }
        if let code = extra?.sendFailure { return code }
        guard isSending else { return below.shutdownWriting() }
        writeEnd = .behindOutput
        return nil
    }

    /// What the stream below needs.
    public final var needsDraining: Bool { below.needsDraining }

    /// Whether something that was sent has not left.
    public final var isHoldingOutput: Bool { isSending || below.isHoldingOutput }

    /// True until the farewell was sent.
    public final var endsOnlyByShutdown: Bool {
        flags.contains(.isTransparent) ? below.endsOnlyByShutdown : writeEnd == .open
    }

    /// That of the stream below, and what is held.
    public final var unsentByteCount: Int? {
        guard let output, !output.isEmpty else { return below.unsentByteCount }
        return (below.unsentByteCount ?? 0) + output.byteCount
    }

    /// Whether this filter or the stream below has some.
    public final var hasUnsentOutput: Bool {
        isSending || writeEnd == .behindOutput || below.hasUnsentOutput
    }

    /// Closes the stream below; what is held makes that a reset.
    public final func close() {
        let isCut = isSending || writeEnd == .behindOutput
        let isGraceful = flags.contains(.endsGracefully) && below.needsDraining
        leave()
        if isCut {
            below.reset()
        } else if isGraceful, below.shutdownWriting() == nil {
            owner.lingering.take(below, LingeringStreams.State())
        } else {
            below.close()
        }
        closed()
    }

    /// Resets the stream below.
    public final func reset() {
        leave()
        below.reset()
        closed()
    }
}

extension StreamFilter {
    /// Asserts what must hold between events, of this filter and of those below it.
    final func checkAll() {
        require(stage == .open || stage == .handshaking, "StreamFilter: kept after its end")
        require(!(held?.isEmpty ?? false), "StreamFilter: holds nothing for later")
        require(
            held == nil || !flags.contains(.wantsInput) || flags.contains(.isListed),
            "StreamFilter: what it holds is delivered to nobody")
        require(
            !hasUnread || !mayReceiveUnread || flags.contains(.isListed),
            "StreamFilter: what it has given back is never received")
        require(
            writeEnd != .behindOutput || isSending,
            "StreamFilter: its end of writing waits for nothing")
        output?.checkInvariants()
        checkInvariants()
        (below as? StreamFilter)?.checkAll()
    }
}

extension Reactor {
    /// Delivers what filters hold for connections that read again.
    @inline(never)
    func deliverHeldInput() {
        let ready = readyFilters
        readyFilters = []
        for filter in ready { filter.deliverHeld() }
    }
}
