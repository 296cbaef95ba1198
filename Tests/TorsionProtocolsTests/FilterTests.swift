// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import Torsion
import TorsionTesting

private final class Recorder: HalfCloseableProtocol {
    var transport: (any StreamTransport)?
    var text = ""
    var events: [String] = []
    var whenRead: (String, any StreamTransport) -> Void = { _, _ in }

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        text += String(decoding: bytes)
        whenRead(String(decoding: bytes), transport)
        if bytes == "throw" { throw Mishap() }
        transport.write(bytes)
    }

    func readConnectionLost(from transport: any StreamTransport) { events.append("read lost") }
    func writeConnectionLost(from transport: any StreamTransport) { events.append("write lost") }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        events.append("\(why)")
        self.transport = nil
    }
}

private struct Mishap: Error {}

private final class Producer: PushProducer {
    var calls: [String] = []
    func pauseProducing() { calls.append("pause") }
    func resumeProducing() { calls.append("resume") }
    func stopProducing() { calls.append("stop") }
}

/// Inverts each byte on its way out, and back on its way in.
private final class Inverting: StreamFilter {
    static func inverted(_ text: String) -> Bytes { Bytes(text.utf8.map { ~$0 }) }

    private func inverted(_ bytes: RawSpan) -> Bytes { Bytes(Array(bytes).map { ~$0 }) }

    override func receive(_ bytes: RawSpan) { deliver(inverted(bytes).span) }

    override func transmit(_ bytes: RawSpan) -> Int {
        send(inverted(bytes))
        return bytes.byteCount
    }
}

/// Delivers a byte at a time, and gives the rest back where it is not taken.
private final class Bytewise: StreamFilter {
    override func receive(_ bytes: RawSpan) {
        var at = 0
        while at < bytes.byteCount, isDelivering {
            deliver(bytes.extracting(at..<(at + 1)))
            at += 1
        }
        unread(bytes.extracting(at..<bytes.byteCount))
    }
}

/// Agrees when it has been told to, and reads nothing before.
private final class Waiting: StreamFilter {
    var goOn: () -> Void = {}

    override func begin() {}

    override func receive(_ bytes: RawSpan) {
        guard !hasAgreed else { return deliver(bytes) }
        pauseReceiving()
        unread(bytes)
        goOn = { [unowned self] in
            agree()
            resumeReceiving()
        }
    }
}

/// Counts filters that live, and those that were closed.
private final class Ledger {
    var live = 0
    var closed = 0
}

private final class Counted: StreamFilter {
    private let ledger: Ledger

    init(in ledger: Ledger) {
        self.ledger = ledger
        ledger.live += 1
        super.init()
    }

    deinit { ledger.live -= 1 }

    override func closed() { ledger.closed += 1 }
}

@Suite struct FilterTests {
    @Test(arguments: PassingFilter.allCases)
    func `a protocol cannot tell that three filters are below it`(kind: PassingFilter) {
        let proto = Recorder()
        let peer = MemoryTransport(proto, layers: .passing(kind))
        peer.receive("hello")
        #expect(peer.takeText() == "hello")
        #expect(proto.transport?.peerAddress == .ipv4(.loopback, port: 40_000))
        #expect(proto.transport?.localAddress == .ipv4(.loopback, port: 80))
        #expect(proto.transport?.details.isEmpty == true)
        peer.peerCloses()
        #expect(proto.events == ["read lost"] && peer.isOpen)
        proto.transport?.write("after the end")
        proto.transport?.loseWriteConnection()
        peer.clock.turn()
        #expect(peer.takeText() == "after the end")
        #expect(proto.events == ["read lost", "closed by the peer"])
    }

    @Test(arguments: PassingFilter.allCases)
    func `backpressure reaches the producer through filters`(kind: PassingFilter) {
        let proto = Recorder(), producer = Producer()
        let peer = MemoryTransport(proto, roomBytes: 10, layers: .passing(kind))
        proto.transport?.registerProducer(producer)
        // Each filter holds what one write made, and no more.
        for _ in 0..<4 { proto.transport?.write([UInt8](repeating: 1, count: 100_000)) }
        #expect(producer.calls == ["pause"])
        peer.drain()
        #expect(producer.calls == ["pause", "resume"])
        #expect(peer.takeBytes().count == 400_000)
        proto.transport?.abortConnection()
        peer.clock.turn()
        #expect(producer.calls == ["pause", "resume", "stop"])
        #expect(peer.wasReset && proto.events == ["aborted here"])
    }

    @Test
    func `what a filter gives back comes again when the reader goes on, and the end behind it`() {
        let proto = Recorder()
        let peer = MemoryTransport(proto, layers: .filter { Bytewise() })
        proto.transport?.pauseProducing()
        // Below, what is paused delivers nothing.
        peer.receive("abc")
        #expect(proto.text == "")
        proto.transport?.resumeProducing()
        peer.clock.turn()
        #expect(proto.text == "abc" && proto.events == [])
        proto.whenRead = { _, transport in transport.pauseProducing() }
        peer.receive("defg")
        peer.peerCloses()
        for expected in ["abcd", "abcde", "abcdef", "abcdefg"] {
            #expect(proto.text == expected && proto.events == [])
            #expect(peer.clock.reactor.statistics.queuedBytes == Int(7 - expected.utf8.count))
            proto.transport?.resumeProducing()
            peer.clock.turn()
        }
        peer.clock.turn()
        #expect(proto.events == ["read lost"])
        proto.transport?.abortConnection()
        peer.clock.turn()
    }

    @Test func `what a filter gives back before it agrees comes when it has`() {
        let proto = Recorder()
        nonisolated(unsafe) var filter: Waiting?
        let peer = MemoryTransport(
            proto,
            layers: .filter {
                let made = Waiting()
                filter = made
                return made
            })
        peer.receive("early")
        peer.clock.turn()
        #expect(proto.text == "" && proto.transport == nil)
        filter?.goOn()
        filter = nil
        peer.clock.turn()
        peer.clock.turn()
        #expect(proto.text == "early")
        proto.transport?.abortConnection()
        peer.clock.turn()
    }

    @Test(arguments: PassingFilter.allCases)
    func `what a protocol throws above filters is the reason of the loss`(kind: PassingFilter) {
        let proto = Recorder()
        let peer = MemoryTransport(proto, layers: .passing(kind))
        peer.receive("throw")
        #expect(proto.events.first?.hasPrefix("the protocol failed: Mishap") == true)
        #expect(peer.wasReset)
    }

    @Test func `a switch of protocols keeps the filter, the observer and every byte`() {
        final class First: StreamProtocol {
            let next = Recorder()
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
                let rest = bytes.extracting(1..<bytes.byteCount)
                transport.switchProtocol(to: next, remaining: rest)
            }
        }
        var texts = 0
        let first = First()
        let log = TrafficLog { _ in texts += 1 }
        let layers = StreamLayers.filter { Inverting() }.observed(by: log)
        let peer = MemoryTransport(first, layers: layers)
        peer.receive(Inverting.inverted("|rest"))
        peer.receive(Inverting.inverted(" more"))
        #expect(first.next.text == "rest more")
        #expect(peer.takeBytes() == Inverting.inverted("rest more"))
        // The connection, two reads and two writes.
        #expect(texts == 5)
    }

    @Test(arguments: PassingFilter.allCases)
    func `a protocol without half-closing stays so above filters`(kind: PassingFilter) {
        final class Plain: StreamProtocol {
            var loss: ConnectionLoss?
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
            func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
                loss = why
            }
        }
        let proto = Plain()
        let peer = MemoryTransport(proto, layers: .passing(kind))
        peer.peerCloses()
        peer.clock.turn()
        #expect(proto.loss == .closedByPeer && !peer.isOpen)
    }

    @Test(arguments: Callback.allCases)
    func `an error of any callback above filters ends the connection with it`(callback: Callback) {
        let proto = Thrower(callback)
        let peer = MemoryTransport(proto, layers: .passing())
        if callback == .switched {
            peer.transport.reactor.callLater(.zero) { proto.switchToItself() }
            peer.clock.advance(by: .zero)
        }
        peer.receive("x")
        peer.clock.turn()
        if callback == .writeLost { proto.transport?.loseWriteConnection() }
        peer.clock.turn()
        peer.peerCloses()
        peer.clock.turn()
        #expect(proto.losses == [.protocolFailed(Mishap())])
        #expect(peer.wasReset)
    }

    @Test(arguments: PassingFilter.allCases)
    func `a pull producer is called through filters`(kind: PassingFilter) {
        final class Puller: PullProducer {
            var left = ["one ", "two ", "three"]
            weak var transport: (any StreamTransport)?
            func produceMore() {
                guard !left.isEmpty else { return transport!.unregisterProducer() }
                transport?.write(left.removeFirst())
            }
            func stopProducing() {}
        }
        let proto = Recorder(), puller = Puller()
        let peer = MemoryTransport(proto, roomBytes: 0, layers: .passing(kind))
        puller.transport = proto.transport
        proto.transport?.registerProducer(puller)
        proto.transport?.loseConnection()
        for _ in 0..<4 { peer.drain(8) }
        peer.drain()
        for _ in 0..<4 { peer.clock.turn() }
        #expect(peer.takeText() == "one two three")
        peer.peerCloses()
        #expect(proto.events == ["closed here"])
    }

    @Test(arguments: PassingFilter.allCases)
    func `a pipe between two stacks of filters carries both directions`(kind: PassingFilter) {
        let clock = ManualClock()
        let near = Recorder(), far = Recorder()
        let left = MemoryTransport(near, clock: clock, layers: .passing(kind))
        let right = MemoryTransport(far, clock: clock, layers: .passing(kind))
        var counts: [Int] = []
        let leftTop = near.transport!, rightTop = far.transport!
        leftTop.pipe(to: rightTop).addCallback { counts.append($0) }
        rightTop.pipe(to: leftTop).addCallback { counts.append($0) }
        left.receive("question")
        left.peerCloses()
        #expect(right.takeText() == "question" && right.hasEnded && !left.hasEnded)
        right.receive("answer")
        right.peerCloses()
        #expect(left.takeText() == "answer" && left.hasEnded)
        #expect(counts == [8, 6] && near.events.isEmpty && far.events.isEmpty)
        #expect(!left.wasReset && !right.wasReset && !left.isOpen && !right.isOpen)
    }

    @Test func `filters are closed once and released with their protocol after the loss`() {
        let clock = ManualClock()
        nonisolated(unsafe) let ledger = Ledger()
        weak var proto: Recorder?
        do {
            let made = Recorder()
            proto = made
            let layers = (0..<3).reduce(StreamLayers()) { layers, _ in
                layers.filtered { Counted(in: ledger) }
            }
            let peer = MemoryTransport(made, clock: clock, layers: layers)
            peer.receive("x")
            #expect(ledger.live == 3 && ledger.closed == 0)
            made.transport?.abortConnection()
            clock.turn()
        }
        clock.turn()
        #expect(proto == nil && clock.reactor.statistics.liveTransports == 0)
        #expect(ledger.live == 0 && ledger.closed == 3)
    }

    @Test(arguments: BackendChoice.tested.map(\.name))
    func `endpoints compose with filters and observers on real sockets`(backend: String) throws {
        let choice = try BackendChoice.named(backend, among: BackendChoice.tested)
        let server = Recorder(), client = Recorder()
        nonisolated(unsafe) var log: [String] = []
        try Reactor.run(backend: choice, signals: .ignore) { reactor in
            let endpoint = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
            let port = try endpoint.filtered { Inverting() }
                .observed { TrafficLog { log.append($0) } }
                .listen(on: reactor) { server }
            ClientEndpoint.address(port.localAddress).observed { TrafficLog { _ in } }
                .filtered { Inverting() }
                .connect(on: reactor) { client }
                .addCallback { client in client.transport?.write("x") }
                .whenFailed { _ in reactor.stop(within: .zero) }
            var isDone: (() -> Void)?
            isDone = {
                guard log.count < 3 else { return _ = reactor.stop(within: .seconds(1)) }
                reactor.callLater(.zero) { isDone?() }
            }
            isDone?()
            reactor.addTrigger(.after, .shutdown) { isDone = nil }
        }
        // What has arrived when the stop begins is delivered as well.
        #expect(server.text.hasPrefix("x"))
        #expect(log[1].hasSuffix("|x|"))
    }
}

enum Callback: CaseIterable { case made, data, readLost, writeLost, switched }

/// Throws from one of its callbacks.
private final class Thrower: HalfCloseableProtocol {
    private let callback: Callback
    var losses: [ConnectionLoss] = []
    private(set) var transport: (any StreamTransport)?
    private var isMade = false

    init(_ callback: Callback) { self.callback = callback }

    func switchToItself() { transport?.switchProtocol(to: self) }

    private func met(_ here: Callback) throws { if here == callback { throw Mishap() } }

    func connectionMade(_ transport: any StreamTransport) throws {
        self.transport = transport
        if isMade { try met(.switched) }
        isMade = true
        try met(.made)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try met(.data)
    }

    func readConnectionLost(from transport: any StreamTransport) throws { try met(.readLost) }

    func writeConnectionLost(from transport: any StreamTransport) throws { try met(.writeLost) }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        losses.append(why)
        self.transport = nil
    }
}
