// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Synchronization
import Torsion
@_spi(Backend) import TorsionCore

/// A thread of the system.
final class NativeThreadOfTest {
    private let handle: pthread_t

    init(_ body: @escaping () -> Void) throws {
        var handle = pthread_t()
        let context = Unmanaged.passRetained(Body(body)).toOpaque()
        let code = pthread_create(
            &handle, nil,
            { context in
                Unmanaged<Body>.fromOpaque(context!).takeRetainedValue().run()
                return nil
            }, context)
        guard code == 0 else {
            throw IOError(.start, function: "pthread_create", code: .other(code))
        }
        self.handle = handle
    }

    func join() { pthread_join(handle, nil) }

    private final class Body {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }
}

/// Addresses that several threads note.
final class PortList: Sendable {
    private let list = Lock<[SocketAddress]>([])

    var all: [SocketAddress] { list.withLock { $0 } }
    var count: Int { all.count }

    /// Returns how many there are now: two threads that ask afterwards may both be told of the last.
    @discardableResult
    func add(_ address: SocketAddress) -> Int {
        list.withLock {
            $0.append(address)
            return $0.count
        }
    }
}

/// Counts the wake-ups that would be system calls.
final class CountingWaker: BackendWaker {
    private let wakes = Atomic(0)

    var count: Int { wakes.load(ordering: .relaxed) }

    func wake() { wakes.wrappingAdd(1, ordering: .relaxed) }
}

/// A backend that never waits.
final class CountingBackend: ReactorBackend {
    private let counter: CountingWaker

    init(_ counter: CountingWaker) { self.counter = counter }

    var now: MonotonicInstant { MonotonicInstant(nanoseconds: 1) }
    var waker: any BackendWaker { counter }
    var openHandleCount: Int { 0 }

    func start() throws(IOError) {}
    func turn(until deadline: MonotonicInstant?) {}
    func shutDown() {}

    func listen(
        on address: SocketAddress, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> any BackendListener { throw Self.none }

    func connect(
        to address: SocketAddress, options: StreamOptions, receiver: any StreamReceiver
    ) throws(IOError) -> any BackendStream { throw Self.none }

    func open(input: Int32, output: Int32) throws(IOError) -> any BackendStream { throw Self.none }

    func watch(
        descriptor: Int32, for interest: Readiness, receiver: any WatchReceiver
    ) throws(IOError) -> any BackendWatch { throw Self.none }

    private static var none: IOError { IOError(.open, function: "", code: .notSupported) }
}

/// Calls what an async body must not call itself.
func synchronously(_ body: () throws -> Void) rethrows { try body() }
