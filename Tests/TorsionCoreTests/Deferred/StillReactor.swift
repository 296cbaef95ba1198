// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) import TorsionCore

/// A backend without input and output, whose time stands still until a turn waits for a deadline.
final class StillBackend: ReactorBackend {
    var now = MonotonicInstant(nanoseconds: 0)
    var waker: any BackendWaker { NoWaker() }
    var openHandleCount: Int { 0 }

    func start() throws(IOError) {}
    func shutDown() {}
    func turn(until deadline: MonotonicInstant?) { now = max(now, deadline ?? now) }

    func listen(
        on address: SocketAddress, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> any BackendListener { fatalError("StillBackend: no listeners") }
    func connect(
        to address: SocketAddress, options: StreamOptions, receiver: any StreamReceiver
    ) throws(IOError) -> any BackendStream { fatalError("StillBackend: no streams") }
    func open(input: Int32, output: Int32) throws(IOError) -> any BackendStream {
        fatalError("StillBackend: no streams")
    }
    func watch(
        descriptor: Int32, for interest: Readiness, receiver: any WatchReceiver
    ) throws(IOError) -> any BackendWatch { fatalError("StillBackend: no watches") }
}

private struct NoWaker: BackendWaker {
    func wake() {}
}

/// A reactor on a `StillBackend`, and what it reported.
final class StillReactor {
    let reactor = Reactor(
        backend: BackendChoice(name: "still") { StillBackend() }, services: nil)
    /// The errors that nobody handled, in order.
    private(set) var unhandled: [UnhandledError] = []

    init() {
        reactor.unhandledError = { [unowned self] in unhandled.append($0) }
    }

    /// Lets time pass, and runs the delayed calls that become due, each at its time.
    func advance(by duration: Duration) {
        let end = reactor.now.advanced(by: duration)
        while reactor.now < end { reactor.turn(until: end) }
        // A turn runs what is due before it waits.
        reactor.turn(until: end)
    }
}

/// An error that says which it is.
struct Failed: Error, Equatable {
    var number = 0
}

/// Counts its instances, to show that what captured one was released.
final class Resident {
    private let census: Census
    init(_ census: Census) {
        self.census = census
        census.living += 1
    }
    deinit { census.living -= 1 }
    func touch() {}
}

/// How many `Resident`s there are.
final class Census {
    var living = 0
}
