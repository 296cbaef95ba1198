// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// A pool of threads of one reactor.
///
/// Not libuv's pool, whose four threads the whole process shares with name resolution.
final class UVThreads: WorkerThreads {
    private let reactor: Unowned
    private let queue = WorkQueue()
    private var threads: [NativeThread] = []

    var limit = 10 {
        willSet { require(newValue >= 1, "WorkerThreads: need limit >= 1, got \(newValue)") }
    }

    private struct Unowned { unowned let reactor: Reactor }

    init(on reactor: Reactor) { self.reactor = Unowned(reactor: reactor) }

    func run(_ work: @escaping @Sendable () -> Void) throws(IOError) {
        reactor.reactor.checkThread()
        guard !reactor.reactor.isEnding else {
            throw IOError(.start, function: "", code: .canceled, subject: "a thread")
        }
        if !queue.hasIdleThread, threads.count < limit {
            do {
                let queue = queue
                threads.append(try NativeThread.start { queue.serve() })
            } catch {
                // Those that there are will do it.
                if threads.isEmpty { throw error }
            }
        }
        queue.append(work)
    }

    /// Ends all threads, and waits for them.
    ///
    /// What is queued is run before.
    func shutDown() {
        queue.close()
        for thread in threads { thread.join() }
        threads = []
    }
}

/// The work that a pool's threads take from.
private final class WorkQueue: Sendable {
    typealias Work = @Sendable () -> Void

    private struct State {
        /// In reverse, so that taking the first is taking the last.
        var leaving: [Work] = []
        var coming: [Work] = []
        /// Threads that wait and were not promised anything yet.
        var idleCount = 0
        var isClosed = false
    }

    private enum Next { case work(Work), wait, end }

    private let state = Lock(State())
    private let promises = NativeSemaphore()

    /// Whether a thread waits for work that nobody has handed in yet.
    var hasIdleThread: Bool { state.withLock { $0.idleCount > 0 } }

    func append(_ work: @escaping Work) {
        let wakes = state.withLock { state in
            state.coming.append(work)
            guard state.idleCount > 0 else { return false }
            state.idleCount -= 1
            return true
        }
        if wakes { promises.signal() }
    }

    func close() {
        let idleCount = state.withLock { state in
            state.isClosed = true
            defer { state.idleCount = 0 }
            return state.idleCount
        }
        for _ in 0..<idleCount { promises.signal() }
    }

    /// Runs work until the queue is closed and empty.
    func serve() {
        while true {
            switch next() {
            case .work(let work): work()
            case .wait: promises.wait()
            case .end: return
            }
        }
    }

    private func next() -> Next {
        state.withLock { state in
            if state.leaving.isEmpty {
                swap(&state.leaving, &state.coming)
                state.leaving.reverse()
            }
            if let work = state.leaving.popLast() { return .work(work) }
            if state.isClosed { return .end }
            state.idleCount += 1
            return .wait
        }
    }
}
