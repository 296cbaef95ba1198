// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Gives up a connection that waits too long for its peer.
///
///     endpoint.timeouts(Timeouts(idle: .seconds(60))).listen(on: reactor) { Echo() }
///
/// The connection is aborted, unless its protocol is a `PhasedProtocol` that answers in `timedOut`
/// first; the reason of its loss is a `ConnectionLoss.deadlinePassed`. Time
/// in which what is above has paused the transport is not counted: then it is not the peer who is
/// waited for.
///
/// - Complexity: One timer a connection, which is not moved by what arrives but looks, when it is
///   due, at what has happened since. When a slow peer took the last of what was queued for it is
///   not known closer than that: such a one is given up after up to twice the idle timeout.
/// - SeeAlso: Twisted `twisted.protocols.policies.TimeoutMixin`, `TimeoutProtocol`.
public final class TimeoutObserver: ConnectionObserver {
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

    private var transport: (any StreamTransport)?
    private var isPaused = false
    /// Whether the deadline has passed, and the protocol's last words are leaving.
    private var hasEnded = false

    /// Keeps these timeouts for one connection.
    ///
    /// - Parameter timeouts: How long the connection may wait.
    public init(_ timeouts: Timeouts) { self.timeouts = timeouts }

    /// Starts the clock.
    ///
    /// - Parameter transport: Watched until ``didLose(_:of:)``.
    public func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        machine = TimeoutStateMachine(timeouts, at: transport.reactor.now)
        updateTimer()
    }

    /// Notes that the peer is there.
    ///
    /// - Parameters:
    ///   - bytes: Not looked at.
    ///   - transport: The connection.
    public func willDeliver(_ bytes: RawSpan, of transport: any StreamTransport) {
        machine?.noteReceived(at: transport.reactor.now)
    }

    /// Asks what is waited for now.
    ///
    /// - Parameters:
    ///   - byteCount: Not looked at.
    ///   - transport: Asked for its phase.
    public func didDeliver(byteCount: Int, of transport: any StreamTransport) {
        machine?.enter(phase, at: transport.reactor.now)
        updateTimer()
    }

    /// Counts the bytes.
    ///
    /// - Parameters:
    ///   - bytes: Only counted.
    ///   - transport: The connection.
    public func didWrite(_ bytes: RawSpan, of transport: any StreamTransport) {
        noteWritten(bytes.byteCount, transport)
    }

    /// Notes that the peer takes something: it has taken what was queued before, too.
    ///
    /// - Parameters:
    ///   - byteCount: Not looked at.
    ///   - transport: The connection.
    public func didSend(byteCount: Int, of transport: any StreamTransport) {
        let now = transport.reactor.now
        machine?.noteActivity(at: now)
        noteTaken(at: now, transport)
    }

    /// The peer's time begins anew when the program reads again.
    ///
    /// - Parameters:
    ///   - change: Pausing and resuming count; the rest does not.
    ///   - transport: The connection.
    public func stateDidChange(_ change: ConnectionChange, of transport: any StreamTransport) {
        switch change {
        case .paused: isPaused = true
        case .resumed where isPaused:
            isPaused = false
            machine?.forgive(at: transport.reactor.now)
        default: break
        }
    }

    /// Stops the clock.
    ///
    /// - Parameters:
    ///   - why: Not looked at.
    ///   - transport: Released.
    public func didLose(_ why: ConnectionLoss, of transport: any StreamTransport) {
        timer?.cancel()
        timer = nil
        machine = nil
        self.transport = nil
    }

    private var phase: ConnectionPhase { transport?.phase ?? .open }

    private func noteWritten(_ byteCount: Int, _ transport: any StreamTransport) {
        writtenByteCount &+= byteCount
        lastWrite = transport.reactor.now
        if transport.pendingByteCount > 0 { hasQueued = true }
    }

    /// Asserts that its deadline is looked at in time.
    public func checkInvariants() {
        require(machine != nil, "TimeoutObserver: it has no clock")
        require(
            (timer?.isActive ?? false) == (timerDue != .distantFuture),
            "TimeoutObserver: its timer is not due when it should be")
        if !hasEnded, let deadline = machine?.deadline?.instant {
            require(timerDue <= deadline, "TimeoutObserver: nobody looks at its deadline")
        }
    }

    /// Makes the timer due at the deadline, if that has come nearer; a later one it meets by itself.
    private func updateTimer() {
        guard !hasEnded, let deadline = machine?.deadline?.instant, deadline < timerDue else {
            return
        }
        timer?.cancel()
        timerDue = deadline
        timer = transport?.reactor.callAt(deadline) { [self] in timerFired() }
    }

    private func timerFired() {
        timer = nil
        timerDue = MonotonicInstant.distantFuture
        guard let transport else { return }
        let now = transport.reactor.now
        noteTaken(at: now, transport)
        if transport.isDelivering {
            machine?.enter(phase, at: now)
        } else {
            machine?.forgive(at: now)
        }
        guard let deadline = machine?.deadline, deadline.instant <= now else {
            return updateTimer()
        }
        hasEnded = true
        transport.end(because: deadline.of)
    }

    private func noteTaken(at now: MonotonicInstant, _ transport: any StreamTransport) {
        let pending = transport.pendingByteCount
        let taken = writtenByteCount &- pending
        if taken != takenByteCount {
            machine?.noteActivity(at: hasQueued || pending > 0 ? now : lastWrite)
        }
        takenByteCount = taken
        hasQueued = pending > 0
    }
}

extension TimeoutObserver: InvariantChecking {}
