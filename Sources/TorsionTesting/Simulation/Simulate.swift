// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Runs a scenario under many seeds, and throws for the first that fails.
///
/// The scenario makes hosts, runs programs on them and checks what they did. Each seed has its own
/// world, its own faults and its own share of each kind of fault, so that some runs have many of
/// one kind and lack another. After the scenario every host is stopped, and must have released
/// everything.
///
///     @Test func `an echo loses nothing`() throws {
///         try simulate("echo", seeds: 1...10_000) { world in
///             let server = world.host("server"), client = world.host("client")
///             …
///             try world.run { client.isDone }
///         }
///     }
///
/// With the variable `SEED` set, only that seed runs: `SEED=41 swift test` plays a failure again.
/// With `SEEDS` set, as many run as it says, whatever the range. With `TELL_SEEDS` set, each is
/// printed on standard error before it runs, so that one that traps is known, and faults are not
/// shrunk.
///
/// - Parameters:
///   - name: Of the scenario, for messages.
///   - seeds: Run in this order.
///   - faults: How often each kind happens.
///   - scenario: Called once for each seed.
/// - Returns: What the search went through.
/// - Throws: ``SimulationFailure``, with the few faults that matter and a picture.
@discardableResult
public func simulate(
    _ name: String, seeds: ClosedRange<UInt64>, faults: FaultRates = .harsh,
    _ scenario: (SimulatedWorld) throws -> Void
) throws(SimulationFailure) -> SimulationReport {
    var report = SimulationReport()
    let isTerse = Environment.value("TELL_SEEDS") != nil
    for seed in chosenSeeds(seeds) {
        if isTerse { Environment.print("\(name): seed \(seed)") }
        let rates = faults.swarm(seed: seed)
        let draws = FaultDraws(seed: seed, rates: rates)
        let outcome = SimulationRun(seed: seed, draws: draws, scenario)
        report.add(outcome)
        guard let error = outcome.error else { continue }
        let few = isTerse ? draws.struck : shrink(draws.struck, seed: seed, scenario)
        let last = SimulationRun(seed: seed, draws: FaultDraws(seed: seed, script: few), scenario)
        throw SimulationFailure(
            name: name, seed: seed, faults: few, allFaultCount: draws.struck.count,
            error: "\(last.error ?? error)", diagram: last.diagram)
    }
    return report
}

private func chosenSeeds(_ seeds: ClosedRange<UInt64>) -> ClosedRange<UInt64> {
    if let seed = Environment.value("SEED").flatMap({ UInt64($0) }) { return seed...seed }
    if let count = Environment.value("SEEDS").flatMap({ UInt64($0) }), count > 0 {
        return seeds.lowerBound...(seeds.lowerBound + count - 1)
    }
    return seeds
}

/// One seed's run of a scenario, from the making of its world to its end.
struct SimulationRun {
    let error: (any Error)?
    let elapsed: Duration
    let stepCount: Int
    let faults: [Fault]
    let digest: StreamHash
    /// Made only of a run that failed.
    let diagram: String

    init(seed: UInt64, draws: FaultDraws, _ scenario: (SimulatedWorld) throws -> Void) {
        let world = SimulatedWorld(seed: seed, draws: draws)
        defer { world.tearDown() }
        var caught: (any Error)?
        do {
            try scenario(world)
            try world.finish()
        } catch { caught = error }
        error = caught
        elapsed = world.elapsed
        stepCount = world.stepCount
        faults = draws.struck
        digest = world.network.trace.digest
        diagram = caught == nil ? "" : world.network.diagram(last: 200)
    }
}
