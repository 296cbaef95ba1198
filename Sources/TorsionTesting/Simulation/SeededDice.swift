// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Numbers that depend on a seed alone: SplitMix64.
///
/// The standard library does not promise the sequence of a generator, nor how it makes a range of
/// one; so both are here, and a seed means the same on every machine and in every version.
///
///     var dice = SeededDice(seed: 7)
///     let face = dice.below(6) + 1
///
/// - SeeAlso: Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, 2014.
public struct SeededDice: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// A generator for this seed.
    ///
    /// - Parameter seed: Any number.
    public init(seed: UInt64) { state = seed }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        return Self.mix(state)
    }

    /// A number from zero to `limit` - 1.
    ///
    /// - Parameter limit: At least 1.
    /// - Returns: Each number equally often.
    /// - Precondition: `limit` is positive.
    public mutating func below(_ limit: Int) -> Int {
        precondition(limit > 0, "SeededDice: there is no number below \(limit)")
        return Int(next() % UInt64(limit))
    }

    /// A number of the range, its ends included.
    ///
    /// - Parameter range: Of any sign.
    /// - Returns: Each number equally often.
    public mutating func within(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + below(range.upperBound - range.lowerBound + 1)
    }

    /// True so many times of a hundred.
    ///
    /// - Parameter percent: From 0, never true, to 100, always.
    /// - Returns: What the die says.
    public mutating func percent(_ percent: Int) -> Bool { below(100) < percent }

    /// Bits that look unlike those of any other word.
    static func mix(_ word: UInt64) -> UInt64 {
        var word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }
}
