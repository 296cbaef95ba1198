// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV
@_spi(Backend) internal import TorsionCore
@_spi(Backend) internal import TorsionSockets

/// Waits with libuv: a `uv_timer_t` for the deadline, a `uv_async_t` for waking, and a `uv_poll_t`
/// for each descriptor, or one for all of them.
///
/// Which of the two, the shim decides: the first needs private fields of libuv's, and is left with
/// a libuv that is not known to have them.
///
/// - Note: Portability: libuv counts in milliseconds, so a deadline is met up to two of them late.
final class UVPoller: Poller {
    @exclusivity(unchecked) private var handles: Handles?

    private struct Handles {
        let loop: OpaquePointer
        let wake: OpaquePointer
    }

    /// Targets that were removed while the batch is delivered: one of them may be running.
    ///
    /// What libuv held of them is released then.
    @exclusivity(unchecked) private var removed: [Unmanaged<PollTarget>] = []
    @exclusivity(unchecked) private var isWaiting = false

    @exclusivity(unchecked) private var latestNow = MonotonicInstant(nanoseconds: 0)
    @exclusivity(unchecked) private var isNowStale = true

    /// Read when it is first asked for after a wait began: nobody asks before libuv delivers.
    var now: MonotonicInstant {
        if isNowStale {
            latestNow = MonotonicInstant(nanoseconds: torsion_uv_now_ns())
            isNowStale = false
        }
        return latestNow
    }

    private let isPlain: Bool

    /// `isPlain` has nothing used but what libuv documents, whichever libuv it is.
    init(isPlain: Bool = false) { self.isPlain = isPlain }

    var waker: any BackendWaker { UVWaker(handle: started.wake) }

    private var started: Handles {
        guard let handles else {
            preconditionFailure("UVPoller: used before start or after its end")
        }
        return handles
    }

    deinit { precondition(handles == nil, "UVPoller: released before shutDown") }

    func start() throws(IOError) {
        precondition(handles == nil, "UVPoller: started twice")
        torsion_uv_ignore_sigpipe()
        var loop: OpaquePointer?
        var wake: OpaquePointer?
        let loopCode = torsion_uv_loop_new(&loop)
        guard let loop else { throw Self.startError(loopCode, "uv_loop_init") }
        let watchCode = torsion_uv_watch_prepare(loop, isPlain ? 1 : 0)
        guard watchCode == 0 else {
            torsion_uv_loop_free(loop)
            throw Self.startError(watchCode, "uv_poll_init")
        }
        let wakeCode = torsion_uv_wake_new(loop, &wake)
        guard let wake else {
            torsion_uv_loop_free(loop)
            throw Self.startError(wakeCode, "uv_async_init")
        }
        handles = Handles(loop: loop, wake: wake)
        isNowStale = true
    }

    private static func startError(_ code: Int32, _ function: String) -> IOError {
        IOError(.start, function: function, code: ErrorCode(errno: -code), subject: "libuv")
    }

    func shutDown() {
        precondition(!isWaiting, "UVPoller: shut down inside a wait")
        let handles = started
        self.handles = nil
        torsion_uv_wake_close(handles.wake)
        torsion_uv_loop_free(handles.loop)
    }

    func add(_ target: PollTarget, for events: PollEvents) -> ErrorCode? {
        precondition(target.registration == nil, "UVPoller: a target was added twice")
        let context = Unmanaged.passRetained(target)
        var watch: OpaquePointer?
        let code = torsion_uv_watch_open(
            started.loop, target.descriptor, events.asked, context.toOpaque(), target.callback,
            &watch)
        guard let watch else {
            context.release()
            return ErrorCode(errno: -code)
        }
        target.registration = watch
        return nil
    }

    func update(_ target: PollTarget, for events: PollEvents) {
        guard let watch = target.registration else {
            preconditionFailure("UVPoller: a target that is not registered was updated")
        }
        torsion_uv_watch_change(watch, events.asked)
    }

    func remove(_ target: PollTarget) {
        guard let watch = target.registration else {
            preconditionFailure("UVPoller: a target that is not registered was removed")
        }
        target.registration = nil
        torsion_uv_watch_close(watch)
        let held = Unmanaged.passUnretained(target)
        if isWaiting { removed.append(held) } else { held.release() }
    }

    func wait(until deadline: MonotonicInstant?) {
        let loop = started.loop
        isWaiting = true
        isNowStale = true
        torsion_uv_loop_turn(loop, deadline?.nanoseconds ?? .max)
        isWaiting = false
        if !removed.isEmpty { releaseRemoved() }
    }

    private func releaseRemoved() {
        for target in removed { target.release() }
        removed.removeAll(keepingCapacity: true)
    }
}

/// Ends a wait of the poller.
///
/// Used only between start and shut-down, which the reactor's inbox sees to under its lock.
private struct UVWaker: BackendWaker, @unchecked Sendable {
    // Unchecked: the handle is one that `uv_async_send` accepts from any thread.
    let handle: OpaquePointer

    func wake() { torsion_uv_wake_send(handle) }
}

extension PollEvents {
    /// The bits that the shim takes; none asks for errors and hang-ups alone.
    ///
    /// Those it reports are the same as ours.
    fileprivate var asked: Int32 {
        Int32(intersection([.readable, .writable, .disconnected]).rawValue)
    }
}
