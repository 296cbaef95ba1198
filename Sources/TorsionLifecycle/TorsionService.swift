// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if Lifecycle

public import ServiceLifecycle
public import Torsion
public import TorsionCore
internal import TorsionServices

/// Reactors as a service of swift-service-lifecycle.
///
///     let web = TorsionService(lameDuck: .seconds(5), within: .seconds(30)) { reactor in
///         try ServerEndpoint(parsing: "tcp:8080").listen(on: reactor) { Echo() }
///     }
///     try await ServiceGroup(
///         services: [database, web], gracefulShutdownSignals: [.sigterm], logger: logger
///     ).run()
///
/// A graceful shutdown stops the reactors as `Reactor.stop(lameDuck:within:)` does: ports
/// close, clients are served to the end, and only then `run()` returns, so that the services below it are
/// there until the last client is done. Cancelling the task aborts what is open. Signals are the
/// group's.
public struct TorsionService: Service {
    private let count: Int
    private let backend: BackendChoice?
    private let lameDuck: Duration
    private let gracePeriod: Duration
    private let body: @Sendable (Reactor) throws -> Void

    /// - Parameters:
    ///   - count: Threads, at least 1, with a reactor each.
    ///   - backend: Nil takes the one that `TORSION_BACKEND` names, else libuv.
    ///   - lameDuck: How long a shutdown leaves the ports open.
    ///   - gracePeriod: How long it may take, the lame duck included.
    ///   - body: Sets one reactor up. It is called on several threads at once.
    public init(
        count: Int = 1, backend: BackendChoice? = nil, lameDuck: Duration = .zero,
        within gracePeriod: Duration = .seconds(10),
        _ body: @escaping @Sendable (Reactor) throws -> Void
    ) {
        self.count = count
        self.backend = backend
        self.lameDuck = lameDuck
        self.gracePeriod = gracePeriod
        self.body = body
    }

    /// Runs the reactors on threads of their own until they have stopped.
    ///
    /// - Throws: What a `body` throws, the first of them, `UnknownBackend`, or
    ///   `IOError`.
    public func run() async throws {
        let reactors = RunningReactors()
        let backend = try backend ?? .fromEnvironment()
        try await withGracefulShutdownHandler {
            try await withTaskCancellationHandler {
                try await runOnThread { [count, body] in
                    try ReactorGroup.run(count: count, backend: backend, signals: .ignore) {
                        reactor in
                        guard reactors.add(reactor) else {
                            _ = reactor.stop(within: .zero)
                            return
                        }
                        try body(reactor)
                    }
                }
            } onCancel: {
                reactors.stop(lameDuck: .zero, within: .zero)
            }
        } onGracefulShutdown: { [lameDuck, gracePeriod] in
            reactors.stop(lameDuck: lameDuck, within: gracePeriod)
        }
    }

    /// Runs what blocks on a thread of its own, and not on one of the few of the pool.
    private func runOnThread(_ work: @escaping @Sendable () throws -> Void) async throws {
        let thread = Lock<NativeThread?>(nil)
        defer { thread.withLock { $0.take() }?.join() }
        try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
            do {
                let started = try NativeThread.startWithTaskLocals {
                    done.resume(with: Result { try work() })
                }
                thread.withLock { $0 = started }
            } catch {
                done.resume(throwing: error)
            }
        }
    }
}

/// The reactors of a service, to stop them from other threads.
private final class RunningReactors: Sendable {
    private struct State {
        var handles: [Remote<Reactor>] = []
        var isStopped = false
    }

    private let state = Lock(State())

    /// - Returns: Whether it is to run: false if a stop came first.
    func add(_ reactor: Reactor) -> Bool {
        let handle = reactor.remote
        return state.withLock { state in
            state.handles.append(handle)
            return !state.isStopped
        }
    }

    func stop(lameDuck: Duration, within gracePeriod: Duration) {
        let handles = state.withLock { state in
            state.isStopped = true
            return state.handles
        }
        for handle in handles {
            handle.callFromThread { reactor in
                // Cancelled while a shutdown is under way, as a group does whose time is over.
                if gracePeriod == .zero { reactor.endGracePeriod() }
                reactor.stop(lameDuck: lameDuck, within: gracePeriod)
            }
        }
    }
}

#endif
