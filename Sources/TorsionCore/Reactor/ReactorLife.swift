// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Where a reactor is between two calls of `run`.
struct ReactorLife {
    enum Phase: Int, Comparable {
        case idle
        case startingBefore, startingDuring
        case running
        case stoppingBefore
        /// Ports accept nothing by themselves any more.
        case stoppingDuring
        /// Ports are closed; what has arrived is being delivered.
        case stoppingArrivals
        /// The connections of the server's clients end.
        case stoppingClients
        /// The connections that the program made end.
        case stoppingOwn
        case stoppingAfter
        /// Every connection is lost, and some of their streams are given a little time.
        case lingering
        case ended

        static func < (left: Phase, right: Phase) -> Bool { left.rawValue < right.rawValue }
    }

    var phase = Phase.idle
    /// Whether the backend holds its kernel objects.
    var isStarted = false
    var isStopRequested = false { didSet { isSteady = false } }
    /// Running, and nothing asks for a step: what each turn looks at.
    var isSteady = false
    /// Triggers of the present phase whose Deferred has not fired.
    var awaitedTriggers = 0
    /// Whether there are triggers whose phase had begun when they were added.
    var awaitsLateTriggers = false { didSet { isSteady = false } }
    /// How many turns the present phase still takes.
    var turnsLeft = 0
    /// How long a stop waits until its ports close, and whether that time is over.
    var lameDuck = Duration.zero
    var isLameDuckOver = true
    /// How long a stop waits, and whether that time is over.
    var gracePeriod = Duration.zero
    var isGracePeriodOver = false
    var gracePeriodTimer: DelayedCall?
    var isLingeringOver = false
    /// Whether clients that are still agreeing on terms have had their time.
    var isHandshakeTimeOver = false
    /// Whether the run's end has begun: nothing is opened any more, and what waits fails.
    var isEnding = false
    /// Whether the end has made its last round: what is begun now is dropped.
    var isReleasing = false
    /// What the closure of `run` threw.
    var failure: (any Error)?
    /// Signals that stop the run.
    var caught: [any SignalRegistration] = []

    /// Whether the triggers of this phase have been called.
    func hasBegun(_ phase: TriggerPhase, _ event: ReactorEvent) -> Bool {
        switch (event, phase) {
        case (.startup, .before): self.phase >= .startingBefore
        // There is nothing to drain.
        case (.startup, .drained): false
        case (.startup, .during): self.phase >= .startingDuring
        case (.startup, .after): self.phase >= .running
        case (.shutdown, .before): self.phase >= .stoppingBefore
        case (.shutdown, .during): self.phase >= .stoppingDuring
        case (.shutdown, .drained): self.phase >= .stoppingOwn
        case (.shutdown, .after): self.phase >= .stoppingAfter
        }
    }
}

/// How a reactor reacts when the process is asked to end.
public enum SignalPolicy: Sendable {
    /// Signals are left to the program.
    case ignore
    /// The first SIGINT or SIGTERM stops the reactor within this time, a second one ends the
    /// process at once. One that the process ignores when the run begins stays ignored: its parent
    /// wanted that, as `nohup(1)` and shells do for what runs in the background.
    ///
    /// `lameDuck` is how long the ports go on accepting while the reactor reports that it is not
    /// ready: see ``Reactor/stop(lameDuck:within:)``.
    case stop(lameDuck: Duration = .zero, within: Duration)

    /// Stops within ten seconds.
    public static let stop = SignalPolicy.stop(within: .seconds(10))
}

extension Reactor {
    /// Makes a reactor, runs it on this thread until it stops, and releases it.
    ///
    /// - Parameters:
    ///   - backend: The event backend.
    ///   - services: Names, signals, threads and files.
    ///   - signals: How the program reacts to SIGINT and SIGTERM.
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
        defer { reactor.forgetHooks() }
        try reactor.run(signals: signals, body)
    }

    /// Runs on this thread until ``stop(lameDuck:within:)``.
    ///
    /// A reactor that has stopped may run again.
    ///
    /// - Parameter signals: Which signals stop the run.
    /// - Throws: ``IOError`` if the kernel refuses the reactor its descriptors.
    @available(*, noasync, message: "use withReactor in async code")
    public func run(signals: SignalPolicy = .ignore) throws {
        try run(signals: signals) { _ in }
    }

    /// Runs on this thread, `body` first, until ``stop(lameDuck:within:)``.
    ///
    /// At its end every protocol has been called with its loss, all handles are closed, delayed
    /// calls, watches and triggers are dropped, and calls from other threads are refused: the run's
    /// objects have released the reactor.
    ///
    /// - Parameters:
    ///   - policy: Which signals stop the run.
    ///   - body: Called once, on the reactor, before the first turn; what it throws ends the run.
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
        updateCachedTime()
        beginEvent()
        defer {
            endEvent()
            invalidateCachedTime()
        }
        try body(self)
    }

    /// Ends the run gracefully.
    ///
    /// Returns at once; what follows happens in later turns.
    ///
    /// In this order:
    ///
    /// 1. ``isReady`` becomes false. The triggers before the stop are called; the stop waits for
    ///    what they return, and for the lame-duck time: for that long clients are still accepted
    ///    and served, so that a load balancer that asks for readiness stops sending them before the
    ///    ports close.
    /// 2. The triggers during it are called. Clients that wait at the ports are accepted, and the
    ///    ports close.
    /// 3. Bytes that have arrived are delivered. Then the protocol of each accepted connection gets
    ///    `shutdownRequested`, which by default loses the connection. A client that connected less
    ///    than a second ago and has not sent a byte yet is asked when its first bytes were
    ///    delivered; one that is agreeing on TLS, or another filter, has a second to come so far.
    /// 4. When these connections are done, the triggers for ``TriggerPhase/drained`` are called, and the
    ///    connections that the program made are asked in the same way. So a server can use its
    ///    database until its last client is served. A connect that is under way, or begins now, fails.
    /// 5. When all connections are lost, the triggers after it are called, and `run` returns.
    ///
    /// After `gracePeriod` the connections that are left are aborted. With a grace period of zero
    /// all are, at once, and waiting clients are refused.
    ///
    /// - Parameters:
    ///   - lameDuck: How long the ports stay open; zero, the default, closes them at once. At most
    ///     `gracePeriod`, of which it is a part.
    ///   - gracePeriod: How long all of this may take.
    /// - Returns: Whether this call stops it: false when the reactor does not run or is stopping
    ///   already.
    @discardableResult
    public func stop(
        lameDuck: Duration = .zero, within gracePeriod: Duration = .seconds(10)
    ) -> Bool {
        checkThread()
        require(
            .zero <= lameDuck && (lameDuck == .zero || lameDuck <= gracePeriod),
            "Reactor: stop needs 0 <= lameDuck <= within, got \(lameDuck) and \(gracePeriod)")
        guard life.phase > .idle, life.phase <= .running, !life.isStopRequested else {
            return false
        }
        life.isStopRequested = true
        life.lameDuck = lameDuck
        life.gracePeriod = gracePeriod
        return true
    }

    /// Whether the program has started and does not stop: what a load balancer wants to know.
    ///
    /// True from the end of the start, when the triggers for it have been called, until
    /// ``stop(lameDuck:within:)``. Called on the reactor.
    public var isReady: Bool {
        checkThread()
        return life.phase == .running && !life.isStopRequested
    }

    /// Whether `run` has begun and ``stop(lameDuck:within:)`` has not been called.
    public var isRunning: Bool {
        checkThread()
        return life.phase > .idle && life.phase <= .running && !life.isStopRequested
    }

    /// Whether ``stop(lameDuck:within:)`` was called and `run` has not returned.
    ///
    /// Called on the reactor.
    public var isStopping: Bool {
        checkThread()
        return life.phase > .idle && (life.isStopRequested || life.phase >= .stoppingBefore)
    }

    /// A stop that is under way has no time any more: what is open is aborted.
    package func endGracePeriod() {
        checkThread()
        guard isStopping, !life.isGracePeriodOver else { return }
        life.gracePeriod = .zero
        // One that has not begun looks at its time when it does.
        guard life.phase >= .stoppingBefore else { return }
        life.isGracePeriodOver = true
        if life.phase >= .stoppingDuring { abandonAll() }
    }

    /// How much is left of the time that a stop which is under way may take.
    package var stopTimeLeft: Duration {
        guard !life.isGracePeriodOver, let deadline = life.gracePeriodTimer?.deadline else {
            return .zero
        }
        return max(.zero, now.duration(to: deadline))
    }

    /// How long the stop that is under way waits; a group passes it on.
    package var stopGracePeriod: Duration { life.gracePeriod }

    /// How long its ports stay open meanwhile.
    package var stopLameDuck: Duration { life.lameDuck }

    private func catchStopSignals(_ policy: SignalPolicy) throws -> [any SignalRegistration] {
        guard case .stop(let lameDuck, let gracePeriod) = policy else { return [] }
        let source = try signals
        let wanted = [Signal.interrupt, .terminate].filter { !source.isIgnored($0) }
        return try wanted.map { signal in
            try source.catchSignal(signal) { [unowned self] signal in
                if !stop(lameDuck: lameDuck, within: gracePeriod) { source.die(by: signal) }
            }
        }
    }

    /// Ends a reactor that is turned by hand and never run, at once: connections are aborted, their
    /// protocols are called, and everything is released.
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
        life.isGracePeriodOver = true
        fireTriggers(.before, .shutdown)
        fireTriggers(.during, .shutdown)
        stopPorts()
        abandonAll()
        deliverLosses()
        fireTriggers(.drained, .shutdown)
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
        life.gracePeriod = .zero
        guard !life.isGracePeriodOver else { return }
        life.isGracePeriodOver = true
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
    ///
    /// - Throws: ``IOError`` if the kernel refuses the reactor its descriptors, or its run is ending:
    ///   then nothing can be opened.
    func startIfNeeded() throws(IOError) {
        guard !life.isStarted || life.isEnding else { return }
        // A task that goes on when the run is over must not begin another one, on its own thread.
        guard !life.isEnding, !executor.queue.isLate else {
            throw IOError(.open, function: "", code: .canceled, subject: "a reactor at its end")
        }
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
        life.isSteady || leavePhases()
    }

    @inline(never)
    private func leavePhases() -> Bool {
        if life.turnsLeft > 0 { life.turnsLeft -= 1 }
        refuseWhatWasBegun()
        fireLateTriggers()
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
                beginGracePeriod()
                fireTriggers(.before, .shutdown)
            case .stoppingBefore:
                life.phase = .stoppingDuring
                fireTriggers(.during, .shutdown)
                quietPorts()
            case .stoppingDuring:
                life.phase = .stoppingArrivals
                closePorts()
            case .stoppingArrivals:
                life.phase = .stoppingClients
                endClients()
            case .stoppingClients:
                life.phase = .stoppingOwn
                fireTriggers(.drained, .shutdown)
                endOwnConnections()
            case .stoppingOwn:
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
        life.isSteady =
            life.phase == .running && !life.isStopRequested && !life.awaitsLateTriggers
            && refusals.isEmpty
        return true
    }

    /// Whether the next step of a start or a stop waits for nothing but the next turn.
    var hasStep: Bool {
        canLeavePhase || life.turnsLeft > 0 || life.awaitsLateTriggers || !refusals.isEmpty
    }

    /// Whether a start or a stop can take its next step.
    private var canLeavePhase: Bool {
        switch life.phase {
        case .idle: false
        case .startingBefore, .startingDuring: isTriggered || life.isStopRequested
        case .running: life.isStopRequested
        case .stoppingBefore: isTriggered && life.isLameDuckOver || life.isGracePeriodOver
        case .stoppingAfter: isTriggered || life.isGracePeriodOver
        case .stoppingDuring, .stoppingArrivals: life.turnsLeft == 0 || life.isGracePeriodOver
        case .stoppingClients: isQuiet && hasEnded(servedConnections) && !awaitsHandshakes
        case .stoppingOwn: isQuiet && hasEnded(connections.count)
        case .lingering: lingering.count == 0 || life.isGracePeriodOver || life.isLingeringOver
        case .ended: true
        }
    }

    /// Whether an accepted client agrees on terms, and may come to ask.
    private var awaitsHandshakes: Bool {
        clientHandshakes > 0 && !life.isHandshakeTimeOver && !life.isGracePeriodOver
    }

    /// Streams that would lose something by a close now are waited for.
    private func beginLingering() {
        lingering.beginEnd()
        guard lingering.count > 0 else { return }
        callLater(LingeringStreams.drainTimeout) { [unowned self] in life.isLingeringOver = true }
    }

    /// Whether so many connections are not waited for.
    ///
    /// When the grace period is over they were aborted, and have a turn to be told so: one that was opened
    /// since is the business of the run's end, or connections that follow each other would go on.
    private func hasEnded(_ count: Int) -> Bool {
        count == 0 || life.isGracePeriodOver && life.turnsLeft == 0
    }

    /// Whether nothing but connections is waited for.
    private var isQuiet: Bool {
        (isTriggered || life.isGracePeriodOver) && stoppedDatagramPorts.isEmpty && isThreadWorkDone
    }

    /// Whether the triggers of the present phase have run, and what they wait for has come.
    private var isTriggered: Bool { life.awaitedTriggers == 0 && !life.awaitsLateTriggers }

    private func beginGracePeriod() {
        triggers.beginRound()
        life.awaitedTriggers = 0
        life.isGracePeriodOver = life.gracePeriod <= .zero
        guard !life.isGracePeriodOver else { return }
        life.gracePeriodTimer = callLater(life.gracePeriod) { [unowned self] in
            life.isGracePeriodOver = true
            if life.phase >= .stoppingDuring { abandonAll() }
        }
        guard life.lameDuck > .zero else { return }
        life.isLameDuckOver = false
        callLater(life.lameDuck) { [unowned self] in life.isLameDuckOver = true }
    }

    /// How many clients a port accepts at most before it closes: what Linux lets wait, unless the
    /// administrator chose otherwise (`net.core.somaxconn`).
    private static let acceptLimit = 4_096
    /// How many streams are told in one turn at the least, whatever the backend.
    static let streamsPerTurn = 128
    /// How long a client that has just connected may take to send its first bytes.
    static let firstBytesGracePeriod = Duration.seconds(1)

    /// Ports accept no more by themselves; what a ring has under way for them comes in this turn.
    private func quietPorts() {
        guard !life.isGracePeriodOver else { return }
        for port in ports.elements { port.prepareToClose() }
        life.turnsLeft = 1
    }

    /// Closes the ports, and serves whoever waits for them; what has arrived comes in the next turns.
    private func closePorts() {
        for port in ports.elements {
            port.close(servingAtMost: life.isGracePeriodOver ? 0 : Self.acceptLimit)
        }
        life.turnsLeft = 2 + connections.count / Self.streamsPerTurn
    }

    /// The server's part: its clients' connections, and its datagrams.
    private func endClients() {
        stopPorts()
        guard !life.isGracePeriodOver else { return abandonAll() }
        for connection in connections.elements where connection.isServed {
            connection.requestShutdown(isPatient: true)
        }
        // Their connections are asked when they are made.
        life.isHandshakeTimeOver = clientHandshakes == 0
        guard clientHandshakes > 0 else { return }
        callLater(Self.firstBytesGracePeriod) { [unowned self] in life.isHandshakeTimeOver = true }
    }

    /// The client's part: what is left.
    private func endOwnConnections() {
        abandonAttempts()
        guard !life.isGracePeriodOver else { return abandonAll() }
        for connection in connections.elements { connection.requestShutdown() }
    }

    private func abandonAll() {
        abandonAttempts()
        abortConnections()
        life.turnsLeft = 1
    }

    /// Whether an accepted connection is asked to end as soon as it is there.
    var endsClients: Bool { life.phase >= .stoppingClients }

    func stopPorts() {
        for port in ports.elements { port.stopListening() }
        for port in datagramPorts.elements { port.stopListening() }
    }

    /// Connections that are not made yet.
    func abandonAttempts() {
        for attempt in attempts.elements { attempt.abandon() }
        for agreement in agreements.elements { agreement.abandon() }
    }

    func abortConnections() {
        for connection in connections.elements { connection.abortConnection() }
    }
}
