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

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        text += String(decoding: bytes)
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

@Suite struct LayerTests {
    private static func layered(
        _ proto: any StreamProtocol, count: Int = 3, log: @escaping (String) -> Void = { _ in }
    ) -> any StreamProtocol {
        (0..<count).reduce(proto) { above, _ in Logged(above: above, log) }
    }

    @Test func `a protocol cannot tell that three layers are below it`() {
        let proto = Recorder()
        let peer = MemoryTransport(Self.layered(proto))
        peer.receive("hello")
        #expect(peer.takeText() == "hello")
        #expect(proto.transport?.id == peer.transport.id)
        #expect(proto.transport?.peerAddress == peer.transport.peerAddress)
        proto.transport?.watermarks = Watermarks(low: 1, high: 2, limit: 3)
        #expect(peer.transport.watermarks.high == 2)
        peer.peerCloses()
        #expect(proto.events == ["read lost"] && peer.isOpen)
        proto.transport?.write("after the end")
        proto.transport?.loseWriteConnection()
        peer.clock.turn()
        #expect(peer.takeText() == "after the end")
        #expect(proto.events == ["read lost", "closed by the peer"])
    }

    @Test func `backpressure reaches the producer through layers`() {
        let proto = Recorder(), producer = Producer()
        let peer = MemoryTransport(Self.layered(proto), roomBytes: 10)
        proto.transport?.registerProducer(producer)
        proto.transport?.write([UInt8](repeating: 1, count: 100_000))
        #expect(producer.calls == ["pause"])
        peer.drain()
        #expect(producer.calls == ["pause", "resume"])
        proto.transport?.abortConnection()
        peer.clock.turn()
        #expect(producer.calls == ["pause", "resume", "stop"])
        #expect(peer.wasReset && proto.events == ["aborted here"])
    }

    @Test func `what a protocol throws above layers is the reason of the loss`() {
        let proto = Recorder()
        let peer = MemoryTransport(Self.layered(proto))
        peer.receive("throw")
        #expect(proto.events.first?.hasPrefix("the protocol failed: Mishap") == true)
        #expect(peer.wasReset)
    }

    @Test func `switching above a layer keeps the layer and every byte`() {
        final class First: StreamProtocol {
            let next = Recorder()
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
                let rest = bytes.extracting(1..<bytes.byteCount)
                transport.switchProtocol(to: next, remaining: rest)
            }
        }
        var dumps = 0
        let first = First()
        let peer = MemoryTransport(Self.layered(first, count: 1) { _ in dumps += 1 })
        peer.receive("|rest")
        peer.receive(" more")
        #expect(first.next.text == "rest more")
        #expect(dumps == 5)
    }

    @Test func `a protocol without half-closing stays so above layers`() {
        final class Plain: StreamProtocol {
            var loss: ConnectionLoss?
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
            func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
                loss = why
            }
        }
        let proto = Plain()
        let peer = MemoryTransport(Self.layered(proto))
        peer.peerCloses()
        peer.clock.turn()
        #expect(proto.loss == .closedByPeer && !peer.isOpen)
    }

    @Test(arguments: Callback.allCases)
    func `an error of any callback above layers ends the connection with it`(callback: Callback) {
        let proto = Thrower(callback)
        let peer = MemoryTransport(Self.layered(proto))
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

    @Test func `a pull producer is asked through layers`() {
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
        let peer = MemoryTransport(Self.layered(proto), roomBytes: 0)
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

    @Test func `a pipe between two stacks of layers carries both directions`() {
        let clock = ManualClock()
        let near = Recorder(), far = Recorder()
        let left = MemoryTransport(Self.layered(near), clock: clock)
        let right = MemoryTransport(Self.layered(far), clock: clock)
        var counts: [Int] = []
        let leftTop = near.transport!, rightTop = far.transport!
        pipe(from: leftTop, to: rightTop).addCallback { counts.append($0) }
        pipe(from: rightTop, to: leftTop).addCallback { counts.append($0) }
        left.receive("question")
        left.peerCloses()
        #expect(right.takeText() == "question" && right.hasEnded && !left.hasEnded)
        right.receive("answer")
        right.peerCloses()
        #expect(left.takeText() == "answer" && left.hasEnded)
        #expect(counts == [8, 6] && near.events.isEmpty && far.events.isEmpty)
        #expect(!left.wasReset && !right.wasReset && !left.isOpen && !right.isOpen)
    }

    @Test func `layers and protocols are released after the loss`() {
        let clock = ManualClock()
        weak var proto: Recorder?
        do {
            let made = Recorder()
            proto = made
            let peer = MemoryTransport(Self.layered(made), clock: clock)
            peer.receive("x")
            made.transport?.abortConnection()
            clock.turn()
        }
        clock.turn()
        #expect(proto == nil && clock.reactor.statistics.liveTransports == 0)
    }

    @Test(arguments: BackendChoice.tested.map(\.name))
    func `endpoints compose with layers on real sockets`(backend: String) throws {
        let choice = try BackendChoice.named(backend, among: BackendChoice.tested)
        let server = Recorder(), client = Recorder()
        nonisolated(unsafe) var log: [String] = []
        try Reactor.run(backend: choice, signals: .ignore) { reactor in
            let endpoint = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
            let port = try endpoint.wrapped { Logged(above: $0) { log.append($0) } }
                .listen(on: reactor) { server }
            ClientEndpoint.address(port.localAddress).wrapped { Logged(above: $0) { _ in } }
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
