// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Synchronization

/// The calls and the jobs of async code that other threads have queued for a reactor.
///
/// The one object of the core that is shared between threads; it outlives its reactor, so that a
/// handle never leads to a freed handle.
///
/// The inbox is closed under its lock before the backend is shut down, and the waker is used under
/// the same lock: so no wake can reach a descriptor that was closed, or reused by somebody else.
final class Inbox: Sendable {
    /// A call for a reactor.
    ///
    /// A program's closure is kept as it came: to wrap it in another would be an allocation, which
    /// is most of what a call costs.
    enum Call: Sendable {
        /// Forgotten if the reactor was released before it could run it.
        case program(@Sendable (Reactor) throws -> Void)
        /// Given nil if the reactor was released before it could run it.
        case always(@Sendable (Reactor?) -> Void)

        func callAsFunction(_ reactor: Reactor?) {
            switch self {
            case .program(let body):
                guard let reactor else { return }
                do { try body(reactor) } catch { reactor.report(error, in: "a call from a thread") }
            case .always(let body): body(reactor)
            }
        }
    }

    private struct State: ~Copyable {
        var isOpen = true
        var calls = CallChain()
        var jobs: [QueuedJob] = []
        var waker: (any BackendWaker)?
    }

    private let state = Lock(State())

    /// The thread that turns the reactor, 0 if none does: it must not wait for an answer.
    let driver = Atomic<UInt>(0)

    /// The only thread that may queue anything, 0 for any.
    ///
    /// Set for a host of a simulation: what comes from elsewhere comes at no time of its clock, and
    /// at none that a seed could bring back.
    private let onlyThread = Atomic<UInt>(0)

    /// Spares the reactor the lock in the turns, nearly all, in which nobody has called.
    private let hasWork = Atomic(false)

    /// Queues a call and wakes the reactor, unless somebody before did so already.
    ///
    /// - Returns: Whether the call will run; false after the reactor has stopped.
    @inline(__always)
    func append(_ call: __owned Call) -> Bool {
        state.withLock { state in
            guard state.isOpen else { return false }
            requireOnlyThread("a call for a simulated host came from another thread")
            state.calls.append(call)
            noteWork(state.waker)
            return true
        }
    }

    /// Queues a job, as ``append(_:)-(Call)`` does a call.
    func append(_ job: QueuedJob) -> Bool {
        state.withLock { state in
            guard state.isOpen else { return false }
            requireOnlyThread("a task of a simulated host was resumed on another thread")
            state.jobs.append(job)
            noteWork(state.waker)
            return true
        }
    }

    func confineToThisThread() { onlyThread.store(Reactor.thisThread, ordering: .relaxed) }

    private func requireOnlyThread(_ what: String) {
        let only = onlyThread.load(ordering: .relaxed)
        guard only != 0, only != Reactor.thisThread else { return }
        mistake(
            "Reactor: \(what), where virtual time does not pass; wait by reactor.sleep, and for"
                + " nothing that happens elsewhere")
    }

    /// One wake-up for a thousand: the reactor takes all that is queued at once.
    ///
    /// Under the lock, so that what is noted and what is queued agree.
    @inline(__always)
    private func noteWork(_ waker: (any BackendWaker)?) {
        guard !hasWork.load(ordering: .relaxed) else { return }
        hasWork.store(true, ordering: .releasing)
        waker?.wake()
    }

    /// Takes what is queued now for two empty lists; what comes later belongs to the next turn.
    func take(into batch: inout CallChain, jobs: inout [QueuedJob]) {
        state.withLock { state in
            swap(&state.calls, &batch)
            swap(&state.jobs, &jobs)
            hasWork.store(false, ordering: .relaxed)
        }
    }

    /// Whether nothing is queued.
    ///
    /// What comes at the same time also wakes the reactor.
    var isEmpty: Bool { !hasWork.load(ordering: .acquiring) }

    func open(waker: any BackendWaker) {
        state.withLock { state in
            state.isOpen = true
            state.waker = waker
        }
    }

    /// Refuses further calls.
    ///
    /// Those accepted before are still to be taken.
    func close() {
        state.withLock { state in
            state.isOpen = false
            state.waker = nil
        }
    }

    /// The reactor is being released: tells the accepted calls that they will not run.
    ///
    /// - Returns: The jobs, which must run all the same.
    func abandon() -> [QueuedJob] {
        var calls = CallChain()
        var jobs: [QueuedJob] = []
        close()
        take(into: &calls, jobs: &jobs)
        while let call = calls.popFirst() { call(nil) }
        return jobs
    }
}
