// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// How long things took: counts by length, exact to an eighth, from nanoseconds to centuries.
///
/// The counts are log-linear: each power of two is cut into eight. So a percentile is at most an
/// eighth too large, whatever was measured, and adding one is a handful of instructions.
public struct DurationHistogram: Hashable, Sendable {
    private static let bitCount = 3
    private static let bucketCount = (64 - bitCount + 1) << bitCount

    /// Made at the first duration.
    private var counts: [UInt64] = []
    /// How many durations were added.
    public private(set) var count: UInt64 = 0
    /// The sum of them.
    public private(set) var total = Duration.zero
    /// The longest of them.
    public private(set) var longest = Duration.zero

    /// An empty histogram.
    public init() {}

    /// Adds a duration; a negative one counts as zero.
    ///
    /// - Parameter duration: To add.
    /// - Complexity: O(1); the first one allocates four kilobytes.
    public mutating func add(_ duration: Duration) {
        let nanoseconds = MonotonicInstant.wholeNanoseconds(ofPositive: duration)
        if counts.isEmpty { counts = [UInt64](repeating: 0, count: Self.bucketCount) }
        counts[Self.bucket(of: nanoseconds)] += 1
        count += 1
        let added = max(.zero, duration)
        total += added
        longest = max(longest, added)
    }

    /// The duration that a fraction of those added did not exceed.
    ///
    /// - Parameter fraction: From 0 to 1: 0.99 gives what one in a hundred exceeds.
    /// - Returns: At most an eighth too large, and never more than ``longest``; zero for an empty
    ///   histogram.
    public func percentile(_ fraction: Double) -> Duration {
        require(
            (0...1).contains(fraction),
            "DurationHistogram: percentile needs 0 to 1, got \(fraction)")
        guard count > 0 else { return .zero }
        let wanted = max(1, UInt64((Double(count) * fraction).rounded(.up)))
        var seen: UInt64 = 0
        for (bucket, number) in counts.enumerated() {
            seen += number
            guard seen >= wanted else { continue }
            return min(longest, .nanoseconds(Int64(clamping: Self.end(of: bucket))))
        }
        return longest
    }

    /// The difference to an earlier histogram.
    ///
    /// - Parameter earlier: A copy of this histogram from then.
    /// - Returns: The difference. Its ``longest`` is that of the whole time.
    public func since(_ earlier: DurationHistogram) -> DurationHistogram {
        guard !earlier.counts.isEmpty else { return self }
        var result = self
        for bucket in counts.indices { result.counts[bucket] -= earlier.counts[bucket] }
        result.count -= earlier.count
        result.total -= earlier.total
        return result
    }

    static func bucket(of nanoseconds: UInt64) -> Int {
        let width = 64 - nanoseconds.leadingZeroBitCount
        guard width > bitCount else { return Int(nanoseconds) }
        // The bits behind the first.
        let shift = width - bitCount - 1
        return ((shift + 1) << bitCount) + Int(nanoseconds >> UInt64(shift)) - (1 << bitCount)
    }

    /// The largest number of nanoseconds that a bucket takes.
    static func end(of bucket: Int) -> UInt64 {
        guard bucket >= 1 << bitCount else { return UInt64(bucket) }
        let shift = UInt64((bucket >> bitCount) - 1)
        let leading = UInt64(bucket & ((1 << bitCount) - 1)) + (1 << UInt64(bitCount))
        // Wraps to the largest number for the last one.
        return ((leading + 1) << shift) &- 1
    }
}
