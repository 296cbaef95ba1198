// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// Time that passes only when a test says so, and the reactor that lives by it.
///
///     let clock = ManualClock()
///     clock.reactor.callLater(.seconds(60)) { print("a minute") }
///     clock.advance(by: .seconds(60))
///
/// - SeeAlso: Twisted `task.Clock`.
public final class ManualClock {
    /// A reactor without sockets, whose timers go by this clock.
    ///
    /// It is turned by ``advance(by:)``, never run.
    public let reactor: Reactor

    let backend: ManualBackend

    /// A clock that stands at one second, so that a time before its start can be represented.
    public convenience init() { self.init(services: nil) }

    /// With names and signals that a test plays.
    package init(services: (@Sendable (Reactor) throws(IOError) -> any ReactorServices)?) {
        let backend = ManualBackend()
        self.backend = backend
        // The choice must be Sendable; the backend never leaves this thread.
        nonisolated(unsafe) let made = backend
        let choice = BackendChoice(name: "manual") { unsafe made }
        reactor = Reactor(backend: .underTest(choice), services: services)
    }

    /// Ends the connections that the test left open: they and their reactor hold each other.
    deinit {
        guard !reactor.isInsideEvent else { return }
        reactor.shutDown()
    }

    /// Plays the network for who connects: makes the stream of an attempt, or refuses it at once.
    package var connecting:
        ((SocketAddress, any StreamReceiver) throws(IOError) -> any BackendStream)?
    {
        get { backend.connecting }
        set { backend.connecting = newValue }
    }

    /// The time.
    public var now: MonotonicInstant { backend.now }

    /// How many turns are made at one instant before time goes on.
    public static let turnsAtOneInstant = 1_000

    /// Lets time pass, and runs what is due, stopping at each deadline in order.
    ///
    /// So a call that is due after two seconds, made by one that is due after one, runs at its own
    /// time, not at the end. Work that a callback schedules without a delay runs in a further turn
    /// at the same instant. A callback that always schedules another one does not hold time up:
    /// after ``turnsAtOneInstant`` turns the clock goes on to the next deadline, or to the end,
    /// where that call runs again.
    ///
    /// - Parameter duration: How much time passes; zero runs what is due now.
    /// - Precondition: `duration` is not negative; not inside a callback of the reactor.
    public func advance(by duration: Duration) {
        require(duration >= .zero, "ManualClock: time does not go back, by \(duration)")
        let end = backend.now.advanced(by: duration)
        repeat {
            runWhatIsDue()
        } while moveToNextDeadline(before: end)
        backend.now = end
        runWhatIsDue()
    }

    private func runWhatIsDue() {
        for _ in 0..<Self.turnsAtOneInstant {
            turn()
            guard let next = reactor.nextDeadline, next <= backend.now else { return }
        }
    }

    /// - Returns: False if there is no deadline between the present and `end`.
    private func moveToNextDeadline(before end: MonotonicInstant) -> Bool {
        guard let next = reactor.nextDeadline(after: backend.now), next < end else { return false }
        backend.now = next
        return true
    }

    /// Runs one turn at the present time: calls from threads, what is due now, ends of connections.
    public func turn() { reactor.turn(until: backend.now) }
}

/// A backend that waits for nothing, and has connections in memory only.
final class ManualBackend: ReactorBackend {
    var now = MonotonicInstant(nanoseconds: 1_000_000_000)

    var openHandleCount: Int { 0 }

    var waker: any BackendWaker { NoWaker() }

    func start() throws(IOError) {}

    /// The connections in memory, which have no descriptors to wait for.
    var streams: [MemoryStream] = []
    var datagramPorts: [MemoryDatagramPort] = []

    /// See ``ManualClock/connecting``.
    var connecting: ((SocketAddress, any StreamReceiver) throws(IOError) -> any BackendStream)?

    func turn(until deadline: MonotonicInstant?) {
        for stream in streams { stream.poll() }
        streams.removeAll { !$0.isOpen }
        for port in datagramPorts { port.poll() }
        datagramPorts.removeAll { !$0.isOpen }
    }

    func shutDown() {}

    func listen(
        on address: SocketAddress, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> any BackendListener {
        throw IOError(.listen, function: "", code: .notSupported, subject: address)
    }

    func connect(
        to address: SocketAddress, options: StreamOptions, receiver: any StreamReceiver
    ) throws(IOError) -> any BackendStream {
        if let connecting { return try connecting(address, receiver) }
        throw IOError(.connect, function: "", code: .notSupported, subject: address)
    }

    func open(input: Int32, output: Int32) throws(IOError) -> any BackendStream {
        throw IOError(.open, function: "", code: .notSupported)
    }

    func watch(
        descriptor: Int32, for interest: Readiness, receiver: any WatchReceiver
    ) throws(IOError) -> any BackendWatch {
        throw IOError(.watch, function: "", code: .notSupported)
    }

    private struct NoWaker: BackendWaker {
        func wake() {}
    }
}
