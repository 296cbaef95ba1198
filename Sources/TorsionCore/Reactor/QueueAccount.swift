// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionCore

// Each queue has a bound, but a peer may have as many queues as it can open connections. So what all
// queues of a reactor hold is counted together, and while that is too much its ports stop accepting.
// Only what waits is counted, where it is queued because the kernel refused it, or kept because a
// protocol did not use it: a message that leaves at once is not, and costs nothing.

/// Counts the bytes that the queues of one reactor hold, and knows when they are too many.
package final class QueueAccount {
    /// Bytes that are allocated for what waits.
    @exclusivity(unchecked) package private(set) var byteCount = 0
    /// What is too much; `Int.max` if there is no bound.
    @exclusivity(unchecked) var limitBytes = Int.max
    /// More than the limit was held, and has not fallen to ``lowMark`` since.
    @exclusivity(unchecked) private(set) var isOver = false
    /// Called when ``isOver`` becomes true; it must call no user code.
    var whenOver: () -> Void = {}
    /// Called when most of a burst has left; it must call no user code.
    var whenDrained: () -> Void = {}
    /// The most that was held since ``whenDrained`` was called.
    @exclusivity(unchecked) private var peak = 0

    /// Less is not worth looking for.
    private static let smallestBurst = 4 << 20

    package init() {}

    /// Two marks, so that ports do not stop and start with every write.
    private var lowMark: Int { limitBytes - limitBytes / 4 }

    /// So many bytes were queued.
    package func add(_ added: Int) {
        byteCount &+= added
        if byteCount > peak { peak = byteCount }
        if byteCount > limitBytes { passLimit() }
    }

    /// So many have left or were dropped.
    package func remove(_ removed: Int) {
        byteCount &-= removed
        if peak >= Self.smallestBurst, byteCount < peak / 16 {
            peak = byteCount
            whenDrained()
        }
        assert(byteCount >= 0, "QueueAccount: more removed than added")
    }

    /// Compares again, after the limit has changed, or with what others hold as well.
    func check(besides otherByteCount: Int) {
        let held = byteCount + otherByteCount
        if isOver {
            isOver = held > lowMark
        } else if held > limitBytes {
            passLimit()
        }
    }

    /// The run is over, and who looked after it.
    func forgetExcess() { isOver = false }

    @inline(never)
    private func passLimit() {
        guard !isOver else { return }
        isOver = true
        whenOver()
    }
}

/// The queues of a reactor hold more than ``Reactor/queueLimitBytes``: its ports stop accepting until
/// that has fallen by a quarter.
///
/// Given to ``Reactor/unhandledError``, once each ten seconds at most.
public struct QueueLimitExceeded: Error, Hashable, Sendable, CustomStringConvertible {
    /// The bytes that the queues hold.
    public let byteCount: Int
    /// The limit.
    public let limitBytes: Int

    /// A sentence.
    public var description: String {
        "the queues hold \(byteCount) bytes, more than \(limitBytes); no client is accepted until"
            + " peers have read some"
    }
}

extension Reactor {
    /// How many bytes the queues of all connections may hold together before ports stop accepting;
    /// `nil` disables the bound.
    ///
    /// The queues are what connections have written and the kernel has refused, and what has arrived
    /// and their protocols have not used. Above the limit every listening port of this reactor leaves
    /// clients in the kernel's backlog; it accepts again when the queues have fallen to three quarters
    /// of the limit. Connections that are open go on, each within its own ``Watermarks``; so do
    /// outgoing connections. ``ReactorStatistics/queuedBytes`` says how much is held,
    /// ``ReactorStatistics/acceptBackoffs`` how often the limit was passed, and ``unhandledError`` is
    /// called with a ``QueueLimitExceeded``.
    ///
    /// The default is half of the memory that the process could still get when the reactor started,
    /// divided by the number of reactors in its group: what the address space (`RLIMIT_AS`,
    /// `RLIMIT_DATA`), the control group and the machine allow, whichever is least, and 1 MiB at
    /// least. The other half is for the kernel's buffers and for your program. It is 1 GiB over a
    /// backend that does not know its memory, such as the simulator.
    ///
    /// - Precondition: A limit is positive.
    /// - SeeAlso: `getrlimit(2)`; `memory.max` of `cgroups(7)`; `MemAvailable` of `proc_meminfo(5)`.
    public var queueLimitBytes: Int? {
        get {
            checkThread()
            resolveQueueLimit()
            return queues.limitBytes == .max ? nil : queues.limitBytes
        }
        set {
            checkThread()
            if let newValue {
                require(newValue > 0, "Reactor: a queue limit is positive, as \(newValue) is not")
            }
            hasQueueLimit = true
            queues.limitBytes = newValue ?? .max
            checkQueues()
        }
    }

    private static let smallestQueueLimit = 1 << 20
    private static let usualQueueLimit = 1 << 30

    /// Sets the default, unless the program has set a limit.
    func resolveQueueLimit() {
        guard !hasQueueLimit else { return }
        hasQueueLimit = true
        let share = backend.availableMemoryByteCount.map { $0 / 2 / (group?.reactorCount ?? 1) }
        queues.limitBytes = max(Self.smallestQueueLimit, share ?? Self.usualQueueLimit)
    }

    /// A client was accepted, or time has passed: looks at what the backend holds, too.
    func checkQueues() {
        let wasOver = queues.isOver
        queues.check(besides: backend.heldByteCount)
        if wasOver, !queues.isOver { for port in ports.elements { port.updateAccepting() } }
    }

    /// The limit was passed: ports back off, and are looked after until they need not.
    func backOffFromQueues() {
        counters.acceptBackoffs += 1
        for port in ports.elements { port.updateAccepting() }
        // Not at once: this may be in the middle of a write.
        callLater(.zero) { [unowned self] in reportQueues() }
        lookAfterQueuesLater()
    }

    private static let queueBackoff = Duration.milliseconds(20)

    private func lookAfterQueuesLater() {
        guard queueCall == nil else { return }
        queueCall = callLater(Self.queueBackoff) { [unowned self] in
            queueCall = nil
            checkQueues()
            if queues.isOver { lookAfterQueuesLater() }
        }
    }

    /// Most of what was queued has left: the allocator's free memory goes back to the kernel.
    ///
    /// In a turn of its own, behind what else ends in this one; once a second at most, since a sender
    /// whose queue fills and empties would have to take the memory back each time.
    func releaseMemoryLater() {
        // What is released at the very end goes with the process, or with the next burst.
        guard isBoundToThisThread, life.phase == .running else { return }
        if let last = lastRelease, last.advanced(by: .seconds(1)) > now { return }
        lastRelease = now
        callLater(.zero) { torsion_release_free_memory() }
    }

    private func reportQueues() {
        if let last = lastQueueReport, last.advanced(by: .seconds(10)) > now { return }
        lastQueueReport = now
        let error = QueueLimitExceeded(byteCount: queues.byteCount, limitBytes: queues.limitBytes)
        report(error, in: "queueing; ports back off")
    }
}
