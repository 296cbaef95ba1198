// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Latencies, counted to a part in 128.
struct LatencyRecord {
    private static let bitCount = 7
    private var counts = [UInt64](repeating: 0, count: (64 - bitCount + 1) << bitCount)
    private(set) var count: UInt64 = 0
    private(set) var least = UInt64.max
    private(set) var most: UInt64 = 0

    mutating func add(nanoseconds: UInt64) {
        counts[Self.bucket(nanoseconds)] += 1
        count += 1
        least = min(least, nanoseconds)
        most = max(most, nanoseconds)
    }

    /// What a fraction of them did not exceed, in milliseconds.
    func percentile(_ fraction: Double) -> Double {
        guard count > 0 else { return 0 }
        let wanted = max(1, UInt64((Double(count) * fraction).rounded(.up)))
        var seen: UInt64 = 0
        for (bucket, number) in counts.enumerated() {
            seen += number
            if seen >= wanted { return Double(min(most, Self.end(bucket))) / 1e6 }
        }
        return Double(most) / 1e6
    }

    private static func bucket(_ value: UInt64) -> Int {
        let width = 64 - value.leadingZeroBitCount
        guard width > bitCount else { return Int(value) }
        let shift = width - bitCount - 1
        return ((shift + 1) << bitCount) + Int(value >> UInt64(shift)) - (1 << bitCount)
    }

    private static func end(_ bucket: Int) -> UInt64 {
        guard bucket >= 1 << bitCount else { return UInt64(bucket) }
        let shift = UInt64((bucket >> bitCount) - 1)
        let leading = UInt64(bucket & ((1 << bitCount) - 1)) + (1 << UInt64(bitCount))
        return ((leading + 1) << shift) &- 1
    }
}
