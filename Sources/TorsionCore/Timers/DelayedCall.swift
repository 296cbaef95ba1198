// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What a delayed call does.
///
/// A closure that is a generic type's value is wrapped to fit one, which is an allocation; in a
/// struct it stays as it is.
struct DelayedBody {
    let call: () throws -> Void
}

/// A call that a reactor will make later.
///
/// A value: it names the call, and is cheap to copy.
///
/// - SeeAlso: Twisted `IDelayedCall`.
public struct DelayedCall {
    let reactor: Reactor
    let key: TimerKey

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
    public func cancel() -> Bool {
        reactor.checkThread()
        return reactor.timers.cancel(key) != nil
    }

    /// Makes the call due `delay` from now, behind those already due then.
    ///
    /// - Returns: Whether it was active; if not, nothing happens.
    @discardableResult
    public func reset(after delay: Duration) -> Bool {
        reactor.checkThread()
        return reactor.timers.reschedule(key, to: reactor.now.advanced(by: delay))
    }

    /// Makes the call due later than it was; a negative delay makes it sooner.
    ///
    /// - Returns: Whether it was active; if not, nothing happens.
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
    /// as zero. An error goes to ``unhandledError``.
    ///
    /// - Returns: A name for the call, to cancel or move it.
    /// - Complexity: O(1), and no allocation besides what `body` captures.
    /// - Note: Portability: libuv rounds the wait up to a whole millisecond.
    @discardableResult
    public func callLater(_ delay: Duration, _ body: @escaping () throws -> Void) -> DelayedCall {
        let start = now
        let deadline = max(start, start.advanced(by: delay))
        let key = timers.schedule(DelayedBody(call: body), at: deadline)
        return DelayedCall(reactor: self, key: key)
    }

    /// Calls `body` once at `deadline`, in a later turn, never inline.
    @discardableResult
    public func callAt(
        _ deadline: MonotonicInstant, _ body: @escaping () throws -> Void
    ) -> DelayedCall {
        checkThread()
        let key = timers.schedule(DelayedBody(call: body), at: deadline)
        return DelayedCall(reactor: self, key: key)
    }

    /// The calls that are pending, in no order.
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
        let time = backend.now
        let last = timers.newestSequence
        while let body = timers.popDue(at: time, scheduledUpTo: last) {
            counters.timersFired += 1
            performEvent {
                do { try body.call() } catch { report(error, in: "a delayed call") }
            }
        }
    }
}

extension Reactor {
    /// When the next delayed call is due, exactly.
    ///
    /// For clocks that are moved by hand.
    package var nextDeadline: MonotonicInstant? { timers.nextDeadline }
}
