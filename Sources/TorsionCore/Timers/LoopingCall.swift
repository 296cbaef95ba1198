// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Calls a closure again and again, at whole intervals from its start.
///
///     let beat = LoopingCall(on: reactor) { transport.write("ping\r\n") }
///     beat.start(every: .seconds(30)).whenFailed { error in print("\(error)") }
///
/// - **Aligned.** Calls are due at the start plus whole intervals, however long one takes.
/// - **Never overlapping.** The next call is due when the one before has returned, and the Deferred
///   that it returned has fired. Intervals that began meanwhile are skipped and counted.
/// - **Ending.** It ends by ``stop()``, by an error of the closure, or when the Deferred that
///   ``start(every:first:file:line:)`` returned is cancelled.
///
/// Call every member on the reactor's thread. The reactor keeps it alive while it runs.
///
/// - SeeAlso: Twisted `task.LoopingCall`.
public final class LoopingCall {
    /// When the first call is made.
    public enum FirstCall: Hashable, Sendable {
        /// Inside `start`.
        case now
        /// One interval after the start.
        case afterInterval
    }

    private enum State {
        case idle
        case scheduled(DelayedCall)
        /// The closure runs, or its Deferred is waited for.
        case calling
        /// The same, and there will be no further call.
        case stopping
    }

    /// The reactor whose clock counts.
    public let reactor: Reactor

    private let body: (_ count: Int) throws -> Deferred<Void>?
    private var state = State.idle
    private var schedule: LoopSchedule
    /// Where it was started.
    private var place = ProgramPlace(file: #fileID, line: #line)
    private var done: Deferred<Void>?
    private var waited: Deferred<Void>?

    private init(on reactor: Reactor, body: @escaping (Int) throws -> Deferred<Void>?) {
        reactor.checkThread()
        self.reactor = reactor
        self.body = body
        schedule = LoopSchedule(start: reactor.now, interval: .zero, callsAtStart: true)
    }

    /// Calls `body`, once it is started.
    ///
    /// - Parameters:
    ///   - reactor: Where `body` is called.
    ///   - body: Called at each interval; what it throws ends the calls.
    public convenience init(on reactor: Reactor, _ body: @escaping () throws -> Void) {
        self.init(on: reactor) { _ in
            try body()
            return nil
        }
    }

    /// Calls `body`, once it is started, and waits each time for the Deferred that it returns.
    ///
    /// - Parameters:
    ///   - reactor: Where `body` is called.
    ///   - body: Called at each interval; returns what is waited for before the next call.
    public convenience init<Waited: DeferredResult>(
        on reactor: Reactor, _ body: @escaping () throws -> Waited
    ) {
        self.init(on: reactor) { _ in try body().deferred.addCallback { _ in } }
    }

    /// Makes one whose closure is called with the number of intervals that began since the call
    /// before: 1, and more if some were skipped.
    ///
    /// - Parameters:
    ///   - reactor: Where `body` is called.
    ///   - body: Called at each interval with the count, at least 1.
    /// - Returns: A call that is not started yet.
    /// - SeeAlso: Twisted `LoopingCall.withCount`.
    public static func counting(
        on reactor: Reactor, _ body: @escaping (_ count: Int) throws -> Void
    ) -> LoopingCall {
        LoopingCall(on: reactor) { count -> Deferred<Void>? in
            try body(count)
            return nil
        }
    }

    /// Makes one whose closure is called with the number of intervals that began since the call
    /// before, and whose Deferred is waited for each time.
    ///
    /// - Parameters:
    ///   - reactor: Where `body` is called.
    ///   - body: Called at each interval with the count; returns what is waited for.
    /// - Returns: A call that is not started yet.
    public static func counting<Waited: DeferredResult>(
        on reactor: Reactor, _ body: @escaping (_ count: Int) throws -> Waited
    ) -> LoopingCall {
        LoopingCall(on: reactor) { count -> Deferred<Void>? in
            try body(count).deferred.addCallback { _ in }
        }
    }

    /// Whether further calls will be made.
    public var isRunning: Bool {
        switch state {
        case .scheduled, .calling: true
        case .idle, .stopping: false
        }
    }

    /// How many intervals passed without a call of their own since the latest start.
    public var skippedCount: Int { schedule.skippedCount }

    /// Begins to call.
    ///
    /// - Parameters:
    ///   - interval: Not negative. With zero a call is made in each turn.
    ///   - first: When the first call is made.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    /// - Returns: A Deferred that succeeds when the loop was stopped, and fails with what the
    ///   closure threw or its Deferred failed with. Cancelling it drops the call that is due, or
    ///   cancels the Deferred that is waited for.
    /// - Precondition: Not started, or ended since.
    @discardableResult
    public func start(
        every interval: Duration, first: FirstCall = .now, file: StaticString = #fileID,
        line: UInt = #line
    ) -> Deferred<Void> {
        reactor.checkThread()
        require(interval >= .zero, "LoopingCall: interval \(interval); need at least 0")
        guard case .idle = state else {
            mistake("LoopingCall: start at \(file):\(line), but it has not ended")
        }
        // Weak: this owns the Deferred while it runs.
        let done = Deferred<Void>(on: reactor, file: file, line: line) { [weak self] _ in
            self?.cancel()
        }
        self.done = done
        place = ProgramPlace(file: file, line: line)
        let now = reactor.now
        schedule = LoopSchedule(start: now, interval: interval, callsAtStart: first == .now)
        if first == .now { call() } else { scheduleNext() }
        return done
    }

    /// Ends the calls.
    ///
    /// A call that runs, and the Deferred that it returned, come to their end first. Harmless when
    /// it does not run.
    public func stop() {
        reactor.checkThread()
        switch state {
        case .idle, .stopping: break
        case .calling: state = .stopping
        case .scheduled(let call):
            call.cancel()
            finish(.success(()))
        }
    }

    /// Makes the next call one interval from now, and counts from now on.
    ///
    /// Inside a call as well. It is ignored when the call does not run.
    public func reset() {
        reactor.checkThread()
        guard isRunning else { return }
        schedule.reset(at: reactor.now)
        if case .scheduled(let call) = state {
            call.cancel()
            scheduleNext()
        }
    }

    /// Asserts what must hold between events: everything that it waits for can come, and will be
    /// reported.
    ///
    /// For simulations, after each step. O(1).
    public func checkInvariants() {
        reactor.checkThread()
        switch state {
        case .idle:
            require(done == nil, "LoopingCall: it has ended, and did not tell")
        case .scheduled(let call):
            require(call.isActive, "LoopingCall: waits for a call that will not come")
            require(done?.isPending ?? false, "LoopingCall: runs for nobody")
        case .calling, .stopping:
            require(waited?.isPending ?? false, "LoopingCall: waits for a call that has returned")
        }
    }

    // MARK: One call after the other

    private func scheduleNext() {
        let deadline = schedule.next(after: reactor.now)
        state = .scheduled(reactor.callAt(deadline, from: place) { [self] in call() })
    }

    private func call() {
        state = .calling
        do {
            guard let result = try body(schedule.take(at: reactor.now)) else { return called() }
            let link = result.addBoth { [self] result in
                waited = nil
                switch result {
                case .success: called()
                case .failure(let error): finish(.failure(error))
                }
            }
            if link.isPending { waited = link }
        } catch {
            finish(.failure(error))
        }
    }

    private func called() {
        if case .calling = state { scheduleNext() } else { finish(.success(())) }
    }

    private func finish(_ result: Result<Void, any Error>) {
        state = .idle
        let done = self.done
        self.done = nil
        switch result {
        case .success: done?.succeed()
        case .failure(let error): done?.fail(error)
        }
    }

    /// `done` is being cancelled; it fails by itself.
    private func cancel() {
        switch state {
        case .idle: break
        case .scheduled(let call):
            call.cancel()
            state = .idle
        case .calling, .stopping:
            state = .stopping
            waited?.cancel()
        }
        done = nil
    }
}
