// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The figures of a search.
public struct SimulationReport: Sendable {
    /// Seeds that passed.
    public private(set) var runCount = 0
    /// Virtual time of all runs together.
    public private(set) var elapsed = Duration.zero
    /// Steps of all worlds together.
    public private(set) var stepCount = 0
    /// How many faults of each kind happened, in the order of the kinds.
    public private(set) var faultCounts = [Int](repeating: 0, count: Fault.Kind.allCases.count)
    /// A hash of every trace: equal reports of equal searches show that runs are deterministic.
    public private(set) var digest = StreamHash()

    /// All figures are zero.
    public init() {}

    /// Faults of all kinds.
    public var faultCount: Int { faultCounts.reduce(0, +) }

    /// Adds what another search went through.
    ///
    /// - Parameter other: Added to the sums.
    public mutating func add(_ other: SimulationReport) {
        runCount += other.runCount
        elapsed += other.elapsed
        stepCount += other.stepCount
        for index in faultCounts.indices { faultCounts[index] += other.faultCounts[index] }
        digest.add(word: UInt64(truncatingIfNeeded: other.digest.value))
    }

    mutating func add(_ run: SimulationRun) {
        runCount += 1
        elapsed += run.elapsed
        stepCount += run.stepCount
        for fault in run.faults { faultCounts[Int(fault.kind.rawValue)] += 1 }
        digest.add(word: run.digest.value)
    }
}

extension SimulationReport: CustomStringConvertible {
    /// One line.
    public var description: String {
        let (seconds, _) = elapsed.components
        let kinds = Fault.Kind.allCases.filter { faultCounts[Int($0.rawValue)] > 0 }
            .map { "\($0) \(faultCounts[Int($0.rawValue)])" }.joined(separator: ", ")
        let hash = String(digest.value, radix: 16)
        return "\(runCount) seeds, \(seconds / 3_600) h \(seconds / 60 % 60) min simulated, "
            + "\(stepCount) steps, \(faultCount) faults (\(kinds)), traces \(hash)"
    }
}
