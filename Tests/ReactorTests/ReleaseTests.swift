// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
import Torsion
import TorsionTesting

/// What a reactor lets go of when it has ended: everything, itself too.
@Suite struct ReleaseTests {
    /// A protocol that holds its transport, and so its reactor.
    private final class Holder: StreamProtocol, DatagramProtocol {
        var transport: (any StreamTransport)?
        var port: (any DatagramTransport)?

        func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

        func transportStarted(_ transport: any DatagramTransport) { port = transport }

        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) {}
    }

    /// Opens or begins one of each, every closure holding the reactor.
    private func occupy(_ reactor: Reactor, pipe: PipeOfTest) throws {
        let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in
            hold(reactor)
            return Holder()
        }
        // A circle until the port closes.
        var own: ListeningPort?
        own = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in
            own?.stopListening()
            return Holder()
        }
        try reactor.listenForDatagrams(on: .ipv4(.loopback, port: 0), Holder())
        let service = ClientService(to: .address(port.localAddress), on: reactor) {
            hold(reactor)
            return Holder()
        } prepare: { _ in
            reactor.deferLater(.seconds(3_600)) { hold(reactor) }
        }
        service.start()
        service.whenConnected().addCallback { _ in hold(service) }
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { Holder() }
            .addBoth { _ in hold(reactor) }
        reactor.callLater(.seconds(3_600)) { hold(reactor) }
        LoopingCall(on: reactor) { hold(reactor) }.start(every: .seconds(3_600))
        _ = try reactor.watch(descriptor: pipe.input, for: .readable) { _ in hold(reactor) }
        _ = try reactor.signals.catchSignal(.hangUp) { _ in hold(reactor) }
        try reactor.resolver.resolve("localhost", port: 1).addBoth { _ in hold(reactor) }
        reactor.deferToThread { 1 }.addBoth { _ in hold(reactor) }
        reactor.spawn { try await reactor.sleep(for: .seconds(3_600)) }
            .addBoth { _ in hold(reactor) }
        reactor.remote.callFromThread { reactor in
            reactor.callLater(.seconds(3_600)) { hold(reactor) }
        }
    }

    @Test(arguments: backendNames)
    func `a reactor that was made for one run goes with it`(name: String) throws {
        let pipe = try PipeOfTest()
        weak var left: Reactor?
        var handle: Remote<Holder>?
        try Reactor.run(backend: try namedBackend(name), signals: .stop) { reactor in
            left = reactor
            handle = reactor.remote(to: Holder())
            try occupy(reactor, pipe: pipe)
            reactor.unhandledError = { _ in hold(reactor) }
            reactor.addTrigger(.after, .startup) { hold(reactor) }
            reactor.addTrigger(.before, .shutdown) { Deferred<Void>(on: reactor) }
            reactor.callLater(.milliseconds(5)) { reactor.stop(within: .milliseconds(5)) }
        }
        #expect(left == nil)
        #expect(handle?.callFromThread { _ in } == false)
    }

    @Test(arguments: backendNames)
    func `a reactor whose run has ended holds nothing, and goes when its owner lets go`(
        name: String
    ) throws {
        let pipe = try PipeOfTest()
        weak var left: Reactor?
        do {
            let reactor = Reactor(backend: try namedBackend(name))
            left = reactor
            for gracePeriod in [Duration.zero, .milliseconds(5)] {
                try reactor.run(signals: .stop) { reactor in
                    try occupy(reactor, pipe: pipe)
                    reactor.callLater(.milliseconds(5)) { reactor.stop(within: gracePeriod) }
                }
                #expect(reactor.statistics.liveTransports == 0)
            }
        }
        #expect(left == nil)
    }

    @Test(arguments: backendNames, [0, 1, 20])
    func `a reactor that was shut down holds nothing, and goes when its owner lets go`(
        name: String, turnCount: Int
    ) throws {
        let pipe = try PipeOfTest()
        weak var left: Reactor?
        do {
            let reactor = Reactor(backend: try namedBackend(name))
            left = reactor
            try occupy(reactor, pipe: pipe)
            for _ in 0..<turnCount {
                reactor.turn(until: reactor.now.advanced(by: .milliseconds(1)))
            }
            reactor.shutDown()
            #expect(reactor.statistics.liveTransports == 0)
        }
        #expect(left == nil)
    }

    @Test(arguments: backendNames)
    func `a reactor that never started lets go of what was planned`(name: String) throws {
        weak var left: Reactor?
        do {
            let reactor = try Reactor.turned(by: name)
            left = reactor
            reactor.addTrigger(.after, .startup) { hold(reactor) }
            reactor.callLater(.zero) { hold(reactor) }
            reactor.shutDown()
            #expect(reactor.statistics.delayedCalls == 0)
        }
        #expect(left == nil)
    }

    @Test func `the reactors of a group go with their run`() throws {
        let living = LivingCount()
        try ReactorGroup.run(count: 2, backend: .epoll, signals: .ignore) { reactor in
            let guest = Guest(living)
            reactor.unhandledError = { _ in
                hold(reactor)
                hold(guest)
            }
            reactor.addTrigger(.after, .shutdown) { hold(reactor) }
            // Not before the other has come too: it stops both.
            if living.sum == 2 { reactor.stop() }
        }
        #expect(living.count == 0 && living.sum == 2)
    }

    @Test(arguments: backendNames)
    func `shutting down tells the triggers of a stop, and waits for none`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        try reactor.start()
        var order: [String] = []
        reactor.addTrigger(.after, .shutdown) { order.append("after") }
        reactor.addTrigger(.during, .shutdown) { order.append("during") }
        reactor.addTrigger(.before, .shutdown) { [unowned reactor] in
            order.append("before")
            return Deferred<Void>(on: reactor)
        }
        reactor.shutDown()
        #expect(order == ["before", "during", "after"])
        // They were for that one.
        try reactor.start()
        reactor.shutDown()
        #expect(order.count == 3)
    }
}

/// Uses what a closure captured.
private func hold(_ object: AnyObject?) {}

/// Counts objects on several threads.
private final class LivingCount: Sendable {
    private let state = Lock((count: 0, sum: 0))

    var count: Int { state.withLock { $0.count } }
    /// All there ever were.
    var sum: Int { state.withLock { $0.sum } }

    func came() { state.withLock { $0 = ($0.count + 1, $0.sum + 1) } }
    func went() { state.withLock { $0.count -= 1 } }
}

/// Is counted while it lives.
private final class Guest {
    private let living: LivingCount

    init(_ living: LivingCount) {
        self.living = living
        living.came()
    }

    deinit { living.went() }
}

/// A pipe of the system that nobody writes to.
private final class PipeOfTest {
    let input: Int32
    private let output: Int32

    init() throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        (input, output) = (ends[0], ends[1])
    }

    deinit {
        close(input)
        close(output)
    }
}
