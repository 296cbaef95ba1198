// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Deferred {
    /// Waits for the result, on the reactor's thread.
    ///
    ///     let greeter = try await endpoint.connect(on: reactor) { Greeter() }.value
    ///
    /// It takes the Deferred's one consumer: use it instead of a callback, and once. Cancelling the
    /// task cancels the Deferred as ``AnyDeferred/cancel()`` does, and what comes of that is thrown
    /// or returned; cancelling the Deferred throws `CancellationError` here. Either may be caught.
    ///
    /// Call it from a task of this reactor (``Reactor/spawn(isolation:file:line:_:)``), or an actor on its
    /// executor.
    ///
    /// - Throws: The failure. ``DeferredAbandoned`` if what would have given a result is released
    ///   without one, ``ReactorStopped`` at the end of the reactor.
    /// - Complexity: With a result that is there already neither a suspension nor an allocation.
    ///   Else it costs one of each, without a system call.
    public final var value: Value {
        @inlinable get async throws {
            reactor.checkThread()
            if !isReadyToTake { try await waitForResult() }
            return try takeAwaited()
        }
    }

    /// Takes the result for the task that waited for it.
    @inlinable
    final func takeAwaited() throws -> Value {
        switch phase {
        case .succeeded:
            phase = .delivered
            // What has succeeded has a value.
            return takeStored()
        case .failed(let error):
            phase = .delivered
            throw error
        case .unfired, .cancelling, .linked, .abandoned, .delivered:
            mistake("value: something else took the result that a task waited for")
        }
    }
}

/// An awaited Deferred was released without a result.
public struct DeferredAbandoned: Error, Hashable, Sendable, CustomStringConvertible {
    /// A sentence.
    public var description: String { "a result was awaited, and nobody is left to give it" }

    /// Makes one.
    public init() {}
}

extension AnyDeferred {
    /// Whether a task can take the result without waiting.
    @usableFromInline final var isReadyToTake: Bool { hasResult && pauseCount == 0 && next == nil }

    /// Suspends the calling task until there is a result to take.
    @usableFromInline
    nonisolated(nonsending) final func waitForResult() async throws {
        var waiter: Waiter?
        defer { waiter?.isOver = true }
        try await reactor.suspend(awaiting: self) { key in
            let made = Waiter(on: reactor, key: key)
            waiter = made
            attach(made)
        }
    }
}

/// Hangs behind a Deferred that a task awaits, in place of a callback.
///
/// It leaves the result where it is: the task takes it when it runs.
private final class Waiter: AnyDeferred {
    private let key: WaitKey
    /// Whether the task no longer waits; then a result that comes is dropped.
    var isOver = false

    init(on reactor: Reactor, key: WaitKey) {
        self.key = key
        super.init(
            on: reactor,
            step: { upstream, link in
                // Only a waiter's step is made here.
                let waiter = unsafe unsafeDowncast(link, to: Waiter.self)
                waiter.phase = .delivered
                if waiter.isOver {
                    upstream.phase = .delivered
                } else {
                    upstream.reactor.resume(waiter.key)
                }
                return waiter
            }, file: #fileID, line: #line)
    }

    override func upstreamWasAbandoned() { reactor.resume(key, throwing: DeferredAbandoned()) }
}
