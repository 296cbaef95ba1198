// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// A machine of a ``SimulatedWorld``: a name, an address, and one reactor.
///
///     let server = world.host("server")
///     try server.run { reactor in
///         try ServerEndpoint(parsing: "tcp:80").listen(on: reactor) { Echo() }
///     }
///
/// Other hosts reach it by ``address``, or by its name, which the resolver of every host knows.
public final class SimulatedHost {
    /// Its name on the network.
    public let name: String

    /// Its address; it also has the loopback addresses.
    public var address: IPv4Address { node.address }

    /// The reactor that runs its program.
    ///
    /// Made at the first use, and kept: a program that was stopped can be run again.
    public private(set) lazy var reactor: Reactor = makeReactor()

    /// How many sockets and ports it may have; accepting and connecting fail beyond that.
    public var descriptorLimit: Int {
        get { node.descriptorLimit }
        set { node.descriptorLimit = newValue }
    }

    /// Whether it has vanished from the network, as a machine does whose power fails.
    ///
    /// Arriving bytes are lost, without a reset: the peers of its connections stay without an
    /// answer, even when it is back. Its program runs on; a machine that starts anew stops it
    /// first.
    public var isDown: Bool {
        get { node.isDown }
        set { node.isDown = newValue }
    }

    /// Whether its program runs.
    public private(set) var isRunning = false

    let node: NetworkNode
    private unowned let network: SimulatedNetwork
    private var backend: SimulatedBackend?
    /// Until when it is not turned.
    private var stalledUntil: UInt64 = 0
    /// Whether its next turn comes behind a stall: it makes that one, or two stalls would be one that
    /// is longer than any may be.
    private var hasStalled = false

    init(name: String, network: SimulatedNetwork) {
        self.name = name
        self.network = network
        node = network.addNode(name)
    }

    private func makeReactor() -> Reactor {
        let backend = SimulatedBackend(network: network, node: node, isDriven: true)
        self.backend = backend
        // The choice must be Sendable; the backend never leaves this thread.
        nonisolated(unsafe) let made = backend
        let network = network
        nonisolated(unsafe) let joined = network
        var choice = BackendChoice(name: "simulated") { unsafe made }
        choice.endFilters = network.endFilters
        return Reactor(
            backend: choice,
            services: { reactor in unsafe SimulatedServices(network: joined, reactor: reactor) })
    }

    /// Begins to run a program here, until its reactor is stopped.
    ///
    /// `body` runs at once; an error that it throws ends the run, and the scenario.
    ///
    /// - Parameter body: Called once, now, on the host's reactor.
    /// - Throws: What `body` throws.
    /// - Precondition: Not running.
    public func run(_ body: (Reactor) throws -> Void) throws {
        precondition(!isRunning, "SimulatedHost: \(name) runs already")
        reactor.confineToThisThread()
        try reactor.beginDrivenRun(body)
        isRunning = true
    }

    /// Stops this host for a while, as if the machine were busy or suspended.
    ///
    /// - Parameter duration: Of virtual time.
    public func stall(for duration: Duration) {
        stalledUntil = max(stalledUntil, network.now.advanced(by: duration).nanoseconds)
    }

    /// Sends a line into the trace, in this host's column.
    ///
    /// - Parameter text: One line.
    public func note(_ text: String) { network.note(text, host: name) }

    // MARK: For the world

    /// When it has to be turned; nil if nothing is due.
    var nextTime: UInt64? {
        guard isRunning, let backend else { return nil }
        let now = network.now.nanoseconds
        let time = backend.hasWork ? now : reactor.nextTurn?.nanoseconds
        return time.map { max($0, stalledUntil, now) }
    }

    /// Tasks that neither run nor wait for their reactor.
    var tasksWaitingElsewhere: Int {
        guard isRunning else { return 0 }
        let figures = reactor.statistics
        return max(0, figures.tasks - figures.suspendedTasks)
    }

    /// Makes one turn, unless the host begins to stall.
    func step() throws {
        if !hasStalled, let word = network.draws.strike(.stall, node.chances) {
            hasStalled = true
            noteFault()
            let length = word % network.conditions.longestStall.wholeNanoseconds
            stalledUntil = network.now.nanoseconds + length
            return
        }
        hasStalled = false
        do {
            if try reactor.continueRun() { reactor.checkInvariants() } else { isRunning = false }
        } catch {
            isRunning = false
            throw error
        }
    }

    private func noteFault() {
        guard let fault = network.draws.struck.last else { return }
        network.trace.add(time: network.now.nanoseconds, host: node.index, .struck(fault))
    }

    /// Stops the program without grace period.
    func end() {
        stalledUntil = 0
        while isRunning {
            reactor.stop(within: .zero)
            if let goesOn = try? reactor.continueRun(), goesOn { continue }
            isRunning = false
        }
    }
}
