// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The command `run`: every scenario, every server, a table for each.
struct Run {
    let options: Options
    let progress = Progress()

    private var load: LoadGenerator { LoadGenerator(path: options.programs + "/load") }

    /// Returns whether Torsion's servers did all that they were asked.
    func start() throws -> Bool {
        let scenarios = try options.selectedScenarios()
        if scenarios.contains(where: { $0.framing == .files }) {
            try SampleFile.write(to: options.files)
        }
        let servers = try usableServers(for: scenarios)
        var plan = options.isFull ? Plan.full : Plan.quick
        if let rounds = options.rounds {
            // Whoever names a number gets it, however long it takes.
            plan.rounds = rounds
            plan.limit = Plan.full.limit
        }
        var report = try Report(mode: options.isFull ? "full" : "quick")
        writeText(heading(report, plan))
        for (index, scenario) in scenarios.enumerated() {
            progress.note("\(scenario.name) (\(index + 1)/\(scenarios.count)): \(scenario.summary)")
            let result = try measure(scenario, servers.filter(scenario.admits), plan)
            progress.clear()
            writeText(render(result, scenario))
            report.scenarios.append(result)
            // After each, so that an interrupted run leaves what it found.
            try report.write(to: options.json)
            if let html = options.html { try report.writePage(to: html) }
        }
        writeText("\nResults: \(options.json)\n")
        if let html = options.html { writeText("Page: \(html)\n") }
        return report.scenarios.allSatisfy { scenario in
            !scenario.failures.contains { $0.server.hasPrefix("torsion-") }
        }
    }

    /// Starts each server that takes part once, and returns those that do.
    ///
    /// A peer that this machine cannot run is left out, with its reason; one of Torsion's own that
    /// does not start is a failure.
    private func usableServers(for scenarios: [Scenario]) throws -> [Server] {
        let servers = try options.servers().filter { server in
            scenarios.contains { $0.admits(server) }
        }
        return try servers.filter { server in
            do {
                try RunningServer(server).stop()
                return true
            } catch {
                if server.kind == .torsion && !server.isOptional { throw error }
                progress.note("without \(server.name): \(error)")
                return false
            }
        }
    }

    private func measure(
        _ scenario: Scenario, _ servers: [Server], _ plan: Plan
    ) throws -> Report.ScenarioResult {
        switch scenario.load {
        case .idle, .httpIdle, .secureIdle:
            return try measureMemory(scenario, servers)
        case .echo, .connect, .datagrams, .http, .redisGet, .redisSet, .secure, .secureConnect,
            .secureResume, .webSocket:
            var plan = plan
            if scenario.isSlow { plan.rounds = min(plan.rounds, 5) }
            let rounds = Rounds(scenario: scenario, plan: plan, load: load, progress: progress)
            let (samples, failures) = rounds.run(servers)
            let baseline = samples["libuv-c"]
            var result = Report.ScenarioResult(
                name: scenario.name, unit: scenario.unit,
                rounds: (samples.values.first?.count ?? 0) / 2, results: [])
            for server in servers {
                guard let own = samples[server.name] else { continue }
                result.results.append(summarise(server, own, baseline, scenario))
            }
            result.failures = failures.map { .init(server: $0.key, reason: "\($0.value)") }
            result.bounds = judge(scenario.bounds, samples, servers)
            return result
        }
    }

    private func summarise(
        _ server: Server, _ samples: [Sample], _ baseline: [Sample]?, _ scenario: Scenario
    ) -> Report.Result {
        var result = Report.Result(server: server.name, samples: samples)
        result.messagesPerSecond = median(samples.map { Double($0.messages) / $0.seconds })
        result.cpuMicrosecondsPerMessage = median(cpuPerMessage(samples))
        result.ratioToBaseline = baseline.map { ratio(samples, to: $0) }
        result.p50Microseconds = median(samples.map(\.p50Microseconds))
        result.p99Microseconds = median(samples.map(\.p99Microseconds))
        result.loadCPUShare = median(samples.map { $0.loadSeconds / $0.seconds })
        guard options.counts else { return result }
        progress.show("\(scenario.name)  counting  \(server.name)")
        // A count that a machine refuses, strace without ptrace for one, leaves its column empty.
        result.systemCallsPerMessage = try? SystemCallCounter(load: load)
            .perMessage(server, scenario)
        result.allocationsPerMessage = try? AllocationCounter(
            library: options.programs + "/malloc_counter.so", load: load
        ).perMessage(server, scenario)
        return result
    }

    private func measureMemory(
        _ scenario: Scenario, _ servers: [Server]
    ) throws -> Report.ScenarioResult {
        var result = Report.ScenarioResult(
            name: scenario.name, unit: scenario.unit, rounds: 1, results: [])
        for server in servers {
            progress.show("\(scenario.name)  \(server.name)")
            let running = try RunningServer(server)
            let sample = try load.run(
                scenario, length: .time(warm: 0, measured: 1), against: running)
            try running.stop()
            var own = Report.Result(server: server.name, samples: [sample])
            own.memoryPerConnection = sample.memoryPerConnection
            result.results.append(own)
        }
        return result
    }

    private func judge(
        _ bounds: [Bound], _ samples: [String: [Sample]], _ servers: [Server]
    ) -> [Report.BoundResult] {
        bounds.compactMap { bound in
            let reference: String?
            switch bound.reference {
            case .server(let name): reference = name
            case .bestTwin:
                reference = bestTwin(servers, samples)
            }
            guard let own = samples[bound.server], let reference, let its = samples[reference]
            else { return nil }
            let measured = ratio(own, to: its)
            return Report.BoundResult(
                server: bound.server, reference: reference, factor: bound.factor, ratio: measured,
                verdict: Verdict(ratio: measured, factor: bound.factor))
        }
    }

    private func bestTwin(_ servers: [Server], _ samples: [String: [Sample]]) -> String? {
        let costs = servers.filter { $0.kind == .twin }.compactMap { server in
            samples[server.name].map { (name: server.name, cost: median(cpuPerMessage($0))) }
        }
        return costs.min { $0.cost < $1.cost }?.name
    }
}
