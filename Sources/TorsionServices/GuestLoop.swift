// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV
internal import TorsionCore

// A libuv loop has one descriptor that is readable when it has events, so any reactor can wait for
// it. Two things that descriptor does not tell (libuv `uv_backend_fd`; probed): what was started
// since the loop last ran is not in it yet, and timers never make it readable. So after each call
// into libuv the loop is dirty, and runs once without waiting before the reactor waits; and
// its next timer joins the reactor's deadline.

/// A libuv loop that runs as a guest of a reactor, whatever the reactor's backend.
///
/// The reactor holds it through its services, and ends it by ``shutDown()``.
final class GuestLoop {
    unowned let reactor: Reactor
    private let loop: OpaquePointer
    private var state = State.open
    private var watch: DescriptorWatch?
    /// The loop's next timer, as of its latest run: it changes in a run only.
    private var deadline: MonotonicInstant?

    private enum State {
        /// Nothing was handed in since the loop ran.
        case open
        /// Something was: the loop has to run before the reactor waits.
        case dirty
        case closed
    }

    /// Callbacks that run before a wait make the wait a poll, since they may have scheduled
    /// something that is due before the deadline that the reactor had computed.
    private var deliveryCount = 0

    init(on reactor: Reactor) throws(IOError) {
        self.reactor = reactor
        var made: OpaquePointer?
        let code = torsion_uv_loop_new(&made)
        guard let made else {
            throw IOError(
                .start, function: "uv_loop_init", code: ErrorCode(libuv: code), subject: "libuv")
        }
        loop = made
        do {
            let descriptor = torsion_uv_loop_descriptor(made)
            watch = try reactor.watch(descriptor: descriptor, for: .readable) { [unowned self] _ in
                run()
            }
        } catch {
            state = .closed
            torsion_uv_loop_free(made)
            throw error
        }
        reactor.addGuest(self)
    }

    deinit { precondition(state == .closed, "GuestLoop: released before shutDown") }

    /// Hands the loop to `body`, which starts something on it.
    func use<Result>(_ body: (OpaquePointer) -> Result) -> Result {
        precondition(state != .closed, "GuestLoop: used after shutDown")
        state = .dirty
        return body(loop)
    }

    /// Called by each callback of the loop before it does its work.
    func willDeliver() { deliveryCount &+= 1 }

    /// Releases the loop.
    ///
    /// Everything that was started on it has ended or was cancelled.
    func shutDown() {
        guard state != .closed else { return }
        state = .closed
        reactor.removeGuest(self)
        watch?.cancel()
        watch = nil
        torsion_uv_loop_free(loop)
    }

    private var isTimerDue: Bool {
        guard let deadline else { return false }
        return deadline.nanoseconds <= torsion_uv_now_ns()
    }

    private func run() {
        state = .open
        reactor.performEvent { torsion_uv_loop_turn(loop, 0) }
        let nanoseconds = torsion_uv_loop_deadline_ns(loop)
        deadline = nanoseconds == .max ? nil : MonotonicInstant(nanoseconds: nanoseconds)
    }
}

extension GuestLoop: LoopGuest {
    func prepareToWait() -> MonotonicInstant? {
        if state == .dirty || isTimerDue {
            let before = deliveryCount
            run()
            // What was delivered may have scheduled something: the reactor looks again at once.
            if state == .dirty || deliveryCount != before { return reactor.now }
        }
        return deadline
    }
}
