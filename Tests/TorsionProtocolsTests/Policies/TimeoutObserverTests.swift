// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// Echoes lines, and does what some of them say.
private final class Lines: LineProtocol {
    let lines = LineDecoder()
    var loss: ConnectionLoss?
    private(set) var transport: (any StreamTransport)?

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        if line == "pause" { transport.pauseProducing() }
        transport.write(line)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        self.transport = nil
    }
}

/// Says goodbye at a deadline.
private final class Farewell: LineProtocol {
    let lines = LineDecoder()
    var loss: ConnectionLoss?
    var deadlines: [ConnectionLoss.Deadline] = []
    private(set) var transport: (any StreamTransport)?

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {}

    func timedOut(_ deadline: ConnectionLoss.Deadline, from transport: any StreamTransport) {
        deadlines.append(deadline)
        transport.write("421 \(deadline)\r\n")
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        self.transport = nil
    }
}

/// Is logged in when a byte 1 has arrived.
private final class Login: PhasedProtocol {
    var loss: ConnectionLoss?
    private(set) var phase = ConnectionPhase.handshaking

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        if bytes.contains(1) { phase = .open }
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { loss = why }
}

@Suite struct TimeoutObserverTests {
    private static let all = Timeouts(
        handshake: .seconds(10), request: .seconds(30), idle: .seconds(60))

    @Test func `a client that says nothing is given up`() {
        let proto = Lines()
        let peer = MemoryTransport(proto, layers: .observer(TimeoutObserver(Self.all)))
        peer.clock.advance(by: .milliseconds(9_999))
        #expect(peer.isOpen)
        peer.clock.advance(by: .milliseconds(1))
        #expect(peer.wasReset && proto.loss == .deadlinePassed(.handshaking))
        #expect(peer.clock.reactor.delayedCalls.isEmpty)
    }

    @Test func `a handshake that a protocol tells of is not ended by a byte`() {
        let proto = Login()
        let peer = MemoryTransport(proto, layers: .observer(TimeoutObserver(Self.all)))
        for _ in 0..<9 {
            peer.clock.advance(by: .seconds(1))
            peer.receive(Bytes([0]))
        }
        peer.clock.advance(by: .seconds(1))
        #expect(proto.loss == .deadlinePassed(.handshaking))

        let other = Login()
        let second = MemoryTransport(other, layers: .observer(TimeoutObserver(Self.all)))
        second.receive(Bytes([1]))
        second.clock.advance(by: .seconds(59))
        #expect(second.isOpen)
        second.clock.advance(by: .seconds(1))
        #expect(other.loss == .deadlinePassed(.idle))
    }

    @Test func `a protocol answers a deadline, then the connection closes`() {
        let proto = Farewell()
        let peer = MemoryTransport(proto, layers: .observer(TimeoutObserver(Self.all)))
        peer.receive("HELO\r\nMAIL")
        peer.clock.advance(by: .seconds(30))
        #expect(peer.takeText() == "421 request\r\n")
        #expect(!peer.wasReset && peer.hasEnded)
        #expect(proto.loss == .deadlinePassed(.request))
        // The socket lingers for the peer, then nothing is left.
        peer.clock.advance(by: .seconds(30))
        #expect(peer.clock.reactor.delayedCalls.isEmpty && proto.deadlines == [.request])
    }

    /// A close waits for a producer, which a deadline must not.
    @Test func `a producer is stopped at the deadline, and holds nothing open`() {
        final class Ticker: PushProducer {
            var calls: [String] = []
            func pauseProducing() { calls.append("pause") }
            func resumeProducing() { calls.append("resume") }
            func stopProducing() { calls.append("stop") }
        }
        let proto = Farewell()
        let peer = MemoryTransport(proto, layers: .observer(TimeoutObserver(Self.all)))
        let ticker = Ticker()
        proto.transport?.registerProducer(ticker)
        peer.receive("HELO\r\nMAIL")
        peer.clock.advance(by: .seconds(30))
        #expect(peer.takeText() == "421 request\r\n")
        #expect(proto.loss == .deadlinePassed(.request) && ticker.calls == ["stop"])
        peer.clock.advance(by: .seconds(30))
        #expect(peer.clock.reactor.delayedCalls.isEmpty)
    }

    @Test func `a peer that does not read the answer is given up`() {
        let proto = Farewell()
        let timeouts = Timeouts(idle: .seconds(60))
        let peer = MemoryTransport(
            proto, roomBytes: 0, layers: .observer(TimeoutObserver(timeouts)))
        peer.receive("HELO\r\n")
        proto.transport?.write([UInt8](repeating: 1, count: 100_000))
        peer.clock.advance(by: .seconds(200))
        #expect(proto.deadlines == [.idle])
        #expect(peer.wasReset && proto.loss == .deadlinePassed(.closing))
        #expect(peer.clock.reactor.delayedCalls.isEmpty)
    }

    @Test func `a line that trickles in is given up, and one that is whole starts anew`() {
        let proto = Lines()
        let peer = MemoryTransport(proto, layers: .observer(TimeoutObserver(Self.all)))
        for _ in 0..<29 {
            peer.receive("x")
            peer.clock.advance(by: .seconds(1))
        }
        peer.receive("\nx")
        peer.clock.advance(by: .milliseconds(29_999))
        #expect(peer.isOpen)
        peer.clock.advance(by: .milliseconds(1))
        #expect(peer.wasReset && proto.loss == .deadlinePassed(.request))
    }

    @Test func `who talks is not idle, and who stops is given up after the whole time`() {
        let proto = Lines()
        let peer = MemoryTransport(proto, layers: .observer(TimeoutObserver(Self.all)))
        for _ in 0..<10 {
            peer.receive("hello\n")
            peer.clock.advance(by: .seconds(50))
        }
        #expect(peer.isOpen)
        peer.clock.advance(by: .milliseconds(9_999))
        #expect(peer.isOpen)
        peer.clock.advance(by: .milliseconds(1))
        #expect(proto.loss == .deadlinePassed(.idle))
    }

    @Test func `a client that takes what is sent is not idle, and one that stops taking is`() {
        let proto = Lines()
        let timeouts = Timeouts(idle: .seconds(60))
        let peer = MemoryTransport(
            proto, roomBytes: 0, layers: .observer(TimeoutObserver(timeouts)))
        proto.transport?.write([UInt8](repeating: 1, count: 100_000))
        for _ in 0..<10 {
            peer.clock.advance(by: .seconds(50))
            peer.drain(10)
        }
        #expect(peer.isOpen)
        peer.clock.advance(by: .seconds(120))
        #expect(peer.wasReset && proto.loss == .deadlinePassed(.idle))
    }

    @Test func `while the protocol has paused, nobody waits for the peer`() {
        let proto = Lines()
        let peer = MemoryTransport(proto, layers: .observer(TimeoutObserver(Self.all)))
        peer.receive("pause\nbeginning")
        peer.clock.advance(by: .seconds(600))
        #expect(peer.isOpen)
        proto.transport?.resumeProducing()
        peer.clock.advance(by: .seconds(29))
        #expect(peer.isOpen)
        // What was kept is delivered outside of a read, and is noticed when the timer looks.
        peer.clock.advance(by: .seconds(30))
        #expect(proto.loss == .deadlinePassed(.request))
    }

    @Test func `no timeouts set no timer, and a lost connection leaves none`() {
        let peer = MemoryTransport(Lines(), layers: .observer(TimeoutObserver(Timeouts())))
        peer.receive("x")
        #expect(peer.clock.reactor.delayedCalls.isEmpty)
        peer.peerResets()
        let other = MemoryTransport(Lines(), layers: .observer(TimeoutObserver(Self.all)))
        #expect(other.clock.reactor.delayedCalls.count == 1)
        other.receive("x")
        #expect(other.clock.reactor.delayedCalls.count == 1)
        other.peerResets()
        #expect(other.clock.reactor.delayedCalls.isEmpty)
    }

    @Test func `the clock begins when the filters have agreed, who have a deadline of their own`() {
        var options = StreamOptions()
        options.handshakeTimeout = .seconds(3)
        let timeouts = Timeouts(handshake: .seconds(2), idle: .seconds(5))
        func connect(_ proto: Lines, _ clock: ManualClock) -> MemoryTransport {
            let layers = StreamLayers.filter { ProxyHeaderReader(trusting: AddressBlock.local) }
                .observed(by: TimeoutObserver(timeouts))
            return MemoryTransport(proto, clock: clock, options: options, layers: layers)
        }
        let proto = Lines()
        let peer = connect(proto, ManualClock())
        peer.receive("PROXY ")
        peer.clock.advance(by: .milliseconds(2_500))
        #expect(peer.isOpen && proto.transport == nil)
        peer.receive("UNKNOWN\r\n")
        peer.clock.advance(by: .milliseconds(1_999))
        #expect(proto.transport != nil && proto.loss == nil)
        peer.clock.advance(by: .milliseconds(1))
        #expect(peer.wasReset && proto.loss == .deadlinePassed(.handshaking))

        let clock = ManualClock(), late = Lines()
        var contexts: [String] = []
        clock.reactor.unhandledError = { contexts.append($0.context) }
        let latePeer = connect(late, clock)
        latePeer.receive("PROXY ")
        clock.advance(by: .milliseconds(2_999))
        #expect(latePeer.isOpen)
        clock.advance(by: .milliseconds(1))
        #expect(!latePeer.isOpen && late.transport == nil && late.loss == nil)
        // Counted, and not reported: any stranger could fill a log by it.
        #expect(contexts.isEmpty && clock.reactor.statistics.handshakesFailed == 1)
        #expect(clock.reactor.delayedCalls.isEmpty)
    }

    @Test func `policies by name compose`() throws {
        let world = SimulatedWorld(seed: 1)
        let proto = Lines(), silent = Lines(), late = Lines()
        nonisolated(unsafe) var log: [String] = []
        try world.host("server").run { reactor in
            try ServerEndpoint.tcp(port: 7)
                .logged { log.append($0) }
                .limited(to: ConnectionLimits(total: 1))
                .timeouts(Self.all)
                .listen(on: reactor) { proto }
        }
        try world.host("client").run { reactor in
            let server = ClientEndpoint.tcp(host: "server", port: 7).timeouts(Timeouts())
            server.connect(on: reactor) { silent }
                .addCallback { _ in server.connect(on: reactor) { late } }
                .whenFailed { world.host("client").reactor.report($0, in: "connecting") }
        }
        try world.run { silent.loss != nil && late.loss != nil }
        #expect(late.loss == .closedByPeer && proto.loss == .deadlinePassed(.handshaking))
        #expect(world.elapsed >= .seconds(10) && world.elapsed < .seconds(11))
        #expect(log.count == 2 && log.last?.hasSuffix("lost: took too long: handshaking") == true)
        try world.finish()
    }

    // A file or a splice leaves only when the queue is empty: then it is known when that was.
    @Test func `bytes that left by themselves tell when the queue had left`() {
        let proto = Lines()
        let observer = TimeoutObserver(Timeouts(idle: .seconds(60)))
        let peer = MemoryTransport(proto, roomBytes: 10, layers: .observer(observer))
        let transport: any StreamTransport = peer.transport
        transport.write(String(repeating: "x", count: 100))
        transport.write("y")
        #expect(transport.pendingByteCount == 91)
        peer.clock.advance(by: .seconds(1))
        peer.drain()
        peer.clock.advance(by: .seconds(1))
        observer.didSend(byteCount: 5, of: transport)
        peer.clock.advance(by: .milliseconds(59_999))
        #expect(peer.isOpen)
        peer.clock.advance(by: .milliseconds(1))
        #expect(proto.loss == .deadlinePassed(.idle))
    }

    @Test func `a deadline that nobody looks at is found`() async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            let timeouts = Timeouts(idle: .seconds(60))
            let peer = MemoryTransport(Lines(), layers: .observer(TimeoutObserver(timeouts)))
            peer.clock.reactor.checkInvariants()
            for call in peer.clock.reactor.delayedCalls { call.cancel() }
            peer.clock.reactor.checkInvariants()
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("its timer is not due when it should be"))
    }
}
