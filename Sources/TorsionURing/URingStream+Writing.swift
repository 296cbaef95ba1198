// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if IOUring

internal import CTorsionSockets
internal import CTorsionURing
@_spi(Backend) internal import TorsionCore
@_spi(Backend) internal import TorsionSockets

// A write is promised before the kernel has seen it: `tryWrite` copies the bytes into the turn's
// arena, prepares a send and answers that all of it was written. The send does not wait, so that it
// is over when the turn's one call returns, and nearly always it sent everything. If it was cut, a
// copy of the rest goes out as there comes to be room; meanwhile the stream takes nothing more, and
// the core queues. So what is promised and not sent is bounded, and nothing can overtake it. The
// end of writing waits for it as well, and the core does not close a stream that owes output.

/// A send that was prepared and not yet handed over.
struct BatchedSend {
    var entry: UnsafeMutablePointer<torsion_uring_entry>?
    var start = UnsafeMutableRawPointer(bitPattern: 1)!
    var count = 0
    /// The room at `start`.
    var capacity = 0
}

/// What could not be sent at once.
final class PendingOutput {
    /// What was promised and is not sent yet, from `tailStart` on.
    fileprivate var tail: UnsafeMutableRawBufferPointer?
    fileprivate var tailStart = 0

    /// The core's queue.
    ///
    /// It is kept until its operation has ended, since the kernel reads from it.
    fileprivate var queue: WriteQueue?
    fileprivate var message: UnsafeMutablePointer<torsion_uring_message>?

    /// What the kernel has to send: one after the other, since the queue waits for the tail.
    fileprivate var sending = Sending.nothing

    fileprivate enum Sending { case nothing, tail, queue }

    /// Why the stream can send no more.
    fileprivate var failure: ErrorCode?

    /// Whether the stream can do without it again.
    fileprivate var isDone: Bool {
        tail == nil && sending != .queue && queue?.isEmpty ?? true
    }

    deinit {
        tail?.deallocate()
        message?.deallocate()
    }
}

extension URingStream {
    @inline(__always)
    func tryWrite(_ bytes: UnsafeRawBufferPointer) -> WriteResult {
        let count = bytes.count
        guard pendingOutput == nil, sendSubmitCount != ring.submitCount, count <= ring.batchLimit,
            torsion_uring_is_full(ring.queue) == 0, let start = bytes.baseAddress,
            let place = ring.arena.take(count)
        else { return tryWriteOtherwise(bytes, UnsafeRawBufferPointer(start: nil, count: 0)) }
        place.copyMemory(from: start, byteCount: count)
        batch(place, count, capacity: (count &+ 63) & ~63)
        return .wrote(count)
    }

    func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        tryWriteOtherwise(first, second)
    }

    /// - Precondition: The submission queue is not full: handing over would take back the place.
    @inline(__always)
    private func batch(_ place: UnsafeMutableRawPointer, _ count: Int, capacity: Int) {
        let entry = torsion_uring_next_entry(ring.queue)
        torsion_uring_prepare_send(
            entry, descriptor, place, UInt32(truncatingIfNeeded: count),
            userData(TORSION_URING_SEND))
        batchedSend = BatchedSend(entry: entry, start: place, count: count, capacity: capacity)
        sendSubmitCount = ring.submitCount
    }

    @inline(never)
    private func tryWriteOtherwise(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        let count = first.count + second.count
        if isBatching {
            let total = batchedSend.count + count
            if total <= ring.batchLimit, makeRoom(total) {
                append(first, second)
                return .wrote(count)
            }
            ring.submit()
        }
        if let pendingOutput {
            if let code = pendingOutput.failure { return .failed(code) }
            guard pendingOutput.isDone else { return .wrote(0) }
            self.pendingOutput = nil
        }
        guard count <= ring.batchLimit else { return sendNow(first, second) }
        return batchAnew(first, second)
    }

    private func batchAnew(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        let count = first.count + second.count
        if torsion_uring_is_full(ring.queue) != 0 || !ring.arena.hasRoom(for: count) {
            ring.submit()
        }
        guard let place = ring.arena.take(count) else { return sendNow(first, second) }
        batch(place, 0, capacity: (count + 63) & ~63)
        append(first, second)
        return .wrote(count)
    }

    /// Whether a send of this stream is prepared and not handed over.
    var isBatching: Bool { sendSubmitCount == ring.submitCount }

    /// Makes the batched send's place large enough for so many bytes; false if there is no room.
    ///
    /// Twice as large as needed, so that many small writes are not copied again and again.
    private func makeRoom(_ total: Int) -> Bool {
        guard total > batchedSend.capacity else { return true }
        let capacity = min(max(256, total * 2), ring.batchLimit)
        guard let place = ring.arena.take(capacity) else { return false }
        place.copyMemory(from: batchedSend.start, byteCount: batchedSend.count)
        batchedSend.start = place
        batchedSend.capacity = capacity
        return true
    }

    private func append(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) {
        append(first)
        append(second)
        batchedSend.entry?.pointee.address = UInt64(UInt(bitPattern: batchedSend.start))
        batchedSend.entry?.pointee.length = UInt32(batchedSend.count)
    }

    private func append(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        (batchedSend.start + batchedSend.count).copyMemory(from: start, byteCount: bytes.count)
        batchedSend.count += bytes.count
    }

    /// A batched send that was not handed over is not made.
    func dropBatchedSend() {
        guard isBatching, let entry = batchedSend.entry else { return }
        torsion_uring_prepare_nothing(entry)
        sendSubmitCount = 0
    }

    private func sendNow(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        let result = torsion_uring_send_now(
            descriptor, first.baseAddress, first.count, second.baseAddress, second.count)
        if result >= 0 { return .wrote(result) }
        let code = ErrorCode(errno: Int32(-result))
        return code == .wouldBlock || code == .interrupted ? .wrote(0) : .failed(code)
    }

    // MARK: What was cut

    /// The batched send, just handed over, was cut or failed.
    ///
    /// - Returns: Whether the core is to be told that the stream is broken.
    func sendFailed(_ result: Int32) -> Bool {
        let code = result < 0 ? ErrorCode(errno: -result) : .wouldBlock
        let pendingOutput = pendingOutput ?? PendingOutput()
        self.pendingOutput = pendingOutput
        guard code == .wouldBlock || code == .interrupted else {
            pendingOutput.failure = code
            return true
        }
        let sent = max(0, Int(result))
        let rest = UnsafeRawBufferPointer(
            start: batchedSend.start + sent, count: batchedSend.count - sent)
        let tail = UnsafeMutableRawBufferPointer.allocate(byteCount: rest.count, alignment: 16)
        tail.copyMemory(from: rest)
        pendingOutput.tail = tail
        sendTail()
        return false
    }

    func deliverBroken() {
        guard let code = pendingOutput?.failure else { return }
        if phase == .closed { return }
        fail(code, "send", .write)
    }

    private func sendTail() {
        guard let pendingOutput, let tail = pendingOutput.tail, let base = tail.baseAddress else {
            return
        }
        pendingOutput.sending = .tail
        torsion_uring_prepare_send_all(
            ring.nextEntry(), descriptor, base + pendingOutput.tailStart,
            UInt32(tail.count - pendingOutput.tailStart), userData(TORSION_URING_SEND_TAIL))
        ring.began(self)
    }

    func tailWasSent(_ result: Int32) {
        ring.ended(self)
        guard let pendingOutput, let tail = pendingOutput.tail else { return }
        pendingOutput.sending = .nothing
        if phase == .closed { return }
        let code = result < 0 ? ErrorCode(errno: -result) : .interrupted
        pendingOutput.tailStart += max(0, Int(result))
        if pendingOutput.tailStart < tail.count {
            if code == .interrupted || code == .wouldBlock { return sendTail() }
            pendingOutput.failure = code
            return fail(code, "send", .write)
        }
        tail.deallocate()
        pendingOutput.tail = nil
        pendingOutput.tailStart = 0
        if pendingOutput.isDone { self.pendingOutput = nil } else { sendQueue() }
        shutDownIfAsked()
        if wish == .room { pollRoom() }
    }

    // MARK: The core's queue

    func startWriting(from queue: WriteQueue) {
        // A batched send may be cut, and the queue must not overtake its rest.
        if isBatching { ring.submit() }
        let pendingOutput = pendingOutput ?? PendingOutput()
        self.pendingOutput = pendingOutput
        pendingOutput.queue = queue
        if pendingOutput.tail == nil { sendQueue() }
    }

    /// Sends the head of the core's queue, unless something that was promised comes before it.
    private func sendQueue() {
        guard let pendingOutput, let queue = pendingOutput.queue, !queue.isEmpty,
            pendingOutput.failure == nil,
            pendingOutput.tail == nil, pendingOutput.sending == .nothing, !hasFailed
        else { return }
        let message = pendingOutput.message ?? .allocate(capacity: 1)
        pendingOutput.message = message
        let count = queue.withHead { runs in
            for index in 0..<runs.count {
                torsion_uring_set_run(
                    message, Int32(index), runs[index].baseAddress, runs[index].count)
            }
            return Int32(runs.count)
        }
        pendingOutput.sending = .queue
        torsion_uring_prepare_send_runs(
            ring.nextEntry(), descriptor, message, count, userData(TORSION_URING_SEND_QUEUE))
        ring.began(self)
    }

    func queueWasSent(_ result: Int32) {
        ring.ended(self)
        guard let pendingOutput, pendingOutput.queue != nil else { return }
        pendingOutput.sending = .nothing
        guard phase == .open else { return pendingOutput.queue = nil }
        if result > 0 {
            receiver?.streamDidWrite(byteCount: Int(result))
            guard phase == .open else { return }
            // Inside of it more was written: the queue may be full again or another one, and a
            // send may have been cut, whose rest comes before it.
            if self.pendingOutput?.isDone ?? false { self.pendingOutput = nil }
        } else if result < 0 {
            let code = ErrorCode(errno: -result)
            if code != .interrupted, code != .wouldBlock { return fail(code, "sendmsg", .write) }
        }
        sendQueue()
        if wish == .room { pollRoom() }
    }

    // MARK: Files

    func trySendFile(_ file: Int32, at offset: Int64, byteCount: Int) -> SendFileResult {
        // A batched send may be cut, and the file must not overtake its rest.
        if isBatching { ring.submit() }
        if let code = pendingOutput?.failure { return .streamFailed(code) }
        guard pendingOutput?.isDone ?? true else { return .full }
        return sendFile(file, at: offset, byteCount: byteCount, to: descriptor)
    }

    func awaitRoom() {
        guard wish != .shutdown else { return }
        wish = .room
        pollRoom()
    }

    /// Not while something is to be sent before: its end asks again.
    private func pollRoom() {
        guard pendingOutput?.isDone ?? true, polls.insert(.room).inserted else { return }
        torsion_uring_prepare_poll(
            ring.nextEntry(), descriptor, UInt32(TORSION_URING_WRITABLE), 0,
            userData(TORSION_URING_ROOM))
        ring.began(self)
    }

    func roomFound() {
        polls.remove(.room)
        ring.ended(self)
        guard phase == .open, wish == .room else { return }
        guard pendingOutput?.isDone ?? true else { return }
        wish = .none
        receiver?.streamHasRoom()
    }

    // MARK: What comes behind

    /// A batched send is handed over, so that it is known whether it was cut.
    var hasUnsentOutput: Bool {
        if isBatching { ring.submit() }
        return hasPendingTail
    }

    private var hasPendingTail: Bool { pendingOutput?.tail != nil && pendingOutput?.failure == nil }

    /// What counts as written and the kernel has not taken.
    var lateByteCount: Int {
        let batched = isBatching ? batchedSend.count : 0
        guard hasPendingTail, let pendingOutput, let tail = pendingOutput.tail else {
            return batched
        }
        return batched + tail.count - pendingOutput.tailStart
    }

    func shutdownWriting() -> ErrorCode? {
        guard isBatching || hasPendingTail else {
            return shutDownWriting(descriptor)
        }
        wish = .shutdown
        if isBatching { ring.submitLater(self) }
        return nil
    }

    /// The batched send is over, and known if it was cut.
    func submitPending() { if !hasPendingTail { shutDownIfAsked() } }

    private func shutDownIfAsked() {
        guard wish == .shutdown else { return }
        wish = .none
        guard phase == .open, pendingOutput?.failure == nil else { return }
        if let code = shutDownWriting(descriptor) { fail(code, "shutdown", .shutdown) }
    }

    /// The stream was closed: releases what it was to send, as soon as the kernel reads no more of it.
    ///
    /// The program may keep a lost transport, and with it this stream, for as long as it likes.
    func releaseQueue() {
        guard let pendingOutput, pendingOutput.sending != .queue else { return }
        pendingOutput.queue = nil
    }

    /// Part of the end.
    ///
    /// What the kernel still reads from is kept until its operation has ended.
    func cancelLateOutput() {
        guard let pendingOutput else { return }
        switch pendingOutput.sending {
        case .nothing: break
        case .tail: ring.cancel(self, TORSION_URING_SEND_TAIL)
        case .queue: ring.cancel(self, TORSION_URING_SEND_QUEUE)
        }
    }
}

#endif
