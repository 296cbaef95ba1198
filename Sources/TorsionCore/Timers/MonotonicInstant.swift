// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A point in monotonic time, in nanoseconds since an arbitrary start.
///
/// The start depends on the backend: the machine's start with a real one, zero with the simulated
/// one. So instants of different reactors cannot be compared, and an instant does not give the time
/// of day. A plain value, usable on any thread.
///
///     let deadline = reactor.now.advanced(by: .seconds(10))
///
/// - SeeAlso: `clock_gettime(2)`, `CLOCK_MONOTONIC`.
public struct MonotonicInstant: InstantProtocol {
    /// The time since the start.
    public var nanoseconds: UInt64

    /// Makes the instant that is `nanoseconds` after the start.
    ///
    /// - Parameter nanoseconds: Since the start of the clock, which is arbitrary.
    @inlinable
    public init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    /// The last instant that there is, 584 years after the start: never, for a deadline.
    @inlinable
    public static var distantFuture: MonotonicInstant {
        MonotonicInstant(nanoseconds: .max)
    }

    /// The instant `duration` later, or earlier if it is negative.
    ///
    /// The result is clamped to the start and to ``distantFuture``: it cannot overflow. Parts of a
    /// nanosecond are dropped.
    ///
    /// - Parameter duration: Of either sign.
    /// - Returns: An instant from the start to ``distantFuture``.
    @inlinable
    public func advanced(by duration: Duration) -> MonotonicInstant {
        let attoseconds = duration.attoseconds
        if attoseconds >= 0 {
            let (sum, overflow) = nanoseconds.addingReportingOverflow(
                Self.wholeNanoseconds(attoseconds.magnitude))
            return MonotonicInstant(nanoseconds: overflow ? .max : sum)
        }
        let (difference, overflow) = nanoseconds.subtractingReportingOverflow(
            Self.wholeNanoseconds(attoseconds.magnitude))
        return MonotonicInstant(nanoseconds: overflow ? 0 : difference)
    }

    @inline(__always)
    func advanced(by nanoseconds: UInt64) -> MonotonicInstant {
        let (sum, overflow) = self.nanoseconds.addingReportingOverflow(nanoseconds)
        return MonotonicInstant(nanoseconds: overflow ? .max : sum)
    }

    /// How long it is from this instant to `other`, exactly; negative if that is earlier.
    ///
    /// - Parameter other: Earlier or later.
    /// - Returns: Positive if `other` is later.
    @inlinable
    public func duration(to other: MonotonicInstant) -> Duration {
        let difference = Int128(other.nanoseconds) - Int128(nanoseconds)
        return Duration(attoseconds: difference * 1_000_000_000)
    }

    /// Orders instants by time.
    ///
    /// - Parameters:
    ///   - left: An instant of the same clock.
    ///   - right: An instant of the same clock.
    /// - Returns: Whether `left` is earlier.
    @inlinable
    public static func < (left: MonotonicInstant, right: MonotonicInstant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// A duration in nanoseconds, a negative one as zero.
    @inlinable @inline(__always)
    static func wholeNanoseconds(ofPositive duration: Duration) -> UInt64 {
        let attoseconds = duration.attoseconds
        return attoseconds > 0 ? wholeNanoseconds(UInt128(truncatingIfNeeded: attoseconds)) : 0
    }

    /// Converts to nanoseconds; what does not fit is `UInt64.max`.
    ///
    /// The general division of `UInt128` and the two behind `Duration.components` are a call each,
    /// and this is on the path of every timer.
    @inlinable @inline(__always)
    static func wholeNanoseconds(_ attoseconds: UInt128) -> UInt64 {
        // A milliard is 2^9 times 5^9. Below two hours and a half what is left of the first
        // division fits 64 bits, and the second, by a constant, is a multiplication.
        guard attoseconds >> 73 == 0 else { return wholeNanosecondsOfLong(attoseconds) }
        return UInt64(truncatingIfNeeded: attoseconds >> 9) / 1_953_125
    }

    /// One 128 by 64 bit division, which processors have.
    @inlinable @inline(never)
    static func wholeNanosecondsOfLong(_ attoseconds: UInt128) -> UInt64 {
        let high = UInt64(truncatingIfNeeded: attoseconds >> 64)
        let low = UInt64(truncatingIfNeeded: attoseconds)
        let divisor: UInt64 = 1_000_000_000
        // The quotient fits 64 bits exactly when the high half is less than the divisor.
        guard high < divisor else { return .max }
        return divisor.dividingFullWidth((high, low)).quotient
    }
}
