// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A generator whose numbers follow from its seed.
///
/// SplitMix64, by Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
package struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

extension Reactor {
    /// A seed for whoever was given none: each is another, and all follow from the first.
    ///
    /// That is the time on the backend's clock unless a driver set ``chance`` before, so a
    /// simulated program repeats itself, and machines that were started together do not agree.
    func drawSeed() -> UInt64 {
        var generator = chance ?? SeededGenerator(seed: now.nanoseconds)
        defer { chance = generator }
        return generator.next()
    }
}
