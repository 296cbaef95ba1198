// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion
import TorsionTesting

// snippet: producer
/// Sends the numbers from 1 on, as fast as the peer reads.
final class Counter: StreamProtocol, PushProducer {
    private var transport: (any StreamTransport)?
    private var isPaused = false
    private var next = 1

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        transport.registerProducer(self)
        produce()
    }

    private func produce() {
        guard let transport, !isPaused else { return }
        for _ in 0..<1_000 {
            transport.write("\(next)\r\n")
            next += 1
        }
        // The next thousand in a later turn: by then the transport knows what the kernel took.
        transport.reactor.callLater(.zero) { [self] in produce() }
    }

    func pauseProducing() { isPaused = true }

    func resumeProducing() {
        isPaused = false
        produce()
    }

    func stopProducing() { transport = nil }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}
// snippet end

@Test func `a counter stops when its peer does not read, and goes on when it does`() {
    let peer = MemoryTransport(Counter(), roomBytes: 10_000)
    for _ in 0..<200 { peer.clock.turn() }
    let pending = peer.transport.pendingByteCount
    for _ in 0..<50 { peer.clock.turn() }
    #expect(peer.transport.pendingByteCount == pending && pending > 0)
    #expect(pending < peer.transport.watermarks.high + 20_000)
    #expect(peer.takeText().hasPrefix("1\r\n2\r\n"))
    peer.drain()
    for _ in 0..<5 { peer.clock.turn() }
    #expect(peer.takeText().count > pending)
    peer.peerResets()
}

func setMarks(of transport: any StreamTransport) {
    // snippet: marks
    transport.watermarks = Watermarks(low: 16_384, high: 65_536, limit: 1_048_576)
    // snippet end
}

// snippet: pull
/// Sends a text piece by piece, each when the one before has left.
final class Slices: PullProducer {
    private let transport: any StreamTransport
    private var rest: Substring

    init(of text: String, to transport: any StreamTransport) {
        (rest, self.transport) = (text[...], transport)
    }

    func produceMore() {
        transport.write(String(rest.prefix(4)))
        rest = rest.dropFirst(4)
        if rest.isEmpty { transport.unregisterProducer() }
    }

    func stopProducing() {}
}
// snippet end

@Test func `a pull producer sends everything, and closing waits for it`() {
    let peer = MemoryTransport(Quiet())
    peer.transport.registerProducer(Slices(of: "one two three", to: peer.transport))
    peer.transport.loseConnection()
    for _ in 0..<8 { peer.clock.turn() }
    #expect(peer.takeText() == "one two three")
    #expect(peer.hasEnded)
}

// snippet: upload
/// Keeps what a client sends, and answers when the file has it, not when it has arrived.
final class Upload: StreamProtocol {
    private let path: String

    init(to path: String) { self.path = path }

    func connectionMade(_ transport: any StreamTransport) {
        let file = FileConsumer(path: path, on: transport.reactor)
        file.written
            .addCallback { count in
                transport.write("kept \(count) bytes\r\n")
                transport.loseConnection()
            }
            .whenFailed { error in
                print("\(transport.peerAddress): \(error)")
                // The client must not take what arrived for what was kept.
                transport.abortConnection()
            }
        // A client that breaks off fails `written` too: one place is enough.
        transport.pipe(to: file).whenFailed { _ in }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}
// snippet end

/// Sends five bytes and the end, and notes what comes back.
private final class Sender: StreamProtocol {
    var answer = ""
    var loss: ConnectionLoss?

    func connectionMade(_ transport: any StreamTransport) {
        transport.write("bytes")
        transport.loseWriteConnection()
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        answer += String(decoding: bytes)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        transport.reactor.stop(within: .seconds(5))
    }
}

@Test(arguments: [("/dev/null", "kept 5 bytes\r\n"), ("/dev/full", "")])
func `an upload is answered when the file has it, and aborted when the disk is full`(
    path: String, answer: String
) throws {
    let outcome = Sender()
    nonisolated(unsafe) let sender = outcome
    try Reactor.run(backend: .epoll, signals: .ignore) { reactor in
        reactor.unhandledError = { Issue.record("\($0)") }
        reactor.callLater(.seconds(60)) { reactor.stop(within: .zero) }
        let port = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
            .listen(on: reactor) { Upload(to: path) }
        try ClientEndpoint(parsing: "tcp:\(port.localAddress)").connect(on: reactor) { sender }
            .whenFailed { Issue.record("\($0)") }
    }
    #expect(outcome.answer == answer)
    #expect(outcome.loss?.isClean == !answer.isEmpty)
}

/// Does nothing with what it gets.
final class Quiet: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}
