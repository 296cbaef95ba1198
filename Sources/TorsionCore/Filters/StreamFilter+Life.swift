// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

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
        updatePlainness()
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
        set { if newValue != nil { extras.held = newValue } else { extra?.held = nil } }
    }

    /// To put something there.
    final var extras: Extra {
        flags.remove(.isPlain)
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

    final func leave() {
        stage = .closed
        flags.remove(.isPlain)
        above = nil
        upper = nil
        output = nil
        held = nil
        extra?.unread = nil
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
        require(
            !flags.contains(.isPlain)
                || stage == .open && !isSending && (extra?.isIdle ?? true),
            "StreamFilter: does not know whether it is plain")
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
