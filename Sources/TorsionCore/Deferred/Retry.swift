// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Reactor {
    /// Calls `body` until the Deferred that it returns succeeds, with growing delays between.
    ///
    ///     reactor.retry(RetryPolicy(attemptLimit: 5)) { endpoint.connect(on: reactor) { Greeter() } }
    ///
    /// The first call is made before this returns; what `body` throws is a failure like any other.
    /// Cancelling the Deferred returned cancels the attempt, or the delay.
    ///
    /// - Parameters:
    ///   - policy: How long the delays are, and when to give up.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Called for each attempt.
    /// - Returns: A Deferred for the first value. It fails with the error of the last attempt, or with
    ///   one that the policy calls permanent.
    public func retry<Waited: DeferredResult>(
        _ policy: RetryPolicy = RetryPolicy(), file: StaticString = #fileID,
        line: UInt = #line, _ body: @escaping () throws -> Waited
    ) -> Deferred<Waited.Value> {
        Retrying(policy, on: self) { try body().deferred }.start(file: file, line: line)
    }
}

/// One `retry`; kept alive by what it waits for.
private final class Retrying<Value> {
    private let reactor: Reactor
    private let policy: RetryPolicy
    private let body: () throws -> Deferred<Value>
    private var backoff: Backoff
    private var whole: Deferred<Value>?
    private var attempt: AnyDeferred?
    private var delay: DelayedCall?
    private var place = ProgramPlace(file: #fileID, line: #line)
    private var isCancelled = false

    init(
        _ policy: RetryPolicy, on reactor: Reactor, body: @escaping () throws -> Deferred<Value>
    ) {
        self.reactor = reactor
        self.policy = policy
        self.body = body
        backoff = Backoff(policy, on: reactor)
    }

    func start(file: StaticString, line: UInt) -> Deferred<Value> {
        place = ProgramPlace(file: file, line: line)
        let whole = Deferred<Value>(on: reactor, file: file, line: line) { [weak self] _ in
            self?.cancel()
        }
        self.whole = whole
        attemptNow()
        return whole
    }

    private func attemptNow() {
        delay = nil
        let link = reactor.maybeDeferred(body).addBoth { [self] result in
            attempt = nil
            ended(result)
        }
        if link.isPending { attempt = link }
    }

    private func ended(_ result: Result<Value, any Error>) {
        switch result {
        case .success(let value):
            take()?.succeed(value)
        case .failure(let error):
            guard !isCancelled, policy.allowsRetry(after: error), let time = backoff.failed() else {
                take()?.fail(error)
                return
            }
            delay = reactor.callAt(reactor.now.advanced(by: time), from: place) { [self] in
                attemptNow()
            }
        }
    }

    private func take() -> Deferred<Value>? {
        defer { whole = nil }
        return whole
    }

    /// The attempt's own answer to the cancellation is that of the whole.
    private func cancel() {
        isCancelled = true
        delay?.cancel()
        attempt?.cancel()
        whole = nil
    }
}
