// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// How many rounds a scenario gets, and how long each measurement in them is.
struct Plan {
    var rounds: Int
    var warmSeconds: Double
    var measuredSeconds: Double
    /// After so long a scenario begins no further round.
    ///
    /// Keeps the quick run's promise on a slow machine.
    var limit: Duration

    static let quick = Plan(
        rounds: 5, warmSeconds: 0.08, measuredSeconds: 0.25, limit: .seconds(17))
    static let full = Plan(
        rounds: 15, warmSeconds: 0.2, measuredSeconds: 1, limit: .seconds(3_600))
}

/// Measures every server under one scenario, in turns.
///
/// A machine that is shared, heats up or is moved changes its speed over seconds. So each round takes
/// the servers forwards and then backwards (A B B A), which cancels a steady drift, ratios are
/// taken within a round, and each measurement has a process of its own, since where a
/// program's memory happens to lie can be worth several percent.
struct Rounds {
    let scenario: Scenario
    let plan: Plan
    let load: LoadGenerator
    let progress: Progress

    /// Returns the samples of each server, two for each round, and why a server has none: one that
    /// failed once is left out, and the others go on.
    func run(_ servers: [Server]) -> (samples: [String: [Sample]], failures: [String: any Error]) {
        let end = ContinuousClock.now + plan.limit
        var samples: [String: [Sample]] = [:]
        var failures: [String: any Error] = [:]
        for round in 0..<plan.rounds {
            // At least two, whatever they take: one has no spread.
            if round >= 2 && ContinuousClock.now > end { break }
            let shift = round % servers.count
            let order = servers[shift...] + servers[..<shift]
            for server in order + order.reversed() where failures[server.name] == nil {
                progress.show("\(scenario.name)  round \(round + 1)/\(plan.rounds)  \(server.name)")
                do {
                    samples[server.name, default: []].append(try sample(server))
                } catch {
                    samples[server.name] = nil
                    failures[server.name] = error
                }
            }
        }
        return (samples, failures)
    }

    private func sample(_ server: Server) throws -> Sample {
        let running = try RunningServer(server, framing: scenario.framing)
        let length = Length.time(warm: plan.warmSeconds, measured: plan.measuredSeconds)
        let sample = try load.run(scenario, length: length, against: running)
        try running.stop()
        return sample
    }
}

/// Returns the server's microseconds of CPU for a message in each round.
func cpuPerMessage(_ samples: [Sample]) -> [Double] {
    stride(from: 0, to: samples.count - 1, by: 2).map { index in
        let pair = samples[index...(index + 1)]
        let seconds = pair.reduce(0) { $0 + $1.serverSeconds }
        return seconds / Double(pair.reduce(0) { $0 + $1.messages }) * 1e6
    }
}

/// Returns how much more CPU one server needs than another, from what both did in the same rounds.
func ratio(_ samples: [Sample], to reference: [Sample]) -> Interval {
    bootstrapMedian(zip(cpuPerMessage(samples), cpuPerMessage(reference)).map { $0 / $1 })
}
