// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

private final class Idle: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

private struct Mishap: Error {}

/// So many pieces; then ends, or throws.
private struct Pieces: AsyncSequence {
    let count: Int
    var throwsAtEnd = false
    let asked: Asked

    final class Asked { var count = 0 }

    struct Iterator: AsyncIteratorProtocol {
        let pieces: Pieces

        mutating func next() async throws -> Bytes? {
            guard pieces.asked.count < pieces.count else {
                if pieces.throwsAtEnd { throw Mishap() }
                return nil
            }
            pieces.asked.count += 1
            // Large enough to leave at once.
            let letter = UInt8(ascii: "a") + UInt8(pieces.asked.count % 26)
            return Bytes([UInt8](repeating: letter, count: 5_000))
        }
    }

    func makeAsyncIterator() -> Iterator { Iterator(pieces: self) }
}

extension ManualClock {
    fileprivate func turns(_ count: Int = 20) { for _ in 0..<count { turn() } }
}

@Suite struct SequenceAdapterTests {
    private static let small = Watermarks(low: 2, high: 4, limit: 100_000)

    @Test func `a sequence is written to its end, and only asked while there is room`() {
        var options = StreamOptions()
        options.watermarks = Self.small
        let peer = MemoryTransport(Idle(), roomBytes: 5_000, options: options)
        let asked = Pieces.Asked()
        var carried = 0
        SequenceSource(Pieces(count: 9, asked: asked), on: peer.clock.reactor).pipe(
            to: peer.transport
        ).addCallback { carried = $0 }.whenFailed { Issue.record("\($0)") }
        peer.clock.turns()
        #expect(asked.count == 2 && carried == 0)
        peer.drain()
        peer.clock.turns()
        #expect(peer.takeBytes().count == 45_000 && carried == 45_000 && peer.hasEnded)
        peer.peerCloses()
        #expect(peer.clock.reactor.statistics.tasks == 0)
    }

    @Test func `a sequence that throws aborts its consumer`() {
        let peer = MemoryTransport(Idle())
        var failure = ""
        let source = SequenceSource(
            Pieces(count: 2, throwsAtEnd: true, asked: Pieces.Asked()), on: peer.clock.reactor)
        source.pipe(to: peer.transport).whenFailed { failure = "\($0)" }
        peer.clock.turns()
        #expect(failure == "Mishap()" && peer.wasReset)
    }

    @Test func `a consumer that goes ends the task`() {
        var options = StreamOptions()
        options.watermarks = Self.small
        let peer = MemoryTransport(Idle(), roomBytes: 1, options: options)
        var failure: (any Error)?
        let source = SequenceSource(
            Pieces(count: 1_000, asked: Pieces.Asked()), on: peer.clock.reactor)
        source.pipe(to: peer.transport).whenFailed { failure = $0 }
        peer.clock.turns()
        #expect(peer.clock.reactor.statistics.tasks == 1)
        peer.peerResets()
        peer.clock.turns()
        let broken = try? #require(failure as? PipeBroken)
        #expect(broken?.destination == peer.transport.peerAddress && broken?.cause != nil)
        #expect(peer.clock.reactor.statistics.tasks == 0)
        #expect(peer.clock.reactor.statistics.suspendedTasks == 0)
    }

    @Test func `a loop reads what a connection brings, and a busy one pauses it`() {
        let peer = MemoryTransport(Idle())
        let reactor = peer.clock.reactor
        let body = ConsumedBytes(watermarks: Self.small, on: reactor)
        var text = ""
        var isEnded = false
        let gate = Deferred<Void>(on: reactor)
        peer.transport.pipe(to: body).whenFailed { Issue.record("\($0)") }
        reactor.spawn {
            try await gate.value
            for try await bytes in body { text += String(decoding: bytes.span) }
            isEnded = true
        }.whenFailed { Issue.record("\($0)") }
        peer.clock.turns(3)
        peer.receive("abc")
        #expect(peer.isReading)
        peer.receive("def")
        #expect(!peer.isReading && text.isEmpty)
        gate.succeed()
        peer.clock.turns(3)
        #expect(text == "abcdef" && peer.isReading)
        peer.receive("ghi")
        peer.clock.turns(3)
        peer.peerCloses()
        peer.clock.turns(3)
        #expect(text == "abcdefghi" && isEnded)
        peer.transport.loseConnection()
        peer.clock.turns(3)
    }

    @Test func `a loop throws what broke the source, behind what came before`() {
        let peer = MemoryTransport(Idle())
        let reactor = peer.clock.reactor
        let body = ConsumedBytes(on: reactor)
        var story: [String] = []
        peer.transport.pipe(to: body).whenFailed { _ in }
        peer.clock.turns(3)
        peer.receive("abc")
        peer.peerResets()
        reactor.spawn {
            do {
                for try await bytes in body { story.append(String(decoding: bytes.span)) }
            } catch let error as ConnectionLoss {
                story.append("\(error.isClean)")
            }
        }.whenFailed { Issue.record("\($0)") }
        peer.clock.turns(3)
        #expect(story == ["abc", "false"])
    }

    @Test func `a sequence that nobody reads any more stops its producer`() {
        let peer = MemoryTransport(Idle())
        var body: ConsumedBytes? = ConsumedBytes(on: peer.clock.reactor)
        final class Producer: PushProducer {
            var calls: [String] = []
            func pauseProducing() { calls.append("pause") }
            func resumeProducing() { calls.append("resume") }
            func stopProducing() { calls.append("stop") }
        }
        let producer = Producer()
        body?.registerProducer(producer)
        body = nil
        #expect(producer.calls == ["stop"])
        peer.peerResets()
    }
}
