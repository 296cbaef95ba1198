// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Lets only so many bytes a second through, in each direction.
///
///     endpoint.filtered { Throttle(writing: ThrottleRate(bytesPerSecond: 100_000)) }
///         .listen(on: reactor) { Download() }
///
/// Bytes beyond the writing rate wait in the connection's queue and count against its `Watermarks`,
/// so a registered producer is paused as by a slow peer, and without one the connection's reading
/// is. Bytes beyond the reading rate are left in the kernel, so that the peer feels it. A
/// connection that is closed sends what waits first, at its rate; aborting drops it.
///
/// Time is the reactor's, so that a test runs on a `ManualClock` or simulated.
///
/// - SeeAlso: Twisted `twisted.protocols.policies.ThrottlingFactory`.
public final class Throttle: StreamFilter {
    private let readingRate: ThrottleRate?
    private let writingRate: ThrottleRate?
    private var reading: TokenBucket?
    private var writing: TokenBucket?
    private var readCall: DelayedCall?
    private var writeCall: DelayedCall?

    /// Makes a throttle for one connection.
    ///
    /// - Parameters:
    ///   - reading: How much may arrive; `nil` leaves that direction alone.
    ///   - writing: How much may leave; `nil` leaves that direction alone.
    public init(reading: ThrottleRate? = nil, writing: ThrottleRate? = nil) {
        readingRate = reading
        writingRate = writing
        super.init()
    }

    /// Begins with full buckets.
    public override func begin() {
        reading = readingRate?.bucket(reactor.now)
        writing = writingRate?.bucket(reactor.now)
        agree()
    }

    /// Passes the bytes up, and stops reading until their time has come.
    ///
    /// - Parameter bytes: Passed up at once; borrowed until the call returns.
    public override func receive(_ bytes: RawSpan) {
        deliver(bytes)
        guard var bucket = reading else { return }
        let available = bucket.available(at: reactor.now) - bytes.byteCount
        bucket.take(bytes.byteCount)
        reading = bucket
        guard available <= 0, readCall == nil, hasAgreed else { return }
        pauseReceiving()
        readCall = reactor.callLater(bucket.delay(until: 1)) { [unowned self] in
            readCall = nil
            resumeReceiving()
        }
    }

    /// Passes what the rate allows, and comes again for the rest.
    ///
    /// - Parameter bytes: Written above; borrowed until the call returns.
    /// - Returns: How many bytes the rate allows now.
    public override func transmit(_ bytes: RawSpan) -> Int {
        guard var bucket = writing else {
            send(bytes)
            return bytes.byteCount
        }
        let allowed = max(0, min(bucket.available(at: reactor.now), bytes.byteCount))
        bucket.take(allowed)
        writing = bucket
        if allowed > 0 { send(bytes.extracting(..<allowed)) }
        guard allowed < bytes.byteCount, writeCall == nil else { return allowed }
        // A piece worth a system call, not byte by byte.
        let next = min(bytes.byteCount - allowed, max(1, bucket.rate / 20))
        writeCall = reactor.callLater(bucket.delay(until: next)) { [unowned self] in
            writeCall = nil
            resumeTransmitting()
        }
        return allowed
    }

    /// Asserts that what waits for the rate has its time.
    public override func checkInvariants() {
        reading?.checkInvariants()
        writing?.checkInvariants()
        require(
            isReceivingPaused == (readCall?.isActive ?? false),
            "Throttle: it does not read, and waits for nothing")
        require(
            !hasWaitingWrites || isSending || writeCall?.isActive ?? false,
            "Throttle: bytes wait for nothing")
    }

    /// Stops its clocks.
    public override func closed() {
        readCall?.cancel()
        writeCall?.cancel()
        readCall = nil
        writeCall = nil
    }
}

/// How much may pass: so many bytes a second on average, and how many at once.
public struct ThrottleRate: Hashable, Sendable {
    /// The mean.
    public let bytesPerSecond: Int
    /// The bytes that a direction may carry at once after a quiet time.
    public let burstBytes: Int

    /// So many bytes a second, both at least one.
    ///
    /// - Parameters:
    ///   - bytesPerSecond: The rate in the long run.
    ///   - burstBytes: nil for a tenth of a second's worth.
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
