// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// How long events take, and whose they are.
//
// A message that is echoed costs about 300 instructions, and two reads of the clock would add a
// third. So nothing is measured unless the program asks, and then no connection takes the short way
// for a plain one (`StreamConnection.isPlain`): every event of the reactor passes `beginEvent` and
// `endEvent`, where the meter stands. The short way itself has no branch for it.
//
// The meter calls nobody: what took too long is kept, and told by a delayed call before the reactor
// waits again.

/// The kind and the place of one event of a reactor.
public struct ReactorEventSource: Hashable, Sendable, CustomStringConvertible {
    /// The kind of the event.
    @nonexhaustive
    public enum Kind: String, Hashable, Sendable, Codable {
        /// Bytes of a connection, given to its protocol.
        case dataReceived
        /// The loss of a connection: `connectionLost`.
        case connectionLost
        /// A delayed call.
        case delayedCall
        /// A call from another thread.
        case threadCall
        /// Async code: one or more jobs.
        case jobs
        /// A client, accepted and given a protocol.
        case accepting
        /// Anything else: a watched descriptor, a producer, a datagram.
        case other
    }

    /// The kind of the event.
    public internal(set) var kind: Kind
    /// The type of the connection's protocol, as in "Chat.Room"; nil without a connection.
    ///
    /// - Complexity: Its name is made each time: some thousand instructions.
    public var protocolType: String? { name.map { String(reflecting: $0.type) } }
    /// The type itself, since its name would cost each event more than all the rest.
    var name: TypeName?
    /// The connection, if the event was one of a connection.
    public internal(set) var connection: ConnectionID?
    /// The connection's other end.
    public internal(set) var peerAddress: SocketAddress?
    /// The place in the program that made the call, as in "Chat/Room.swift:41"; nil unless the event is a
    /// delayed call.
    public var place: String? { maker?.description }
    /// The same, since its text would cost each event as much as the call.
    let maker: ProgramPlace?

    init(_ kind: Kind, from maker: ProgramPlace? = nil) {
        self.kind = kind
        self.maker = maker
    }

    /// A protocol's type, by which two are compared.
    struct TypeName: Hashable, Sendable {
        let type: Any.Type

        static func == (one: TypeName, other: TypeName) -> Bool { one.type == other.type }

        func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(type)) }
    }

    /// In words, as in "dataReceived of Chat.Room, connection 1.17 with 10.0.0.1:5000".
    public var description: String {
        var text =
            switch kind {
            case .dataReceived, .connectionLost: kind.rawValue
            case .delayedCall: "a delayed call"
            case .threadCall: "a call from another thread"
            case .jobs: "async code"
            case .accepting: "making a protocol"
            case .other: "an event"
            }
        if let protocolType { text += " of \(protocolType)" }
        if let connection { text += ", connection \(connection)" }
        if let peerAddress { text += " with \(peerAddress)" }
        if let place { text += ", made at \(place)" }
        return text
    }
}

/// An event that kept a reactor for longer than ``Reactor/slowEventLimit``.
public struct SlowEvent: Hashable, Sendable, CustomStringConvertible {
    /// The reactor's number.
    public let reactorNumber: UInt32
    /// The event's kind and place.
    public let source: ReactorEventSource
    /// How long it took; if it is reported while it hangs, how long it has taken so far.
    public let duration: Duration
    /// Whether it has ended.
    public let isOver: Bool

    package init(
        reactorNumber: UInt32, source: ReactorEventSource, duration: Duration, isOver: Bool
    ) {
        self.reactorNumber = reactorNumber
        self.source = source
        self.duration = duration
        self.isOver = isOver
    }

    /// One line.
    public var description: String {
        let milliseconds =
            duration.components.seconds * 1_000
            + duration.components.attoseconds / 1_000_000_000_000_000
        let verb = isOver ? "was held" : "has been held"
        return "torsion: reactor \(reactorNumber) \(verb) for \(milliseconds) ms by \(source)"
    }
}

/// What the thread of a reactor is doing, for another thread to see.
package final class EventRecord: Sendable {
    /// An event that has begun and not ended.
    package struct Current: Sendable {
        /// Differs from that of every other event of the reactor.
        package let number: UInt64
        package let start: MonotonicInstant
        package let source: ReactorEventSource
    }

    private let current = Lock<Current?>(nil)

    /// The event that is under way.
    package var event: Current? { current.withLock { $0 } }

    fileprivate func set(_ event: Current?) { current.withLock { $0 = event } }
}

/// Measures the events of one reactor.
final class EventMeter {
    /// What this reactor has done since measuring began.
    var load = ReactorLoad()
    /// Named by whoever begins an event, just before.
    var source: ReactorEventSource?
    /// Nil unless another thread watches.
    var record: EventRecord?

    private var start: MonotonicInstant?
    private var slow: [(ReactorEventSource, Duration)] = []
    private var number: UInt64 = 0
    /// As many are told of a turn.
    private static let slowLimit = 16

    func began(at time: MonotonicInstant) {
        start = time
        number &+= 1
        guard let record else { return }
        record.set(
            EventRecord.Current(
                number: number, start: time, source: source ?? ReactorEventSource(.other)))
    }

    /// - Returns: Whether this is the first that took too long since ``takeSlow()``.
    func ended(at time: MonotonicInstant, slowLimit: Duration?) -> Bool {
        guard let start else { return false }
        self.start = nil
        record?.set(nil)
        let ended = source.take() ?? ReactorEventSource(.other)
        let duration = start.duration(to: time)
        load.events.add(duration)
        guard let slowLimit, duration >= slowLimit else { return false }
        load.slowEvents += 1
        if slow.count < Self.slowLimit { slow.append((ended, duration)) }
        return slow.count == 1
    }

    /// What took too long since the last call.
    func takeSlow() -> [(ReactorEventSource, Duration)] {
        guard !slow.isEmpty else { return [] }
        defer { slow = [] }
        return slow
    }
}

/// How busy a reactor has been since ``Reactor/isMeasuring`` was set.
public struct ReactorLoad: Hashable, Sendable {
    /// How long each event took.
    ///
    /// Its ``DurationHistogram/total`` is the time that the reactor was busy with the program.
    public internal(set) var events = DurationHistogram()
    /// How late the first due delayed call of a turn ran: what everything that waits for the reactor
    /// waits longer.
    public internal(set) var lag = DurationHistogram()
    /// Bytes that were given to protocols.
    public internal(set) var bytesRead: UInt64 = 0
    /// Bytes that protocols wrote and the kernel, or the filter below them, has taken.
    public internal(set) var bytesWritten: UInt64 = 0
    /// Events that took longer than ``Reactor/slowEventLimit``.
    public internal(set) var slowEvents: UInt64 = 0
    /// Since when it is measured, by the reactor's clock.
    public internal(set) var start = MonotonicInstant(nanoseconds: 0)
}

extension Reactor {
    /// Whether the time of each event, and the bytes of each connection, are measured; false by
    /// default.
    ///
    /// It may be set at any time, on the reactor. While it is true a message costs two reads of the
    /// clock and a longer way, about 2,800 instructions; while it is false it is free of cost.
    /// ``load`` has the figures, ``inspect()`` more. Setting ``slowEventLimit`` sets it as well.
    public var isMeasuring: Bool {
        get {
            checkThread()
            return meter != nil
        }
        set {
            checkThread()
            guard newValue != (meter != nil) else { return }
            meter = newValue ? EventMeter() : nil
            meter?.load.start = presentTime
            if !newValue { slowLimit = nil }
            for connection in connections.elements { connection.updatePlainness() }
        }
    }

    /// Events that take so long, or longer, are reported to ``slowEvent``; nil, the default,
    /// reports none.
    ///
    ///     reactor.slowEventLimit = .milliseconds(100)
    ///
    /// A program that blocks in a callback holds every connection of its reactor. Setting a limit
    /// sets ``isMeasuring``. Called before the reactor waits again, at most sixteen at a time;
    /// `reactor.watchSlowEvents` of `TorsionOperations` reports one that has not ended yet.
    public var slowEventLimit: Duration? {
        get {
            checkThread()
            return slowLimit
        }
        set {
            if newValue != nil { isMeasuring = true }
            slowLimit = newValue
        }
    }

    /// How busy this reactor has been, while it ``isMeasuring``; zeros otherwise.
    public var load: ReactorLoad {
        checkThread()
        return meter?.load ?? ReactorLoad()
    }

    /// What the event that is under way is about, for another thread; nil unless the reactor
    /// ``isMeasuring``.
    package func recordEvents() -> EventRecord? {
        checkThread()
        guard let meter else { return nil }
        let record = meter.record ?? EventRecord()
        meter.record = record
        return record
    }

    /// The clock, whatever the turn thinks the time is.
    package func readClock() -> MonotonicInstant { backend.readClock() }

    /// Names the event that is about to begin.
    @inline(__always)
    func nameEvent(_ kind: ReactorEventSource.Kind) {
        if meter != nil { setEventSource(ReactorEventSource(kind)) }
    }

    @inline(never)
    func setEventSource(_ source: ReactorEventSource) {
        if eventDepth == 0 { meter?.source = source }
    }

    @inline(never)
    func measureBegin() {
        if eventDepth == 0 { meter?.began(at: backend.readClock()) }
    }

    @inline(never)
    func measureEnd() {
        guard eventDepth == 0, let meter else { return }
        let isFirst = meter.ended(at: backend.readClock(), slowLimit: slowLimit)
        // In a turn of its own, since a look at the end of each would cost every turn.
        if isFirst, !life.isReleasing { callLater(.zero) { [unowned self] in tellSlowEvents() } }
    }

    /// How late the first call that is due will run.
    @inline(never)
    func measureLag() {
        guard let meter, let deadline = timers.nextDeadline, deadline <= presentTime else { return }
        meter.load.lag.add(deadline.duration(to: presentTime))
    }

    /// As a delayed call, when every object is in a state in which a program may be called.
    @inline(never)
    func tellSlowEvents() {
        guard let slow = meter?.takeSlow(), !slow.isEmpty else { return }
        for (source, duration) in slow {
            let event = SlowEvent(
                reactorNumber: number, source: source, duration: duration, isOver: true)
            if let slowEvent { slowEvent(event) } else { printHeadedLine(event.description) }
        }
    }

    /// What a program was told of this reactor may hold the reactor: a run that made it leaves nothing.
    package func forgetHooks() {
        unhandledError = { $0.printToStandardError() }
        slowEvent = nil
        connectionObserver = ConnectionHooks()
    }
}

extension StreamConnection {
    /// Names the event of this connection that is about to begin.
    @inline(never)
    func nameEvent(_ kind: ReactorEventSource.Kind) {
        guard reactor.meter != nil, reactor.eventDepth == 0 else { return }
        var source = ReactorEventSource(kind)
        if let proto { source.name = ReactorEventSource.TypeName(type: type(of: proto as Any)) }
        source.connection = id
        source.peerAddress = peerAddress
        reactor.setEventSource(source)
    }

    /// Counts what is given to the protocol.
    @inline(never)
    func countRead(_ byteCount: Int) {
        guard let meter = reactor.meter else { return }
        meter.load.bytesRead &+= UInt64(byteCount)
        makeExtras().bytesRead &+= UInt64(byteCount)
    }

    /// Counts what has left.
    @inline(never)
    func countWritten(_ byteCount: Int) {
        guard let meter = reactor.meter else { return }
        meter.load.bytesWritten &+= UInt64(byteCount)
        makeExtras().bytesWritten &+= UInt64(byteCount)
    }
}
