// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Names one wait of a task, for good: a key whose wait is over matches nothing.
package struct WaitKey: Hashable, Sendable {
    fileprivate let slot: Int32
    fileprivate let generation: UInt32
}

/// The tasks of a reactor that are suspended until it resumes them.
///
/// Every wait stands here, so that none outlives its reactor. No allocation in the steady state.
struct WaitTable {
    private struct Slot {
        var generation: UInt32 = 0
        var isTaken = false
        var continuation: UnsafeContinuation<Void, any Error>?
        /// The Deferred that is waited for, whose cancellation ends the wait; the task holds it.
        var awaited: Unmanaged<AnyDeferred>?

        mutating func take(awaiting deferred: AnyDeferred?) -> UInt32 {
            isTaken = true
            unsafe awaited = deferred.map(Unmanaged.passUnretained)
            return generation
        }

        mutating func end() -> UnsafeContinuation<Void, any Error>? {
            isTaken = false
            generation &+= 1
            unsafe awaited = nil
            return unsafe continuation.take()
        }
    }

    private var slots: [Slot] = []
    private var free: [Int32] = []
    /// Whether the reactor has ended: nothing would resume a further wait.
    var isClosed = false

    /// Waits under way.
    var count: Int { slots.count - free.count }

    mutating func reserve(awaiting deferred: AnyDeferred?) -> WaitKey {
        let slot = free.popLast() ?? grow()
        let generation = slots[Int(slot)].take(awaiting: deferred)
        return WaitKey(slot: slot, generation: generation)
    }

    private mutating func grow() -> Int32 {
        slots.append(Slot())
        return Int32(slots.count - 1)
    }

    mutating func begin(_ key: WaitKey, _ continuation: UnsafeContinuation<Void, any Error>) {
        precondition(isWaiting(key), "WaitTable: the wait is over before it began")
        unsafe slots[Int(key.slot)].continuation = continuation
    }

    func isWaiting(_ key: WaitKey) -> Bool {
        slots[Int(key.slot)].isTaken && slots[Int(key.slot)].generation == key.generation
    }

    /// What the wait is for, if the key's wait is not over and it is for a Deferred.
    func awaited(_ key: WaitKey) -> AnyDeferred? {
        guard isWaiting(key) else { return nil }
        return unsafe slots[Int(key.slot)].awaited?.takeUnretainedValue()
    }

    /// Ends the wait, and says whom to resume; nil if it is over.
    mutating func end(_ key: WaitKey) -> UnsafeContinuation<Void, any Error>? {
        guard isWaiting(key) else { return nil }
        free.append(key.slot)
        return slots[Int(key.slot)].end()
    }

    /// The waits under way.
    var keys: [WaitKey] {
        slots.indices.compactMap { index in
            guard slots[index].isTaken else { return nil }
            return WaitKey(slot: Int32(index), generation: slots[index].generation)
        }
    }

    /// Asserts what must hold between turns: each wait can be resumed, each other slot taken again.
    func checkInvariants() {
        var isFree = [Bool](repeating: false, count: slots.count)
        for slot in free {
            require(!isFree[Int(slot)], "WaitTable: slot \(slot) is free twice")
            isFree[Int(slot)] = true
        }
        for (index, slot) in slots.enumerated() {
            require(
                slot.isTaken != isFree[index], "WaitTable: slot \(index) is taken and free, or lost"
            )
            let hasTask = unsafe slot.continuation != nil
            require(
                slot.isTaken == hasTask,
                "WaitTable: slot \(index) has a task and no wait, or a wait and no task")
            let isFor = unsafe slot.awaited
            require(
                unsafe slot.isTaken || isFor == nil,
                "WaitTable: slot \(index) waits on when its wait is over")
        }
        require(!isClosed || count == 0, "WaitTable: \(count) waits that nothing will resume")
    }
}

extension Reactor {
    /// Suspends the calling task until ``resume(_:throwing:)`` is called with its key.
    ///
    /// `register` hands the key to whoever will resume; it must not do so itself. When the task is
    /// cancelled, `deferred` is, or if there is none the wait fails with `CancellationError`; a
    /// shielded wait goes on.
    ///
    /// - Throws: What the wait was ended with; ``ReactorStopped`` at the reactor's end and after it.
    package nonisolated(nonsending) func suspend(
        awaiting deferred: AnyDeferred? = nil, shielded isShielded: Bool = false,
        _ register: (WaitKey) -> Void
    ) async throws {
        if waits.isClosed { try await refuseWait() }
        let key = waits.reserve(awaiting: deferred)
        register(key)
        if isShielded || cancelsRunningTask(with: key) {
            return try await withUnsafeThrowingContinuation { unsafe waits.begin(key, $0) }
        }
        try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { unsafe waits.begin(key, $0) }
        } onCancel: { [inbox] in
            // On any thread, perhaps this one: so it is only queued. A closed inbox means that
            // every wait has failed or is about to.
            _ = inbox.append(.program { $0.cancelWait(key) })
        }
    }

    /// Whether the calling task is one of this reactor's own, which will end the wait itself.
    @inline(__always)
    private func cancelsRunningTask(with key: WaitKey) -> Bool {
        guard let task = unsafe executor.queue.running else { return false }
        return unsafe task._withUnsafeGuaranteedRef { $0.willCancel(key) }
    }

    /// Lets the other jobs that are ready run first.
    ///
    /// A turn runs a thousand jobs at most between two waits, so that input, output and timers have
    /// their turn as well. Cheaper than `Task.yield()`, and stays on the reactor.
    public nonisolated(nonsending) func yield() async {
        checkThread()
        await withUnsafeContinuation { unsafe executor.queue.append(.resumption($0)) }
    }

    /// A task that catches the error and waits again must not keep the reactor from ending.
    private nonisolated(nonsending) func refuseWait() async throws {
        await withUnsafeContinuation { unsafe executor.queue.append(.resumption($0)) }
        throw ReactorStopped()
    }

    /// Ends a wait.
    ///
    /// - Returns: Whether it was still under way.
    @discardableResult
    package func resume(_ key: WaitKey, throwing error: (any Error)? = nil) -> Bool {
        guard let continuation = unsafe waits.end(key) else { return false }
        if let error {
            unsafe continuation.resume(throwing: error)
        } else {
            unsafe continuation.resume()
        }
        return true
    }

    /// The waiting task was cancelled.
    func cancelWait(_ key: WaitKey) {
        guard waits.isWaiting(key) else { return }
        guard let deferred = waits.awaited(key) else {
            resume(key, throwing: CancellationError())
            return
        }
        deferred.cancel()
        // A result that is held back by `pause()` cannot be cancelled, the wait for it can.
        if !deferred.isPending { resume(key, throwing: CancellationError()) }
    }

    /// The reactor ends: fails every wait.
    func failWaits() {
        waits.isClosed = true
        for key in waits.keys { resume(key, throwing: ReactorStopped()) }
    }
}
