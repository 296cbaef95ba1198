// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
@testable import TorsionHTTP
import TorsionTesting

/// A body that writes as much as is taken, and is left as it is when nobody takes any more.
private final class UnfinishedBody: PullProducer, PushProducer {
    private var writer: ResponseWriter?
    private let finishes: Bool

    init(_ writer: ResponseWriter, finishes: Bool) {
        self.writer = writer
        self.finishes = finishes
    }

    func produceMore() { writer?.write(Bytes([UInt8](repeating: 1, count: 1_000))) }
    func pauseProducing() {}
    func resumeProducing() { produceMore() }

    func stopProducing() {
        if finishes { writer?.finish() }
        writer = nil
    }
}

// A client that goes away is no mistake of the program's. One that was reported could be made any
// number of times by anybody, and would end a program whose `unhandledError` traps.
@Suite struct GoneClientTests {
    @Test(arguments: [true, false], [true, false])
    func `H-29: a client that goes in the middle of an answer is reported nowhere`(
        isPulled: Bool, finishes: Bool
    ) {
        let client = Client(
            Responding { _, exchange in
                let writer = exchange.begin(.ok, byteCount: 1_000_000)
                let body = UnfinishedBody(writer, finishes: finishes)
                if isPulled {
                    writer.registerProducer(body as any PullProducer)
                } else {
                    writer.registerProducer(body as any PushProducer)
                    body.produceMore()
                }
            }, roomBytes: 500)
        client.send(get("/"))
        client.memory.peerResets()
        client.settle()
        client.finish()
        #expect(client.unhandled == [])
    }

    @Test func `a writer that is released while the client is there is the program's mistake`() {
        let client = Client(
            Responding { _, exchange in _ = exchange.begin(.ok, byteCount: 1_000_000) })
        client.send(get("/"))
        client.finish()
        #expect(client.unhandled.count == 1)
    }

    /// The kernel has told that nothing can be sent any more, and what had arrived is delivered: a
    /// request may be among it.
    @Test(arguments: backends)
    func `H-29: requests of a client that has gone already are reported nowhere`(
        backend: BackendChoice
    ) throws {
        var unhandled: [String] = []
        var answered = 0
        try Reactor.run(backend: backend, signals: .ignore) { (reactor: Reactor) in
            reactor.unhandledError = { unhandled.append("\($0)") }
            let responder = Responding { _, exchange in
                answered += 1
                let reactor = exchange.reactor
                // Longer than any socket's room, so that the client goes in the middle of it.
                let body = Bytes([UInt8](repeating: 1, count: 8_000_000))
                exchange.respond(
                    .ok, body: RepeatedBytes(body, count: 4, on: reactor), byteCount: 32_000_000)
            }
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor, http: HTTPServerOptions()) { responder }
            let client = Leaver(requests: String(repeating: get("/"), count: 3)) {
                // The server hears of it in a turn of its own.
                reactor.callLater(.milliseconds(20)) { reactor.stop(within: .seconds(5)) }
            }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                .whenFailed { unhandled.append("\($0)") }
        }
        #expect(answered == 1)
        #expect(unhandled == [])
    }
}

/// Asks, waits for the first of the answer, and is gone.
private final class Leaver: StreamProtocol {
    private let requests: String
    private let left: () -> Void
    private var hasLeft = false

    init(requests: String, _ left: @escaping () -> Void) {
        self.requests = requests
        self.left = left
    }

    func connectionMade(_ transport: any StreamTransport) { transport.write(requests) }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        guard !hasLeft else { return }
        hasLeft = true
        transport.abortConnection()
        left()
    }
}

/// The same bytes several times; it keeps its consumer, as a pipe does, until it is stopped.
private final class RepeatedBytes: ByteSource, PullProducer {
    private let bytes: Bytes
    private var rest: Int
    private var consumer: (any Consumer)?
    private let result: Deferred<Int>

    init(_ bytes: Bytes, count: Int, on reactor: Reactor) {
        self.bytes = bytes
        rest = count
        result = Deferred(on: reactor)
    }

    func pipe(to consumer: any Consumer) -> Deferred<Int> {
        self.consumer = consumer
        consumer.registerProducer(self)
        return result
    }

    func produceMore() {
        guard rest > 0 else {
            let ended = consumer
            consumer = nil
            ended?.unregisterProducer()
            ended?.finishConsuming()
            return
        }
        rest -= 1
        consumer?.write(bytes)
    }

    func stopProducing() {
        consumer = nil
        result.fail(PipeBroken(byteCount: 0))
    }
}
