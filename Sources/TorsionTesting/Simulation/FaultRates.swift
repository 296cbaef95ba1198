// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// How often each kind of fault happens, in ten thousand chances.
///
///     var rates = FaultRates.none
///     rates[.reset] = 20
public struct FaultRates: Sendable {
    private var rates = [UInt32](repeating: 0, count: Fault.Kind.allCases.count)

    /// A rate of zero for each kind.
    public init() {}

    /// How often this kind happens, from 0 to 10,000.
    ///
    /// - Parameter kind: Which fault.
    public subscript(kind: Fault.Kind) -> Int {
        get { Int(rates[Int(kind.rawValue)]) }
        set {
            precondition(0...10_000 ~= newValue, "FaultRates: a rate is of ten thousand")
            rates[Int(kind.rawValue)] = UInt32(newValue)
        }
    }

    /// Without faults.
    public static let none = FaultRates()

    /// Only what a program must not notice: cuts, delays, full buffers, late hosts.
    public static let gentle: FaultRates = [
        .delay: 2_000, .split: 1_500, .cutRead: 2_000, .cutWrite: 2_000, .fullBuffer: 1_000,
        .late: 1_500, .stall: 30, .order: 2_000,
    ]

    /// All that, and what ends connections or keeps them from being made.
    public static let harsh: FaultRates = [
        .delay: 2_000, .split: 1_500, .cutRead: 2_000, .cutWrite: 2_000, .fullBuffer: 1_000,
        .late: 1_500, .stall: 30, .order: 2_000, .partition: 30, .reset: 60, .end: 40,
        .refuse: 500, .ignore: 300, .shortage: 800, .lose: 300, .duplicate: 300, .reorder: 500,
    ]

    /// Some kinds left out and the others made rarer or more frequent, by the seed.
    ///
    /// A run in which everything goes wrong at once hides what needs two faults and calm between.
    ///
    /// - SeeAlso: Groce and others, *Swarm Testing*, 2012.
    func swarm(seed: UInt64) -> FaultRates {
        var dice = SeededDice(seed: seed ^ 0x7377_6172_6d00_0000)
        var result = self
        for kind in Fault.Kind.allCases {
            let factor = [0, 0, 1, 4, 8, 16][dice.below(6)]
            result[kind] = min(9_000, self[kind] * factor / 4)
        }
        return result
    }
}

extension FaultRates: ExpressibleByDictionaryLiteral {
    /// Rates by kind; the others are zero.
    ///
    /// - Parameter elements: A kind and how often of ten thousand; the last of a kind counts.
    public init(dictionaryLiteral elements: (Fault.Kind, Int)...) {
        for (kind, rate) in elements { self[kind] = rate }
    }
}
