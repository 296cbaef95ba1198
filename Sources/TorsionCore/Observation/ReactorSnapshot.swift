// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A reactor's open resources at one moment, as a value for people and programs.
///
/// - SeeAlso: ``Reactor/inspect()``.
public struct ReactorSnapshot: Hashable, Sendable, Codable {
    /// The reactor's number in the process.
    public var reactor: UInt32
    /// The name of its backend.
    public var backend: String
    /// ``Reactor/isReady``.
    public var isReady: Bool
    /// ``Reactor/isStopping``.
    public var isStopping: Bool
    /// Connections, unordered.
    public var connections: [Connection]
    /// Ports for streams.
    public var ports: [Port]
    /// Ports for datagrams, by their addresses.
    public var datagramPorts: [String]
    /// Delayed calls, the next one first.
    public var delayedCalls: [DelayedCall]
    /// Figures since the reactor was made.
    public var counts: Counts
    /// How busy it has been; nil unless it ``Reactor/isMeasuring``.
    public var load: Load?

    /// One connection.
    public struct Connection: Hashable, Sendable, Codable {
        /// ``ConnectionID/description``.
        public var id: String
        /// The other end.
        public var peer: String
        /// This end.
        public var local: String
        /// The type of its protocol; nil while it is in a callback, as the one that asks is.
        public var protocolType: String?
        /// The types of the filters below it, the uppermost first.
        public var filters: [String]
        /// Where it is between opening and the end, as in "open" or "finishing".
        public var state: String
        /// Whether it is a client of this program's, as a server.
        public var isServed: Bool
        /// Whether the program, or its peer that does not read, has paused its reading.
        public var isPaused: Bool
        /// Since when the program has paused it, in seconds; nil if it has not, or the reactor was not
        /// measuring then.
        public var pausedSeconds: Double?
        /// Bytes that were written and have not left.
        public var pendingBytes: Int
        /// How long it has been open, in seconds.
        public var ageSeconds: Double
        /// Bytes that were read since the reactor ``Reactor/isMeasuring``; nil if it is not.
        public var bytesRead: UInt64?
        /// Bytes that have left, in the same way.
        public var bytesWritten: UInt64?
    }

    /// One port for streams.
    public struct Port: Hashable, Sendable, Codable {
        /// Where it listens.
        public var address: String
        /// Whether it accepts now: not while it is paused, or backs off.
        public var isAccepting: Bool
        /// Connections that it accepted and that are open.
        public var connections: Int
    }

    /// One delayed call.
    public struct DelayedCall: Hashable, Sendable, Codable {
        /// When it is due, in seconds from now; negative if it is late.
        public var dueSeconds: Double
    }

    /// Figures since the reactor was made: those of ``ReactorStatistics`` that a person asks for first.
    public struct Counts: Hashable, Sendable, Codable {
        /// Turns of the loop.
        public var turns: UInt64
        /// Connections that were made.
        public var connectionsMade: UInt64
        /// Connections that were lost, by reason.
        public var losses: LossCounts
        /// Clients whose filters did not agree with them.
        public var handshakesFailed: UInt64
        /// Clients refused for want of descriptors.
        public var connectionsShed: UInt64
        /// Unhandled errors.
        public var unhandledErrors: UInt64
        /// Bytes that all queues hold.
        public var queuedBytes: Int
        /// Tasks that have not ended.
        public var tasks: Int
        /// Work that was given to threads, and has not come back.
        public var threadWork: Int
    }

    /// How busy a reactor has been: ``ReactorLoad`` in milliseconds.
    public struct Load: Hashable, Sendable, Codable {
        /// For how long it was measured, in seconds.
        public var seconds: Double
        /// The part of this time in which it was busy with the program, from 0 to 1.
        public var busy: Double
        /// Events.
        public var events: UInt64
        /// The durations that half of the events, 99 of 100, and all of them did not exceed, in
        /// milliseconds.
        public var eventMilliseconds: Percentiles
        /// By how much delayed calls were late, in milliseconds.
        public var lagMilliseconds: Percentiles
        /// Bytes that were given to protocols.
        public var bytesRead: UInt64
        /// Bytes that have left.
        public var bytesWritten: UInt64
        /// Events that took longer than ``Reactor/slowEventLimit``.
        public var slowEvents: UInt64
    }

    /// Three figures of a ``DurationHistogram``, in milliseconds.
    public struct Percentiles: Hashable, Sendable, Codable {
        /// The median.
        public var p50: Double
        /// The duration that one in a hundred exceeds.
        public var p99: Double
        /// The longest.
        public var max: Double

        init(_ histogram: DurationHistogram) {
            p50 = histogram.percentile(0.5).inSeconds * 1_000
            p99 = histogram.percentile(0.99).inSeconds * 1_000
            max = histogram.longest.inSeconds * 1_000
        }
    }
}

extension Reactor {
    /// The open resources, as a value that can leave the thread: connections, ports, delayed calls,
    /// counts.
    ///
    ///     print(reactor.inspect().connections.filter { $0.pendingBytes > 0 })
    ///
    /// Called on the reactor. `AdminEndpoint` of `TorsionOperations` answers with it.
    ///
    /// - Complexity: O(*n*) in what is open; some microseconds for each connection, in which the
    ///   reactor is blocked.
    public func inspect() -> ReactorSnapshot {
        let figures = statistics
        let now = presentTime
        let open = connections.elements
        return ReactorSnapshot(
            reactor: number, backend: backendName, isReady: isReady, isStopping: isStopping,
            connections: open.map { $0.snapshot(at: now) },
            ports: ports.elements.map { port in
                ReactorSnapshot.Port(
                    address: "\(port.localAddress)", isAccepting: port.isAcceptingNow,
                    connections: open.count { $0.options === port.service.options })
            },
            datagramPorts: datagramPorts.elements.map { "\($0.localAddress)" },
            delayedCalls: delayedCalls.compactMap(\.deadline).sorted().map {
                ReactorSnapshot.DelayedCall(dueSeconds: now.duration(to: $0).inSeconds)
            },
            counts: ReactorSnapshot.Counts(
                turns: figures.turns, connectionsMade: figures.connectionsMade,
                losses: figures.losses, handshakesFailed: figures.handshakesFailed,
                connectionsShed: figures.connectionsShed,
                unhandledErrors: figures.unhandledErrors, queuedBytes: figures.queuedBytes,
                tasks: figures.tasks, threadWork: threadWork.count),
            load: meter.map { $0.load.snapshot(at: now) })
    }
}

extension ReactorLoad {
    fileprivate func snapshot(at now: MonotonicInstant) -> ReactorSnapshot.Load {
        let seconds = start.duration(to: now).inSeconds
        return ReactorSnapshot.Load(
            seconds: seconds, busy: seconds > 0 ? events.total.inSeconds / seconds : 0,
            events: events.count, eventMilliseconds: ReactorSnapshot.Percentiles(events),
            lagMilliseconds: ReactorSnapshot.Percentiles(lag), bytesRead: bytesRead,
            bytesWritten: bytesWritten, slowEvents: slowEvents)
    }
}

extension StreamConnection {
    fileprivate func snapshot(at now: MonotonicInstant) -> ReactorSnapshot.Connection {
        let isMeasured = reactor.meter != nil
        return ReactorSnapshot.Connection(
            id: "\(id)", peer: "\(peerAddress)", local: "\(localAddress)",
            protocolType: proto.map { String(reflecting: type(of: $0 as Any)) },
            filters: filterTypes, state: machine.state.name, isServed: isServed,
            isPaused: isPaused || gate.isPaused && producer.isNone,
            pausedSeconds: isPaused
                ? extras?.pauseStart.map { $0.duration(to: now).inSeconds } : nil,
            pendingBytes: pendingByteCount,
            ageSeconds: client.madeAt.duration(to: now).inSeconds,
            bytesRead: isMeasured ? extras?.bytesRead ?? 0 : nil,
            bytesWritten: isMeasured ? extras?.bytesWritten ?? 0 : nil)
    }

    private var filterTypes: [String] {
        var names: [String] = []
        var next = stream
        while let filter = next as? StreamFilter {
            names.append(String(reflecting: type(of: filter)))
            next = filter.below
        }
        return names
    }
}

extension ConnectionStateMachine.State {
    /// For people.
    fileprivate var name: String {
        switch self {
        case .opening: "opening"
        case .open: "open"
        case .readClosed: "readClosed"
        case .writeClosing: "writeClosing"
        case .writeClosed: "writeClosed"
        case .finishing: "finishing"
        case .abandoning: "abandoning"
        case .broken: "broken"
        case .closed: "closed"
        }
    }
}

extension Duration {
    /// For people: a `Double` is exact to a microsecond for centuries.
    package var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}
