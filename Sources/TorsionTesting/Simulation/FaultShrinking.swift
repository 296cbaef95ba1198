// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// So that a slow scenario does not shrink for ever.
private let runLimit = 400

/// Finds few faults with which a scenario still fails, out of many.
///
/// Leaves out halves, then quarters, down to single ones, as long as the run still fails.
///
/// - SeeAlso: Zeller and Hildebrandt, *Simplifying and Isolating Failure-Inducing Input*, 2002.
func shrink(
    _ faults: [Fault], seed: UInt64, _ scenario: (SimulatedWorld) throws -> Void
) -> [Fault] {
    var runCount = 0
    func fails(_ few: [Fault]) -> Bool {
        runCount += 1
        let draws = FaultDraws(seed: seed, script: few)
        return SimulationRun(seed: seed, draws: draws, scenario).error != nil
    }
    if fails([]) { return [] }
    var kept = faults
    var size = max(1, kept.count / 2)
    while runCount < runLimit {
        var hasShrunk = false
        var start = 0
        while start < kept.count, runCount < runLimit {
            let end = min(kept.count, start + size)
            let rest = Array(kept[..<start] + kept[end...])
            if fails(rest) {
                kept = rest
                hasShrunk = true
            } else {
                start = end
            }
        }
        if size > 1 { size /= 2 } else if !hasShrunk { break }
    }
    return kept
}
