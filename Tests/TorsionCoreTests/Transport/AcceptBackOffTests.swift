// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionTesting

@_spi(Backend) @testable import TorsionCore

/// A backend with one listener, whose time a test moves.
private final class ListenerBackend: ReactorBackend {
    var time = MonotonicInstant(nanoseconds: 1)
    let listener = StubListener()

    private struct Silent: BackendWaker { func wake() {} }

    var now: MonotonicInstant { time }
    var waker: any BackendWaker { Silent() }
    var openHandleCount: Int { 0 }

    func start() throws(IOError) {}
    func turn(until deadline: MonotonicInstant?) {}
    func shutDown() {}

    func listen(
        on address: SocketAddress, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> any BackendListener {
        listener.receiver = receiver
        return listener
    }

    func connect(
        to address: SocketAddress, options: StreamOptions, receiver: any StreamReceiver
    ) throws(IOError) -> any BackendStream {
        throw IOError(.connect, function: "", code: .notSupported)
    }

    func open(input: Int32, output: Int32) throws(IOError) -> any BackendStream {
        throw IOError(.open, function: "", code: .notSupported)
    }

    func watch(
        descriptor: Int32, for interest: Readiness, receiver: any WatchReceiver
    ) throws(IOError) -> any BackendWatch {
        throw IOError(.watch, function: "", code: .notSupported)
    }
}

private final class StubListener: BackendListener {
    var receiver: (any ListenerReceiver)?
    private(set) var isAccepting = false
    let localAddress = SocketAddress.ipv4(.loopback, port: 7)

    func startAccepting() { isAccepting = true }
    func stopAccepting() { isAccepting = false }
    func shed(limit: Int) -> Int { 0 }
    func close() { receiver = nil }
}

/// A client that is turned away.
private final class Unwanted: BackendStream {
    let peerAddress = SocketAddress.ipv4(.loopback, port: 8)
    let localAddress = SocketAddress.ipv4(.loopback, port: 7)
    let needsDraining = true

    func deliver(to receiver: any StreamReceiver) {}
    func startReading() {}
    func stopReading() {}
    func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult { .failed(.brokenPipe) }
    func startWriting(from queue: WriteQueue) {}
    func shutdownWriting() -> ErrorCode? { nil }
    func close() {}
    func reset() {}
}

/// How a port backs off when it cannot accept, and how fast it recovers.
@Suite struct AcceptBackOffTests {
    private let backend = ListenerBackend()
    private let reactor: Reactor
    private let port: ListeningPort

    init() throws {
        nonisolated(unsafe) let made = backend
        reactor = Reactor(backend: BackendChoice(name: "stub") { made }, services: nil)
        reactor.unhandledError = { _ in }
        port = try reactor.listen(on: .ipv4(.loopback, port: 7)) { _ in nil }
    }

    private func fail() { backend.listener.receiver?.listenerDidFail(.tooManyOpenFiles) }

    /// A client comes, whom the factory turns away.
    private func accept() {
        backend.listener.receiver?.listenerDidAccept(Unwanted())
    }

    /// How many milliseconds until it accepts again.
    private func recovery() -> Int {
        for passed in 0..<10_000 {
            reactor.turn(until: backend.time)
            if backend.listener.isAccepting { return passed }
            backend.time = backend.time.advanced(by: .milliseconds(1))
        }
        return .max
    }

    private func finish() {
        port.stopListening()
        reactor.shutDown()
    }

    @Test func `each failure in a row doubles the time, a client makes it short again`() {
        var times: [Int] = []
        for _ in 0..<4 {
            fail()
            times.append(recovery())
        }
        accept()
        fail()
        times.append(recovery())
        #expect(times == [10, 20, 40, 80, 10])
        finish()
    }

    @Test func `a port that the program paused stays paused when its back-off is over`() {
        fail()
        port.pauseAccepting()
        #expect(recovery() == .max)
        port.resumeAccepting()
        #expect(backend.listener.isAccepting)
        finish()
    }

    @Test func `a port that backs off does not accept because the program resumes it`() {
        fail()
        port.pauseAccepting()
        port.resumeAccepting()
        #expect(recovery() == 10)
        finish()
    }
}
