// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// A layer that gives up a connection which waits too long for its peer.
///
///     endpoint.timeouts(Timeouts(idle: .seconds(60))).listen(on: reactor) { Echo() }
///
/// The connection is aborted, and the reason of its loss is a `ConnectionLoss.deadlinePassed`. Time
/// in which what is above has paused the transport is not counted: then it is not the peer who is
/// waited for.
///
/// - Complexity: One timer a connection, which is not moved by what arrives but looks, when it is
///   due, at what has happened since. When a slow peer took the last of what was queued for it is
///   not known closer than that: such a one is given up after up to twice the idle timeout.
/// - SeeAlso: Twisted `twisted.protocols.policies.TimeoutMixin`, `TimeoutProtocol`.
public final class TimeLimited: StreamLayer {
    private let timeouts: Timeouts
    private var machine: TimeoutStateMachine?
    private var timer: DelayedCall?
    private var timerDue = MonotonicInstant.distantFuture
    private var writtenByteCount = 0
    private var lastWrite = MonotonicInstant(nanoseconds: 0)
    /// Something had to wait for the peer since the timer looked last.
    private var hasQueued = false
    /// How many of the bytes written the kernel had when the timer looked last.
    private var takenByteCount = 0

    /// Timeouts under a protocol.
    public init(above: any StreamProtocol, _ timeouts: Timeouts) {
        self.timeouts = timeouts
        super.init(above: above)
    }

    /// Starts the clock, and passes the call up.
    public override func connectionMade(_ transport: any StreamTransport) throws {
        attach(to: transport)
        machine = TimeoutStateMachine(timeouts, at: reactor.now)
        updateTimer()
        try connectAbove()
    }

    /// Passes the bytes up, and asks what is waited for then.
    public override func dataReceived(
        _ bytes: RawSpan, from transport: any StreamTransport
    ) throws {
        let now = reactor.now
        machine?.noteReceived(at: now)
        try super.dataReceived(bytes, from: transport)
        machine?.enter(phase, at: now)
        updateTimer()
    }

    /// Counts the bytes, and passes them down.
    public override func write(_ bytes: RawSpan) {
        super.write(bytes)
        noteWritten(bytes.byteCount)
    }

    /// Counts the bytes, and passes them down.
    public override func write(_ bytes: Bytes) {
        super.write(bytes)
        noteWritten(bytes.count)
    }

    private func noteWritten(_ byteCount: Int) {
        writtenByteCount &+= byteCount
        lastWrite = reactor.now
        if pendingByteCount > 0 { hasQueued = true }
    }

    /// Passes the call down; the peer's time begins anew.
    public override func resumeProducing() {
        if !isDelivering { machine?.forgive(at: reactor.now) }
        super.resumeProducing()
    }

    /// Stops the clock, and passes the call up.
    public override func connectionLost(
        _ why: ConnectionLoss, from transport: any StreamTransport
    ) {
        timer?.cancel()
        timer = nil
        machine = nil
        super.connectionLost(why, from: transport)
    }

    /// Asserts, besides what holds of every layer, that its deadline is looked at in time.
    public override func checkInvariants() {
        require(machine != nil, "TimeLimited: it has no clock")
        require(
            (timer?.isActive ?? false) == (timerDue != .distantFuture),
            "TimeLimited: its timer is not due when it should be")
        if let deadline = machine?.deadline?.instant {
            require(timerDue <= deadline, "TimeLimited: nobody looks at its deadline")
        }
        super.checkInvariants()
    }

    /// Makes the timer due at the deadline, if that has come nearer; a later one it meets by itself.
    private func updateTimer() {
        guard let deadline = machine?.deadline?.instant, deadline < timerDue else { return }
        timer?.cancel()
        timerDue = deadline
        timer = reactor.callAt(deadline) { [self] in timerFired() }
    }

    private func timerFired() {
        timer = nil
        timerDue = MonotonicInstant.distantFuture
        let now = reactor.now
        noteTaken(at: now)
        if isDelivering { machine?.enter(phase, at: now) } else { machine?.forgive(at: now) }
        guard let deadline = machine?.deadline, deadline.instant <= now else {
            return updateTimer()
        }
        below.abortConnection(because: ConnectionLoss.deadlinePassed(deadline.of))
    }

    private func noteTaken(at now: MonotonicInstant) {
        let pending = pendingByteCount
        let taken = writtenByteCount &- pending
        if taken != takenByteCount {
            machine?.noteActivity(at: hasQueued || pending > 0 ? now : lastWrite)
        }
        takenByteCount = taken
        hasQueued = pending > 0
    }
}
