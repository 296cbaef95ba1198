// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Synchronization
import TestPrograms
import Testing
import Torsion
@_spi(Backend) import TorsionCore
import TorsionTesting

private final class Quiet: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

private struct Mishap: Error {}

/// How a reactor runs, stops and runs again.
@Suite struct RunTests {
    private static let names = testedBackends.map(\.name)

    private static func backend(_ name: String) throws -> BackendChoice {
        try .named(name, among: testedBackends)
    }

    // R1
    @Test(arguments: names)
    func `triggers run in three phases, and what before returns is awaited`(name: String) throws {
        let reactor = Reactor(backend: try Self.backend(name))
        var order: [String] = []
        var errors = 0
        reactor.unhandledError = { _ in errors += 1 }
        for event in [ReactorEvent.startup, .shutdown] {
            reactor.addTrigger(.after, event) { order.append("after \(event)") }
            reactor.addTrigger(.during, event) { order.append("during \(event)") }
            reactor.addTrigger(.before, event) { throw Mishap() }
            reactor.addTrigger(.before, event) {
                let later = Deferred<Void>(on: reactor)
                reactor.callLater(.milliseconds(2)) {
                    order.append("before \(event)")
                    later.succeed()
                }
                return later
            }
        }
        reactor.addTrigger(.after, .startup) { reactor.stop() }
        try reactor.run()
        let phases = ["before", "during", "after"]
        #expect(order == phases.map { "\($0) startup" } + phases.map { "\($0) shutdown" })
        #expect(errors == 2)
    }

    // R1: what one run was told to do at its end is not done again at the end of the next
    @Test(arguments: names)
    func `a trigger is for one run, fired or not`(name: String) throws {
        let reactor = Reactor(backend: try Self.backend(name))
        var fired: [String] = []
        reactor.addTrigger(.after, .startup) {
            fired.append("start")
            // Late for this start, and the next is another run's.
            reactor.addTrigger(.before, .startup) { fired.append("late") }
            reactor.stop()
        }
        reactor.addTrigger(.after, .shutdown) { fired.append("stop") }
        try reactor.run()
        try reactor.run(signals: .ignore) { $0.stop() }
        #expect(fired == ["start", "late", "stop"])
    }

    @Test(arguments: names)
    func `a trigger of a start that fires late does not shorten the stop`(name: String) throws {
        let reactor = Reactor(backend: try Self.backend(name))
        let start = Deferred<Void>(on: reactor)
        var order: [String] = []
        reactor.addTrigger(.before, .startup) { start }
        reactor.addTrigger(.before, .shutdown) {
            start.succeed()
            return reactor.deferLater(.milliseconds(2)) { order.append("before") }
        }
        reactor.addTrigger(.after, .shutdown) { order.append("after") }
        try reactor.run(signals: .ignore) { $0.stop() }
        #expect(order == ["before", "after"])
    }

    // R2
    @Test(arguments: names)
    func `stopping twice or when not running is harmless, and it runs again`(name: String) throws {
        let reactor = Reactor(backend: try Self.backend(name))
        #expect(!reactor.stop())
        for _ in 0..<3 {
            var answers: [Bool] = []
            try reactor.run(signals: .ignore) { reactor in
                answers = [reactor.stop(), reactor.stop()]
            }
            #expect(answers == [true, false])
            #expect(reactor.statistics.openHandles == 0)
        }
    }

    // R3
    @Test(arguments: names)
    func `a stop ends every connection and releases every handle`(name: String) throws {
        final class Counted: StreamProtocol {
            var lost = 0
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
            func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
                lost += 1
            }
        }
        let reactor = Reactor(backend: try Self.backend(name))
        let server = Counted(), client = Counted()
        try reactor.run(signals: .ignore) { reactor in
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor) { server }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                .addCallback { _ in _ = reactor.stop() }
                .whenFailed { _ in reactor.stop(within: .zero) }
        }
        #expect(client.lost == 1)
        let figures = reactor.statistics
        #expect(figures.openHandles == 0 && figures.liveTransports == 0)
    }

    @Test(arguments: names)
    func `an error in the closure ends the run and is thrown`(name: String) throws {
        #expect(throws: Mishap.self) {
            try Reactor.run(backend: try Self.backend(name), signals: .ignore) { reactor in
                try ServerEndpoint.tcp(port: 0, interface: .loopback).listen(on: reactor) {
                    Quiet()
                }
                throw Mishap()
            }
        }
    }

    @Test(arguments: names)
    func `a handle outlives its reactor and says so`(name: String) throws {
        var handle: Remote<Reactor>?
        try Reactor.run(backend: try Self.backend(name), signals: .ignore) { reactor in
            handle = reactor.remote
            reactor.stop()
        }
        #expect(handle?.callFromThread { _ in } == false)
    }

    @Test func `a remote run returns its result, and fails when the reactor has gone`() async throws
    {
        let reactor = Reactor(backend: .epoll)
        let handle = reactor.remote
        let thread = try NativeThreadOfTest { try! reactor.run() }
        let number = try await handle.run { reactor in reactor.number }
        #expect(number > 0)
        handle.callFromThread { $0.stop() }
        thread.join()
        await #expect(throws: ReactorStopped.self) { try await handle.run { $0.number } }
    }

    // DESIGN 7: one wake-up for a thousand calls
    @Test func `a thousand calls while the reactor is busy wake it once`() throws {
        let wakes = CountingWaker()
        let choice = BackendChoice(name: "counting") { CountingBackend(wakes) }
        let reactor = Reactor(backend: choice, services: nil)
        reactor.turn(until: reactor.now)
        var count = 0
        let handle = reactor.remote
        reactor.callLater(.zero) {
            // The reactor stays inside this callback until the thread has made its calls.
            try NativeThreadOfTest {
                for _ in 0..<1_000 { handle.callFromThread { _ in } }
            }
            .join()
            count = wakes.count
        }
        while count == 0 { reactor.turn(until: reactor.now) }
        #expect(count == 1)
        reactor.shutDown()
    }

    @Test func `a group shares its port, and one error stops all`() throws {
        let ports = PortList()
        try ReactorGroup.run(count: 3, backend: .epoll, signals: .ignore) { reactor in
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor) { Quiet() }
            ports.add(port.localAddress)
            if ports.count == 3 { reactor.stop(within: .zero) }
        }
        #expect(ports.count == 3 && Set(ports.all).count == 1)
        let starts = Atomic(0)
        #expect(throws: Mishap.self) {
            try ReactorGroup.run(count: 3, backend: .libuv, signals: .ignore) { _ in
                if starts.add(1, ordering: .relaxed).newValue == 2 { throw Mishap() }
            }
        }
    }

    @Test(arguments: backendNames)
    func `a group catches signals before any of its reactors serves`(name: String) async {
        await #expect(processExitsWith: .success) { [name] in
            try synchronously {
                let starts = Atomic(0)
                try ReactorGroup.run(count: 4, backend: try namedBackend(name)) { reactor in
                    var action = sigaction()
                    sigaction(SIGTERM, nil, &action)
                    precondition(
                        unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) != 0)
                    // That of the last would end the process.
                    if starts.add(1, ordering: .relaxed).newValue == 4 { kill(getpid(), SIGTERM) }
                }
            }
            exit(0)
        }
    }

    // P1
    @Test func `a caller's mistakes trap with a sentence`() async {
        await #expect(processExitsWith: .failure) {
            try synchronously {
                try Reactor.run(backend: .epoll, signals: .ignore) { try $0.run() }
            }
        }
        await #expect(processExitsWith: .failure) {
            try synchronously {
                try Reactor.run(backend: .libuv, signals: .ignore) { $0.turn() }
            }
        }
        await #expect(processExitsWith: .failure) {
            let peer = MemoryTransport(Quiet())
            peer.transport.registerProducer(peer.transport)
            peer.transport.registerProducer(peer.transport)
        }
        let other = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            let reactor = Reactor(backend: .epoll)
            nonisolated(unsafe) let shared = reactor
            try synchronously {
                try reactor.run(signals: .ignore) { reactor in
                    let thread = try NativeThreadOfTest { _ = shared.now }
                    thread.join()
                }
            }
        }
        let text = String(decoding: other?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("use reactor.remote.callFromThread"))
    }
}
