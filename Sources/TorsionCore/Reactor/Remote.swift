// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Synchronization

/// The handle to an object of a reactor, for every other thread.
///
/// A handle is `Sendable` and may be kept as long as one likes; it outlives its reactor. The object
/// stays in a table of the reactor and is released there, whichever thread releases the handle.
///
///     let remote = reactor.remote(to: room)
///     Thread.detachNewThread { remote.callFromThread { room in room.announce("hello") } }
///
/// - SeeAlso: Twisted `IReactorFromThreads`.
public struct Remote<Object: AnyObject>: Sendable {
    private let inbox: Inbox
    private let find: @Sendable (Reactor) -> Object?
    /// Releases the object when the last copy of the handle goes.
    private let token: RemoteToken?

    init(inbox: Inbox, token: RemoteToken?, find: @escaping @Sendable (Reactor) -> Object?) {
        self.inbox = inbox
        self.token = token
        self.find = find
    }

    /// Runs `body` with the object on the reactor's thread, in a later turn.
    ///
    /// Calls run in the order in which they were made, from one thread, and each as an event of
    /// its own. Callable from any thread, also before the reactor runs, also on its own thread: it
    /// never runs inline. An error goes to the reactor's ``Reactor/unhandledError``.
    ///
    /// - Parameter body: Called at most once, on the reactor's thread; what it captures must be
    ///   sendable.
    /// - Returns: Whether the call will run; false after the reactor has stopped.
    /// - Complexity: O(1); a thousand calls queued while the reactor is busy wake it once.
    @discardableResult
    public func callFromThread(_ body: @escaping @Sendable (Object) throws -> Void) -> Bool {
        inbox.append(
            .program { [find] reactor in
                if let object = find(reactor) { try body(object) }
            })
    }

    /// Runs `body` with the object on the reactor's thread and returns what it returns.
    ///
    /// - Parameter body: Called at most once, on the reactor's thread; what it captures must be
    ///   sendable.
    /// - Returns: What `body` returns.
    /// - Throws: What `body` throws, or ``ReactorStopped`` if the reactor will not run it.
    public func run<Result: Sendable>(
        _ body: @escaping @Sendable (Object) throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            let call = Inbox.Call.always { [find] reactor in
                guard let reactor, let object = find(reactor) else {
                    return continuation.resume(throwing: ReactorStopped())
                }
                continuation.resume(with: Swift.Result { try body(object) })
            }
            if !inbox.append(call) { continuation.resume(throwing: ReactorStopped()) }
        }
    }
}

extension Remote where Object == Reactor {
    /// Runs `body` with the reactor on its thread, in a later turn.
    ///
    /// As for any other object, but without an allocation besides what `body` captures.
    ///
    /// - Parameter body: Called at most once, on the reactor's thread; what it captures must be
    ///   sendable.
    /// - Returns: Whether the call will run; false after the reactor has stopped.
    @discardableResult
    public func callFromThread(
        _ body: consuming @escaping @Sendable (Reactor) throws -> Void
    ) -> Bool {
        inbox.append(.program(body))
    }
}

extension Remote {
    /// Whether the calling thread is the one that turns the reactor behind this handle.
    package var leadsToThisThread: Bool {
        inbox.driver.load(ordering: .relaxed) == Reactor.thisThread
    }
}

/// A reactor has stopped, and will not run what it was asked to run.
public struct ReactorStopped: Error, Hashable, Sendable, CustomStringConvertible {
    /// A sentence.
    public var description: String { "the reactor has stopped" }

    /// Makes one.
    public init() {}
}

/// Lets the reactor release an object when the last handle to it has gone, on any thread.
final class RemoteToken: Sendable {
    private let inbox: Inbox
    private let key: UInt64

    init(inbox: Inbox, key: UInt64) {
        self.inbox = inbox
        self.key = key
    }

    deinit {
        let key = key
        // A closed inbox means that the table was emptied with the reactor's run.
        _ = inbox.append(.program { $0.remoteObjects[key] = nil })
    }
}

extension Reactor {
    /// The handle to this reactor for other threads.
    public var remote: Remote<Reactor> {
        checkThread()
        return Remote(inbox: inbox, token: nil) { $0 }
    }

    /// A handle to an object that belongs to this reactor.
    ///
    /// It is kept until the last copy of the handle goes, or the reactor's run ends.
    ///
    /// - Parameter object: Used on the reactor's thread only.
    /// - Returns: A handle that any thread may keep and copy.
    public func remote<Object: AnyObject>(to object: Object) -> Remote<Object> {
        checkThread()
        let key = nextRemoteObject
        nextRemoteObject += 1
        remoteObjects[key] = object
        return Remote(inbox: inbox, token: RemoteToken(inbox: inbox, key: key)) { reactor in
            reactor.remoteObjects[key].map { unsafe unsafeDowncast($0, to: Object.self) }
        }
    }

    /// Runs what other threads had queued when the turn began.
    func runThreadCalls() {
        guard !inbox.isEmpty else { return }
        var jobs: [QueuedJob] = []
        inbox.take(into: &takenCalls, jobs: &jobs)
        executor.queue.append(contentsOf: jobs)
        while let call = takenCalls.popFirst() {
            counters.threadCalls += 1
            nameEvent(.threadCall)
            performEvent { call(self) }
        }
    }
}
