// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
@_spi(Backend) import TorsionCore
import TorsionTesting

/// Names and connections that a test answers, on a clock that it advances.
final class PlayedNetwork {
    let clock: ManualClock
    /// What was asked for, with the milliseconds since the start.
    private(set) var log: [String] = []
    /// Addresses that are refused at once, inside the call.
    var unusable: [SocketAddress: ErrorCode] = [:]
    private var lookup: Deferred<[SocketAddress]>?
    private var attempts: [PlayedAttempt] = []
    private let start: MonotonicInstant

    var reactor: Reactor { clock.reactor }

    /// The attempts that have neither ended nor been given up.
    var underWay: [SocketAddress] { attempts.filter(\.isOpen).map(\.peerAddress) }

    init() {
        let services = PlayedServices()
        // The reactor never leaves this thread.
        nonisolated(unsafe) let made = services
        clock = ManualClock(services: { _ in made })
        start = clock.now
        services.network = self
        clock.reactor.unhandledError = { Issue.record("unhandled: \($0)") }
        clock.connecting = { [unowned self] address, receiver throws(IOError) in
            try connect(address, receiver)
        }
    }

    private func note(_ event: String) {
        log.append("\(start.duration(to: clock.now) / .milliseconds(1)): \(event)")
    }

    // MARK: What the core asks for

    fileprivate func resolve(_ host: String) -> Deferred<[SocketAddress]> {
        note("resolve \(host)")
        let lookup = Deferred<[SocketAddress]>(on: reactor) { [unowned self] _ in
            note("give up \(host)")
            self.lookup = nil
        }
        self.lookup = lookup
        return lookup
    }

    private func connect(
        _ address: SocketAddress, _ receiver: any StreamReceiver
    ) throws(IOError) -> any BackendStream {
        note("try \(address)")
        if let code = unusable[address] {
            throw IOError(.connect, function: "connect", code: code, subject: address)
        }
        let attempt = PlayedAttempt(to: address, receiver) { [unowned self] in
            note("close \(address)")
        }
        attempts.append(attempt)
        return attempt
    }

    // MARK: What the test answers

    /// The name has these addresses.
    func resolves(to addresses: [SocketAddress]) {
        lookup.take()?.succeed(addresses)
    }

    /// The name has none.
    func doesNotResolve(_ error: IOError) { lookup.take()?.fail(error) }

    /// The peer at the address accepts.
    func accept(_ address: SocketAddress) { attempt(address).receiver?.streamDidConnect() }

    /// The peer at the address says something.
    func deliver(_ text: String, from address: SocketAddress) {
        attempt(address).receiver?.streamDidRead(Bytes(text).span)
        clock.turn()
    }

    /// The peer at the address says nothing more.
    func end(_ address: SocketAddress) {
        attempt(address).receiver?.streamDidReadEnd()
        clock.turn()
    }

    /// The attempt fails.
    func fail(_ address: SocketAddress, _ code: ErrorCode) {
        attempt(address).receiver?.streamDidFail(
            IOError(.connect, function: "connect", code: code, subject: address))
    }

    private func attempt(_ address: SocketAddress) -> PlayedAttempt {
        attempts.last { $0.peerAddress == address && $0.isOpen }!
    }
}

private final class PlayedServices: ReactorServices, NameResolver, SignalSource, WorkerThreads {
    unowned(unsafe) var network: PlayedNetwork!

    var resolver: any NameResolver { self }
    var signals: any SignalSource { self }
    var threads: any WorkerThreads { self }
    var limit = 0

    func shutDown() {}

    func run(_ work: @escaping @Sendable () -> Void) throws(IOError) {
        throw IOError(.start, function: "", code: .notSupported)
    }

    func resolve(_ host: String, port: UInt16) -> Deferred<[SocketAddress]> {
        network.resolve(host)
    }

    func catchSignal(
        _ signal: Signal, _ body: @escaping (Signal) -> Void
    ) throws(IOError) -> any SignalRegistration {
        throw IOError(.signal, function: "", code: .notSupported)
    }

    func die(by signal: Signal) -> Never { fatalError("PlayedServices: \(signal)") }
}

/// An attempt, and the connection that it becomes, on which nothing happens.
private final class PlayedAttempt: BackendStream {
    let peerAddress: SocketAddress
    let localAddress = SocketAddress.ipv4(.loopback, port: 40_000)
    let needsDraining = false
    private(set) var receiver: (any StreamReceiver)?
    private(set) var isOpen = true
    private let closed: () -> Void

    init(to address: SocketAddress, _ receiver: any StreamReceiver, closed: @escaping () -> Void) {
        peerAddress = address
        self.receiver = receiver
        self.closed = closed
    }

    func deliver(to receiver: any StreamReceiver) { self.receiver = receiver }
    func startReading() {}
    func stopReading() {}

    func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult { .wrote(first.count + second.count) }

    func startWriting(from queue: WriteQueue) {}
    func shutdownWriting() -> ErrorCode? { nil }

    func close() {
        precondition(isOpen, "BackendStream: closed twice")
        isOpen = false
        receiver = nil
        closed()
    }

    func reset() { close() }
}
