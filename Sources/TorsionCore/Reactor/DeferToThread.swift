// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Synchronization

// Work for threads is counted on the reactor, from when it is handed over until its result has been
// delivered. A reactor that stops goes on turning until none is left: what still runs may call the
// reactor and wait for the answer, so that joining the threads any earlier could wait for ever.
// When its grace period is over, what has not begun is not begun any more.

extension Reactor {
    /// How much work may wait for a thread.
    ///
    /// More is a mistake in the program's proportions: it would wait for minutes.
    static let threadWorkLimit = 65_536

    /// The threads that this reactor uses for what blocks.
    ///
    /// - Throws: ``IOError`` if the services cannot be made.
    public var threads: any WorkerThreads {
        get throws(IOError) { try startedServices(for: .spawn).threads }
    }

    /// Runs `body` on another thread, and delivers its result on the reactor.
    ///
    ///     reactor.deferToThread { try Configuration(readingFrom: path) }
    ///         .addCallback { configuration in serve(configuration) }
    ///
    /// The threads are a pool of this reactor, ten unless ``WorkerThreads/limit`` says otherwise;
    /// work begins in the order in which it was handed over. Cancelling the Deferred keeps `body`
    /// from beginning; if it runs already, its result is dropped. A reactor that stops waits for
    /// what has begun, and for the rest within its grace period.
    ///
    /// - Parameters:
    ///   - file: The place that a report names.
    ///   - line: The place that a report names.
    ///   - body: Called at most once, on a worker thread.
    /// - Returns: A Deferred for what `body` returns or throws. It fails with ``ReactorStopped`` if
    ///   the reactor stopped first, with ``QueueOverflow`` if too much waits, with ``IOError`` if a
    ///   thread cannot be started.
    /// - SeeAlso: Twisted `deferToThread`.
    public func deferToThread<Value: Sendable>(
        file: StaticString = #fileID, line: UInt = #line,
        _ body: @escaping @Sendable () throws -> Value
    ) -> Deferred<Value> {
        checkThread()
        guard !threadWork.isRefused else {
            return refused(file: file, line: line)
        }
        guard threadWork.count < Self.threadWorkLimit else {
            let error = QueueOverflow(limit: Self.threadWorkLimit)
            return .failed(error, on: self, file: file, line: line)
        }
        let gate = threadWork.gate
        let own = ThreadGate()
        let deferred = Deferred<Value>(on: self, file: file, line: line) { _ in own.close() }
        let handle = remote(to: deferred)
        do {
            try threads.run {
                let result: Result<Value, any Error> =
                    gate.isClosed || own.isClosed
                    ? .failure(ReactorStopped()) : Result { try body() }
                // Accepted: the reactor counts this work, and does not end before it is delivered.
                handle.callFromThread { $0.deliverThreadResult(result) }
            }
            threadWork.count += 1
        } catch {
            deferred.fail(error)
        }
        return deferred
    }

    /// Runs `body` on another thread, and forgets it.
    ///
    /// An error that it throws is reported to ``unhandledError``. The rest is as with
    /// ``deferToThread(file:line:_:)``.
    ///
    /// - Parameters:
    ///   - file: The place that a report names.
    ///   - line: The place that a report names.
    ///   - body: Called at most once, on a worker thread.
    /// - SeeAlso: Twisted `IReactorInThreads.callInThread`.
    public func callInThread(
        file: StaticString = #fileID, line: UInt = #line,
        _ body: @escaping @Sendable () throws -> Void
    ) {
        deferToThread(file: file, line: line, body).whenFailed(file: file, line: line) { [self] in
            report($0, in: "a call in a thread", place: "\(file):\(line)")
        }
    }

    /// Whether the results of all work for threads have been delivered.
    ///
    /// A reactor whose grace period is over begins no more of it, and takes none.
    var isThreadWorkDone: Bool {
        if threadWork.count == 0 { return true }
        if life.isGracePeriodOver {
            threadWork.gate.close()
            threadWork.isRefused = true
        }
        return false
    }

    /// Waits for the work that has begun; nothing new is taken.
    func finishThreadWork() {
        threadWork.isRefused = true
        threadWork.gate.close()
        // The last result may come in the turn that would wait for it.
        while threadWork.count > 0 {
            refuseWhatWasBegun()
            turn(until: nil) { [self] in threadWork.count > 0 }
        }
    }
}

extension Deferred where Value: Sendable {
    fileprivate func deliverThreadResult(_ result: Result<Value, any Error>) {
        reactor.threadWork.count -= 1
        // Else it was cancelled.
        guard isPending else { return }
        switch result {
        case .success(let value): succeed(value)
        case .failure(let error): fail(error)
        }
    }
}

/// What a reactor knows of the work that it gave to threads.
struct ThreadWork {
    /// How much was handed over whose result was not delivered.
    var count = 0
    /// Whether the reactor is about to end.
    var isRefused = false
    /// Closed when what has not begun is not to begin.
    let gate = ThreadGate()
}

/// Tells work on another thread that it need not begin.
final class ThreadGate: Sendable {
    private let closed = Atomic(false)

    var isClosed: Bool { closed.load(ordering: .acquiring) }

    func close() { closed.store(true, ordering: .releasing) }
}
