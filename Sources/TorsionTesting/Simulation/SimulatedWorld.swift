// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// Several hosts, their programs and the network between them, on one thread and one virtual clock.
///
/// A world stands still until it is run. Then, step by step, it turns every host that has something
/// to do; when all are idle, the clock jumps to the next event, so that an hour of waiting takes an
/// instant. After each step the invariants are checked: those of each reactor and of the network,
/// and the scenario's own.
///
///     let world = SimulatedWorld(seed: 7, faults: .harsh)
///     let server = world.host("server"), client = world.host("client")
///     …
///     try world.run { client.isDone }
///
/// ``simulate(_:seeds:faults:_:)`` makes one for each seed.
///
/// - SeeAlso: Will Wilson, *Testing Distributed Systems w/ Deterministic Simulation*, 2014.
public final class SimulatedWorld {
    /// The network between the hosts.
    public let network: SimulatedNetwork

    /// The scenario's random numbers, which depend on the seed alone.
    public var dice: SeededDice

    /// The seed.
    public let seed: UInt64

    /// Steps so far.
    public private(set) var stepCount = 0

    /// Unhandled errors, save those of descriptors running out.
    ///
    /// See `Reactor.unhandledError`. ``finish()`` fails for the first.
    public private(set) var unhandled: [String] = []

    private var hosts: [SimulatedHost] = []
    private var invariants: [() throws -> Void] = []
    private let chances = Chances(0, .host)

    /// A program that does something in every microsecond would take years to reach a limit.
    private static let stepLimit = 2_000_000

    /// A world without hosts.
    ///
    /// - Parameters:
    ///   - seed: The same seed gives the same run.
    ///   - faults: How often each kind happens.
    public convenience init(seed: UInt64, faults: FaultRates = .none) {
        self.init(seed: seed, draws: FaultDraws(seed: seed, rates: faults))
    }

    /// A world in which exactly these faults happen.
    ///
    /// - Parameters:
    ///   - seed: Of everything but the faults.
    ///   - script: The only faults that happen.
    public convenience init(seed: UInt64, script: [Fault]) {
        self.init(seed: seed, draws: FaultDraws(seed: seed, script: script))
    }

    init(seed: UInt64, draws: FaultDraws) {
        self.seed = seed
        dice = SeededDice(seed: seed)
        network = SimulatedNetwork(draws: draws)
    }

    deinit { tearDown() }

    /// Virtual time since the world was made.
    public var elapsed: Duration { SimulatedNetwork.start.duration(to: network.now) }

    /// The host of this name, made when it is first asked for.
    ///
    /// - Parameter name: Unique in the world.
    /// - Returns: The same host each time.
    public func host(_ name: String) -> SimulatedHost {
        if let host = hosts.first(where: { $0.name == name }) { return host }
        let host = SimulatedHost(name: name, network: network)
        host.reactor.unhandledError = { [unowned self, unowned host] error in
            host.note("\(error)")
            if !Self.isOfNetwork(error) { unhandled.append("\(name): \(error)") }
        }
        // A retrying client's waits and the like; each host has its own.
        host.reactor.chance = SeededGenerator(seed: seed &+ UInt64(host.node.index) << 32)
        hosts.append(host)
        return host
    }

    /// Descriptors running out is the network's doing, and to be told of it is right.
    private static func isOfNetwork(_ unhandled: UnhandledError) -> Bool {
        guard let error = unhandled.error as? IOError else { return false }
        return error.operation == .accept && error.code == .tooManyOpenFiles
    }

    /// Calls `body` so long after the world was made, between steps.
    ///
    /// - Parameters:
    ///   - time: Since the world was made; a past one means at once.
    ///   - body: Called once, outside of every reactor.
    public func at(_ time: Duration, _ body: @escaping () -> Void) {
        let instant = SimulatedNetwork.start.advanced(by: time)
        network.at(max(instant, network.now), body)
    }

    /// Checks something after every step.
    ///
    /// - Parameter check: Called after every step; what it throws ends the run.
    public func always(_ check: @escaping () throws -> Void) { invariants.append(check) }

    // MARK: Running

    /// Runs until the condition holds.
    ///
    /// - Parameters:
    ///   - limit: Of virtual time, from now.
    ///   - condition: Asked before each step.
    /// - Throws: ``CheckFailure`` if it does not within the limit, if all hosts are idle for good,
    ///   or if a program is busy without end; what an invariant or a program throws.
    public func run(
        limit: Duration = .seconds(3_600), until condition: () -> Bool
    ) throws {
        let end = network.now.advanced(by: limit)
        while !condition() {
            guard try step(before: end.nanoseconds) else {
                let isStuck = nextTime == nil
                let why = isStuck ? "nothing is left to happen" : "not within \(limit)"
                throw CheckFailure(description: "SimulatedWorld: \(why)\(waitingElsewhere)")
            }
        }
    }

    /// What a wait in vain is often about: something that is not simulated.
    private var waitingElsewhere: String {
        guard let host = hosts.first(where: { $0.tasksWaitingElsewhere > 0 }) else { return "" }
        return "; a task of \(host.name) waits for what is not simulated: use reactor.sleep instead"
            + " of Task.sleep"
    }

    /// Runs for a while.
    ///
    /// - Parameter duration: Of virtual time, from now.
    /// - Throws: What an invariant or a program throws.
    public func run(for duration: Duration) throws {
        let end = network.now.advanced(by: duration)
        while try step(before: end.nanoseconds) {}
        network.advance(to: max(end, network.now).nanoseconds)
    }

    /// Turns each host that has something to do, or moves the clock to when one has.
    ///
    /// - Returns: False if that is not before the limit.
    private func step(before limit: UInt64) throws -> Bool {
        let now = network.now.nanoseconds
        guard let next = nextTime, next < limit else { return false }
        network.advance(to: max(next, now))
        stepCount += 1
        guard stepCount < Self.stepLimit else {
            throw CheckFailure(description: "SimulatedWorld: no end after \(stepCount) steps")
        }
        let start = firstHost
        var turned = false
        for offset in hosts.indices {
            let host = hosts[(start + offset) % hosts.count]
            guard let time = host.nextTime, time <= network.now.nanoseconds else { continue }
            turned = true
            try host.step()
        }
        network.checkInvariants()
        for check in invariants { try check() }
        if turned {
            let cost = network.conditions.turnCost.wholeNanoseconds
            network.advance(to: network.now.nanoseconds + cost)
        }
        return true
    }

    private var nextTime: UInt64? {
        var next = network.nextEventTime
        for host in hosts {
            if let time = host.nextTime { next = min(next ?? time, time) }
        }
        return next
    }

    private var firstHost: Int {
        guard hosts.count > 1, let word = network.draws.strike(.order, chances) else { return 0 }
        return Int(word % UInt64(hosts.count))
    }

    // MARK: The end

    /// Stops every program that still runs, and checks that it has released everything.
    ///
    /// - Throws: ``CheckFailure`` that names the host and what it still has.
    public func finish() throws {
        for host in hosts where host.isRunning { host.reactor.stop(within: .seconds(60)) }
        try run(limit: .seconds(3_600)) { !hosts.contains { $0.isRunning } }
        for host in hosts {
            let figures = host.reactor.statistics
            let left = [
                ("handles", figures.openHandles), ("connections", figures.openConnections),
                ("delayed calls", figures.delayedCalls),
            ].filter { $0.1 != 0 }
            for (what, count) in left {
                throw CheckFailure(description: "\(host.name) is left with \(count) \(what)")
            }
        }
        if let first = unhandled.first { throw CheckFailure(description: first) }
    }

    /// Whatever happened, no reactor may be released while it is open.
    func tearDown() {
        for host in hosts {
            host.reactor.unhandledError = { _ in }
            host.end()
        }
        // What was to happen later often holds the network that holds it.
        network.forgetEvents()
        invariants = []
    }
}
