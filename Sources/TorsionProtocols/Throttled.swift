// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// A layer that lets only so many bytes a second through, in each direction.
///
///     endpoint.wrapped { Throttled(above: $0, writing: ThrottleRate(bytesPerSecond: 100_000)) }
///         .listen(on: reactor) { Download() }
///
/// What is written beyond the rate waits here and counts against the transport's
/// `Watermarks`, so a registered producer is paused as by a slow peer, and where none is the
/// connection's reading is. What arrives beyond the rate is left in the kernel, so that the peer
/// feels it. A connection that is closed sends what waits first, at its rate; aborting drops it.
///
/// Time is the reactor's, so that a test runs on a `ManualClock` or simulated.
///
/// - SeeAlso: Twisted `twisted.protocols.policies.ThrottlingFactory`.
public final class Throttled: StreamLayer {
    private let readingRate: ThrottleRate?
    private let writingRate: ThrottleRate?
    private var reading: TokenBucket?
    private var writing: TokenBucket?
    private var readCall: DelayedCall?
    private var writeCall: DelayedCall?

    private var pauses: Pauses = []
    private var waiting: [UInt8] = []
    private var sentCount = 0
    private var gate = BackpressureGate(watermarks: Watermarks())
    private var producer: (any PushProducer)?
    /// What the producer was called with last, which the gate may have changed since.
    private var isProducerPaused = false
    private var isBelowFull = false
    private var closing = Closing.none
    private lazy var valve = Valve(self)

    /// Why nothing is read now.
    private struct Pauses: OptionSet {
        let rawValue: UInt8
        /// The protocol above wants it.
        static let above = Pauses(rawValue: 1)
        /// The rate is used up.
        static let rate = Pauses(rawValue: 2)
        /// Nobody is registered to be paused, and what was written waits.
        static let full = Pauses(rawValue: 4)
    }

    /// What is done when nothing waits any more.
    private enum Closing { case none, writing, whole, lost }

    /// A throttle under a protocol; nil leaves a direction alone.
    public init(
        above: any StreamProtocol, reading: ThrottleRate? = nil, writing: ThrottleRate? = nil
    ) {
        readingRate = reading
        writingRate = writing
        super.init(above: above)
    }

    // MARK: Towards the transport below

    /// Begins with full buckets.
    public override func connectionMade(_ transport: any StreamTransport) throws {
        let now = transport.reactor.now
        reading = readingRate.map { $0.bucket(now) }
        writing = writingRate.map { $0.bucket(now) }
        gate = BackpressureGate(watermarks: transport.watermarks)
        if writing != nil { transport.registerProducer(valve) }
        try super.connectionMade(transport)
    }

    /// Passes the bytes up, and reads no more until their time has come.
    public override func dataReceived(
        _ bytes: RawSpan, from transport: any StreamTransport
    ) throws {
        defer { restAfterReading(bytes.byteCount) }
        try super.dataReceived(bytes, from: transport)
    }

    private func restAfterReading(_ byteCount: Int) {
        guard var bucket = reading, closing != .lost else { return }
        let available = bucket.available(at: reactor.now) - byteCount
        bucket.take(byteCount)
        reading = bucket
        guard available <= 0, readCall == nil else { return }
        pause(for: .rate)
        readCall = reactor.callLater(bucket.delay(until: 1)) { [self] in
            readCall = nil
            resume(from: .rate)
        }
    }

    /// True where this layer writes: what waits here still leaves behind the peer's end.
    public override var keepsHalfOpen: Bool { writing != nil || super.keepsHalfOpen }

    /// Passes the call up; for a protocol that does not stay half open, closes behind what waits.
    public override func readConnectionLost(from transport: any StreamTransport) throws {
        if super.keepsHalfOpen { return try super.readConnectionLost(from: transport) }
        end(.writing)
    }

    /// Stops the producer and passes the call up.
    public override func connectionLost(
        _ why: ConnectionLoss, from transport: any StreamTransport
    ) {
        closing = .lost
        readCall?.cancel()
        writeCall?.cancel()
        reactor.queues.remove(waiting.count - sentCount)
        waiting = []
        sentCount = 0
        let stopped = producer.take()
        stopped?.stopProducing()
        super.connectionLost(why, from: transport)
    }

    // MARK: What must hold

    /// Asserts, besides what holds of every layer, that whatever waits for the rate has its time.
    public override func checkInvariants() {
        reading?.checkInvariants()
        writing?.checkInvariants()
        gate.checkInvariants()
        require(
            gate.pendingByteCount == waiting.count - sentCount,
            "Throttled: \(waiting.count - sentCount) bytes wait, \(gate.pendingByteCount) count")
        require(
            gate.pendingByteCount == 0 || isBelowFull || writeCall?.isActive ?? false,
            "Throttled: \(gate.pendingByteCount) bytes wait for nothing")
        require(
            pauses.contains(.rate) == (readCall?.isActive ?? false),
            "Throttled: it does not read, and waits for nothing")
        require(
            pauses.contains(.full) == (gate.isPaused && producer == nil),
            "Throttled: it does not read until there is room, and there is")
        require(
            producer == nil || isProducerPaused == gate.isPaused,
            "Throttled: a producer was not called")
        super.checkInvariants()
    }

    // MARK: Reading

    private func pause(for reason: Pauses) {
        pauses.insert(reason)
        super.pauseProducing()
    }

    private func resume(from reason: Pauses) {
        guard pauses.remove(reason) != nil, pauses.isEmpty else { return }
        super.resumeProducing()
    }

    /// Reads no more.
    public override func pauseProducing() { pause(for: .above) }

    /// Reads on, as soon as the rate allows it.
    public override func resumeProducing() {
        pauses.remove(.above)
        if pauses.isEmpty { super.resumeProducing() }
    }

    // MARK: Writing

    /// What waits here, and below.
    public override var pendingByteCount: Int { below.pendingByteCount + waiting.count - sentCount }

    /// Those of what waits here; the transport below has the same.
    public override var watermarks: Watermarks {
        get { gate.watermarks }
        set {
            gate.watermarks = newValue
            super.watermarks = newValue
        }
    }

    /// Passes on what the rate allows; the rest waits.
    public override func write(_ bytes: RawSpan) {
        guard writing != nil else { return below.write(bytes) }
        guard closing == .none || producer != nil && closing != .lost, bytes.byteCount > 0 else {
            return
        }
        guard !gate.isOverLimit else {
            return below.abortConnection(because: ConnectionLoss.writeLimitExceeded)
        }
        let passed = passAtOnce(bytes)
        guard passed < bytes.byteCount else { return }
        waiting += bytes.extracting(passed...)
        reactor.queues.add(bytes.byteCount - passed)
        _ = gate.didQueue(byteCount: bytes.byteCount - passed)
        if writeCall == nil, !isBelowFull { send() } else { callProducer() }
    }

    /// What the rate allows now does not wait, and pauses nobody.
    private func passAtOnce(_ bytes: RawSpan) -> Int {
        guard var bucket = writing, sentCount == waiting.count, !isBelowFull else { return 0 }
        let allowed = max(0, min(bucket.available(at: reactor.now), bytes.byteCount))
        bucket.take(allowed)
        writing = bucket
        if allowed > 0 { below.write(bytes.extracting(..<allowed)) }
        return allowed
    }

    /// The same.
    public override func write(_ bytes: Bytes) {
        if writing == nil { below.write(bytes) } else { write(bytes.span) }
    }

    /// Passes on what the rate allows now, and comes again for the rest; then calls the producer.
    private func send() {
        sendAllowed()
        endIfNothingWaits()
        waitForRate()
        callProducer()
    }

    private func sendAllowed() {
        guard var bucket = writing, !isBelowFull, closing != .lost else { return }
        let allowed = min(bucket.available(at: reactor.now), waiting.count - sentCount)
        writing = bucket
        guard allowed > 0 else { return }
        bucket.take(allowed)
        writing = bucket
        let piece = Array(waiting[sentCount..<(sentCount + allowed)])
        sentCount += allowed
        reactor.queues.remove(allowed)
        forgetSent()
        _ = gate.didSend(byteCount: allowed)
        below.write(piece)
    }

    private func waitForRate() {
        guard let bucket = writing, sentCount < waiting.count, writeCall == nil, !isBelowFull,
            closing != .lost
        else { return }
        // A piece worth a system call, not byte by byte.
        let next = min(waiting.count - sentCount, max(1, bucket.rate / 20))
        writeCall = reactor.callLater(bucket.delay(until: next)) { [self] in
            writeCall = nil
            send()
        }
    }

    /// Moves what waits to the front, when that is the smaller part.
    private func forgetSent() {
        if sentCount == waiting.count {
            waiting.removeAll(keepingCapacity: waiting.count <= 1 << 16)
        } else if sentCount >= 1 << 16, sentCount > waiting.count / 2 {
            waiting.removeFirst(sentCount)
        } else {
            return
        }
        sentCount = 0
    }

    /// Pauses or resumes the producer, or where there is none the reading, as the gate has decided.
    ///
    /// The last act of whatever put bytes in place or passed some on: a producer may write inside.
    private func callProducer() {
        guard closing != .lost else { return }
        guard let producer else {
            if !gate.isPaused {
                resume(from: .full)
            } else if !pauses.contains(.full) {
                pause(for: .full)
            }
            return
        }
        guard isProducerPaused != gate.isPaused else { return }
        isProducerPaused = gate.isPaused
        if isProducerPaused { producer.pauseProducing() } else { producer.resumeProducing() }
    }

    fileprivate func belowIsFull(_ isFull: Bool) {
        isBelowFull = isFull
        if !isFull, writeCall == nil { send() }
    }

    // MARK: Producers

    /// Names who is paused while too much waits here.
    public override func registerProducer(_ producer: any PushProducer) {
        guard writing != nil else { return below.registerProducer(producer) }
        require(
            self.producer == nil,
            "Consumer: a producer is registered already for \(peerAddress); unregister it first")
        guard closing == .none else { return producer.stopProducing() }
        self.producer = producer
        isProducerPaused = false
        resume(from: .full)
        callProducer()
    }

    /// Names who is asked for the next piece, as long as not too much waits here.
    public override func registerProducer(_ producer: any PullProducer) {
        guard writing != nil else { return below.registerProducer(producer) }
        let pushing = PushingProducer(producer, on: reactor)
        registerProducer(pushing)
        pushing.start()
    }

    /// The producer has finished.
    public override func unregisterProducer() {
        guard writing != nil else { return below.unregisterProducer() }
        (producer as? PushingProducer)?.end()
        producer = nil
        endIfNothingWaits()
        callProducer()
    }

    // MARK: Closing

    /// Sends what waits, then closes.
    public override func loseConnection() { end(.whole) }

    /// Sends what waits, then ends the outgoing direction.
    public override func loseWriteConnection() { end(.writing) }

    /// The same as losing it.
    public override func stopProducing() { end(.whole) }

    private func end(_ how: Closing) {
        guard writing != nil else {
            return how == .whole ? below.loseConnection() : below.loseWriteConnection()
        }
        switch (closing, how) {
        case (.none, _), (.writing, .whole): closing = how
        default: return
        }
        // Nothing more is delivered.
        if how == .whole { pause(for: .above) }
        endIfNothingWaits()
    }

    private func endIfNothingWaits() {
        guard sentCount == waiting.count, producer == nil else { return }
        switch closing {
        case .none, .lost: return
        case .writing:
            below.unregisterProducer()
            below.loseWriteConnection()
        case .whole:
            below.unregisterProducer()
            below.loseConnection()
        }
    }

    /// Stands below for this layer, which is a producer already: of what arrives.
    private final class Valve: PushProducer {
        // The transport below holds both, and lets go of the valve first.
        private unowned let layer: Throttled

        init(_ layer: Throttled) { self.layer = layer }

        func pauseProducing() { layer.belowIsFull(true) }
        func resumeProducing() { layer.belowIsFull(false) }
        func stopProducing() {}
    }
}

/// How much may pass: so many bytes a second on average, and how many at once.
public struct ThrottleRate: Hashable, Sendable {
    /// The mean.
    public let bytesPerSecond: Int
    /// What a direction that was quiet may do at once.
    public let burstBytes: Int

    /// So many bytes a second, both at least one.
    ///
    /// `burstBytes`: nil for a tenth of a second's worth.
    public init(bytesPerSecond: Int, burstBytes: Int? = nil) {
        let burst = burstBytes ?? max(1, bytesPerSecond / 10)
        require(
            bytesPerSecond > 0 && burst > 0,
            "ThrottleRate: need both positive, got \(bytesPerSecond) and \(burst)")
        self.bytesPerSecond = bytesPerSecond
        self.burstBytes = burst
    }

    func bucket(_ now: MonotonicInstant) -> TokenBucket {
        TokenBucket(rate: bytesPerSecond, burst: burstBytes, now: now)
    }
}
