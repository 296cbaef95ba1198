// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// How long a connection may wait for its peer; nil waits without limit.
///
/// A plain value, usable on any thread.
///
///     endpoint.timeouts(Timeouts(handshake: .seconds(10), request: .seconds(30), idle: .seconds(60)))
///         .listen(on: reactor) { Chat(room) }
public struct Timeouts: Hashable, Sendable {
    /// From the connection until its first byte, and until what is above has agreed on its terms:
    /// see `ConnectionPhase.handshaking`.
    public var handshake: Duration?

    /// From the first byte of a request until its end: see `ConnectionPhase.request`.
    ///
    /// The lines of a `LineProtocol` and the frames of a `FrameProtocol` are such requests. So a
    /// client that sends a byte now and then is not served without end.
    public var request: Duration?

    /// While neither side gets a byte through.
    public var idle: Duration?

    /// The three, each of them positive.
    ///
    /// - Parameters:
    ///   - handshake: From the connection until its first byte and the end of the handshake; `nil`
    ///     for any time.
    ///   - request: From the first byte of a request to its end; `nil` for any time.
    ///   - idle: While neither side gets a byte through; `nil` for any time.
    public init(handshake: Duration? = nil, request: Duration? = nil, idle: Duration? = nil) {
        for timeout in [handshake, request, idle] {
            if let timeout {
                require(timeout > .zero, "Timeouts: a timeout is positive, as \(timeout) is not")
            }
        }
        self.handshake = handshake
        self.request = request
        self.idle = idle
    }
}

/// Decides which deadline a connection is under.
///
/// Pure: no clock, no timer, no callbacks.
struct TimeoutStateMachine {
    private let timeouts: Timeouts
    private var phase = ConnectionPhase.handshaking
    private var phaseStart: MonotonicInstant
    private var lastActivity: MonotonicInstant
    private var hasReceived = false

    /// The connection was made.
    init(_ timeouts: Timeouts, at now: MonotonicInstant) {
        self.timeouts = timeouts
        phaseStart = now
        lastActivity = now
    }

    /// Bytes arrived, or left.
    mutating func noteActivity(at instant: MonotonicInstant) {
        lastActivity = max(lastActivity, instant)
    }

    /// Bytes arrived.
    mutating func noteReceived(at now: MonotonicInstant) {
        hasReceived = true
        lastActivity = now
    }

    /// What is above says what it waits for.
    mutating func enter(_ next: ConnectionPhase, at now: MonotonicInstant) {
        // Who says nothing of handshakes has made one when the first byte is there.
        guard hasReceived, next != phase else { return }
        phase = next
        phaseStart = now
    }

    /// The peer could do nothing: what is above has stopped reading.
    mutating func forgive(at now: MonotonicInstant) {
        phaseStart = now
        lastActivity = now
    }

    /// When the connection is to be given up, and because of what; nil as long as nothing has an end.
    var deadline: (instant: MonotonicInstant, of: ConnectionLoss.Deadline)? {
        let idle = timeouts.idle.map { lastActivity.advanced(by: $0) }
        guard let (end, kind) = phaseDeadline else { return idle.map { ($0, .idle) } }
        guard let idle, idle < end else { return (end, kind) }
        return (idle, .idle)
    }

    private var phaseDeadline: (MonotonicInstant, ConnectionLoss.Deadline)? {
        switch phase {
        case .handshaking:
            timeouts.handshake.map { (phaseStart.advanced(by: $0), .handshaking) }
        case .request:
            timeouts.request.map { (phaseStart.advanced(by: $0), .request) }
        case .open:
            nil
        }
    }
}
