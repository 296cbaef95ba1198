// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import torsion_bench

@Test func `the median of an even number of values lies between the middle two`() {
    #expect(median([4, 1, 3, 2]) == 2.5)
    #expect(median([9, 1, 5]) == 5)
}

@Test func `a bootstrap interval holds the median and repeats exactly`() {
    let values = (0..<15).map { 1 + Double($0 % 5) / 100 }
    let interval = bootstrapMedian(values)
    #expect(interval.low <= interval.median && interval.median <= interval.high)
    #expect(interval.low >= 1 && interval.high <= 1.04)
    let again = bootstrapMedian(values)
    #expect(again.low == interval.low && again.high == interval.high)
}

@Test func `a bound is missed only when the whole interval lies above it`() {
    let ratio = Interval(median: 1.06, low: 1.04, high: 1.08)
    #expect(Verdict(ratio: ratio, factor: 1.03) == .missed)
    #expect(Verdict(ratio: ratio, factor: 1.05) == .notEstablished)
    #expect(Verdict(ratio: ratio, factor: 1.08) == .met)
}

@Test func `the two samples of a round are taken as one`() {
    func sample(_ messages: Int, _ seconds: Double) -> Sample {
        Sample(
            messages: messages, seconds: 1, serverSeconds: seconds, loadSeconds: 0,
            p50Microseconds: 0, p99Microseconds: 0, memoryPerConnection: 0)
    }
    let samples = [sample(100, 1e-3), sample(300, 3e-3), sample(100, 2e-3), sample(100, 2e-3)]
    #expect(cpuPerMessage(samples).map { ($0 * 1e6).rounded() / 1e6 } == [10, 20])
}
