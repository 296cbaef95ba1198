// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
@_spi(Backend) import TorsionCore
@_spi(Backend) import TorsionSockets

/// Has no memory for a watch, as `epoll_ctl(2)` may not.
private final class RefusingPoller: Poller {
    var refuses = true
    private(set) var watchedCount = 0
    let now = MonotonicInstant(nanoseconds: 1)

    var waker: any BackendWaker { NoWaker() }

    func start() {}
    func shutDown() {}

    func add(_ target: PollTarget, for events: PollEvents) -> ErrorCode? {
        guard !refuses else { return .outOfMemory }
        target.registration = OpaquePointer(bitPattern: 1)
        watchedCount += 1
        return nil
    }

    func update(_ target: PollTarget, for events: PollEvents) {}

    func remove(_ target: PollTarget) {
        target.registration = nil
        watchedCount -= 1
    }

    func wait(until deadline: MonotonicInstant?) {}

    private struct NoWaker: BackendWaker {
        func wake() {}
    }
}

/// Notes what it is called with.
private final class Receiver: StreamReceiver, ListenerReceiver, WatchReceiver {
    var failures: [ErrorCode] = []

    func streamDidConnect() {}
    func streamDidRead(_ bytes: RawSpan) {}
    func streamDidReadEnd() {}
    func streamDidWrite(byteCount: Int) {}
    func streamDidFail(_ error: any Error) {
        failures.append((error as? IOError)?.code ?? .notConnected)
    }
    func listenerDidAccept(_ stream: any BackendStream) { stream.close() }
    func listenerDidFail(_ code: ErrorCode) { failures.append(code) }
    func watchDidBecomeReady(_ readiness: Readiness) {}
    func watchDidFail(_ code: ErrorCode) { failures.append(code) }
}

/// T3: what a poller refuses is told in a turn, never inside the call of the core that needed it.
@Suite struct RefusalTests {
    private let poller = RefusingPoller()
    private let receiver = Receiver()
    private let backend: SocketBackend

    init() throws {
        backend = SocketBackend(poller: poller)
        try backend.start()
    }

    /// Nothing at once, and once in the next turn.
    private func expectOneFailure(_ call: () -> Void) throws {
        receiver.failures = []
        call()
        #expect(receiver.failures.isEmpty)
        try backend.turn(until: nil)
        #expect(receiver.failures == [.outOfMemory])
        try backend.turn(until: nil)
        #expect(receiver.failures == [.outOfMemory])
        receiver.failures = []
    }

    private func end() throws {
        try backend.turn(until: nil)
        #expect(receiver.failures.isEmpty)
        #expect(backend.openHandleCount == 0 && poller.watchedCount == 0)
        backend.shutDown()
    }

    private func pair() throws -> [Int32] {
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        return ends
    }

    @Test func `a port that cannot be watched is told in a turn`() throws {
        let listener = try backend.listen(
            on: .ipv4(.loopback, port: 0), options: StreamOptions(), receiver: receiver)
        try expectOneFailure { listener.startAccepting() }
        // The core has changed its mind.
        listener.startAccepting()
        listener.stopAccepting()
        try backend.turn(until: nil)
        #expect(receiver.failures.isEmpty)
        listener.startAccepting()
        poller.refuses = false
        listener.startAccepting()
        try backend.turn(until: nil)
        #expect(receiver.failures.isEmpty && poller.watchedCount == 1)
        listener.stopAccepting()
        poller.refuses = true
        listener.startAccepting()
        listener.close()
        try end()
    }

    @Test func `a stream that cannot be watched is told in a turn`() throws {
        let ends = try pair()
        defer { close(ends[1]) }
        let adopted = try backend.adopt(ends[0], options: StreamOptions(), receiver: receiver)
        close(ends[0])
        guard case .stream(let stream) = adopted else {
            Issue.record("a connected socket is a stream")
            return
        }
        stream.deliver(to: receiver)
        try expectOneFailure { stream.startReading() }
        stream.close()
        try end()
    }

    @Test func `a stream that is closed before the turn is told nothing`() throws {
        let ends = try pair()
        defer { close(ends[1]) }
        let stream = try backend.open(input: ends[0], output: ends[0])
        stream.deliver(to: receiver)
        try expectOneFailure { stream.startReading() }
        stream.stopReading()
        stream.startReading()
        stream.close()
        try end()
    }

    @Test func `a watch that is refused is told in a turn`() throws {
        let ends = try pair()
        defer { for end in ends { close(end) } }
        let watch = try backend.watch(descriptor: ends[0], for: [], receiver: receiver)
        try expectOneFailure { watch.update(.readable) }
        watch.update([])
        watch.update(.readable)
        watch.update([])
        try backend.turn(until: nil)
        #expect(receiver.failures.isEmpty)
        watch.update(.readable)
        watch.close()
        try end()
    }
}
