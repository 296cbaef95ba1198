// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Runs `body` on reactors with threads of their own, for a program with an asynchronous `main`.
///
///     try await withReactor(count: 4) { reactor in
///         try await ServerEndpoint(parsing: "tcp:8007").serve(on: reactor) { connection in … }
///     }
///
/// `body` runs once on each reactor, as one of its tasks. When all have returned, one has thrown,
/// a signal came or the calling task is cancelled, every reactor is stopped gracefully, as
/// `Reactor/stop(lameDuck:within:)` does, and this returns when their threads have ended. Being cancelled
/// also cancels `body`. Task-locals of the caller hold on the reactors: in `body`, in callbacks, and in
/// the tasks that either starts, unless these were given others.
///
/// As a service of ServiceLifecycle, whose `run()` is this one line:
///
///     struct Echo: Service {
///         func run() async throws {
///             try await cancelWhenGracefulShutdown { try await withReactor(signals: .ignore, serve) }
///         }
///     }
///
/// - Parameters:
///   - count: Threads, at least 1; the ports that `body` opens are shared by them.
///   - backend: The event backend.
///   - services: Names, signals, threads and files.
///   - signals: How the program reacts to SIGINT and SIGTERM.
///   - gracePeriod: How long the end waits for connections, unless a signal's is shorter.
///   - body: Is called on several threads at once, with a reactor each.
/// - Throws: The first error of a `body`, or `IOError`. `ReactorStopped` and `ShutdownRequested`,
///   which end it at a stop, do not count as errors.
public func withReactor(
    count: Int = 1, backend: BackendChoice,
    services: @escaping @Sendable (Reactor) throws(IOError) -> any ReactorServices,
    signals: SignalPolicy = .stop, gracePeriod: Duration = .seconds(10),
    _ body: nonisolated(nonsending) @escaping @Sendable (Reactor) async throws -> Void
) async throws {
    let scope = ReactorScope(count: count, gracePeriod: gracePeriod)
    try await withTaskCancellationHandler {
        try await scope.run {
            try ReactorGroup.run(
                count: count, backend: backend, services: services, signals: signals
            ) { reactor in scope.enter(reactor, body) }
        }
    } onCancel: {
        scope.cancel()
    }
}

/// What the threads of one `withReactor` share.
final class ReactorScope: Sendable {
    private struct State {
        var unfinished: Int
        var bodies: [Remote<Deferred<Void>>] = []
        var failure: (any Error)?
        var isCancelled = false
        var thread: NativeThread?
    }

    private let state: Lock<State>
    private let gracePeriod: Duration

    init(count: Int, gracePeriod: Duration) {
        state = Lock(State(unfinished: count))
        self.gracePeriod = gracePeriod
    }

    /// Runs `group`, which blocks, on a thread of its own.
    func run(_ group: @escaping @Sendable () throws -> Void) async throws {
        try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
            do {
                let thread = try NativeThread.startWithTaskLocals {
                    done.resume(with: Result { try group() })
                }
                state.withLock { $0.thread = thread }
            } catch {
                done.resume(throwing: error)
            }
        }
        let (thread, failure) = state.withLock { ($0.thread, $0.failure) }
        // It has nothing left to do.
        thread?.join()
        if let failure { throw failure }
    }

    /// Runs `group`, which blocks, on the calling thread.
    func runHere(_ group: () throws -> Void) throws {
        try group()
        if let failure = state.withLock(\.failure) { throw failure }
    }

    /// Starts `body` on one reactor.
    func enter(
        _ reactor: Reactor,
        _ body: nonisolated(nonsending) @escaping (Reactor) async throws -> Void
    ) {
        let running = reactor.spawn { try await body(reactor) }
        let handle = reactor.remote(to: running)
        let isCancelled = state.withLock { state in
            state.bodies.append(handle)
            return state.isCancelled
        }
        running.addBoth { [self] result in
            if finish(result) { reactor.stop(within: gracePeriod) }
        }
        if isCancelled { stop(handle) }
    }

    /// - Returns: Whether the reactors are to stop.
    private func finish(_ result: Result<Void, any Error>) -> Bool {
        state.withLock { state in
            state.unfinished -= 1
            guard case .failure(let error) = result else { return state.unfinished == 0 }
            let isOfStop = error is ReactorStopped || error is ShutdownRequested
            if state.failure == nil, !isOfStop { state.failure = error }
            return true
        }
    }

    /// The calling task was cancelled; on any thread.
    func cancel() {
        let handles = state.withLock { state in
            state.isCancelled = true
            return state.bodies
        }
        for handle in handles { stop(handle) }
    }

    private func stop(_ handle: Remote<Deferred<Void>>) {
        handle.callFromThread { [gracePeriod] body in
            body.cancel()
            body.reactor.stop(within: gracePeriod)
        }
    }
}
