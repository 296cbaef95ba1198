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
    /// Tasks that ``Reactor/spawn(isolation:file:line:_:)`` started and that have not ended, by the place
    /// of their spawn, the most first.
    public var tasks: [Tasks]
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
        /// The type of what carries the bytes, below the filters.
        public var stream: String
        /// The type of the producer that is registered with it; nil without one.
        public var producer: String?
        /// Where it is between opening and the end, as in "open" or "finishing".
        public var state: String
        /// Whether it is a client of this program's, as a server.
        public var isServed: Bool
        /// Whether it does not read: ``pauses`` says why.
        public var isPaused: Bool
        /// Who has paused its reading, and since when; empty while it reads.
        public var pauses: [Pause]
        /// Bytes that were written and have not left.
        public var pendingBytes: Int
        /// For how long these have been over the high mark, in seconds; nil while they are not.
        ///
        /// A producer that is registered is paused as long.
        public var fullSeconds: Double?
        /// How long it has been open, in seconds.
        public var ageSeconds: Double
        /// Bytes that were read since the reactor ``Reactor/isMeasuring``; nil if it is not.
        public var bytesRead: UInt64?
        /// Bytes that have left, in the same way.
        public var bytesWritten: UInt64?
    }

    /// A reason why a connection does not read.
    public struct Pause: Hashable, Sendable, Codable {
        /// The kinds of reasons.
        @nonexhaustive
        public enum Cause: String, Hashable, Sendable, Codable {
            /// The program called `pauseProducing()`: the protocol, or code that has the transport.
            case program
            /// The task that serves the connection has not read what arrived.
            case task
            /// What the connection produces for, by a registration or a pipe, is full.
            case consumer
            /// Its own queue is over the high mark, since the peer does not read, and no producer is
            /// registered that could be paused instead.
            case peer
            /// A filter below it does not read, such as a `Throttle` beyond its rate.
            case filter
        }

        /// The kind of the reason.
        public var cause: Cause
        /// The type of the filter; the consumer, as "connection 1.17" or by its type; nil if the consumer
        /// is not known, and for the other kinds.
        public var by: String?
        /// For how long, in seconds.
        public var seconds: Double
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
        /// The place of its `callLater`, as in "Chat/Room.swift:41"; of the engine's own calls a file of
        /// the engine.
        public var place: String
    }

    /// The tasks that one line of the program has spawned and that have not ended.
    public struct Tasks: Hashable, Sendable, Codable {
        /// The line, as in "Chat/Room.swift:41"; for a task that serves a connection, the line that
        /// called `serve`.
        public var place: String
        /// How many there are.
        public var count: Int
    }

    /// Figures since the reactor was made: those of ``ReactorStatistics`` that a person asks for first.
    public struct Counts: Hashable, Sendable, Codable {
        /// Turns of the loop.
        public var turns: UInt64
        /// Connections that were made.
        public var connectionsMade: UInt64
        /// Connections that were lost, by reason.
        public var losses: Losses
        /// Clients whose filters did not agree with them.
        public var handshakesFailed: UInt64
        /// The same, by reason.
        public var handshakeLosses: Losses
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

    /// Connections that were lost, by reason: ``LossCounts``.
    public struct Losses: Hashable, Sendable, Codable {
        /// ``LossCounts/closedByPeer``.
        public var closedByPeer: UInt64
        /// ``LossCounts/closedLocally``.
        public var closedLocally: UInt64
        /// ``LossCounts/aborted``.
        public var aborted: UInt64
        /// ``LossCounts/failed``.
        public var failed: UInt64
        /// The same by code, as in "ECONNRESET"; "other" for those beyond
        /// ``FailureCounts/codeLimit``.
        public var failures: [String: UInt64]
        /// ``LossCounts/truncated``.
        public var truncated: UInt64
        /// ``LossCounts/deadlinePassed``.
        public var deadlinePassed: UInt64
        /// The same by deadline: handshaking, request, idle, half_closed, closing.
        public var deadlines: [String: UInt64]
        /// ``LossCounts/writeLimitExceeded``.
        public var writeLimitExceeded: UInt64
        /// ``LossCounts/protocolFailed``.
        public var protocolFailed: UInt64

        init(_ losses: LossCounts) {
            func dictionary(_ list: [(name: String, count: UInt64)]) -> [String: UInt64] {
                var result: [String: UInt64] = [:]
                for one in list where one.count > 0 { result[one.name, default: 0] += one.count }
                return result
            }
            closedByPeer = losses.closedByPeer
            closedLocally = losses.closedLocally
            aborted = losses.aborted
            failed = losses.failed
            failures = dictionary(losses.failures.byName)
            truncated = losses.truncated
            deadlinePassed = losses.deadlinePassed
            deadlines = dictionary(losses.deadlines.byName)
            writeLimitExceeded = losses.writeLimitExceeded
            protocolFailed = losses.protocolFailed
        }
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
    /// The open resources, as a value that can leave the thread: connections, ports, delayed calls and
    /// tasks with their places, counts.
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
        let consumers = open.consumersByProducer
        return ReactorSnapshot(
            reactor: number, backend: backendName, isReady: isReady, isStopping: isStopping,
            connections: open.map { $0.snapshot(at: now, consumers) },
            ports: ports.elements.map { port in
                ReactorSnapshot.Port(
                    address: "\(port.localAddress)", isAccepting: port.isAcceptingNow,
                    connections: open.count { $0.options === port.service.options })
            },
            datagramPorts: datagramPorts.elements.map { "\($0.localAddress)" },
            delayedCalls: delayedCallSnapshots(at: now), tasks: taskSnapshots(),
            counts: ReactorSnapshot.Counts(
                turns: figures.turns, connectionsMade: figures.connectionsMade,
                losses: ReactorSnapshot.Losses(figures.losses),
                handshakesFailed: figures.handshakesFailed,
                handshakeLosses: ReactorSnapshot.Losses(figures.handshakeLosses),
                connectionsShed: figures.connectionsShed,
                unhandledErrors: figures.unhandledErrors, queuedBytes: figures.queuedBytes,
                tasks: figures.tasks, threadWork: threadWork.count),
            load: meter.map { $0.load.snapshot(at: now) })
    }
}

extension Reactor {
    private func delayedCallSnapshots(at now: MonotonicInstant) -> [ReactorSnapshot.DelayedCall] {
        timers.activeKeys.compactMap { key in
            guard let deadline = timers.deadline(of: key), let body = timers.payload(of: key) else {
                return nil
            }
            return (deadline, body.place)
        }.sorted { (one: (MonotonicInstant, ProgramPlace), other) in one.0 < other.0 }.map {
            ReactorSnapshot.DelayedCall(
                dueSeconds: now.duration(to: $0.0).inSeconds, place: $0.1.description)
        }
    }

    private func taskSnapshots() -> [ReactorSnapshot.Tasks] {
        var counts: [String: Int] = [:]
        for case let place? in tasks.elements.map(\.place) {
            counts[place.description, default: 0] += 1
        }
        return counts.map { ReactorSnapshot.Tasks(place: $0.key, count: $0.value) }
            .sorted { ($1.count, $0.place) < ($0.count, $1.place) }
    }
}

extension [StreamConnection] {
    /// The connections that a producer is registered with, by the producer; of a pipe by its source.
    fileprivate var consumersByProducer: [ObjectIdentifier: ConnectionID] {
        var result: [ObjectIdentifier: ConnectionID] = [:]
        for connection in self {
            guard case .push(let producer, _) = connection.producer else { continue }
            let source = (producer as? PipeProtocol)?.pausedSource ?? producer
            result[ObjectIdentifier(source)] = connection.id
        }
        return result
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
    fileprivate func snapshot(
        at now: MonotonicInstant, _ consumers: [ObjectIdentifier: ConnectionID]
    ) -> ReactorSnapshot.Connection {
        let isMeasured = reactor.meter != nil
        let filters = filters
        let pauses = pauses(at: now, consumers)
        return ReactorSnapshot.Connection(
            id: "\(id)", peer: "\(peerAddress)", local: "\(localAddress)",
            protocolType: proto.map { String(reflecting: type(of: $0 as Any)) },
            filters: filters.map { String(reflecting: type(of: $0)) },
            stream: String(reflecting: type(of: (filters.last?.below ?? stream) as Any)),
            producer: producerType, state: machine.state.name, isServed: isServed,
            isPaused: !pauses.isEmpty, pauses: pauses, pendingBytes: pendingByteCount,
            fullSeconds: gate.isPaused ? fullStart.duration(to: now).inSeconds : nil,
            ageSeconds: client.madeAt.duration(to: now).inSeconds,
            bytesRead: isMeasured ? extras?.bytesRead ?? 0 : nil,
            bytesWritten: isMeasured ? extras?.bytesWritten ?? 0 : nil)
    }

    private var filters: [StreamFilter] {
        var filters: [StreamFilter] = []
        var next = stream
        while let filter = next as? StreamFilter {
            filters.append(filter)
            next = filter.below
        }
        return filters
    }

    private var producerType: String? {
        switch producer {
        case .none: nil
        case .push(let producer, _): String(reflecting: type(of: producer as Any))
        case .pull(let producer, _): String(reflecting: type(of: producer as Any))
        }
    }

    /// Who keeps it from reading.
    private func pauses(
        at now: MonotonicInstant, _ consumers: [ObjectIdentifier: ConnectionID]
    ) -> [ReactorSnapshot.Pause] {
        guard !machine.isClosed else { return [] }
        var pauses: [ReactorSnapshot.Pause] = []
        func add(
            _ cause: ReactorSnapshot.Pause.Cause, _ by: String?, since start: MonotonicInstant
        ) {
            let seconds = start.duration(to: now).inSeconds
            pauses.append(ReactorSnapshot.Pause(cause: cause, by: by, seconds: seconds))
        }
        if isPaused, pauseCause == .consumer {
            let consumer = consumers[ObjectIdentifier(self)].map { "connection \($0)" }
            add(.consumer, consumer ?? (proto as? PipeProtocol)?.consumerType, since: pauseStart)
        } else if isPaused {
            let isForTask = proto is ConnectionMailbox
            add(isForTask ? .task : pauseCause, nil, since: pauseStart)
        }
        if gate.isPaused, producer.isNone, machine.acceptsWrites {
            add(.peer, nil, since: fullStart)
        }
        for filter in filters where filter.isReceivingPaused {
            add(.filter, String(reflecting: type(of: filter)), since: filter.pauseStart)
        }
        return pauses
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
