// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Figures about a reactor, as a value.
public struct ReactorStatistics: Hashable, Sendable {
    /// Turns of the loop so far.
    public internal(set) var turns: UInt64 = 0
    /// Calls from other threads that have run.
    public internal(set) var threadCalls: UInt64 = 0
    /// Delayed calls that have run.
    public internal(set) var timersFired: UInt64 = 0
    /// Jobs of async code that have run.
    public internal(set) var jobs: UInt64 = 0
    /// Connections accepted or connected so far.
    public internal(set) var connectionsMade: UInt64 = 0
    /// Connections lost so far, by reason.
    public internal(set) var losses = LossCounts()
    /// Clients refused for want of descriptors.
    public internal(set) var connectionsShed: UInt64 = 0

    /// Clients whose filters did not agree with them, by reason: a TLS error is one of
    /// ``LossCounts/protocolFailed``, and one that said too little in time is one of
    /// ``DeadlineCounts/handshaking``.
    public internal(set) var handshakeLosses = LossCounts()
    /// Clients whose filters did not agree with them.
    public var handshakesFailed: UInt64 { handshakeLosses.total }
    /// Times that the ports of this reactor stopped accepting because its queues held more than
    /// ``Reactor/queueLimitBytes``.
    public internal(set) var acceptBackoffs: UInt64 = 0
    /// Connections aborted because a callback of their protocol, or the task that served them, threw.
    public internal(set) var protocolFailures: UInt64 = 0
    /// Connections aborted because a write found more than ``Watermarks/limit`` queued.
    public internal(set) var writeLimitsExceeded: UInt64 = 0
    /// Errors handed to ``Reactor/unhandledError``.
    public internal(set) var unhandledErrors: UInt64 = 0

    /// Connections between `connectionMade` and the end of `connectionLost`.
    public internal(set) var openConnections = 0
    /// Connections whose queue has passed the high mark and not fallen to the low one since: their
    /// peers read slowly, or wait for each other; see ``Watermarks``.
    public internal(set) var fullConnections = 0
    /// Bytes of memory that the queues of all connections hold: what was written and the kernel has
    /// refused, and what arrived and was not used; see ``Reactor/queueLimitBytes``.
    public internal(set) var queuedBytes = 0
    /// Transport objects that exist, also those that a program still holds after the loss.
    public internal(set) var liveTransports = 0
    /// Sockets of connections that were closed here, whose peers have not closed and are given time to
    /// take what was sent.
    public internal(set) var lingeringStreams = 0
    /// Ports that listen.
    public internal(set) var listeningPorts = 0
    /// Ports for datagrams, until their protocols have been called with the end.
    public internal(set) var datagramPorts = 0
    /// Descriptors that are watched for the program and for guests.
    public internal(set) var watches = 0
    /// Delayed calls that are pending.
    public internal(set) var delayedCalls = 0
    /// Tasks that ``Reactor/spawn(isolation:file:line:_:)`` started and that have not ended.
    public internal(set) var tasks = 0
    /// Tasks that wait for something of this reactor.
    public internal(set) var suspendedTasks = 0
    /// The backend's open handles: sockets, listeners, ports and watches.
    public internal(set) var openHandles = 0
}
