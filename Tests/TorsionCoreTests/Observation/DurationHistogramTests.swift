// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

@Suite struct DurationHistogramTests {
    @Test func `every length has a bucket, which ends at most an eighth above it`() {
        var lengths = Array(0..<5_000 as Range<UInt64>)
        for power in 4..<64 as Range<UInt64> {
            lengths += [(1 << power) - 1, 1 << power, (1 << power) + 1]
        }
        lengths.append(.max)
        for length in lengths {
            let bucket = DurationHistogram.bucket(of: length)
            let end = DurationHistogram.end(of: bucket)
            #expect(end >= length && end - length <= length / 8)
            #expect(bucket == 0 || DurationHistogram.end(of: bucket - 1) < length)
        }
    }

    @Test func `percentiles, the longest and the sum are those of what was added`() {
        var histogram = DurationHistogram()
        #expect(histogram.percentile(0.5) == .zero && histogram.count == 0)
        for milliseconds in 1...1_000 { histogram.add(.milliseconds(milliseconds)) }
        histogram.add(.milliseconds(-5))
        #expect(histogram.count == 1_001 && histogram.longest == .seconds(1))
        #expect(histogram.total == .milliseconds(500_500))
        for (fraction, exact) in [(0.5, 500), (0.99, 990), (0.999, 999)] {
            let found = histogram.percentile(fraction)
            #expect(found >= .milliseconds(exact) && found <= .milliseconds(exact * 9 / 8))
        }
        #expect(
            histogram.percentile(1) == .seconds(1) && histogram.percentile(0) <= .nanoseconds(1))
    }

    @Test func `what was added since an earlier time is the difference`() {
        var histogram = DurationHistogram()
        let empty = histogram
        histogram.add(.seconds(1))
        let earlier = histogram
        histogram.add(.milliseconds(1))
        #expect(histogram.since(empty) == histogram)
        let later = histogram.since(earlier)
        #expect(later.count == 1 && later.total == .milliseconds(1))
        #expect(later.percentile(1) <= .microseconds(1_125))
    }
}
