// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Glibc
import Testing
@_spi(Backend) import TorsionCore
@_spi(Backend) import TorsionSockets
import TorsionTesting

// snippet: poller
/// Waits with `poll(2)`.
final class PollPoller: Poller {
    private var watched: [Int32: (target: PollTarget, events: PollEvents)] = [:]
    private var pipeEnds: [Int32] = [-1, -1]
    private(set) var now = MonotonicInstant(nanoseconds: 0)

    var waker: any BackendWaker { PipeWaker(descriptor: pipeEnds[1]) }

    func start() throws(IOError) {
        guard pipe(&pipeEnds) == 0 else {
            throw IOError(.start, function: "pipe", code: ErrorCode(errno: errno))
        }
        for end in pipeEnds { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
        readClock()
    }

    func shutDown() { for end in pipeEnds { close(end) } }

    func add(_ target: PollTarget, for events: PollEvents) -> ErrorCode? {
        guard fcntl(target.descriptor, F_GETFD) >= 0 else { return ErrorCode(errno: errno) }
        target.registration = OpaquePointer(bitPattern: 1)
        update(target, for: events)
        return nil
    }

    func update(_ target: PollTarget, for events: PollEvents) {
        watched[target.descriptor] = (target, events)
    }

    func remove(_ target: PollTarget) {
        target.registration = nil
        watched[target.descriptor] = nil
    }

    func wait(until deadline: MonotonicInstant?) {
        let batch = Array(watched.values)
        var polled = batch.map { entry in
            pollfd(fd: entry.target.descriptor, events: entry.events.pollBits, revents: 0)
        }
        polled.append(pollfd(fd: pipeEnds[0], events: Int16(POLLIN), revents: 0))
        _ = poll(&polled, nfds_t(polled.count), milliseconds(until: deadline))
        readClock()
        var byte: UInt8 = 0
        while read(pipeEnds[0], &byte, 1) == 1 {}
        for (found, entry) in zip(polled, batch) where found.revents != 0 {
            entry.target.deliver(PollEvents(pollBits: found.revents))
        }
    }
}
// snippet end

extension PollPoller {
    // snippet: clock
    /// Rounded up: a timer that is due in 0.4 ms would else turn the loop until then.
    private func milliseconds(until deadline: MonotonicInstant?) -> Int32 {
        guard let deadline else { return -1 }
        readClock()
        guard deadline > now else { return 0 }
        return Int32(clamping: (deadline.nanoseconds - now.nanoseconds + 999_999) / 1_000_000)
    }

    private func readClock() {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        now = MonotonicInstant(
            nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }
    // snippet end
}

// snippet: rest
/// From any thread: a byte in the pipe ends the wait, and one that is full ends it anyway.
struct PipeWaker: BackendWaker {
    let descriptor: Int32

    func wake() { _ = write(descriptor, [1], 1) }
}

extension PollEvents {
    var pollBits: Int16 {
        Int16((contains(.readable) ? POLLIN : 0) | (contains(.writable) ? POLLOUT : 0))
    }

    init(pollBits bits: Int16) {
        self = []
        if Int32(bits) & POLLIN != 0 { insert(.readable) }
        if Int32(bits) & POLLOUT != 0 { insert(.writable) }
        if Int32(bits) & (POLLERR | POLLNVAL) != 0 { insert(.error) }
        if Int32(bits) & POLLHUP != 0 { insert(.hangUp) }
    }
}

extension BackendChoice {
    /// Sockets over `poll(2)`.
    static let poll = BackendChoice(name: "poll") { SocketBackend(poller: PollPoller()) }
}
// snippet end

// snippet: test
@Test(arguments: ConformanceSuite.checks.filter { !$0.isSlow })
func `my backend keeps the contract`(check: Check) throws {
    try check.run(on: .poll)
}
// snippet end
