// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// A child process as a part of a `ServiceTree`.
///
///     tree.add("cache", whenEnded: .restart(RetryPolicy())) {
///         ProcessService(Command("redis-server"), on: reactor) { _ in
///             reactor.retry { redis.connect(on: reactor) { Probe() } }.addCallback { _ in }
///         }
///     }
///
/// The tree goes on to the next part when the child runs, or when your condition is met. A child that ends
/// by itself, with code 0 too, ends the service with a ``ProcessFailure``: the tree's policy decides
/// whether it is started again. At a stop the child is asked by
/// ``ProcessProtocol/shutdownRequested(_:)``, by default SIGTERM to its group, and killed after
/// ``Command/endTimeout`` or three quarters of the time that the tree has left, so that the parts which
/// stop behind it have time too.
///
/// One object is one life of the child: make it in the closure that `ServiceTree.add` takes. Every member is
/// called on the reactor.
///
/// - SeeAlso: Twisted `twisted.runner.procmon`.
public final class ProcessService {
    /// Starts something that tells whether the child can be used.
    ///
    /// - Parameter child: The child, which runs.
    /// - Returns: Fires when the child is ready. If it fails, or this throws, the child is ended and the
    ///   start fails. It is cancelled if the child ends first or the start is given up.
    public typealias Readiness = (_ child: ChildProcess) throws -> Deferred<Void>

    private enum State {
        case idle
        /// Inside the call that starts the child.
        case spawning
        /// The condition is waited for.
        case starting(Deferred<Void>)
        case running(ended: (any Error) -> Void)
        /// The condition failed: the start fails when the child is over.
        case failing(Deferred<Void>, any Error)
        case stopping
        case over
    }

    /// The reactor that the child belongs to.
    public let reactor: Reactor
    /// The command that is started.
    public let command: Command
    /// The child, from the start on.
    public private(set) var child: ChildProcess?

    private let proto: any ProcessProtocol
    private let readiness: Readiness?
    private var state = State.idle
    /// The condition, while it is waited for.
    private var condition: Deferred<Void>?
    /// Stops inside the call that starts the child: how long they may take, and who waits for them.
    private var earlyStop: (gracePeriod: Duration, waiters: [Deferred<Void>])?

    /// A child that is not started yet.
    ///
    /// - Parameters:
    ///   - command: What is started.
    ///   - reactor: Where the child belongs: that of the tree.
    ///   - proto: Called with the child's events; nil for a child whose streams have protocols, or are
    ///     not used.
    ///   - readiness: When the child can be used; nil takes it as ready as soon as it runs. Give it a time
    ///     limit by `addTimeout(_:)`.
    public init(
        _ command: Command, on reactor: Reactor, _ proto: (any ProcessProtocol)? = nil,
        whenReady readiness: Readiness? = nil
    ) {
        reactor.checkThread()
        self.command = command
        self.reactor = reactor
        self.proto = proto ?? IgnoredProcess()
        self.readiness = readiness
    }

    private func childEnded(_ status: ProcessStatus) {
        let before = state
        state = .over
        let error = ProcessFailure(program: command.program, status: status)
        switch before {
        case .idle, .spawning, .stopping, .over: break
        case .starting(let started):
            condition.take()?.cancel()
            started.fail(error)
        case .running(let ended): ended(error)
        case .failing(let started, let error): started.fail(error)
        }
    }

    // MARK: Starting

    private func awaitReadiness(
        _ readiness: Readiness, of child: ChildProcess, ended: @escaping (any Error) -> Void
    ) -> Deferred<Void> {
        let started = Deferred<Void>(on: reactor) { [self] _ in giveUp() }
        state = .starting(started)
        do {
            let link = try readiness(child).addBoth { [self] result in
                condition = nil
                guard case .starting(let started) = state else { return }
                switch result {
                case .success:
                    state = .running(ended: ended)
                    started.succeed()
                case .failure(let error): fail(started, error)
                }
            }
            // The closure may have ended the child, or stopped the tree.
            if case .starting = state {
                condition = link.isPending ? link : nil
            } else {
                link.cancel()
            }
        } catch {
            fail(started, error)
        }
        return started
    }

    /// The child that is not ready is ended first: a tree does not stop what did not start.
    private func fail(_ started: Deferred<Void>, _ error: any Error) {
        state = .failing(started, error)
        child?.end()
    }

    /// The start is cancelled; a stop follows.
    private func giveUp() {
        state = .stopping
        condition.take()?.cancel()
    }

    /// Asserts what must hold between events.
    public func checkInvariants() {
        reactor.checkThread()
        switch state {
        case .idle: require(child == nil, "ProcessService: a child runs, and was not started")
        case .spawning: mistake("ProcessService: between events, and inside a start")
        case .starting, .running, .failing:
            require(!(child?.isOver ?? true), "ProcessService: its child is over, and it is not")
        case .stopping, .over:
            require(condition == nil, "ProcessService: over, and its condition is waited for")
        }
    }
}

extension ProcessService: ReactorService {
    /// Starts the child, and waits for the condition if there is one.
    ///
    /// - Parameter ended: Called with a ``ProcessFailure`` when the child ends by itself.
    /// - Returns: Fires when the child runs, or when it is ready. It fails with what the start of the
    ///   command threw; when the child has ended, with what ``ProcessProtocol/processStarted(_:)`` threw or
    ///   the condition failed with; or with a ``ProcessFailure`` if the child ended first.
    public func startService(ended: @escaping (any Error) -> Void) -> Deferred<Void> {
        reactor.checkThread()
        guard case .idle = state else { mistake("ProcessService: started twice; make another") }
        state = .spawning
        let child: ChildProcess
        do throws(IOError) { child = try command.start(on: reactor, proto) } catch {
            state = .over
            earlyStop.take()?.waiters.forEach { $0.succeed() }
            return .failed(error, on: reactor)
        }
        self.child = child
        child.whenOver().addCallback { [self] status in childEnded(status) }.ignore()
        if let (gracePeriod, waiters) = earlyStop.take() {
            state = .stopping
            stopService(within: gracePeriod).addBoth { _ in waiters.forEach { $0.succeed() } }
                .ignore()
            return .failed(CancellationError(), on: reactor)
        }
        if let error = child.startError {
            let started = Deferred<Void>(on: reactor) { [self] _ in giveUp() }
            fail(started, error)
            return started
        }
        guard let readiness else {
            state = .running(ended: ended)
            return .succeeded((), on: reactor)
        }
        return awaitReadiness(readiness, of: child, ended: ended)
    }

    /// Asks the child to end, and kills it when three quarters of the time are over.
    ///
    /// - Parameter gracePeriod: How long it may take; zero kills at once.
    /// - Returns: Fires when the child is over: exited, all its output delivered, its streams closed.
    public func stopService(within gracePeriod: Duration) -> Deferred<Void> {
        reactor.checkThread()
        if case .spawning = state {
            let stopped = Deferred<Void>(on: reactor)
            earlyStop = (gracePeriod, (earlyStop?.waiters ?? []) + [stopped])
            return stopped
        }
        guard let child, !child.isOver else { return .succeeded((), on: reactor) }
        let before = state
        state = .stopping
        condition.take()?.cancel()
        // Whoever waits for the start is told now.
        switch before {
        case .starting(let started): started.fail(CancellationError())
        case .failing(let started, let error): started.fail(error)
        case .idle, .spawning, .running, .stopping, .over: break
        }
        child.requestShutdown(within: gracePeriod * 3 / 4)
        return child.whenOver().addCallback { _ in }
    }
}
