// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Starts the parts of a program one after the other, and stops them in reverse.
///
///     let tree = ServiceTree(on: reactor)
///     tree.add("database", whenEnded: .restart(RetryPolicy())) {
///         ClientService(to: database, on: reactor) { Query() }
///     }
///     tree.add("web") { try web.listen(on: reactor) { Site() } }
///     tree.start().whenFailed { error in print("\(error)") }
///
/// - **Order.** Each is waited for before the next one is made. A start that fails stops those before it.
/// - **Time.** A stop gives each service what is left of the time, and goes on without one that takes
///   longer.
/// - **Ends.** What happens when a service ends by itself says its ``ServiceEndPolicy``.
/// - **The reactor.** A reactor that stops stops the tree, with its triggers *during* the stop: so a
///   lame duck serves on, and a port that was added behind a client ends before that.
///
/// A tree is a service too, so that trees have branches. While it runs the reactor keeps it alive. Call
/// every member on the reactor.
///
/// - SeeAlso: Twisted `MultiService`; Erlang's `supervisor`.
public final class ServiceTree {
    /// Where a tree is between its start and its end.
    public enum State: Hashable, Sendable {
        /// Not started.
        case idle
        /// The services start, one after the other.
        case starting
        /// All have started.
        case running
        /// The services stop, one after the other.
        case stopping
        /// All services have ended; the tree may be started again.
        case stopped
    }

    /// The reactor that the services belong to.
    public let reactor: Reactor

    /// Where it is.
    public private(set) var state = State.idle

    private var members: [Member] = []
    private var started: Deferred<Void>?
    private var waiters: [Deferred<Void>] = []
    private var failure: ServiceFailure?
    private var deadline = MonotonicInstant(nanoseconds: 0)
    private var trigger: Trigger?
    /// The member whose start was interrupted by a stop that it has caused, which goes on behind it.
    private var interrupted: Int?
    private let gracePeriod: Duration
    /// Of a tree that is a branch.
    private var whenFailed: ((any Error) -> Void)?

    /// A tree without services.
    ///
    /// - Parameters:
    ///   - reactor: The reactor that the services belong to.
    ///   - gracePeriod: How long a stop takes that a service has caused.
    public init(on reactor: Reactor, within gracePeriod: Duration = .seconds(10)) {
        reactor.checkThread()
        self.reactor = reactor
        self.gracePeriod = gracePeriod
    }

    /// One service, and what it takes to make it again.
    private final class Member {
        enum State {
            case idle
            /// Nil inside the call that starts it.
            case starting(Deferred<Void>?)
            case running(since: MonotonicInstant)
            /// For the next start.
            case waiting(DelayedCall)
            case stopping
        }

        let name: String
        let policy: ServiceEndPolicy
        let make: () throws -> any ReactorService
        var service: (any ReactorService)?
        var state = State.idle
        /// Which of its lives it is in: what a former one tells does not count.
        var life = 0
        var backoff: Backoff?

        init(
            _ name: String, _ policy: ServiceEndPolicy,
            _ make: @escaping () throws -> any ReactorService
        ) {
            self.name = name
            self.policy = policy
            self.make = make
        }
    }

    /// Adds a service behind those that were added before.
    ///
    /// - Parameters:
    ///   - name: For people.
    ///   - policy: How the tree reacts when it ends by itself.
    ///   - make: Called for each start; what it throws fails the start.
    /// - Precondition: The tree is not started.
    public func add(
        _ name: String, whenEnded policy: ServiceEndPolicy = .stopAll,
        _ make: @escaping () throws -> any ReactorService
    ) {
        reactor.checkThread()
        guard state == .idle || state == .stopped else {
            mistake("ServiceTree: add \"\(name)\", but the tree is \(state); add before start")
        }
        members.append(Member(name, policy, make))
    }

    /// The names of the services that run, in the order of their start.
    public var runningServices: [String] {
        members.filter { if case .running = $0.state { true } else { false } }.map(\.name)
    }

    // MARK: Starting

    /// Starts the services.
    ///
    /// - Returns: Fires when all have started. It fails with a ``ServiceFailure`` when those that had
    ///   started before the one that failed have stopped, with `CancellationError` if the tree was
    ///   stopped meanwhile. Cancelling it stops the tree.
    /// - Precondition: It was not started, or has stopped.
    @discardableResult
    public func start() -> Deferred<Void> {
        reactor.checkThread()
        guard state == .idle || state == .stopped else {
            mistake("ServiceTree: start, but it is \(state)")
        }
        state = .starting
        failure = nil
        let started = Deferred<Void>(on: reactor) { [self] _ in stop(within: gracePeriod) }
        self.started = started
        trigger = reactor.addTrigger(.during, .shutdown) { [self] in
            stop(within: reactor.stopTimeLeft)
        }
        startMember(0)
        return started
    }

    private func startMember(_ index: Int) {
        guard state == .starting else { return }
        guard index < members.count else {
            state = .running
            if let started = started.take(), started.isPending { started.succeed() }
            return
        }
        let member = members[index]
        if case .restart(let policy) = member.policy {
            member.backoff = Backoff(policy, on: reactor)
        }
        begin(member) { [self] error in
            if let error { fail(member, error) } else { startMember(index + 1) }
        }
    }

    /// Makes and starts a service; `done` is called once, unless it is stopped before.
    private func begin(_ member: Member, _ done: @escaping ((any Error)?) -> Void) {
        member.life += 1
        let life = member.life
        let made = Result { try member.make() }
        // The closure may have stopped the tree: then nothing starts.
        guard member.life == life, state == .starting || state == .running else { return }
        let service: any ReactorService
        switch made {
        case .success(let value): service = value
        case .failure(let error):
            member.state = .idle
            return done(error)
        }
        member.service = service
        member.state = .starting(nil)
        let starting = service.startService { [weak self] error in
            self?.ended(member, life, error, done)
        }
        let link = starting.addBoth { [self] result in
            guard member.life == life, case .starting = member.state else { return }
            switch result {
            case .success:
                member.state = .running(since: reactor.now)
                done(nil)
            case .failure(let error):
                member.state = .idle
                member.service = nil
                done(error)
            }
        }
        if let index = interrupted, members[index] === member {
            interrupted = nil
            member.state = .starting(link)
            return stopMember(index)
        }
        guard member.life == life, case .starting = member.state else { return }
        member.state = .starting(link)
    }

    // MARK: A service that ends by itself

    private func ended(
        _ member: Member, _ life: Int, _ error: any Error, _ done: ((any Error)?) -> Void
    ) {
        guard member.life == life else { return }
        switch member.state {
        case .starting(let start):
            member.life += 1
            member.state = .idle
            member.service = nil
            start?.cancel()
            done(error)
        case .running(let since):
            member.life += 1
            member.state = .idle
            member.service = nil
            apply(member.policy, to: member, error, ranSince: since)
        case .idle, .waiting, .stopping: break
        }
    }

    private func apply(
        _ policy: ServiceEndPolicy, to member: Member, _ error: any Error,
        ranSince since: MonotonicInstant?
    ) {
        guard state != .stopping else { return }
        switch policy {
        case .ignore: reactor.report(error, in: "the service \(member.name)")
        case .stopAll: fail(member, error)
        case .restart(let policy):
            let wasWell = since.map { $0.advanced(by: policy.longestDelay) < reactor.now } ?? false
            let delay = wasWell ? member.backoff?.lost() : member.backoff?.failed()
            guard policy.allowsRetry(after: error), let delay else { return fail(member, error) }
            reactor.report(error, in: "the service \(member.name), which is started again")
            member.state = .waiting(
                reactor.callLater(delay) { [self] in
                    member.state = .idle
                    begin(member) { [self] error in
                        guard let error else { return }
                        apply(member.policy, to: member, error, ranSince: nil)
                    }
                })
        }
    }

    private func fail(_ member: Member, _ error: any Error) {
        if failure == nil { failure = ServiceFailure(name: member.name, error: error) }
        stop(within: gracePeriod).ignore()
    }

    // MARK: Stopping

    /// Stops the services, the last one first.
    ///
    /// - Parameter gracePeriod: How long all of this may take.
    /// - Returns: Fires when all have ended; at once if the tree does not run.
    @discardableResult
    public func stop(within gracePeriod: Duration = .seconds(10)) -> Deferred<Void> {
        reactor.checkThread()
        switch state {
        case .idle, .stopped: return .succeeded((), on: reactor)
        case .stopping: break
        case .starting, .running:
            state = .stopping
            deadline = reactor.now.advanced(by: gracePeriod)
            let stopped = waitForStop()
            // Their time may come while others stop.
            for case .waiting(let call) in members.map(\.state) { call.cancel() }
            stopMember(members.count - 1)
            return stopped
        }
        return waitForStop()
    }

    private func waitForStop() -> Deferred<Void> {
        let stopped = Deferred<Void>(on: reactor)
        waiters.append(stopped)
        return stopped
    }

    private func stopMember(_ last: Int) {
        var index = last
        while index >= 0 {
            let member = members[index]
            member.life += 1
            switch member.state {
            case .waiting(let call): call.cancel()
            case .starting(nil):
                // A service is stopped behind the call that starts it, not inside.
                interrupted = index
                return
            case .starting(let start): start?.cancel()
            case .idle, .running, .stopping: break
            }
            if let service = member.service.take() {
                member.state = .stopping
                return stop(service, member, index)
            }
            member.state = .idle
            index -= 1
        }
        finish()
    }

    private func stop(_ service: any ReactorService, _ member: Member, _ index: Int) {
        let left = max(.zero, reactor.now.duration(to: deadline))
        service.stopService(within: left).addTimeout(left).addBoth { [self] result in
            if case .failure(let error) = result {
                reactor.report(error, in: "stopping the service \(member.name)")
            }
            member.state = .idle
            stopMember(index - 1)
        }.ignore()
    }

    private func finish() {
        state = .stopped
        if let trigger { reactor.removeTrigger(trigger) }
        trigger = nil
        let (stopped, start, told) = (waiters, started.take(), whenFailed.take())
        waiters = []
        let error: any Error = failure ?? CancellationError()
        if let start, start.isPending {
            start.fail(error)
        } else if let failure {
            if let told { told(failure) } else { reactor.report(failure, in: "a service tree") }
        }
        for waiter in stopped where waiter.isPending { waiter.succeed() }
    }

    /// Asserts what must hold between turns: services run only while the tree does.
    public func checkInvariants() {
        reactor.checkThread()
        let isOver = state == .idle || state == .stopped
        require(
            !isOver || members.allSatisfy { $0.service == nil },
            "ServiceTree: \(state), and a service runs")
        require(interrupted == nil, "ServiceTree: a stop waits for a call that has returned")
        require(isOver == (trigger == nil), "ServiceTree: its reactor does not know of it")
        require(isOver || state == .stopping || waiters.isEmpty, "ServiceTree: a stop is forgotten")
    }
}

extension ServiceTree: ReactorService {
    /// Starts its services.
    ///
    /// - Parameter ended: Called if a service ends the tree.
    /// - Returns: A Deferred that succeeds when every service has started.
    public func startService(ended: @escaping (any Error) -> Void) -> Deferred<Void> {
        whenFailed = ended
        return start()
    }

    /// Stops them.
    ///
    /// - Parameter gracePeriod: Shared by all of them, from the last to the first.
    /// - Returns: A Deferred that succeeds when all have ended.
    public func stopService(within gracePeriod: Duration) -> Deferred<Void> {
        whenFailed = nil
        return stop(within: gracePeriod)
    }
}
