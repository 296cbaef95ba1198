// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What a delayed call does, and where it was made.
///
/// A closure that is a generic type's value is wrapped to fit one, which is an allocation; in a
/// struct it stays as it is.
struct DelayedBody {
    let call: () throws -> Void
    let place: ProgramPlace
}

/// A call that a reactor will make later.
///
/// A value: it names the call, and is cheap to copy.
///
/// - SeeAlso: Twisted `IDelayedCall`.
public struct DelayedCall {
    @usableFromInline let reactor: Reactor
    @usableFromInline let key: TimerKey

    @inlinable
    init(reactor: Reactor, key: TimerKey) {
        self.reactor = reactor
        self.key = key
    }

    /// Whether the call is still to come.
    ///
    /// False inside the call itself.
    public var isActive: Bool {
        reactor.checkThread()
        return reactor.timers.isActive(key)
    }

    /// When the call is due, nil if it is not active.
    public var deadline: MonotonicInstant? {
        reactor.checkThread()
        return reactor.timers.deadline(of: key)
    }

    /// Drops the call and its closure.
    ///
    /// - Returns: Whether it was active.
    /// - Complexity: O(1).
    @discardableResult
    @inlinable
    public func cancel() -> Bool { reactor.cancelCall(key) }

    /// Makes the call due `delay` from now, behind those already due then.
    ///
    /// - Parameter delay: From ``Reactor/now``; a negative one makes it due at once.
    /// - Returns: Whether it was active; if not, the call is ignored.
    @discardableResult
    public func reset(after delay: Duration) -> Bool {
        reactor.checkThread()
        return reactor.timers.reschedule(key, to: reactor.now.advanced(by: delay))
    }

    /// Makes the call due later than it was; a negative delay makes it sooner.
    ///
    /// - Parameter delay: Added to the present deadline.
    /// - Returns: Whether it was active; if not, the call is ignored.
    @discardableResult
    public func delay(by delay: Duration) -> Bool {
        reactor.checkThread()
        guard let deadline = reactor.timers.deadline(of: key) else { return false }
        return reactor.timers.reschedule(key, to: deadline.advanced(by: delay))
    }
}

extension Reactor {
    /// Calls `body` once, `delay` after ``now``, in a later turn, never inline.
    ///
    /// Calls with equal deadlines run in the order in which they were made. A negative delay counts
    /// as zero. An error goes to ``unhandledError``, with the place of this call; ``inspect()`` names it
    /// too.
    ///
    /// - Parameters:
    ///   - delay: From ``now``.
    ///   - file: The place that reports and ``inspect()`` name.
    ///   - line: The place that reports and ``inspect()`` name.
    ///   - body: Called once, on the reactor.
    /// - Returns: A name for the call, to cancel or move it.
    /// - Complexity: O(1), without an allocation besides what `body` captures.
    /// - Note: Portability: libuv rounds the wait up to a whole millisecond.
    @discardableResult
    @inlinable
    public func callLater(
        _ delay: Duration, file: StaticString = #fileID, line: UInt = #line,
        _ body: consuming @escaping () throws -> Void
    ) -> DelayedCall {
        // Inlinable: whoever schedules and cancels in one place pays for no reference to the reactor.
        let nanoseconds = MonotonicInstant.wholeNanoseconds(ofPositive: delay)
        let place = ProgramPlace(file: file, line: line)
        return DelayedCall(reactor: self, key: scheduleCall(after: nanoseconds, from: place, body))
    }

    /// Schedules for ``callLater(_:file:line:_:)``.
    ///
    /// The common case calls nothing, so that it saves no register: that is a fifth of its cost.
    @usableFromInline
    func scheduleCall(
        after nanoseconds: UInt64, from place: ProgramPlace,
        _ body: consuming @escaping () throws -> Void
    ) -> TimerKey {
        guard isBoundToThisThread, hasCachedNow, timers.schedulesAtOnce else {
            return scheduleCallAnyway(after: nanoseconds, from: place, body)
        }
        return timers.schedule(
            DelayedBody(call: body, place: place), at: presentTime.advanced(by: nanoseconds))
    }

    @inline(never)
    private func scheduleCallAnyway(
        after nanoseconds: UInt64, from place: ProgramPlace,
        _ body: consuming @escaping () throws -> Void
    ) -> TimerKey {
        checkThread("callLater(_:file:line:_:)")
        return timers.schedule(
            DelayedBody(call: body, place: place), at: presentTime.advanced(by: nanoseconds))
    }

    /// Cancels for ``DelayedCall/cancel()``, in two ways for the same reason.
    @usableFromInline
    func cancelCall(_ key: TimerKey) -> Bool {
        // What the closure holds is let go of here, outside the wheel: its end may come back to us.
        guard isBoundToThisThread, let body = timers.cancelAtOnce(key) else {
            return cancelCallAnyway(key)
        }
        _ = body
        return true
    }

    @inline(never)
    private func cancelCallAnyway(_ key: TimerKey) -> Bool {
        checkThread("cancel()")
        return timers.cancel(key) != nil
    }

    /// Calls `body` once at `deadline`, in a later turn, never inline.
    ///
    /// - Parameters:
    ///   - deadline: By the reactor's clock, ``now``.
    ///   - file: The place that reports and ``inspect()`` name.
    ///   - line: The place that reports and ``inspect()`` name.
    ///   - body: Called once, on the reactor.
    /// - Returns: A name for the call, to cancel or move it.
    @discardableResult
    public func callAt(
        _ deadline: MonotonicInstant, file: StaticString = #fileID, line: UInt = #line,
        _ body: @escaping () throws -> Void
    ) -> DelayedCall {
        callAt(deadline, from: ProgramPlace(file: file, line: line), body)
    }

    /// The same for a caller that keeps the place of its own caller.
    func callAt(
        _ deadline: MonotonicInstant, from place: ProgramPlace, _ body: @escaping () throws -> Void
    ) -> DelayedCall {
        checkThread()
        let key = timers.schedule(DelayedBody(call: body, place: place), at: deadline)
        return DelayedCall(reactor: self, key: key)
    }

    /// The pending calls, unordered.
    ///
    /// For tests and inspection.
    ///
    /// - Complexity: O(*n*).
    public var delayedCalls: [DelayedCall] {
        checkThread()
        return timers.activeKeys.map { DelayedCall(reactor: self, key: $0) }
    }

    /// Runs the timers that are due; those that they schedule belong to a later turn.
    func runDueTimers() {
        guard timers.count > 0 else { return }
        let time = presentTime
        let last = timers.newestSequence
        while let body = timers.popDue(at: time, scheduledUpTo: last) {
            counters.timersFired += 1
            if meter != nil { setEventSource(ReactorEventSource(.delayedCall, from: body.place)) }
            performEvent {
                do { try body.call() } catch {
                    report(error, in: "a delayed call", place: body.place.description)
                }
            }
        }
    }
}

extension Reactor {
    /// When the next delayed call is due, exactly.
    ///
    /// For clocks that are moved by hand.
    package var nextDeadline: MonotonicInstant? { timers.nextDeadline }

    /// When the next delayed call is due that is not due at `time` already.
    ///
    /// - Complexity: O(*n*) if something is due.
    package func nextDeadline(after time: MonotonicInstant) -> MonotonicInstant? {
        guard let next = timers.nextDeadline, next <= time else { return timers.nextDeadline }
        return timers.activeKeys.compactMap { timers.deadline(of: $0) }.filter { $0 > time }.min()
    }
}
