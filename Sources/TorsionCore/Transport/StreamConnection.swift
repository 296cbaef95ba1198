// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The engine's transport: one connection over a stream, whatever carries that.
///
/// What to do next is decided by two pure types, ``ConnectionStateMachine`` for the connection's
/// life and ``BackpressureGate`` for its flow; this class carries it out. Every call of user code
/// happens inside an event of the reactor, and none inside another callback of this connection.
///
/// User code is called as the last act of a public call, a flush or a report of the backend, when
/// every byte is in its place: it may write, close or register something, and then what the engine
/// had read before is past. So whatever puts bytes in place (``place(_:owner:)`` and below) calls
/// none, and whatever calls some reads nothing afterwards that it had read before.
///
/// Its parts: this file, its life; `+Ending`, closes and losses; `+Protocol`, what the protocol is
/// called with; `+Writing`, what leaves; `+Transport`, what a program calls; `+Filter`, a filter that
/// comes into a live connection; `+Capabilities`, descriptors, files and splices.
@safe
final class StreamConnection: CorkedConnection {
    let id: ConnectionID
    /// What carries the bytes, as it was when the connection was made: constant, since loading a variable
    /// would retain it for each message.
    let firstStream: any BackendStream
    let options: SharedOptions

    @exclusivity(unchecked) var machine = ConnectionStateMachine()
    @exclusivity(unchecked) var proto: (any StreamProtocol)?
    @exclusivity(unchecked) var seat = ProtocolSeat()
    @exclusivity(unchecked) var gate: BackpressureGate

    /// What was written in another event than its own: borrowed from the reactor's pool from the first
    /// write until its end.
    @exclusivity(unchecked) var coalesced: UnsafeMutableRawPointer?
    @exclusivity(unchecked) var coalescedCount = 0
    @exclusivity(unchecked) var isOnFlushList = false
    /// A program is putting bytes in place: see ``StreamTransport/write(capacity:_:)``.
    @exclusivity(unchecked) var isLending = false
    /// On the reactor's list of pull producers to ask, also if the one that was ready has gone.
    @exclusivity(unchecked) var isOnReadyList = false
    /// What the stream refused.
    ///
    /// Made at the first refusal.
    @exclusivity(unchecked) var queue: WriteQueue?
    @exclusivity(unchecked) var producer = ConnectionProducer.none

    /// What the program asked for; what the stream is asked for depends on more.
    @exclusivity(unchecked) var isPaused = false
    @exclusivity(unchecked) var isReading = false
    /// Who paused it; meaningless while it is not.
    @exclusivity(unchecked) var pauseCause = ReactorSnapshot.Pause.Cause.program
    /// Since when it is paused, and since when its queue is over the high mark.
    @exclusivity(unchecked) var pauseStart = MonotonicInstant(nanoseconds: 0)
    @exclusivity(unchecked) var fullStart = MonotonicInstant(nanoseconds: 0)

    @exclusivity(unchecked) var progress = CloseProgress()
    @exclusivity(unchecked) var streamEnd = StreamEnd.now
    /// Why it is lost, or will be when what had arrived was delivered.
    @exclusivity(unchecked) var loss: ConnectionLoss?
    /// The loss is a mistake of the program's, and nobody but the protocol itself would see it.
    @exclusivity(unchecked) var reportsLoss = false
    @exclusivity(unchecked) var slot: Int32 = -1
    @exclusivity(unchecked) var client: ServedClient
    /// What few connections have.
    @exclusivity(unchecked) var extras: Extras?

    /// What becomes of the stream when the connection is over.
    enum StreamEnd {
        /// It is closed there and then.
        case now
        /// It lingers from the loss on.
        case lingering
        /// The same, but nothing can arrive any more: only until it owes no output.
        case lingeringWithoutInput
        /// The same as the first, until the peer has everything; then it is reset.
        case lingeringToReset
    }

    /// What few connections have, so that the others do not carry its room.
    final class Extras {
        /// What its filters have learnt.
        var details = ConnectionDetails()
        var observer: (any ConnectionObserver)?
        /// Why the program closed it, if it said so.
        var closeReason: ConnectionLoss?
        /// A filter that is to come into the live connection, or is agreeing on its terms.
        var upgrade: FilterUpgrade?
        /// In the place of the first stream, once a filter has come into the live connection.
        var upgraded: (any BackendStream)?
        /// What is kept for the protocol has arrived just now, and was not delivered before.
        var hasFreshInput = false
        /// While the reactor measures.
        var bytesRead: UInt64 = 0
        var bytesWritten: UInt64 = 0
    }

    /// - Parameters:
    ///   - reactor: The stream's.
    ///   - stream: Connected; its filters have agreed.
    ///   - proto: Called with what happens, from ``open(isServed:)`` on.
    ///   - options: Shared with the other connections of a port.
    @inline(__always)
    init(
        reactor: Reactor, _ stream: any BackendStream, proto: any StreamProtocol,
        options: SharedOptions
    ) {
        firstStream = stream
        self.proto = proto
        self.options = options
        gate = BackpressureGate(watermarks: options.value.watermarks)
        client = ServedClient(madeAt: reactor.presentTime)
        reactor.nextConnection += 1
        id = ConnectionID(reactorNumber: reactor.number, sequence: reactor.nextConnection)
        reactor.counters.liveTransports += 1
        super.init(on: reactor)
    }

    /// Takes what few connections have, before it opens: who watches it, and what its filters have
    /// learnt and left.
    func take(_ agreed: AgreedStream, watchedBy observer: (any ConnectionObserver)?) {
        if observer != nil || agreed.box != nil {
            makeExtras().observer = observer
            extras?.details = agreed.details
        }
        if !agreed.input.isEmpty { keepFresh(agreed.input) }
    }

    deinit { reactor.counters.liveTransports -= 1 }

    /// What carries the bytes: a backend's stream, or a filter over one.
    var stream: any BackendStream {
        get { extras?.upgraded ?? firstStream }
        set { makeExtras().upgraded = newValue }
    }

    /// The same, for what every connection does in its life: reading ``stream`` retains it, a constant
    /// need not be.
    @inline(__always)
    func withStream<Result>(_ body: (any BackendStream) -> Result) -> Result {
        guard let upgraded = extras?.upgraded else { return body(firstStream) }
        return body(upgraded)
    }

    /// Keeps what a filter leaves to the connection, until the present event ends.
    func keepFresh(_ input: Bytes) {
        makeExtras().hasFreshInput = true
        keep { $0.append(input.span) }
    }

    func makeExtras() -> Extras {
        if let extras { return extras }
        let made = Extras()
        extras = made
        return made
    }

    /// Announces the connection to its protocol, and begins to read.
    ///
    /// Inside an event.
    ///
    /// - Parameter isServed: Whether the other end is a client of the program's, as a server.
    /// - Throws: What `connectionMade` threw, or the loss if it ended the connection; the loss is
    ///   then on its way to the protocol.
    func open(isServed: Bool) throws {
        slot = reactor.connections.insert(self)
        client.isServed = isServed
        if isServed { reactor.servedConnections += 1 }
        reactor.counters.connectionsMade += 1
        withStream { $0.deliver(to: self) }
        machine.opened()
        updatePlainness()
        updateDescriptorReceiving()
        if let made = reactor.connectionObserver.made { made(self) }
        if let observer = extras?.observer, !machine.isClosed { admit(observer) }
        if !machine.isClosed { attempt { try $0.connectionMade(self) } }
        if case .protocolFailed(let error) = loss { throw error }
        if let loss { throw loss }
        if seat.unread != nil { flushLater() }
        updateReading()
        // Paused from the start: a reset has to be noticed all the same.
        if !isReading, !machine.isClosed { stream.stopReading() }
    }

    /// The observer is called first; if it refuses, the protocol never hears of the connection.
    private func admit(_ observer: any ConnectionObserver) {
        do { try observer.connectionMade(self) } catch {
            proto = nil
            threw(error)
        }
    }

    /// Whoever opened the connection has been given its loss.
    func lossWasReported() { reportsLoss = false }

    // MARK: The end of a run

    /// The reactor is stopping: asks the protocol, once.
    ///
    /// - Parameter isPatient: Whether a client that has just connected is asked later, when it was
    ///   served: it could not know that this was too late for its first request.
    func requestShutdown(isPatient: Bool = false) {
        guard !machine.isClosed, client.request != .done else { return }
        if isPatient, machine.state == .open, client.isNew(at: reactor.presentTime) {
            client.request = .behindFirstBytes
            // Its own deadline: it may come long after the others, behind a slow handshake.
            reactor.callLater(Reactor.firstBytesGracePeriod) { [weak self] in
                self?.requestShutdown()
            }
            return updatePlainness()
        }
        client.request = .done
        updatePlainness()
        reactor.performEvent { proto?.shutdownRequested(self) }
    }

    /// Something has just been delivered.
    @inline(never)
    func noteFirstBytes() {
        client.hasReceived = true
        if client.request == .behindFirstBytes { requestShutdown() }
    }

    /// All that the client is sent has left, or it is lost.
    func finishServing() {
        guard client.isServed else { return }
        client.isServed = false
        reactor.servedConnections -= 1
    }

    /// Whether a client of the server is at the other end, for whom a stop waits first.
    var isServed: Bool { client.isServed }

    // MARK: What must hold

    /// Whether its queue has passed the high mark and not fallen to the low one since.
    var isFull: Bool { gate.isPaused && !machine.isClosed }

    /// Asserts what must hold between events.
    func checkInvariants() {
        require(slot >= 0 && !machine.isClosed, "StreamConnection: kept after its end")
        require(proto != nil && seat.pendingSwitch == nil, "StreamConnection: without a protocol")
        require(
            unsafe coalesced == nil && coalescedCount == 0 && !isOnFlushList,
            "StreamConnection: left unflushed")
        gate.checkInvariants()
        queue?.checkInvariants()
        let queuedByteCount = (queue?.byteCount ?? 0) + (extras?.waitingByteCount ?? 0)
        require(
            gate.pendingByteCount == queuedByteCount,
            "StreamConnection: \(gate.pendingByteCount) bytes are pending of \(queuedByteCount)")
        let wasPlain = isPlain
        updatePlainness()
        require(isPlain == wasPlain, "StreamConnection: does not know whether it is plain")
        checkProgress()
        (proto as? any InvariantChecking)?.checkInvariants()
        (extras?.observer as? any InvariantChecking)?.checkInvariants()
        (stream as? StreamFilter)?.checkAll()
        if case .push(let producer, let isPaused) = producer {
            require(isPaused == gate.isPaused, "StreamConnection: a producer was not called")
            (producer as? any InvariantChecking)?.checkInvariants()
        }
    }

    /// Asserts that whatever it waits for can come.
    private func checkProgress() {
        let isEmpty = queue?.isEmpty ?? true
        switch machine.state {
        case .finishing, .abandoning, .broken:
            require(
                progress.deadline?.isActive ?? false, "StreamConnection: closes without a deadline")
        case .opening, .open, .readClosed, .writeClosing, .writeClosed, .closed: break
        }
        switch producer {
        case .none:
            require(
                !isEmpty || !machine.awaitsFlush || holdsOutput,
                "StreamConnection: waits for no flush")
        case .push: break
        case .pull(_, let state):
            require(
                !isEmpty || state != .draining, "StreamConnection: a pull producer is forgotten")
            require(
                state != .ready || isOnReadyList,
                "StreamConnection: a pull producer is not on the list")
        }
        require(
            reactor.readyPullConnections.count { $0 === self } == (isOnReadyList ? 1 : 0),
            "StreamConnection: it is not on the list of pull producers once")
        seat.checkInvariants(isDelivering: isDelivering)
    }
}

/// Options that all connections of one port share, so that each pays for one pointer.
final class SharedOptions {
    var value: StreamOptions

    init(_ value: StreamOptions) { self.value = value }
}

extension Reactor {
    /// Puts a protocol above a stream that was made elsewhere, and calls `connectionMade`.
    ///
    /// For streams without an endpoint, for example those in memory. An error of `connectionMade`
    /// is the reason of the loss, and is reported.
    ///
    /// - Parameters:
    ///   - stream: Closed with the connection.
    ///   - proto: Gets what arrives; `connectionMade` is called before this returns.
    ///   - options: How the connection is set up.
    /// - Returns: The connection.
    @discardableResult @_spi(Backend)
    public func adopt(
        _ stream: any BackendStream, _ proto: any StreamProtocol,
        options: StreamOptions = StreamOptions()
    ) -> any StreamTransport {
        checkThread()
        var agreed = AgreedStream(stream: stream)
        // They agree at once.
        _ = agree(over: agreed, streamFilters, within: .zero) { outcome in
            if case .success(let filtered) = outcome { agreed = filtered }
        }
        let connection = StreamConnection(
            reactor: self, agreed.stream, proto: proto, options: SharedOptions(options))
        connection.take(agreed, watchedBy: nil)
        performEvent { try? connection.open(isServed: true) }
        if endsClients { connection.requestShutdown(isPatient: true) }
        if life.isReleasing { connection.drop() }
        return connection
    }

    /// Serves one stream as a port does a client's: its filters agree first.
    package func serve(
        _ stream: any BackendStream, _ proto: any StreamProtocol, options: StreamOptions,
        layers: StreamLayers, whenServed: @escaping (any StreamTransport) -> Void
    ) {
        checkThread()
        let service = PortService(
            factory: ClosureFactory { _ in proto }, layers: layers, options: options, on: self,
            whenServed: whenServed)
        performEvent { service.agree(over: stream, on: self) {} }
    }

    /// Whether a callback is running.
    package var isInsideEvent: Bool { eventDepth > 0 }
}
