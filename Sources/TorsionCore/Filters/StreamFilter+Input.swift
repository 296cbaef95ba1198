// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension StreamFilter {
    /// Not inlined, so that a filter that passes everything saves fewer registers.
    @inline(never)
    final func receiveSome(_ bytes: RawSpan) {
        guard flags.contains(.isPlain) || takesInput else { return }
        call = .receiving
        do { try receive(bytes) } catch { fail(error) }
        call = .none
    }

    final var takesInput: Bool {
        (stage == .open || stage == .handshaking) && extra?.failure == nil
    }

    /// Called whenever what it is made of may have become so.
    final func updatePlainness() {
        guard stage == .open, !isSending, !flags.contains(.isTransparent), extra?.isIdle ?? true
        else { return }
        flags.insert(.isPlain)
    }

    @inline(never)
    final func deliverOtherwise(_ bytes: RawSpan) {
        guard stage == .open, bytes.byteCount > 0 else { return }
        guard call == .receiving, flags.contains(.wantsInput), held == nil else {
            return hold(bytes)
        }
        passUp(bytes)
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

    /// Not inlined: what only chooses saves no registers.
    @inline(never)
    final func passUpAlone(_ bytes: RawSpan) { passUp(bytes) }

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
    final func receiveUnread() {
        call = .receiving
        defer { call = .none }
        guard let unread = extra?.unread.take() else { return }
        unread.deliver { bytes in
            guard takesInput else { return }
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
        defer { updatePlainness() }
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

    final func endBehindInput() {
        switch stage {
        case .open where flags.contains(.hasFailed): deliverEnd()
        case .open, .handshaking: do { try receiveEnd() } catch { fail(error) }
        case .unattached, .withdrawn, .closed: break
        }
    }
}
