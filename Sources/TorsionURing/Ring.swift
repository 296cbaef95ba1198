// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if IOUring

internal import CTorsionSockets
internal import CTorsionURing
@_spi(Backend) internal import TorsionCore
@_spi(Backend) internal import TorsionSockets

// How operations are kept apart from objects that have gone. An operation's user data is the
// address of its owner and, in the low bits, its kind. The owner counts its operations, and is kept
// alive until the last completion of the last one, however long ago it was closed; so no completion
// can meet freed memory, and none needs a look-up. A batched send is the exception, since it has no
// completion unless it fails: such completions are met at once, after the very call that handed the
// send over, while its owner is alive for other reasons.

/// Something that completions are told to.
class RingTarget {
    /// Operations that the kernel has not completed.
    @exclusivity(unchecked) fileprivate(set) final var operationCount = 0

    /// The user data of an operation of this kind.
    @inline(__always)
    final func userData(_ kind: Int) -> UInt64 {
        UInt64(UInt(bitPattern: Unmanaged.passUnretained(self).toOpaque())) | UInt64(kind)
    }

    /// One of its operations has completed; `ring.ended(_:)` if that was the last of it.
    ///
    /// Called from inside ``Ring/wait(until:)`` only.
    func completed(_ kind: Int, _ result: Int32, _ flags: UInt32) {
        preconditionFailure("RingTarget: completed(_:_:_:) is abstract")
    }

    /// An operation that was to be cancelled was not found.
    ///
    /// It has completed, or is between two waits of the kernel's and goes on: then it has to be
    /// cancelled again.
    func cancelFailed() {
        preconditionFailure("RingTarget: cancelFailed() is abstract")
    }

    /// What it held back may be delivered now: it asked by ``Ring/deliverLater(_:)``.
    func deliverHeld() {
        preconditionFailure("RingTarget: deliverHeld() is abstract")
    }
}

/// One io_uring, on the thread of its reactor: the two queues, and what is shared by all streams.
///
/// A turn makes one `io_uring_enter(2)`: it hands over what was prepared since the last one, waits,
/// and runs the kernel's deferred work. Two things make another one: a full submission queue, and
/// a step that must come behind a batched send, such as closing.
///
/// Batched sends count as taken by the kernel as soon as they are prepared, and are not bounded by
/// a connection's watermarks until they have failed. What bounds them: ``batchLimit`` for each
/// stream, and the size of the arena for all.
final class Ring {
    /// How large things are; tests make them small.
    struct Configuration {
        var entries: UInt32 = 1_024
        var completions: UInt32 = 8_192
        var buffers = ReceiveBuffers.Configuration()
        var arenaByteCount = 256 * 1_024
        /// What is asked for of the features in `torsion_uring.h`.
        var features = UInt32.max

        var size: Size {
            Size(entries: entries, completions: completions, buffers: UInt32(buffers.limit))
        }
    }

    /// What the kernel allocates.
    struct Size {
        let entries: UInt32
        let completions: UInt32
        let buffers: UInt32
    }

    /// The largest write that is copied to be sent with the turn's others; a larger one leaves at
    /// once, from where it lies, by a call of its own.
    private static let largestBatched = 8 * 1_024

    let configuration: Configuration
    let queue: UnsafeMutablePointer<torsion_uring>
    let buffers: ReceiveBuffers
    /// Where the bytes of batched sends lie until they are handed over.
    let arena: SendArena

    /// ``largestBatched``, or 0 if the kernel cannot tell how much of a send was cut.
    @exclusivity(unchecked) private(set) var batchLimit = 0
    /// How many bytes a receive may take before it ends, or 0 if it ends with the first: a kernel that
    /// knows no limit would fill as many buffers as a peer can, for a stream that has stopped reading.
    @exclusivity(unchecked) private(set) var receiveLimit: UInt32 = 0
    /// Counts the calls that handed entries over.
    ///
    /// A batched send of the present number is still to
    /// be handed over; all of earlier numbers are over, and none that failed is unknown.
    @exclusivity(unchecked) private(set) var submitCount: UInt64 = 1
    /// Operations that are under way, of all targets.
    @exclusivity(unchecked) private(set) var operationCount = 0

    /// Completions up to here are delivered in the present turn.
    @exclusivity(unchecked) private var end: UInt32 = 0
    /// Completions that were taken out of the queue to make room in it, and how many were delivered.
    @exclusivity(unchecked) private var spilled: [torsion_uring_completion] = []
    @exclusivity(unchecked) private var spilledStart = 0

    /// Sends that the kernel took in part, or not at all, since the start.
    @exclusivity(unchecked) private(set) var cutSendCount = 0

    @exclusivity(unchecked) private var pendingSubmit: [URingStream] = []
    @exclusivity(unchecked) private var held: [RingTarget] = []
    @exclusivity(unchecked) private var broken: [URingStream] = []
    /// Targets whose last operation has ended in this turn: one of them may be running.
    @exclusivity(unchecked) private var released: [RingTarget] = []

    /// Whether the kernel takes nothing from this ring any more: from then on nothing is asked of it.
    @exclusivity(unchecked) private(set) var isBroken = false
    /// Why.
    private var failure: IOError?
    private var failedWaits = FailedWaits()

    init(_ configuration: Configuration) {
        self.configuration = configuration
        queue = .allocate(capacity: 1)
        queue.initialize(to: torsion_uring())
        buffers = ReceiveBuffers(configuration.buffers, queue)
        arena = SendArena(byteCount: configuration.arenaByteCount)
    }

    deinit {
        precondition(queue.pointee.entries == nil, "Ring: released before shutDown")
        queue.deallocate()
    }

    func start() throws(IOError) {
        let size = configuration.size
        let code = torsion_uring_open(
            queue, size.entries, size.completions, size.buffers, configuration.features)
        guard code == 0 else {
            throw IOError(
                .start, function: "io_uring_setup", code: ErrorCode(errno: -code),
                subject: "io_uring")
        }
        batchLimit = has(TORSION_URING_BATCHED_SENDS) ? Self.largestBatched : 0
        if has(TORSION_URING_MULTISHOT_RECEIVE) {
            receiveLimit = UInt32(configuration.buffers.byteCount)
        }
        // An eighth, since half is for the queues: see `Reactor.queueLimitBytes`.
        let memory = availableMemoryByteCount() ?? .max
        if has(TORSION_URING_BUFFERS) { buffers.start(mostBytes: memory / 8) }
    }

    /// Whether there is a feature of `torsion_uring.h`.
    func has(_ feature: Int) -> Bool { queue.pointee.features & UInt32(feature) != 0 }

    /// Ends what is under way and waits for that.
    ///
    /// Everything was closed before.
    func shutDown() {
        submitAllPending()
        held = []
        var rounds = 0
        while operationCount > 0, !isBroken {
            // Cancelled operations complete at once, unless one is in the middle of its work.
            rounds += 1
            require(rounds < 10_000, "Ring: \(operationCount) operations do not end")
            enter(rounds == 1 ? 0 : 1_000_000)
            deliverCompletions()
        }
        broken = []
        torsion_uring_close(queue)
        buffers.shutDown(areLent: isBroken)
        isBroken = false
        failure = nil
        operationCount = 0
    }

    // MARK: Operations

    /// The next free entry of the submission queue.
    @inline(__always)
    func nextEntry() -> UnsafeMutablePointer<torsion_uring_entry> {
        if torsion_uring_is_full(queue) != 0 { submit() }
        return torsion_uring_next_entry(queue)
    }

    /// An operation of this target was prepared.
    func began(_ target: RingTarget) {
        operationCount += 1
        target.operationCount += 1
        if target.operationCount == 1 { _ = Unmanaged.passRetained(target) }
    }

    /// One has completed for the last time.
    func ended(_ target: RingTarget) {
        operationCount -= 1
        target.operationCount -= 1
        guard target.operationCount == 0 else { return }
        released.append(Unmanaged.passUnretained(target).takeRetainedValue())
    }

    /// Ends an operation, which then completes.
    func cancel(_ target: RingTarget, _ kind: Int) {
        torsion_uring_prepare_cancel(
            nextEntry(), target.userData(kind), target.userData(TORSION_URING_CANCEL))
        began(target)
    }

    // MARK: Asking for a call

    /// Asks for `submitPending()` before the next wait, when every batched send has been handed over.
    func submitLater(_ stream: URingStream) { pendingSubmit.append(stream) }

    /// Asks for `deliverHeld()` in the next turn.
    func deliverLater(_ target: RingTarget) { held.append(target) }

    /// Whether something is to be delivered without waiting.
    var hasHeld: Bool { !held.isEmpty }

    /// Whether the kernel has completed something that was not delivered.
    var hasCompletions: Bool {
        !spilled.isEmpty || torsion_uring_completions_end(queue) != queue.pointee.head
    }

    // MARK: Handing over

    /// Hands over what was prepared, without waiting: afterwards all batched sends are over.
    @inline(never)
    func submit() {
        var failed: UInt32 = 0
        while !isBroken, torsion_uring_submit(queue, &failed) != 0 { makeRoom(&failed) }
        confirm(failed)
    }

    /// Hands over what was prepared, waits, and lets the kernel do its deferred work.
    ///
    /// `timeout`: In nanoseconds, -1 without limit.
    @inline(__always)
    func enter(_ timeout: Int64) {
        var failed: UInt32 = 0
        var timeout = timeout
        while !isBroken, torsion_uring_wait(queue, timeout, &failed) != 0 {
            makeRoom(&failed)
            timeout = 0
        }
        confirm(failed)
    }

    /// Lets the kernel do its deferred work now, for an end that has to be seen at once.
    func runDeferredWork() { enter(0) }

    @inline(__always)
    private func confirm(_ failed: UInt32) {
        var failed = failed
        // What found no room may be a send that failed, of which we have to know before the next.
        while torsion_uring_is_overrun(queue) != 0, !isBroken { makeRoom(&failed) }
        submitCount &+= 1
        if failed > 0 { noteFailedSends() }
        arena.reset()
    }

    /// Takes everything out of the completion queue, to be delivered later, and enters again.
    @inline(never)
    private func makeRoom(_ failed: inout UInt32) {
        let last = torsion_uring_completions_end(queue)
        while queue.pointee.head != last {
            spilled.append(torsion_uring_completion_at(queue, queue.pointee.head).pointee)
            queue.pointee.head &+= 1
        }
        end = queue.pointee.head
        torsion_uring_give_room(queue)
        let result = torsion_uring_wait(queue, 0, &failed)
        if result != 0 { noteFailure(result) }
    }

    /// There was room, and the kernel took nothing all the same.
    private func noteFailure(_ result: Int32) {
        if result == -torsion_uring_wrong_thread {
            mistake("Ring: used on another thread than it was started on")
        }
        do throws(IOError) {
            try failedWaits.note(ErrorCode(errno: -result), "io_uring_enter")
        } catch {
            isBroken = true
            failure = error
        }
    }

    /// Tells streams which of their sends were cut or failed, so that they send nothing before the
    /// rest.
    ///
    /// Nobody else is called.
    @inline(never)
    private func noteFailedSends() {
        for index in spilledStart..<spilled.count { noteFailedSend(&spilled[index]) }
        var index = queue.pointee.head
        let last = torsion_uring_completions_end(queue)
        while index != last {
            noteFailedSend(&torsion_uring_completion_at(queue, index).pointee)
            index &+= 1
        }
    }

    private func noteFailedSend(_ completion: inout torsion_uring_completion) {
        guard Int(completion.user_data) & TORSION_URING_KIND_MASK == TORSION_URING_SEND else {
            return
        }
        let address = UInt(completion.user_data) & ~UInt(TORSION_URING_KIND_MASK)
        completion.user_data = UInt64(TORSION_URING_NOBODY)
        cutSendCount += 1
        guard let pointer = UnsafeRawPointer(bitPattern: address) else { return }
        Unmanaged<URingStream>.fromOpaque(pointer)._withUnsafeGuaranteedRef { stream in
            if stream.sendFailed(completion.result) { broken.append(stream) }
        }
    }

    // MARK: A turn

    /// Waits once and delivers.
    ///
    /// `timeout`: In nanoseconds, -1 without limit.
    @inline(__always)
    func turn(timeout: Int64) throws(IOError) {
        enter(timeout)
        if isBroken { try tellFailure() }
        if !broken.isEmpty { deliverBroken() }
        if !held.isEmpty { deliverHeld() }
        deliverCompletions()
    }

    /// Each turn tells, and waits a moment, so that whoever turns on is no busy loop.
    @inline(never)
    private func tellFailure() throws(IOError) {
        torsion_nap()
        if let failure { throw failure }
    }

    /// Takes the steps that had to come behind batched sends.
    @inline(__always)
    func submitAllPending() {
        if !pendingSubmit.isEmpty { submitSomePending() }
    }

    @inline(never)
    private func submitSomePending() {
        submit()
        let streams = pendingSubmit
        pendingSubmit.removeAll(keepingCapacity: true)
        for stream in streams { stream.submitPending() }
    }

    @inline(never)
    private func deliverBroken() {
        let streams = broken
        broken.removeAll(keepingCapacity: true)
        for stream in streams { stream.deliverBroken() }
    }

    @inline(never)
    private func deliverHeld() {
        let targets = held
        held.removeAll(keepingCapacity: true)
        for target in targets { target.deliverHeld() }
    }

    @inline(__always)
    private func deliverCompletions() {
        if !spilled.isEmpty { deliverSpilled() }
        // What comes in meanwhile is for the next turn.
        end = torsion_uring_completions_end(queue)
        while queue.pointee.head != end {
            let completion = torsion_uring_completion_at(queue, queue.pointee.head).pointee
            queue.pointee.head &+= 1
            deliver(completion)
        }
        torsion_uring_give_room(queue)
        if !spilled.isEmpty { deliverSpilled() }
        buffers.endTurn(isQuiet: torsion_uring_completions_end(queue) == queue.pointee.head)
        if !released.isEmpty { released.removeAll(keepingCapacity: true) }
    }

    @inline(never)
    private func deliverSpilled() {
        while spilledStart < spilled.count {
            spilledStart += 1
            deliver(spilled[spilledStart - 1])
        }
        spilled.removeAll()
        spilledStart = 0
    }

    @inline(__always)
    private func deliver(_ completion: torsion_uring_completion) {
        let kind = Int(completion.user_data) & TORSION_URING_KIND_MASK
        let address = UInt(completion.user_data) & ~UInt(TORSION_URING_KIND_MASK)
        guard let pointer = UnsafeRawPointer(bitPattern: address) else { return }
        // Without a retain: the target is alive until its last operation has ended, and then until
        // the end of the turn.
        if kind == TORSION_URING_RECEIVE {
            Unmanaged<URingStream>.fromOpaque(pointer)._withUnsafeGuaranteedRef { stream in
                stream.received(completion.result, completion.flags)
            }
        } else {
            Unmanaged<RingTarget>.fromOpaque(pointer)._withUnsafeGuaranteedRef { target in
                guard kind == TORSION_URING_CANCEL else {
                    return target.completed(kind, completion.result, completion.flags)
                }
                ended(target)
                if completion.result < 0 { target.cancelFailed() }
            }
        }
    }
}

#endif
