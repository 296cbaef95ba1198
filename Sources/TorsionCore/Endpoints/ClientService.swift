// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Keeps one connection alive: connects, prepares it, and connects again when it is lost.
///
///     let service = ClientService(to: endpoint, on: reactor) { Greeter() }
///         prepare: { greeter in greeter.login() }
///     service.start()
///     service.whenConnected().addCallback { greeter in greeter.greet("world") }
///
/// Between two attempts it waits as its ``RetryPolicy`` says. It ends by ``stop(file:line:)``, with
/// the reactor, by an error that the policy calls permanent, or when the policy's attempts are used
/// up without success. A reactor that stops ends it when the server's own clients are done
/// (``TriggerPhase/drained``): until then they may need it, and it connects again if need be. While it runs the reactor keeps it alive. Call every member on the reactor's
/// thread.
///
/// - SeeAlso: Twisted `ClientService`.
public final class ClientService<Made: StreamProtocol> {
    typealias Connect = (_ opened: @escaping (StreamConnection) -> Void) -> Deferred<Made>

    private enum State {
        case idle
        case connecting
        case preparing(StreamConnection, Deferred<Void>?)
        case connected(StreamConnection, Made)
        /// For the next attempt.
        case waiting(DelayedCall)
        case stopping
        /// By ``ClientService/stop(file:line:)``, which has finished.
        case stopped
        /// By this error.
        case ended(any Error)
    }

    private struct Waiter {
        let number: Int
        let deferred: Deferred<Made>
        /// How many more failures it waits out.
        var attemptsLeft: Int
    }

    /// The reactor that the connections belong to.
    public let reactor: Reactor

    private let policy: RetryPolicy
    private let connect: Connect
    private let prepare: ((Made) throws -> Deferred<Void>)?
    private var state = State.idle
    private var backoff: Backoff
    private var attempt: AnyDeferred?
    /// The connection that was opened last; the loss of an older one is not the service's.
    private var newest: ConnectionID?
    private var waiters: [Waiter] = []
    private var nextWaiter = 0
    private var stopped: [Deferred<Void>] = []
    /// Whether ``start()`` was called while it was stopping.
    private var startsAgain = false
    private var trigger: Trigger?
    /// Called when it ends by itself: see ReactorService.swift.
    var whenEnded: ((any Error) -> Void)?

    /// Makes a service that does not run yet.
    ///
    /// - Parameters:
    ///   - endpoint: Where to connect to.
    ///   - reactor: The reactor that the connections belong to.
    ///   - policy: How long to wait between attempts, and which errors end the service.
    ///   - makeProtocol: Makes the protocol of each connection.
    ///   - prepare: Called with each before it counts as connected, to log in for example. Where it
    ///     fails the connection is closed, and the attempt has failed with that error.
    public convenience init(
        to endpoint: ClientEndpoint, on reactor: Reactor, policy: RetryPolicy = RetryPolicy(),
        _ makeProtocol: @escaping () throws -> Made,
        prepare: ((Made) throws -> Deferred<Void>)? = nil
    ) {
        self.init(connecting: endpoint, on: reactor, policy, makeProtocol, prepare)
    }

    /// Makes a service for any endpoint, whose connections may have filters.
    ///
    /// - Parameters:
    ///   - endpoint: Where to connect to.
    ///   - reactor: The reactor that the connections belong to.
    ///   - policy: How long to wait between attempts, and which errors end the service.
    ///   - makeProtocol: Makes the protocol of each connection.
    ///   - prepare: Called with each before it counts as connected; if it fails the connection is
    ///     closed.
    public convenience init(
        to endpoint: some StreamClientEndpoint, on reactor: Reactor,
        policy: RetryPolicy = RetryPolicy(), _ makeProtocol: @escaping () throws -> Made,
        prepare: ((Made) throws -> Deferred<Void>)? = nil
    ) {
        self.init(connecting: endpoint, on: reactor, policy, makeProtocol, prepare)
    }

    private convenience init(
        connecting endpoint: some StreamClientEndpoint, on reactor: Reactor, _ policy: RetryPolicy,
        _ makeProtocol: @escaping () throws -> Made,
        _ prepare: ((Made) throws -> Deferred<Void>)?
    ) {
        self.init(on: reactor, policy: policy, prepare: prepare) { opened in
            Connector(on: reactor, opened: opened) { _ in try makeProtocol() }
                .start(endpoint.openStream(on: reactor))
        }
    }

    init(
        on reactor: Reactor, policy: RetryPolicy, prepare: ((Made) throws -> Deferred<Void>)?,
        connect: @escaping Connect
    ) {
        reactor.checkThread()
        self.reactor = reactor
        self.policy = policy
        self.prepare = prepare
        self.connect = connect
        backoff = Backoff(policy, on: reactor)
    }

    /// Begins to connect.
    ///
    /// While the service is stopping it begins when the former connection has ended. At the end of
    /// the reactor's run it has ended at once, by ``ReactorStopped``.
    ///
    /// - Precondition: It does not run: was never started, was stopped, or has ended.
    public func start() {
        reactor.checkThread()
        switch state {
        case .idle, .stopped, .ended: begin()
        case .stopping where !startsAgain: startsAgain = true
        case .connecting, .preparing, .connected, .waiting, .stopping:
            mistake("ClientService: start, but it runs")
        }
    }

    private func begin() {
        guard !reactor.refusesToConnect else { return state = .ended(ReactorStopped()) }
        backoff = Backoff(policy, on: reactor)
        // Else it would connect again while the reactor waits for the last connections to end.
        trigger = reactor.addTrigger(.drained, .shutdown) { [self] in stop() }
        attemptNow()
    }

    /// Waits for the connection, prepared.
    ///
    /// Cancelling the Deferred leaves the service as it is.
    ///
    /// - Parameters:
    ///   - failureLimit: Gives up, with the error of the last attempt, after so many that failed
    ///     from now on; nil waits for as long as the service tries.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    /// - Returns: A Deferred for the protocol of the connection: at once if there is one. It fails
    ///   with the error that ended the service, or with `CancellationError` when that is stopped or
    ///   was. Of a service that was never started it waits for the start.
    public func whenConnected(
        failureLimit: Int? = nil, file: StaticString = #fileID, line: UInt = #line
    ) -> Deferred<Made> {
        reactor.checkThread()
        require(
            failureLimit ?? 1 >= 1,
            "ClientService: failureLimit \(failureLimit ?? 1); need at least 1")
        switch state {
        case .connected(_, let made): return .succeeded(made, on: reactor, file: file, line: line)
        case .ended(let error): return .failed(error, on: reactor, file: file, line: line)
        case .stopping where !startsAgain, .stopped:
            return .failed(CancellationError(), on: reactor, file: file, line: line)
        case .idle, .connecting, .preparing, .waiting, .stopping: break
        }
        nextWaiter += 1
        let number = nextWaiter
        let deferred = Deferred<Made>(on: reactor, file: file, line: line) { [weak self] _ in
            self?.waiters.removeAll { $0.number == number }
        }
        waiters.append(
            Waiter(number: number, deferred: deferred, attemptsLeft: failureLimit ?? .max))
        return deferred
    }

    /// Asks the connection to end, as a stop of the reactor does, and stops connecting.
    ///
    /// - Parameters:
    ///   - file: The place that a report names.
    ///   - line: The place that a report names.
    /// - Returns: A Deferred that succeeds when the last connection has ended.
    @discardableResult
    public func stop(file: StaticString = #fileID, line: UInt = #line) -> Deferred<Void> {
        reactor.checkThread()
        let deferred = Deferred<Void>(on: reactor, file: file, line: line)
        stopped.append(deferred)
        let before = state
        state = .stopping
        startsAgain = false
        switch before {
        case .stopping: break
        case .idle, .stopped, .ended: finishStopping()
        case .waiting(let delay):
            delay.cancel()
            finishStopping()
        case .connecting: attempt?.cancel()
        case .preparing(let connection, let preparation):
            close(connection)
            preparation?.cancel()
        case .connected(let connection, _): close(connection)
        }
        tellWaiters { $0.fail(CancellationError()) }
        return deferred
    }

    /// Asserts what must hold between turns: whatever it waits for can come, and its connection is
    /// open.
    ///
    /// For simulations, after each step. O(1).
    public func checkInvariants() {
        reactor.checkThread()
        switch state {
        case .idle: break
        case .connecting:
            require(attempt?.isPending ?? false, "ClientService: connects without an attempt")
        case .preparing(let connection, let preparation):
            require(preparation?.isPending ?? false, "ClientService: prepares nothing")
            checkOpen(connection)
        case .connected(let connection, _):
            checkOpen(connection)
            require(waiters.isEmpty, "ClientService: \(waiters.count) wait for what is there")
        case .waiting(let delay):
            require(delay.isActive, "ClientService: waits for a call that will not come")
        case .stopping: require(!stopped.isEmpty, "ClientService: stops for nobody")
        case .stopped, .ended:
            require(waiters.isEmpty, "ClientService: \(waiters.count) wait in vain")
        }
        require(!startsAgain || isStopping, "ClientService: is to start when nothing ends")
        require(isRunning == (trigger != nil), "ClientService: its reactor does not know of it")
        if case .stopping = state { return }
        require(stopped.isEmpty, "ClientService: \(stopped.count) wait for a stop that is over")
    }

    /// Else nobody would tell the service when it is lost.
    private func checkOpen(_ connection: StreamConnection) {
        require(!connection.isLost, "ClientService: its connection is lost")
        require(newest == connection.id, "ClientService: keeps an older connection")
    }

    private var isStopping: Bool { if case .stopping = state { true } else { false } }

    /// Whether it will connect, is connected, or ends a connection.
    private var isRunning: Bool {
        switch state {
        case .connecting, .preparing, .connected, .waiting, .stopping: true
        case .idle, .stopped, .ended: false
        }
    }

    // MARK: An attempt

    private func attemptNow() {
        state = .connecting
        var opened: StreamConnection?
        let made = connect { [self] connection in
            opened = connection
            newest = connection.id
            let id = connection.id
            reactor.watchLoss(of: connection) { [self] loss in lost(id, loss) }
        }
        attempt = made.addBoth { [self] result in
            attempt = nil
            ended(result, opened)
        }
    }

    private func ended(_ result: Result<Made, any Error>, _ connection: StreamConnection?) {
        switch (result, state) {
        case (.success(let made), .connecting):
            // A Deferred that succeeded comes behind `opened`.
            begin(preparing: made, connection!)
        case (.success, _):
            if let connection { close(connection) }
        case (.failure, .stopping): finishStopping()
        case (.failure(let error), _): failed(error)
        }
    }

    private func begin(preparing made: Made, _ connection: StreamConnection) {
        guard let prepare else { return connected(connection, made) }
        state = .preparing(connection, nil)
        let preparation = reactor.maybeDeferred { try prepare(made) }
        let link = preparation.addBoth { [self] result in
            // A loss or a stop came first.
            guard case .preparing(let current, _) = state, current === connection else { return }
            switch result {
            case .success: connected(connection, made)
            case .failure(let error):
                newest = nil
                connection.loseConnection()
                failed(error)
            }
        }
        guard link.isPending, case .preparing = state else { return }
        state = .preparing(connection, link)
    }

    private func connected(_ connection: StreamConnection, _ made: Made) {
        state = .connected(connection, made)
        tellWaiters { $0.succeed(made) }
    }

    private func failed(_ error: any Error) {
        guard policy.allowsRetry(after: error), let delay = backoff.failed() else {
            return end(error)
        }
        wait(delay)
        for index in waiters.indices { waiters[index].attemptsLeft -= 1 }
        let impatient = waiters.filter { $0.attemptsLeft <= 0 }
        waiters.removeAll { $0.attemptsLeft <= 0 }
        for waiter in impatient { waiter.deferred.fail(error) }
    }

    // MARK: The end of a connection

    private func lost(_ id: ConnectionID, _ loss: ConnectionLoss) {
        guard newest == id else { return }
        newest = nil
        switch state {
        case .stopping: finishStopping()
        case .preparing(_, let preparation):
            // Before the cancellation, which would be taken for the reason.
            failed(loss)
            preparation?.cancel()
        case .connected:
            if policy.allowsRetry(after: loss) { wait(backoff.lost()) } else { end(loss) }
        case .idle, .connecting, .waiting, .stopped, .ended: break
        }
    }

    /// In a later turn, since inside one of its callbacks a protocol cannot be asked.
    private func close(_ connection: StreamConnection) {
        reactor.callLater(.zero) { connection.requestShutdown() }
    }

    private func wait(_ delay: Duration) {
        state = .waiting(reactor.callLater(delay) { [self] in attemptNow() })
    }

    private func end(_ error: any Error) {
        state = .ended(error)
        removeTrigger()
        tellWaiters { $0.fail(error) }
        whenEnded.take()?(error)
    }

    private func finishStopping() {
        state = .stopped
        removeTrigger()
        let stopped = self.stopped
        self.stopped = []
        for deferred in stopped { deferred.succeed() }
        // What was called may have started or stopped it.
        guard startsAgain, case .stopped = state else { return }
        startsAgain = false
        begin()
    }

    private func removeTrigger() {
        if let trigger { reactor.removeTrigger(trigger) }
        trigger = nil
    }

    private func tellWaiters(_ tell: (Deferred<Made>) -> Void) {
        let waiters = self.waiters
        self.waiters = []
        for waiter in waiters { tell(waiter.deferred) }
    }
}
