// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The first seed under which a scenario failed.
public struct SimulationFailure: Error, CustomStringConvertible {
    /// The scenario.
    public let name: String
    /// The seed.
    public let seed: UInt64
    /// The few faults with which it still fails.
    public let faults: [Fault]
    /// How many there were before they were shrunk.
    public let allFaultCount: Int
    /// The error.
    public let error: String
    /// The run as a picture, with only those few faults.
    public let diagram: String

    /// Everything, and how to see it again.
    public var description: String {
        let list = faults.map { "\"\($0)\"" }.joined(separator: ", ")
        return """
            \(name) fails with seed \(seed): \(error)
            \(faults.count) of \(allFaultCount) faults are enough: [\(list)]
            With SEED=\(seed) set, only this seed runs.

            \(diagram)
            """
    }
}
