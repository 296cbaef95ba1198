// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

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

    @Test func `a dump shows offset, bytes and letters`() {
        var lines: [String] = []
        let peer = MemoryTransport(Logged(above: Recorder()) { lines.append($0) })
        peer.receive("hello\r\n0123456789abc")
        let id = peer.transport.id
        #expect(
            lines[1] == """
                \(id) < 20 bytes
                00000000  68 65 6c 6c 6f 0d 0a 30 31 32 33 34 35 36 37 38  |hello..012345678|
                00000010  39 61 62 63                                      |9abc|
                """)
    }

    @Test(arguments: BackendChoice.linked.map(\.name))
    func `endpoints compose with layers on real sockets`(backend: String) throws {
        let choice = try BackendChoice.named(backend, among: BackendChoice.linked)
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
        #expect(server.text == "x")
        #expect(log[1].hasSuffix("|x|"))
    }
}
