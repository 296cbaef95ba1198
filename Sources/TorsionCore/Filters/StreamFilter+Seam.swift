// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// A filter at its two seams: a `BackendStream` for what is above, a `StreamReceiver` for what is
// below. It keeps the rules of both: it calls up inside a call from below, or in a turn of the
// reactor outside of every event, never inside a call from above; and it holds no more than what
// one read or one write made, so what waits, waits in the connection's own queue and counts once.

@_spi(Backend) extension StreamFilter: StreamReceiver {
    /// Not called: a filter stands over a stream that is connected.
    public final func streamDidConnect() { mistake("StreamFilter: connected twice") }

    /// Passes bytes to ``receive(_:)``.
    ///
    /// - Parameter bytes: Borrowed until the call returns.
    public final func streamDidRead(_ bytes: RawSpan) {
        if flags.contains(.isTransparent) { passUpAlone(bytes) } else { receiveSome(bytes) }
    }

    /// Passes them on if every filter passes bytes as they are; else closes the descriptors.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed until the call returns.
    ///   - descriptors: Closed unless every filter passes bytes as they are.
    public final func streamDidRead(_ bytes: RawSpan, carrying descriptors: PassedDescriptors) {
        guard flags.contains(.isTransparent) else { return streamDidRead(bytes) }
        above?.streamDidRead(bytes, carrying: descriptors)
    }

    /// That of the receiver above, if the filter passes bytes as they are.
    public final var spliceTarget: (any BackendStream)? {
        flags.contains(.isTransparent) ? above?.spliceTarget : nil
    }

    /// Passes the report up.
    ///
    /// - Parameters:
    ///   - byteCount: How many bytes the target took.
    ///   - rest: The bytes that it did not take; borrowed until the call returns.
    ///   - failure: The error that broke the target; `nil` if it is whole.
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

    /// Goes on with what waits.
    ///
    /// - Parameter byteCount: How many bytes the stream below took of what the filter sent.
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
    ///
    /// - Parameter error: Becomes the reason of the loss.
    public final func streamDidFail(_ error: any Error) {
        flags.insert(.hasFailed)
        above?.streamDidFail(error)
    }
}

@_spi(Backend) extension StreamFilter: BackendStream {
    /// Sets the receiver of what arrives.
    ///
    /// - Parameter receiver: Held until the stream is closed or another takes over.
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
    ///
    /// - Parameter bytes: Written above; borrowed for the call.
    /// - Returns: How many of them ``transmit(_:)`` took.
    public final func tryWrite(_ bytes: UnsafeRawBufferPointer) -> WriteResult {
        guard flags.contains(.isTransparent) else { return unsafe transmitAtOnce(bytes) }
        return unsafe passDown(bytes)
    }

    /// Not inlined: what only chooses saves no registers.
    @inline(never)
    private final func passDown(_ bytes: UnsafeRawBufferPointer) -> WriteResult {
        withBelow { unsafe $0.tryWrite(bytes) }
    }

    /// Offers bytes to ``transmit(_:)``, as long as the stream below takes what it makes of them.
    ///
    /// - Parameters:
    ///   - first: Borrowed for the call.
    ///   - second: Goes behind `first`; borrowed for the call.
    /// - Returns: How many bytes of both ``transmit(_:)`` took.
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
    ///
    /// - Parameter queue: Written above; kept until it is empty.
    public final func startWriting(from queue: WriteQueue) {
        if flags.contains(.isTransparent) { return below.startWriting(from: queue) }
        upper = queue
    }

    /// Passes the file on if the filter passes bytes as they are.
    ///
    /// - Parameters:
    ///   - file: A descriptor that stays the caller's.
    ///   - offset: In bytes from the start.
    ///   - byteCount: How many bytes to send.
    /// - Returns: What the stream below says; that it cannot if the filter has to see the bytes.
    public final func trySendFile(
        _ file: Int32, at offset: Int64, byteCount: Int
    ) -> SendFileResult {
        guard flags.contains(.isTransparent) else { return .unsupported }
        return below.trySendFile(file, at: offset, byteCount: byteCount)
    }

    /// Passes the call down.
    public final func awaitRoom() { below.awaitRoom() }

    /// Passes the call down if the filter passes bytes as they are.
    ///
    /// - Parameter isWanted: Whether what arrives may go past the protocol.
    public final func spliceInput(_ isWanted: Bool) {
        if flags.contains(.isTransparent) { below.spliceInput(isWanted) }
    }

    /// That of the stream below, if the filter passes bytes as they are.
    public final var spliceEntrance: (any BackendStream)? {
        flags.contains(.isTransparent) ? below.spliceEntrance : nil
    }

    /// That of the stream below, if the filter passes bytes as they are.
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
    ///
    /// - Parameter options: As ``BackendStream/setSocketOptions(_:)``.
    /// - Throws: As ``BackendStream/setSocketOptions(_:)``.
    public final func setSocketOptions(_ options: SocketOptions) throws(IOError) {
        try below.setSocketOptions(options)
    }

    /// Passes the call down.
    ///
    /// - Parameter isWanted: False closes those that arrive.
    public final func receiveDescriptors(_ isWanted: Bool) { below.receiveDescriptors(isWanted) }

    /// Passes the call down.
    ///
    /// - Parameter descriptors: Stay the caller's.
    /// - Returns: As ``BackendStream/duplicate(_:)``.
    /// - Throws: As ``BackendStream/duplicate(_:)``.
    public final func duplicate(_ descriptors: [Int32]) throws(IOError) -> PassedDescriptors {
        try below.duplicate(descriptors)
    }

    /// Passes the call down.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed for the call; not seen by the filter.
    ///   - descriptors: Sent with the first byte.
    /// - Returns: How many bytes the stream below took.
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

    /// As for the stream below.
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
