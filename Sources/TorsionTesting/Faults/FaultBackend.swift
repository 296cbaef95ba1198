// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

extension BackendChoice {
    /// A backend whose calls go wrong by a plan.
    ///
    /// Any other may be inside, so that a test meets over real sockets what the kernel seldom does.
    ///
    /// - Parameters:
    ///   - inner: Makes the calls that do not fail.
    ///   - plan: Shared by all backends that the choice makes.
    /// - Returns: A choice that can be used like `inner`.
    public static func faulty(_ inner: BackendChoice, _ plan: FaultPlan) -> BackendChoice {
        var choice = BackendChoice(
            name: "faulty \(inner.name)", unavailableReason: inner.unavailableReason
        ) { FaultBackend(inner.makeBackend(), plan) }
        choice.filters = inner.filters
        choice.endFilters = inner.endFilters
        return choice
    }
}

/// Runs a scenario with its first call failing, then its second, and so on, until it is done before
/// the call that would have failed.
///
/// The scenario throws if it does not keep its word, for example when something is left open. A
/// failed call alone is not a reason to throw.
///
/// - Parameters:
///   - backend: Makes the calls that do not fail.
///   - code: The error of each failed call.
///   - limit: How many calls a scenario may make.
///   - scenario: Called once for each call that fails, and once more.
/// - Returns: How many calls the scenario makes.
/// - Throws: ``CheckFailure`` that names the call, or that there are more than `limit`.
@discardableResult
public func failingEachCall(
    of backend: BackendChoice, with code: ErrorCode, limit: Int = 1_000,
    _ scenario: (BackendChoice) throws -> Void
) throws -> Int {
    for number in 1...limit {
        let plan = FaultPlan.failCall(number, with: code)
        do { try scenario(.faulty(backend, plan)) } catch {
            let calls = plan.calls.prefix(number).map { "\($0)" }.joined(separator: " ")
            throw CheckFailure(
                description: "call \(number) failed with \(code.name), of \(calls): \(error)")
        }
        if plan.failureCount == 0 { return number - 1 }
    }
    throw CheckFailure(description: "more than \(limit) calls")
}

/// Something that may be late.
protocol DelayedReporting: AnyObject {
    /// Called by the backend in its turn.
    func reportDelayed()
}

/// Stands between the core and any backend, and makes calls go wrong.
final class FaultBackend: ReactorBackend {
    let inner: any ReactorBackend
    let plan: FaultPlan
    /// Those that have something to tell in the next turn.
    private var late: [any DelayedReporting] = []

    init(_ inner: any ReactorBackend, _ plan: FaultPlan) {
        self.inner = inner
        self.plan = plan
    }

    func start() throws(IOError) {
        if let code = plan.failure(of: .start) { throw IOError(.start, function: "", code: code) }
        try inner.start()
    }

    var now: MonotonicInstant { inner.now }

    func readClock() -> MonotonicInstant { inner.readClock() }

    var waker: any BackendWaker { inner.waker }

    var openHandleCount: Int { inner.openHandleCount }

    var descriptorLimit: Int? { inner.descriptorLimit }

    func turn(until deadline: MonotonicInstant?) throws(IOError) {
        let tellers = late
        late = []
        for teller in tellers { teller.reportDelayed() }
        // What was told may have work for the core, and what is still late must not be waited on.
        let isWaiting = tellers.isEmpty && late.isEmpty
        try inner.turn(until: isWaiting ? deadline : MonotonicInstant(nanoseconds: 0))
    }

    func tellLater(_ teller: any DelayedReporting) { late.append(teller) }

    func listen(
        on address: SocketAddress, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> any BackendListener {
        if let code = plan.failure(of: .listen) {
            throw IOError(.listen, function: "listen", code: code, subject: "\(address)")
        }
        let listener = FaultListener(self, receiver)
        listener.inner = try inner.listen(on: address, options: options, receiver: listener)
        return listener
    }

    func connect(
        to address: SocketAddress, options: StreamOptions, receiver: any StreamReceiver
    ) throws(IOError) -> any BackendStream {
        if let code = plan.failure(of: .connect) {
            throw IOError(.connect, function: "connect", code: code, subject: "\(address)")
        }
        let stream = FaultStream(self)
        stream.receiver = receiver
        stream.inner = try inner.connect(to: address, options: options, receiver: stream)
        return stream
    }

    func bindDatagrams(
        on address: SocketAddress, options: DatagramOptions
    ) throws(IOError) -> any BackendDatagramPort {
        if let code = plan.failure(of: .bind) {
            throw IOError(.listen, function: "bind", code: code, subject: address)
        }
        return FaultDatagramPort(self, try inner.bindDatagrams(on: address, options: options))
    }

    func open(input: Int32, output: Int32) throws(IOError) -> any BackendStream {
        if let code = plan.failure(of: .open) { throw IOError(.open, function: "", code: code) }
        let stream = FaultStream(self)
        stream.inner = try inner.open(input: input, output: output)
        return stream
    }

    func adopt(
        _ descriptor: Int32, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> AdoptedSocket {
        if let code = plan.failure(of: .open) { throw IOError(.open, function: "", code: code) }
        let listener = FaultListener(self, receiver)
        switch try inner.adopt(descriptor, options: options, receiver: listener) {
        case .listener(let adopted):
            listener.inner = adopted
            return .listener(listener)
        case .stream(let adopted):
            let stream = FaultStream(self)
            stream.inner = adopted
            return .stream(stream)
        }
    }

    func isClosedOnExec(_ descriptor: Int32) -> Bool { inner.isClosedOnExec(descriptor) }

    func adoptDatagrams(
        _ descriptor: Int32, options: DatagramOptions
    ) throws(IOError) -> any BackendDatagramPort {
        if let code = plan.failure(of: .open) { throw IOError(.open, function: "", code: code) }
        return FaultDatagramPort(self, try inner.adoptDatagrams(descriptor, options: options))
    }

    func watch(
        descriptor: Int32, for interest: Readiness, receiver: any WatchReceiver
    ) throws(IOError) -> any BackendWatch {
        if let code = plan.failure(of: .watch) {
            throw IOError(
                .watch, function: "", code: code, subject: "descriptor \(descriptor)")
        }
        return try inner.watch(descriptor: descriptor, for: interest, receiver: receiver)
    }

    var heldByteCount: Int { inner.heldByteCount }

    var availableMemoryByteCount: Int? { inner.availableMemoryByteCount }

    func shutDown() { inner.shutDown() }
}

/// A listener that loses clients.
final class FaultListener: BackendListener, ListenerReceiver {
    var inner: (any BackendListener)!
    private unowned let backend: FaultBackend
    private var receiver: (any ListenerReceiver)?

    init(_ backend: FaultBackend, _ receiver: any ListenerReceiver) {
        self.backend = backend
        self.receiver = receiver
    }

    var localAddress: SocketAddress { inner.localAddress }

    func startAccepting() { inner.startAccepting() }

    func stopAccepting() { inner.stopAccepting() }

    func leaveLaterClients() { inner.leaveLaterClients() }

    func takeWaiting(limit: Int) -> [any BackendStream] {
        inner.takeWaiting(limit: limit).map { stream in
            let faulty = FaultStream(backend)
            faulty.inner = stream
            return faulty
        }
    }

    func shed(limit: Int) -> Int { inner.shed(limit: limit) }

    var sharedDescriptor: Int32? { inner.sharedDescriptor }

    var ownsFile: Bool {
        get { inner.ownsFile }
        set { inner.ownsFile = newValue }
    }

    func close() {
        // It may hold us: a backend whose calls go wrong may be inside another.
        receiver = nil
        inner.close()
    }

    func listenerDidAccept(_ stream: any BackendStream) {
        guard let code = backend.plan.failure(of: .accept) else {
            let faulty = FaultStream(backend)
            faulty.inner = stream
            receiver?.listenerDidAccept(faulty)
            return
        }
        // As if the kernel had not had the descriptor for it; the client is refused by hand, for
        // it cannot be put back into the queue.
        stream.close()
        receiver?.listenerDidFail(code)
    }

    func listenerDidFail(_ code: ErrorCode) { receiver?.listenerDidFail(code) }
}
