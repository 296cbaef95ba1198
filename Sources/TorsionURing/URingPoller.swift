// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if IOUring

internal import CTorsionSockets
internal import CTorsionURing
@_spi(Backend) internal import TorsionCore
@_spi(Backend) internal import TorsionSockets

/// Waits with an io_uring: what shared code of `TorsionSockets` watches, and all completions.
///
/// Three facts of the kernel shape it. A poll that stays armed reports changes, not states, while
/// ``Poller`` is level-triggered; so each one is armed once, and again when it was told, which costs
/// no call. Every poll reports the peer's end of a socket, asked for or not (`IO_POLL_UNMASK`):
/// armed again and again that would turn the loop without end, so after such a report it stays
/// armed and hears of changes only. And a poll keeps the file open that it watches.
final class URingPoller: Poller {
    private let ring: Ring
    private let wakeTarget: WakeTarget

    /// Nil after a wait, until somebody asks: most turns of a busy server need no time at all, and
    /// a read costs 35 ns.
    @exclusivity(unchecked) private var latestNow: MonotonicInstant?

    var now: MonotonicInstant {
        if let latestNow { return latestNow }
        let time = MonotonicInstant(nanoseconds: torsion_monotonic_nanoseconds())
        latestNow = time
        return time
    }

    var waker: any BackendWaker { EventWaker(descriptor: wakeTarget.descriptor) }

    init(ring: Ring) {
        self.ring = ring
        wakeTarget = WakeTarget(ring: ring)
    }

    func start() throws(IOError) {
        try ring.start()
        do throws(IOError) { try wakeTarget.start() } catch {
            ring.shutDown()
            throw error
        }
        latestNow = nil
    }

    func shutDown() {
        wakeTarget.shutDown()
        ring.shutDown()
    }

    func add(_ target: PollTarget, for events: PollEvents) -> ErrorCode? {
        let kind = torsion_uring_is_always_ready(target.descriptor)
        guard kind == 0 else { return kind > 0 ? .notPermitted : ErrorCode(errno: -kind) }
        let operation = PollOperation(ring: ring, target: target, events: events)
        target.registration = OpaquePointer(Unmanaged.passRetained(operation).toOpaque())
        operation.arm()
        return nil
    }

    func update(_ target: PollTarget, for events: PollEvents) {
        operation(of: target).takeUnretainedValue().update(events)
    }

    func remove(_ target: PollTarget) {
        let operation = operation(of: target).takeRetainedValue()
        target.registration = nil
        operation.end()
        // The poll keeps the file open, and with it an address, until it has ended.
        if operation.operationCount > 0 { ring.runDeferredWork() }
    }

    private func operation(of target: PollTarget) -> Unmanaged<PollOperation> {
        guard let registration = target.registration else {
            mistake("URingPoller: the target is not registered")
        }
        return .fromOpaque(UnsafeRawPointer(registration))
    }

    func wait(until deadline: MonotonicInstant?) throws(IOError) {
        ring.submitAllPending()
        let timeout = ring.hasHeld ? 0 : timeout(until: deadline)
        latestNow = nil
        try ring.turn(timeout: timeout)
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

/// One watched target.
///
/// It ends when the kernel says so, which may be after the target has gone.
private final class PollOperation: RingTarget {
    private unowned(unsafe) let ring: Ring
    /// Nil when the watch has ended.
    private var target: PollTarget?
    private let descriptor: Int32
    private var events: PollEvents
    private var state = State.idle

    private enum State { case idle, armedOnce, armedForChanges, cancelling }

    init(ring: Ring, target: PollTarget, events: PollEvents) {
        self.ring = ring
        self.target = target
        self.events = events
        descriptor = target.descriptor
    }

    func arm(forChanges: Bool = false) {
        // Errors alone are no state that would last: they are told when they come.
        let isForChanges = forChanges || events.asked == 0
        torsion_uring_prepare_poll(
            ring.nextEntry(), descriptor, events.asked, isForChanges ? 1 : 0,
            userData(TORSION_URING_POLL))
        state = isForChanges ? .armedForChanges : .armedOnce
        ring.began(self)
    }

    func update(_ events: PollEvents) {
        self.events = events
        cancel()
    }

    func end() {
        target = nil
        cancel()
    }

    /// When it has ended it is armed anew, if there is a target.
    private func cancel() {
        guard state == .armedOnce || state == .armedForChanges else { return }
        state = .cancelling
        ring.cancel(self, TORSION_URING_POLL)
    }

    override func cancelFailed() {
        if state == .cancelling { ring.cancel(self, TORSION_URING_POLL) }
    }

    override func completed(_ kind: Int, _ result: Int32, _ flags: UInt32) {
        let isOver = flags & UInt32(TORSION_URING_HAS_MORE) == 0
        let wasCancelled = state == .cancelling
        if isOver {
            state = .idle
            ring.ended(self)
        }
        let found = result >= 0 ? events.found(UInt32(result)) : .error
        // A cancelled one may have found something before; it is found again.
        if !wasCancelled, !found.isEmpty { target?.deliver(found) }
        guard target != nil else { return }
        switch state {
        case .idle: arm(forChanges: !wasCancelled && found.isEmpty)
        case .armedForChanges: if !found.isEmpty, events.asked != 0 { cancel() }
        case .armedOnce, .cancelling: break
        }
    }
}

extension PollEvents {
    /// The bits of `poll(2)` that are asked for; none asks for errors and hang-ups alone.
    fileprivate var asked: UInt32 {
        var bits = 0
        if contains(.readable) { bits |= TORSION_URING_READABLE }
        if contains(.writable) { bits |= TORSION_URING_WRITABLE }
        if contains(.disconnected) { bits |= TORSION_URING_PEER_HUNG_UP }
        return UInt32(bits)
    }

    /// What was found of what was asked for.
    fileprivate func found(_ bits: UInt32) -> PollEvents {
        let bits = Int(bits)
        var result: PollEvents = []
        if bits & TORSION_URING_READABLE != 0 { result.insert(.readable) }
        if bits & TORSION_URING_WRITABLE != 0 { result.insert(.writable) }
        if bits & TORSION_URING_PEER_HUNG_UP != 0 { result.insert(.disconnected) }
        result.formIntersection(self)
        if bits & TORSION_URING_ERROR != 0 { result.insert(.error) }
        if bits & TORSION_URING_HUNG_UP != 0 { result.insert(.hangUp) }
        return result
    }
}

/// An `eventfd(2)` that is polled for as long as the ring is there.
///
/// It is never read: each write to it is a change, which the armed poll reports.
private final class WakeTarget: RingTarget {
    private unowned(unsafe) let ring: Ring
    private(set) var descriptor: Int32 = -1

    init(ring: Ring) { self.ring = ring }

    func start() throws(IOError) {
        descriptor = torsion_eventfd_create()
        guard descriptor >= 0 else {
            throw IOError(
                .start, function: "eventfd", code: ErrorCode(errno: torsion_errno()),
                subject: "io_uring")
        }
        arm()
    }

    func shutDown() {
        if operationCount > 0 { ring.cancel(self, TORSION_URING_WAKE) }
        torsion_close(descriptor)
        descriptor = -1
    }

    private func arm() {
        torsion_uring_prepare_poll(
            ring.nextEntry(), descriptor, UInt32(TORSION_URING_READABLE), 1,
            userData(TORSION_URING_WAKE))
        ring.began(self)
    }

    override func cancelFailed() {}

    override func completed(_ kind: Int, _ result: Int32, _ flags: UInt32) {
        guard flags & UInt32(TORSION_URING_HAS_MORE) == 0 else { return }
        ring.ended(self)
        if descriptor >= 0 { arm() }
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

#endif
