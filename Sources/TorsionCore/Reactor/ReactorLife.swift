// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Where a reactor is between two calls of `run`.
struct ReactorLife {
    enum Phase: Int, Comparable {
        case idle
        case startingBefore, startingDuring
        case running
        case stoppingBefore, stoppingDuring, stoppingAfter
        /// Every connection is lost, and some of their streams are given a little time.
        case lingering
        case ended

        static func < (left: Phase, right: Phase) -> Bool { left.rawValue < right.rawValue }
    }

    var phase = Phase.idle
    /// Whether the backend holds its kernel objects.
    var isStarted = false
    var isStopRequested = false
    /// Triggers of the present phase whose Deferred has not fired.
    var awaitedTriggers = 0
    /// How long a stop waits, and whether that time is over.
    var patience = Duration.zero
    var isPatienceOver = false
    var patienceTimer: DelayedCall?
    var isLingeringOver = false
    /// How often the end has run what became ready by it.
    var endRounds = 0
    /// What the closure of `run` threw.
    var failure: (any Error)?
    /// Signals that stop the run.
    var caught: [any SignalRegistration] = []
}

/// What a reactor does when the process is told to end.
public enum SignalPolicy: Sendable {
    /// Signals are left to the program.
    case ignore
    /// The first SIGINT or SIGTERM stops the reactor within this time, a second one ends the
    /// process at once. One that the process ignores when the run begins stays ignored: its parent
    /// wanted that, as `nohup(1)` and shells do for what runs in the background.
    case stop(within: Duration)

    /// Stops within ten seconds.
    public static let stop = SignalPolicy.stop(within: .seconds(10))
}

extension Reactor {
    /// Makes a reactor, runs it on this thread until it stops, and releases it.
    ///
    /// - Parameters:
    ///   - backend: What waits for events.
    ///   - services: What resolves names and catches signals.
    ///   - signals: What SIGINT and SIGTERM do.
    ///   - body: Runs first, on the reactor; an error ends the run.
    /// - Throws: What `body` throws, or ``IOError`` if the kernel refuses the reactor.
    @available(*, noasync, message: "use withReactor in async code")
    public static func run(
        backend: BackendChoice,
        services: (@Sendable (Reactor) throws(IOError) -> any ReactorServices)?,
        signals: SignalPolicy = .stop, _ body: (Reactor) throws -> Void
    ) throws {
        let reactor = Reactor(backend: backend, services: services)
        // The one thing that a run leaves as it is, and it often holds the reactor.
        defer { reactor.unhandledError = { $0.printToStandardError() } }
        try reactor.run(signals: signals, body)
    }

    /// Runs on this thread until ``stop(within:)``.
    ///
    /// A reactor that has stopped may run again.
    ///
    /// - Throws: ``IOError`` if the kernel refuses the reactor its descriptors.
    @available(*, noasync, message: "use withReactor in async code")
    public func run(signals: SignalPolicy = .ignore) throws {
        try run(signals: signals) { _ in }
    }

    /// Runs on this thread, `body` first, until ``stop(within:)``.
    ///
    /// At its end every connection has been told of its loss, no handle is open, delayed calls,
    /// watches and triggers are dropped, and calls from other threads are refused: of what was made
    /// for the run nothing holds the reactor any more.
    ///
    /// - Throws: What `body` throws, or ``IOError`` if the kernel refuses the reactor.
    @available(*, noasync, message: "use withReactor in async code")
    public func run(signals policy: SignalPolicy, _ body: (Reactor) throws -> Void) throws {
        require(
            !isBoundToThisThread, "Reactor: run was called inside a callback of the same reactor")
        try beginRun(signals: policy, body)
        while advanceLife() { turn(until: nil) { true } }
        try finishRun()
    }

    private func beginRun(
        signals policy: SignalPolicy, _ body: (Reactor) throws -> Void
    ) throws(IOError) {
        bindToThisThread()
        do throws(IOError) { try startIfNeeded() } catch {
            unbind()
            throw error
        }
        life.phase = .startingBefore
        do {
            life.caught = try catchStopSignals(policy)
            try runBody(body)
        } catch {
            life.failure = error
            life.isStopRequested = true
        }
        fireTriggers(.before, .startup)
    }

    private func finishRun() throws {
        defer { unbind() }
        life.caught.forEach { $0.cancel() }
        end()
        if let failure = life.failure {
            life.failure = nil
            throw failure
        }
    }

    /// Begins a run whose turns somebody else makes, who drives several reactors on one thread.
    ///
    /// - Throws: ``IOError`` if the backend does not start. What `body` throws ends the run, and is
    ///   thrown by ``continueRun()``.
    package func beginDrivenRun(_ body: (Reactor) throws -> Void) throws(IOError) {
        try beginRun(signals: .ignore, body)
    }

    /// Lets no other thread queue calls or jobs from now on: one that does traps.
    ///
    /// For a reactor of a simulation, in whose time nothing happens elsewhere.
    package func confineToThisThread() { inbox.confineToThisThread() }

    /// Makes one turn of a run, or ends it.
    ///
    /// - Returns: False when it has ended.
    /// - Throws: What ended it.
    package func continueRun() throws -> Bool {
        guard advanceLife() else {
            try finishRun()
            return false
        }
        turn(until: nil) { true }
        return true
    }

    private func runBody(_ body: (Reactor) throws -> Void) throws {
        renewTime()
        beginEvent()
        defer {
            endEvent()
            letTimeGo()
        }
        try body(self)
    }

    /// Ends the run gracefully.
    ///
    /// Returns at once; what follows happens in later turns.
    ///
    /// Ports close; each protocol gets `shutdownRequested`, which by default loses the connection;
    /// when all connections are lost, or after `patience` when the rest are aborted, `run` returns.
    /// Triggers run before, during and after. With a patience of zero connections are aborted.
    ///
    /// - Returns: Whether this call stops it: false, and nothing happens, when the reactor does not
    ///   run or is stopping already.
    @discardableResult
    public func stop(within patience: Duration = .seconds(10)) -> Bool {
        checkThread()
        guard life.phase > .idle, life.phase <= .running, !life.isStopRequested else {
            return false
        }
        life.isStopRequested = true
        life.patience = patience
        return true
    }

    /// Whether `run` has begun and ``stop(within:)`` has not been called.
    public var isRunning: Bool {
        checkThread()
        return life.phase > .idle && life.phase <= .running && !life.isStopRequested
    }

    /// How long the stop that is under way waits; a group passes it on.
    package var stopPatience: Duration { life.patience }

    private func catchStopSignals(_ policy: SignalPolicy) throws -> [any SignalRegistration] {
        guard case .stop(let patience) = policy else { return [] }
        let source = try signals
        let wanted = [Signal.interrupt, .terminate].filter { !source.isIgnored($0) }
        return try wanted.map { signal in
            try source.catchSignal(signal) { [unowned self] signal in
                if !stop(within: patience) { source.die(by: signal) }
            }
        }
    }

    /// Ends a reactor that is turned by hand and never run, at once: connections are aborted and
    /// told so, and everything is released.
    ///
    /// The triggers of a stop are called, and not waited for. It may be turned again.
    ///
    /// - Precondition: Not running, and not inside a callback.
    public func shutDown() {
        checkThread()
        require(life.phase == .idle, "Reactor: shutDown was called while it runs; use stop")
        require(eventDepth == 0, "Reactor: shutDown was called inside a callback")
        executor.queue.bind()
        defer { executor.queue.unbind() }
        life.isPatienceOver = true
        fireTriggers(.before, .shutdown)
        fireTriggers(.during, .shutdown)
        endConnections()
        deliverLosses()
        finishThreadWork()
        fireTriggers(.after, .shutdown)
        end()
    }

    /// The backend cannot wait any more: the run ends at once, and throws this.
    ///
    /// A reactor that is turned by hand has no run to end; whoever turns it is told each time.
    @inline(never)
    func waitFailed(_ error: IOError) {
        guard life.phase > .idle else { return report(error, in: "a turn") }
        if life.failure == nil { life.failure = error }
        life.isStopRequested = true
        life.patience = .zero
        guard !life.isPatienceOver else { return }
        life.isPatienceOver = true
        if life.phase >= .stoppingDuring { abortConnections() }
    }

    // MARK: Phases

    /// Starts the backend, on the thread that will turn it.
    ///
    /// Harmless when it has started.
    ///
    /// `run`, and whatever opens something, do it by themselves; who drives the reactor by
    /// ``turn(until:)`` does it before the first turn.
    ///
    /// - Throws: ``IOError`` if the kernel refuses the reactor its descriptors.
    public func start() throws(IOError) {
        checkThread()
        try startIfNeeded()
    }

    /// Starts the backend, on the thread that will turn it.
    func startIfNeeded() throws(IOError) {
        guard !life.isStarted else { return }
        try backend.start()
        life.isStarted = true
        resolveQueueLimit()
        inbox.open(waker: backend.waker)
        executor.queue.awaitLateJob()
        waits.isClosed = false
    }

    /// Goes from phase to phase as far as it can without waiting.
    ///
    /// - Returns: False at the end of the run.
    @inline(__always)
    func advanceLife() -> Bool {
        life.phase == .running && !life.isStopRequested || leavePhases()
    }

    @inline(never)
    private func leavePhases() -> Bool {
        while canLeavePhase {
            switch life.phase {
            case .idle, .ended:
                return life.phase == .idle
            case .startingBefore:
                life.phase = .startingDuring
                fireTriggers(.during, .startup)
            case .startingDuring:
                life.phase = .running
                fireTriggers(.after, .startup)
            case .running:
                life.phase = .stoppingBefore
                beginPatience()
                fireTriggers(.before, .shutdown)
            case .stoppingBefore:
                life.phase = .stoppingDuring
                fireTriggers(.during, .shutdown)
                endConnections()
            case .stoppingDuring:
                life.phase = .stoppingAfter
                threadWork.isRefused = true
                fireTriggers(.after, .shutdown)
            case .stoppingAfter:
                life.phase = .lingering
                beginLingering()
            case .lingering:
                life.phase = .ended
            }
        }
        return true
    }

    /// Whether a start or a stop can take its next step; then the turn must not wait.
    var canLeavePhase: Bool {
        switch life.phase {
        case .idle: false
        case .startingBefore, .startingDuring: life.awaitedTriggers == 0 || life.isStopRequested
        case .running: life.isStopRequested
        case .stoppingBefore, .stoppingAfter: life.awaitedTriggers == 0 || life.isPatienceOver
        case .stoppingDuring:
            (life.awaitedTriggers == 0 || life.isPatienceOver) && connections.count == 0
                && stoppedDatagramPorts.isEmpty
                && isThreadWorkDone
        case .lingering: lingering.count == 0 || life.isPatienceOver || life.isLingeringOver
        case .ended: true
        }
    }

    /// Streams that would lose something by a close now are waited for.
    private func beginLingering() {
        lingering.beginEnd()
        guard lingering.count > 0 else { return }
        callLater(LingeringStreams.patience) { [unowned self] in life.isLingeringOver = true }
    }

    private func beginPatience() {
        triggers.beginRound()
        life.awaitedTriggers = 0
        life.isPatienceOver = life.patience <= .zero
        guard !life.isPatienceOver else { return }
        life.patienceTimer = callLater(life.patience) { [unowned self] in
            life.isPatienceOver = true
            if life.phase >= .stoppingDuring { abortConnections() }
        }
    }

    private func endConnections() {
        stopPorts()
        for attempt in attempts.elements { attempt.abandon() }
        if life.isPatienceOver {
            abortConnections()
        } else {
            for connection in connections.elements { connection.requestShutdown() }
        }
    }

    private func stopPorts() {
        for port in ports.elements { port.stopListening() }
        for port in datagramPorts.elements { port.stopListening() }
    }

    private func abortConnections() {
        for connection in connections.elements { connection.abortConnection() }
    }

    private func closeEverything() {
        stopPorts()
        for attempt in attempts.elements { attempt.abandon() }
        // What is told of its end may open something else.
        var rounds = 0
        while isSomethingOpen, rounds < 100 {
            rounds += 1
            stopPorts()
            for attempt in attempts.elements { attempt.abandon() }
            abortConnections()
            deliverLosses()
        }
        lingering.endAll()
    }

    private var isSomethingOpen: Bool {
        connections.count > 0 || datagramPorts.count > 0 || attempts.count > 0 || ports.count > 0
    }

    /// Releases everything that is left, so that no handle is open.
    private func end() {
        finishThreadWork()
        // Accepted calls still run; later ones are refused. A call may open something, so that
        // comes before the closing.
        inbox.close()
        runThreadCalls()
        repeat { closeEverything() } while endTasks()
        life.patienceTimer = nil
        services?.shutDown()
        services = nil
        for watch in watches.elements { watch.cancel() }
        guests = []
        hungryConnections = []
        remoteObjects = [:]
        // What the bodies hold is let go here, outside table and wheel: its end may come back to us.
        _ = triggers.removeAll()
        triggers.beginRound()
        _ = timers.removeAll()
        queueCall = nil
        queues.forgetExcess()
        if life.isStarted {
            precondition(
                backend.openHandleCount == 0, "Reactor: a handle is open at the end of a run")
            backend.shutDown()
        }
        finishErrorLines()
        let failure = life.failure
        life = ReactorLife()
        threadWork = ThreadWork()
        life.failure = failure
    }
}
