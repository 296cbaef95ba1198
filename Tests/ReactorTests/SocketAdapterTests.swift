// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion

/// Adapters of producers and sequences over sockets, whose buffers and ends are a kernel's.
@Suite struct SocketAdapterTests {
    /// One accepted connection, whose peer is a plain socket.
    private struct Pair {
        let reactor: Reactor
        let server = Witness()
        let client: Socket

        init(_ name: String) throws {
            let reactor = try Reactor.turned(by: name)
            self.reactor = reactor
            let server = server
            var options = StreamOptions()
            options.sendBufferBytes = 4_096
            options.watermarks = Watermarks(low: 1_000, high: 10_000, limit: 10_000_000)
            let port = try reactor.listen(on: .ipv4(.loopback, port: 0), options: options) { _ in
                server
            }
            client = try Socket(port: port.localAddress.port!)
            try #require(reactor.turn { server.transport != nil })
            port.stopListening()
        }

        var transport: any StreamTransport { server.transport! }

        /// Nothing goes on when the client has reset the connection.
        func finish(line: Int = #line) {
            let place = SourceLocation(fileID: #fileID, filePath: #filePath, line: line, column: 1)
            client.reset()
            #expect(reactor.turn { reactor.statistics.openConnections == 0 }, sourceLocation: place)
            #expect(
                reactor.turn { reactor.statistics.tasks == 0 }, "\(reactor.statistics)",
                sourceLocation: place)
            #expect(reactor.statistics.delayedCalls == 0, sourceLocation: place)
            reactor.checkInvariants()
            reactor.shutDown()
        }
    }

    /// So many pieces of 5,000 bytes.
    private struct Pieces: AsyncSequence {
        let count: Int
        let asked = Asked()

        final class Asked { var count = 0 }

        struct Iterator: AsyncIteratorProtocol {
            let pieces: Pieces

            mutating func next() async throws -> Bytes? {
                guard pieces.asked.count < pieces.count else { return nil }
                pieces.asked.count += 1
                return Bytes([UInt8](repeating: UInt8(ascii: "x"), count: 5_000))
            }
        }

        func makeAsyncIterator() -> Iterator { Iterator(pieces: self) }
    }

    /// Writes numbered lines until it is paused.
    private final class Lines: PushProducer {
        /// Which keeps its producer.
        unowned let consumer: any Consumer
        let count: Int
        private var next = 1
        var isLeft: Bool { next <= count }
        private var isPaused = false
        var stops = 0

        init(_ count: Int, to consumer: any Consumer) {
            self.consumer = consumer
            self.count = count
        }

        func begin() {
            consumer.registerProducer(self)
            go()
        }

        private func go() {
            while !isPaused, next <= count {
                consumer.write("\(next)\n")
                next += 1
                guard next > count else { continue }
                consumer.unregisterProducer()
                consumer.finishConsuming()
            }
        }

        func pauseProducing() { isPaused = true }

        func resumeProducing() {
            isPaused = false
            go()
        }

        func stopProducing() {
            isPaused = true
            stops += 1
        }
    }

    /// Notes that the outgoing direction has ended.
    private final class Ending: HalfCloseableProtocol {
        var hasShutDown = false

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
        func readConnectionLost(from transport: any StreamTransport) {}
        func writeConnectionLost(from transport: any StreamTransport) {
            hasShutDown = true
            // Another turn, so that whoever waits for this looks.
            transport.reactor.callLater(.zero) {}
        }
    }

    private static let text = (1...200).map { "\($0)\n" }.joined()

    @Test(arguments: backendNames)
    func `a push producer that is asked piece by piece sends all of them and the end`(
        name: String
    ) throws {
        let pair = try Pair(name)
        let ending = Ending()
        let transport = pair.transport
        transport.switchProtocol(to: ending)
        let pulling = PullingProducer(into: transport)
        let lines = Lines(200, to: pulling)
        lines.begin()
        // One is asked for at the beginning of a turn, which must not wait then: nothing else comes.
        // Now and then the kernel has no room, and a turn waits for it.
        #expect(pair.reactor.turn { ending.hasShutDown })
        #expect(!lines.isLeft)
        #expect(pair.client.readToEnd() == Self.text)
        #expect(lines.stops == 0)
        pair.finish()
    }

    @Test(arguments: backendNames)
    func `a push producer behind a peer that does not read is stopped by its reset, once`(
        name: String
    ) throws {
        let pair = try Pair(name)
        let pulling = PullingProducer(into: pair.transport)
        let lines = Lines(.max, to: pulling)
        // Full before it begins, so that nobody asks.
        pair.transport.write([UInt8](repeating: 0, count: 1_000_000))
        #expect(pair.transport.pendingByteCount > 0)
        lines.begin()
        #expect(!pair.reactor.turn(within: .milliseconds(20)) { lines.stops > 0 })
        pair.client.reset()
        #expect(pair.reactor.turn { pair.server.loss != nil })
        #expect(lines.stops == 1)
        pair.finish()
    }

    @Test(arguments: backendNames)
    func `a sequence is asked only while the peer takes what it gave`(name: String) throws {
        let pair = try Pair(name)
        let pieces = Pieces(count: 400)
        var carried: Int?
        SequenceSource(pieces, on: pair.reactor).pipe(to: pair.transport)
            .addCallback { carried = $0 }
            .whenFailed { Issue.record("\($0)") }
        #expect(pair.reactor.turn { pair.transport.pendingByteCount >= 10_000 })
        #expect(!pair.reactor.turn(within: .milliseconds(20)) { carried != nil })
        #expect(pieces.asked.count < 400)
        var received = 0
        while carried == nil, received < 2_000_000 {
            received += pair.client.receive()?.utf8.count ?? 2_000_000
            _ = pair.reactor.turn(within: .milliseconds(5)) { carried != nil }
        }
        #expect(pair.reactor.turn { carried != nil })
        #expect(carried == 2_000_000)
        pair.finish()
    }

    @Test(arguments: backendNames)
    func `a sequence whose reader resets ends its task`(name: String) throws {
        let pair = try Pair(name)
        var failure: (any Error)?
        SequenceSource(Pieces(count: .max), on: pair.reactor).pipe(to: pair.transport)
            .whenFailed { failure = $0 }
        #expect(pair.reactor.turn { pair.transport.pendingByteCount >= 10_000 })
        pair.client.reset()
        #expect(pair.reactor.turn { failure != nil })
        #expect(failure is PipeBroken)
        pair.finish()
    }

    @Test(arguments: backendNames)
    func `a loop reads what came before a reset, and throws the reset`(name: String) throws {
        let pair = try Pair(name)
        let body = ConsumedBytes(on: pair.reactor)
        var story: [String] = []
        let reads = Deferred<Void>(on: pair.reactor)
        pair.transport.pipe(to: body).whenFailed { _ in }
        pair.reactor.spawn {
            try await reads.value
            do {
                for try await bytes in body { story.append(String(decoding: bytes.span)) }
                story.append("end")
            } catch let error as ConnectionLoss {
                story.append(error.description)
            }
        }.whenFailed { Issue.record("\($0)") }
        pair.client.write("abc")
        #expect(!pair.reactor.turn(within: .milliseconds(20)) { !story.isEmpty })
        pair.client.reset()
        #expect(!pair.reactor.turn(within: .milliseconds(20)) { !story.isEmpty })
        reads.succeed()
        #expect(pair.reactor.turn { story.count == 2 })
        #expect(story.first == "abc" && story.last?.contains("ECONNRESET") == true, "\(story)")
        pair.finish()
    }
}
