// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

extension Remote {
    /// Runs `body` with the object on the reactor's thread, and waits for what it returns.
    ///
    /// For threads that may block, such as those of ``Reactor/deferToThread(file:line:_:)``; never
    /// for a task, whose thread others need. Two reactors that wait for each other never return.
    ///
    /// - Parameter body: Called at most once, on the reactor's thread.
    /// - Returns: What `body` returns.
    /// - Throws: What `body` throws; ``ReactorStopped`` if the reactor stops first;
    ///   ``BlockedReactor`` on the reactor's own thread, which would wait for itself.
    /// - SeeAlso: Twisted `blockingCallFromThread`.
    @available(*, noasync, message: "use run in async code")
    public func blockingCallFromThread<Value: Sendable>(
        _ body: @escaping @Sendable (Object) throws -> Value
    ) throws -> Value {
        try wait { object, answer in answer.give(Result { try body(object) }) }
    }

    /// Runs `body` with the object on the reactor's thread, and waits for the value of the Deferred
    /// that it returns.
    ///
    /// - Parameter body: Called at most once, on the reactor's thread; returns what is waited for.
    /// - Returns: The value of the Deferred.
    /// - Throws: What `body` throws or the Deferred fails with; ``ReactorStopped`` if the reactor
    ///   stops first, or the Deferred is released without a result; ``BlockedReactor`` on the
    ///   reactor's own thread.
    @available(*, noasync, message: "use run in async code")
    public func blockingCallFromThread<Waited: DeferredResult & SendableMetatype>(
        _ body: @escaping @Sendable (Object) throws -> Waited
    ) throws -> Waited.Value where Waited.Value: Sendable {
        try wait { object, answer in
            let deferred = try body(object).deferred
            let reactor = deferred.reactor
            // The reactor's table holds one end, the chain the other: whichever goes first without
            // a result, the reactor's run or the chain, the thread learns of it.
            let end = RunEnd(answer)
            let handle = reactor.remote(to: end)
            deferred.addBoth { result in
                withExtendedLifetime(handle) { answer.give(result) }
            }
        }
    }

    private func wait<Value: Sendable>(
        _ body: @escaping @Sendable (Object, Answer<Value>) throws -> Void
    ) throws -> Value {
        if leadsToThisThread { throw BlockedReactor() }
        let slot = AnswerSlot<Value>()
        send(to: slot, body)
        return try slot.wait().get()
    }

    /// The answer's only owner is the call: one that never runs lets go of it, which answers too.
    private func send<Value: Sendable>(
        to slot: AnswerSlot<Value>,
        _ body: @escaping @Sendable (Object, Answer<Value>) throws -> Void
    ) {
        let answer = Answer(slot)
        callFromThread { object in
            do { try body(object, answer) } catch { answer.give(.failure(error)) }
        }
    }
}

/// A thread was about to wait for the reactor that it turns itself.
public struct BlockedReactor: Error, Hashable, Sendable, CustomStringConvertible {
    /// A sentence.
    public var description: String {
        "blockingCallFromThread was called on the reactor's own thread, and would wait for itself"
    }

    /// Makes one.
    public init() {}
}

/// Where a thread waits for one answer; the first is taken.
private final class AnswerSlot<Value: Sendable>: Sendable {
    private let answer = Lock<Result<Value, any Error>?>(nil)
    private let semaphore = NativeSemaphore()

    func give(_ result: Result<Value, any Error>) {
        let isFirst = answer.withLock { answer in
            guard answer == nil else { return false }
            answer = result
            return true
        }
        if isFirst { semaphore.signal() }
    }

    func wait() -> Result<Value, any Error> {
        semaphore.wait()
        return answer.withLock { $0 } ?? .failure(ReactorStopped())
    }
}

/// The reactor's end of an answer: released without one, it says that none will come.
private final class Answer<Value: Sendable>: Sendable {
    private let slot: AnswerSlot<Value>

    init(_ slot: AnswerSlot<Value>) { self.slot = slot }

    deinit { slot.give(.failure(ReactorStopped())) }

    func give(_ result: Result<Value, any Error>) { slot.give(result) }

    var stopped: @Sendable () -> Void {
        { [slot] in slot.give(.failure(ReactorStopped())) }
    }
}

/// Stands in the reactor's table until its run ends.
private final class RunEnd {
    private let tell: @Sendable () -> Void

    init<Value: Sendable>(_ answer: Answer<Value>) { tell = answer.stopped }

    deinit { tell() }
}
