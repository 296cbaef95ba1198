// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The median of several figures, and where it lies with 95 % confidence.
struct Interval: Codable, Sendable {
    var median: Double
    var low: Double
    var high: Double

    var text: String { "\(decimal(median, 2)) \(brackets)" }

    var brackets: String { "[\(decimal(low, 2)), \(decimal(high, 2))]" }
}

func median(_ values: [Double]) -> Double {
    precondition(!values.isEmpty, "median: needs a value")
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count.isMultiple(of: 2)
        ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
}

/// Returns the middle 95 % of the medians of `values` drawn again and again with replacement.
///
/// This bootstrap assumes no distribution, and times follow none. The draws are seeded, so that
/// the same rounds always give the same interval.
func bootstrapMedian(_ values: [Double], resamples: Int = 4_000) -> Interval {
    var random = SplitMix64(state: 0x7065_6163_6865_7321)
    var medians: [Double] = []
    medians.reserveCapacity(resamples)
    for _ in 0..<resamples {
        medians.append(
            median(values.map { _ in values[Int.random(in: 0..<values.count, using: &random)] }))
    }
    medians.sort()
    return Interval(
        median: median(values), low: medians[resamples * 25 / 1000],
        high: medians[resamples * 975 / 1000 - 1])
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = (state ^ (state >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

/// What a measured ratio says about a bound.
enum Verdict: String, Codable, Sendable {
    case met, missed
    case notEstablished = "not established"
    case notMeasured = "not measured"

    /// A bound is missed only when the whole interval lies above it: one binary against itself gives
    /// 0.85 to 1.19 in single rounds.
    init(ratio: Interval, factor: Double) {
        if ratio.low > factor {
            self = .missed
        } else if ratio.high <= factor {
            self = .met
        } else {
            self = .notEstablished
        }
    }
}
