// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

package import TorsionCore

/// Where one WebSocket stands between its opening and its end: the closing handshake, and the pings.
///
/// Pure: the time is a value, and what is to be done is returned.
package struct WebSocketStateMachine {
    package enum State: Equatable {
        /// Messages go both ways.
        case open
        /// We have sent a close frame, and wait for the peer's.
        case closeSent
        /// Both have sent one; a client waits until the server ends the connection (RFC 6455 §7.1.1).
        case closed
        /// Nothing is to be done any more but to wait for the loss.
        case over
    }

    /// What is to be done about a close frame of the peer's.
    package enum CloseAction: Equatable {
        case none
        /// Send one with the same code, then end the connection if `ends`.
        case answer(ends: Bool)
        /// End the connection if `ends`.
        case accept(ends: Bool)
    }

    /// What a look at the clock finds.
    package enum LookAction: Equatable {
        case none
        case ping
        /// Nothing came for too long, or no close frame did.
        case expire(Expiry)
    }

    package enum Expiry: Equatable { case silence, closing }

    package struct Times: Equatable {
        /// Silence before a ping, and between two; `nil` sends none.
        package var pingInterval: Duration?
        package var closeTimeout: Duration
        /// Unanswered pings, behind which the peer is lost.
        package var pingLimit = 2

        package init(pingInterval: Duration?, closeTimeout: Duration) {
            self.pingInterval = pingInterval
            self.closeTimeout = closeTimeout
        }
    }

    package private(set) var state = State.open
    private let isServer: Bool
    private let times: Times
    /// When something came last; what is queued for the peer and goes down counts as well.
    private var lastSign: MonotonicInstant
    private var pingCount = 0
    private var deliversToClose = false
    private var closeDeadline = MonotonicInstant.distantFuture
    private var queuedByteCount = 0
    private var takenByteCount = 0

    package init(isServer: Bool, _ times: Times, at now: MonotonicInstant) {
        self.isServer = isServer
        self.times = times
        lastSign = now
    }

    /// Whether messages and control frames may be sent.
    @inline(__always)
    package var maySend: Bool { state == .open }

    /// Whether the peer's messages are delivered.
    @inline(__always)
    package var delivers: Bool { state == .open || state == .closeSent && deliversToClose }

    /// Something has arrived.
    @inline(__always)
    package mutating func heard(at now: MonotonicInstant) {
        lastSign = now
        pingCount = 0
    }

    // MARK: Closing

    /// We want to close.
    ///
    /// - Parameters:
    ///   - now: The time.
    ///   - delivers: Whether the peer's messages are delivered up to its close frame.
    /// - Returns: Whether a close frame is to be sent.
    package mutating func close(at now: MonotonicInstant, delivers: Bool) -> Bool {
        guard state == .open else { return false }
        state = .closeSent
        deliversToClose = delivers
        closeDeadline = now.advanced(by: times.closeTimeout)
        return true
    }

    /// The peer has sent a close frame.
    package mutating func closeReceived(at now: MonotonicInstant) -> CloseAction {
        switch state {
        case .open:
            state = isServer ? .over : .closed
            closeDeadline = now.advanced(by: times.closeTimeout)
            return .answer(ends: isServer)
        case .closeSent:
            // The time that began with our close frame goes on.
            state = isServer ? .over : .closed
            return .accept(ends: isServer)
        case .closed, .over: return .none
        }
    }

    /// The peer broke the protocol, or the connection is lost: nothing is sent or waited for.
    ///
    /// - Returns: Whether a close frame may still be sent.
    package mutating func fail() -> Bool {
        let mayTell = state == .open
        state = .over
        return mayTell
    }

    // MARK: Times

    /// How much waits for the peer when the closing begins: what a look compares with.
    ///
    /// - Parameters:
    ///   - byteCount: What is queued.
    ///   - taken: What was sent and is not queued any more.
    package mutating func closingBegins(queuedByteCount byteCount: Int, takenByteCount taken: Int) {
        queuedByteCount = byteCount
        takenByteCount = taken
    }

    /// When the clock is to be looked at next.
    package var nextLook: MonotonicInstant? {
        switch state {
        case .open:
            guard let interval = times.pingInterval else { return nil }
            return lastSign.advanced(by: interval * (pingCount + 1))
        case .closeSent, .closed: return closeDeadline
        case .over: return nil
        }
    }

    /// The clock is looked at.
    ///
    /// - Parameters:
    ///   - now: The time.
    ///   - byteCount: What is queued for the peer. One that takes some of it is there.
    ///   - taken: What was sent and is not queued any more, counted from the beginning.
    ///   - isPaused: Whether nothing is read because the program wants nothing now: then silence is
    ///     not the peer's.
    /// - Returns: What is to be done; then ``nextLook`` says when to look again.
    package mutating func look(
        at now: MonotonicInstant, queuedByteCount byteCount: Int, takenByteCount taken: Int,
        isPaused: Bool
    ) -> LookAction {
        // What the kernel takes at once says nothing of the peer.
        let takesSome = queuedByteCount > 0 && taken > takenByteCount
        queuedByteCount = byteCount
        takenByteCount = taken
        switch state {
        case .open:
            guard let interval = times.pingInterval else { return .none }
            if isPaused || takesSome { heard(at: now) }
            guard now >= lastSign.advanced(by: interval * (pingCount + 1)) else { return .none }
            guard pingCount < times.pingLimit else {
                state = .over
                return .expire(.silence)
            }
            pingCount += 1
            return .ping
        case .closeSent, .closed:
            guard now >= closeDeadline else { return .none }
            if takesSome {
                closeDeadline = now.advanced(by: times.closeTimeout)
                return .none
            }
            state = .over
            return .expire(.closing)
        case .over: return .none
        }
    }
}
