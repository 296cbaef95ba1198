// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
@_spi(Backend) internal import TorsionCore
@_spi(Backend) internal import TorsionSockets

/// Waits with `epoll(7)`, level-triggered.
///
/// An event's data is the address of its target, so that a delivery is one pointer away. A target
/// that is removed while its batch is being delivered may still stand in the batch: it is kept
/// alive until the batch is done, and skipped by its `registration`, which is nil by then.
final class EpollPoller: Poller {
    /// Events taken by one wait.
    private static let batchCapacity = 512
    @exclusivity(unchecked) private var epoll: Int32 = -1
    @exclusivity(unchecked) private var wakeDescriptor: Int32 = -1
    private let batch: UnsafeMutablePointer<epoll_event>
    /// Each has its place here, counted from one, as its `registration`.
    ///
    /// Retained by hand: an array of references counts each once more to move it.
    @exclusivity(unchecked) private var targets: [Unmanaged<PollTarget>] = []
    @exclusivity(unchecked) private var removed: [Unmanaged<PollTarget>] = []
    /// Whether the kernel may go on watching for one that was removed.
    @exclusivity(unchecked) private var hasStray = false

    private var failedWaits = FailedWaits()

    /// Nil after a wait, until somebody asks: most turns of a busy server need no time at all, and
    /// a read costs 35 ns.
    @exclusivity(unchecked) private var latestNow: MonotonicInstant?

    var now: MonotonicInstant {
        if let latestNow { return latestNow }
        let time = MonotonicInstant(nanoseconds: torsion_monotonic_nanoseconds())
        latestNow = time
        return time
    }

    init() { batch = .allocate(capacity: Self.batchCapacity) }

    deinit { batch.deallocate() }

    func start() throws(IOError) {
        epoll = torsion_epoll_create()
        guard epoll >= 0 else {
            throw IOError(
                .start, function: "epoll_create1", code: ErrorCode(errno: torsion_errno()),
                subject: "epoll")
        }
        wakeDescriptor = torsion_eventfd_create()
        guard wakeDescriptor >= 0,
            torsion_epoll_control(epoll, EPOLL_CTL_ADD, wakeDescriptor, EPOLLIN.rawValue, nil) == 0
        else {
            let code = ErrorCode(errno: torsion_errno())
            shutDown()
            throw IOError(.start, function: "eventfd", code: code, subject: "epoll")
        }
        latestNow = nil
    }

    func shutDown() {
        releaseRemoved()
        hasStray = false
        torsion_close(epoll)
        torsion_close(wakeDescriptor)
        epoll = -1
        wakeDescriptor = -1
    }

    var waker: any BackendWaker { EventWaker(descriptor: wakeDescriptor) }

    func add(_ target: PollTarget, for events: PollEvents) -> ErrorCode? {
        target.asked = events
        if let code = add(target, to: epoll) { return code }
        targets.append(.passRetained(target))
        target.registration = OpaquePointer(bitPattern: targets.count)
        return nil
    }

    func update(_ target: PollTarget, for events: PollEvents) {
        let pointer = Unmanaged.passUnretained(target).toOpaque()
        let bits = events.epollBits
        target.asked = events
        // ENOENT and EBADF: somebody closed the descriptor behind our back, and the kernel has
        // dropped it. Whoever watches it finds out by using it.
        _ = torsion_epoll_control(epoll, EPOLL_CTL_MOD, target.descriptor, bits, pointer)
    }

    func remove(_ target: PollTarget) {
        guard let registration = target.registration else {
            mistake("EpollPoller: the target is not registered")
        }
        target.registration = nil
        if torsion_epoll_control(epoll, EPOLL_CTL_DEL, target.descriptor, 0, nil) != 0 {
            hasStray = true
        }
        let index = Int(bitPattern: registration) - 1
        removed.append(targets[index])
        let last = targets.removeLast()
        guard index < targets.count else { return }
        targets[index] = last
        last._withUnsafeGuaranteedRef { $0.registration = registration }
    }

    func wait(until deadline: MonotonicInstant?) throws(IOError) {
        let count = torsion_epoll_wait(
            epoll, batch, Int32(Self.batchCapacity), timeout(until: deadline))
        latestNow = nil
        guard count >= 0 else { return try waitFailed() }
        for index in 0..<Int(count) { deliver(batch[index]) }
        if !removed.isEmpty { forgetRemoved() }
    }

    @inline(never)
    private func waitFailed() throws(IOError) {
        let code = ErrorCode(errno: torsion_errno())
        if !removed.isEmpty { forgetRemoved() }
        // EINTR: a signal; the next wait goes on.
        if code != .interrupted { try failedWaits.note(code, "epoll_wait") }
    }

    @inline(never)
    private func forgetRemoved() {
        if hasStray, !startAnew() { return }
        releaseRemoved()
    }

    private func releaseRemoved() {
        for target in removed { target.release() }
        removed.removeAll(keepingCapacity: true)
    }

    /// Moves all targets to another epoll; false if the kernel has no memory for it, and then all
    /// stay watched by this one, and the next wait tries again.
    ///
    /// A descriptor that was closed behind our back can be named no more, but as long as another
    /// one of the same file is open, in this process or a child, the kernel goes on to report it:
    /// for ever, and to a target that has gone. `epoll(7)`, "Will closing a file descriptor…".
    private func startAnew() -> Bool {
        let other = torsion_epoll_create()
        guard other >= 0 else { return false }
        guard
            torsion_epoll_control(other, EPOLL_CTL_ADD, wakeDescriptor, EPOLLIN.rawValue, nil) == 0
        else {
            torsion_close(other)
            return false
        }
        var lost: [PollTarget] = []
        for target in targets.map({ $0.takeUnretainedValue() }) {
            switch add(target, to: other) {
            case nil: break
            case .outOfMemory, .noSpace:
                torsion_close(other)
                return false
            // Closed behind our back too. Whoever watches it finds out by using it.
            default: lost.append(target)
            }
        }
        torsion_close(epoll)
        epoll = other
        hasStray = false
        for target in lost { target.deliver(.error) }
        return true
    }

    /// Watches for what the target was registered for last.
    @inline(__always)
    private func add(_ target: PollTarget, to epoll: Int32) -> ErrorCode? {
        let pointer = Unmanaged.passUnretained(target).toOpaque()
        let bits = target.asked.epollBits
        let result = torsion_epoll_control(epoll, EPOLL_CTL_ADD, target.descriptor, bits, pointer)
        return result == 0 ? nil : ErrorCode(errno: torsion_errno())
    }

    @inline(__always)
    private func deliver(_ event: epoll_event) {
        guard let pointer = event.data.ptr else { return drainWake() }
        Unmanaged<PollTarget>.fromOpaque(pointer)._withUnsafeGuaranteedRef { target in
            target.deliver(PollEvents(epollBits: event.events))
        }
    }

    private func drainWake() {
        var count: UInt64 = 0
        _ = torsion_read(wakeDescriptor, &count, 8)
    }

    /// Counted from the clock as it is now, not as it was after the last wait: callbacks have run
    /// since.
    private func timeout(until deadline: MonotonicInstant?) -> Int64 {
        guard let deadline else { return -1 }
        guard deadline > now else { return 0 }
        let time = torsion_monotonic_nanoseconds()
        return deadline.nanoseconds > time ? Int64(clamping: deadline.nanoseconds - time) : 0
    }
}

/// Writes to an `eventfd(2)`.
private struct EventWaker: BackendWaker {
    let descriptor: Int32

    func wake() {
        var one: UInt64 = 1
        // EAGAIN: the counter is full, so that the wait returns anyway.
        _ = torsion_write(descriptor, &one, 8)
    }
}
