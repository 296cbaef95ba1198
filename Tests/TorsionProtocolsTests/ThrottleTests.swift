// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// Notes everything, and speaks when it is told.
private class Speaker: StreamProtocol {
    var transport: (any StreamTransport)?
    var heard = StreamHash()
    var events: [String] = []

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        heard.add(bytes)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        events.append("\(why)")
        self.transport = nil
    }
}

private final class HalfSpeaker: Speaker, HalfCloseableProtocol {
    func readConnectionLost(from transport: any StreamTransport) { events.append("read lost") }
    func writeConnectionLost(from transport: any StreamTransport) { events.append("write lost") }
}

private final class Producer: PushProducer {
    var calls: [String] = []
    func pauseProducing() { calls.append("pause") }
    func resumeProducing() { calls.append("resume") }
    func stopProducing() { calls.append("stop") }
}

/// Writes two bytes each time it is resumed, and again until it is paused.
private final class Eager: PushProducer {
    private let consumer: any StreamTransport
    private(set) var left: Int
    private(set) var deepest = 0
    private(set) var calls: [String] = []
    private var depth = 0
    private var isPaused = false

    init(_ consumer: any StreamTransport, byteCount: Int) {
        self.consumer = consumer
        left = byteCount
    }

    func pauseProducing() {
        isPaused = true
        calls.append("pause")
    }

    func resumeProducing() {
        depth += 1
        deepest = max(deepest, depth)
        defer { depth -= 1 }
        isPaused = false
        calls.append("resume")
        while !isPaused, left > 0 {
            left -= 2
            consumer.write([1, 2])
        }
    }

    func stopProducing() { left = 0 }
}

@Suite struct ThrottleTests {
    private static let rate = ThrottleRate(bytesPerSecond: 1_000, burstBytes: 100)

    private func writing(
        _ speaker: Speaker, room: Int = .max, watermarks: Watermarks = Watermarks()
    ) -> MemoryTransport {
        var options = StreamOptions()
        options.watermarks = watermarks
        return MemoryTransport(
            speaker, roomBytes: room, options: options,
            layers: .filter { Throttle(writing: Self.rate) })
    }

    @Test func `what is written leaves at its rate, the burst at once`() {
        let speaker = Speaker()
        let peer = writing(speaker)
        let bytes = [UInt8].pattern(count: 2_100)
        speaker.transport?.write(bytes)
        var arrived = [UInt8](peer.takeBytes().span)
        #expect(arrived.count == 100)
        peer.clock.advance(by: .seconds(1))
        arrived += peer.takeBytes().span
        // A piece that is not full yet waits for a twentieth of a second at most.
        #expect(1_050...1_100 ~= arrived.count)
        peer.clock.advance(by: .seconds(1))
        arrived += peer.takeBytes().span
        #expect(arrived == bytes)
        #expect(speaker.transport?.pendingByteCount == 0)
        #expect(peer.clock.reactor.statistics.delayedCalls == 0)
        peer.peerResets()
    }

    @Test func `what arrives beyond the rate is left in the kernel`() {
        let speaker = Speaker()
        let peer = MemoryTransport(speaker, layers: .filter { Throttle(reading: Self.rate) })
        peer.receive([UInt8](repeating: 1, count: 600).span.bytes)
        #expect(speaker.heard.byteCount == 600)
        // A read cannot be cut, so it is a debt.
        #expect(!peer.isReading)
        peer.receive([UInt8](repeating: 2, count: 600).span.bytes)
        peer.clock.advance(by: .milliseconds(499))
        #expect(speaker.heard.byteCount == 600)
        peer.clock.advance(by: .milliseconds(2))
        #expect(speaker.heard.byteCount == 1_200)
        peer.peerResets()
        #expect(peer.clock.reactor.statistics.delayedCalls == 0)
    }

    @Test func `a protocol that pauses is not resumed by the rate, nor the rate by it`() {
        let speaker = Speaker()
        let peer = MemoryTransport(speaker, layers: .filter { Throttle(reading: Self.rate) })
        peer.receive([UInt8](repeating: 1, count: 600).span.bytes)
        speaker.transport?.pauseProducing()
        peer.clock.advance(by: .seconds(5))
        #expect(!peer.isReading)
        speaker.transport?.resumeProducing()
        #expect(peer.isReading)
        peer.receive([UInt8](repeating: 1, count: 600).span.bytes)
        speaker.transport?.pauseProducing()
        speaker.transport?.resumeProducing()
        #expect(!peer.isReading)
        peer.peerResets()
    }

    // P3, P6
    @Test func `a producer is paused and resumed by what waits, and stopped once`() {
        let speaker = Speaker(), producer = Producer()
        let peer = writing(speaker, watermarks: Watermarks(low: 200, high: 500, limit: 10_000))
        speaker.transport?.registerProducer(producer)
        speaker.transport?.write([UInt8](repeating: 1, count: 550))
        #expect(producer.calls == [])
        speaker.transport?.write([UInt8](repeating: 1, count: 450))
        #expect(producer.calls == ["pause"] && speaker.transport?.pendingByteCount == 900)
        peer.clock.advance(by: .milliseconds(600))
        #expect(producer.calls == ["pause"])
        peer.clock.advance(by: .milliseconds(200))
        #expect(producer.calls == ["pause", "resume"])
        peer.peerResets()
        #expect(producer.calls == ["pause", "resume", "stop"])
        #expect(speaker.events.count == 1)
    }

    // P7
    @Test func `a peer that does not read pauses the producer as well`() {
        let speaker = Speaker(), producer = Producer()
        let marks = Watermarks(low: 20, high: 50, limit: 10_000)
        let peer = writing(speaker, room: 10, watermarks: marks)
        speaker.transport?.registerProducer(producer)
        for _ in 0..<20 where producer.calls.isEmpty {
            speaker.transport?.write([UInt8](repeating: 1, count: 40))
            peer.clock.advance(by: .seconds(1))
        }
        #expect(producer.calls == ["pause"])
        // The burst below, and a mark and a write here.
        #expect(speaker.transport?.pendingByteCount ?? 0 < 300)
        peer.drain()
        peer.clock.advance(by: .seconds(1))
        #expect(producer.calls == ["pause", "resume"])
        peer.peerResets()
    }

    @Test func `an echo whose client never reads holds little and stops reading`() {
        final class Echo: StreamProtocol {
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
                transport.write(bytes)
            }
        }
        var options = StreamOptions()
        options.watermarks = Watermarks(low: 200, high: 500, limit: 10_000)
        let peer = MemoryTransport(
            Echo(), options: options, layers: .filter { Throttle(writing: Self.rate) })
        for _ in 0..<50 { peer.receive([UInt8](repeating: 1, count: 100).span.bytes) }
        #expect(!peer.isReading)
        peer.clock.advance(by: .seconds(10))
        #expect(peer.takeBytes().count == 5_000 && peer.isReading)
        peer.peerResets()
    }

    // S3, S4
    @Test func `closing sends what waits first, and what its producer still has`() {
        let speaker = Speaker(), producer = Producer()
        let peer = writing(speaker)
        speaker.transport?.registerProducer(producer)
        speaker.transport?.write([UInt8](repeating: 1, count: 500))
        speaker.transport?.loseConnection()
        peer.clock.advance(by: .seconds(2))
        #expect(peer.takeBytes().count == 500 && !peer.hasEnded)
        speaker.transport?.write([UInt8](repeating: 1, count: 500))
        speaker.transport?.unregisterProducer()
        #expect(!peer.hasEnded)
        speaker.transport?.write("dropped")
        peer.clock.advance(by: .seconds(2))
        #expect(peer.takeBytes().count == 500 && peer.hasEnded)
        peer.peerCloses()
        #expect(speaker.events == ["closed here"] && producer.calls.isEmpty)
    }

    // S17
    @Test func `what waits arrives behind the peer's end too`() {
        let speaker = Speaker()
        let peer = writing(speaker)
        speaker.transport?.write([UInt8](repeating: 1, count: 500))
        peer.peerCloses()
        #expect(speaker.events.isEmpty)
        peer.clock.advance(by: .seconds(1))
        #expect(peer.takeBytes().count == 500)
        #expect(speaker.events == ["closed by the peer"])
        #expect(peer.clock.reactor.statistics.delayedCalls == 0)
    }

    // S7
    @Test func `each direction ends by itself`() {
        let speaker = HalfSpeaker()
        let peer = writing(speaker)
        peer.peerCloses()
        #expect(speaker.events == ["read lost"])
        speaker.transport?.write([UInt8](repeating: 1, count: 300))
        speaker.transport?.loseWriteConnection()
        peer.clock.advance(by: .seconds(1))
        #expect(peer.takeBytes().count == 300)
        #expect(speaker.events == ["read lost", "closed by the peer"])
    }

    @Test func `a pull producer is asked as fast as the rate allows`() {
        final class Puller: PullProducer {
            var asked = 0
            let transport: any StreamTransport
            init(_ transport: any StreamTransport) { self.transport = transport }
            func produceMore() {
                asked += 1
                transport.write([UInt8](repeating: 1, count: 100))
                if asked == 20 { transport.unregisterProducer() }
            }
            func stopProducing() {}
        }
        let speaker = Speaker()
        let peer = writing(speaker, watermarks: Watermarks(low: 100, high: 300, limit: 10_000))
        let puller = Puller(speaker.transport!)
        speaker.transport?.registerProducer(puller)
        for _ in 0..<10 { peer.clock.turn() }
        #expect(puller.asked < 8)
        peer.clock.advance(by: .seconds(3))
        #expect(puller.asked == 20 && peer.takeBytes().count == 2_000)
        peer.peerResets()
    }

    @Test func `what waits counts for the reactor's limit, until it has left or is dropped`() {
        let speaker = Speaker()
        let peer = writing(speaker)
        let reactor = peer.clock.reactor
        speaker.transport?.write([UInt8](repeating: 1, count: 1_000))
        // A queue counts as what it allocates: one block.
        #expect(reactor.statistics.queuedBytes == 16 * 1_024)
        #expect(speaker.transport?.pendingByteCount == 900)
        peer.clock.advance(by: .milliseconds(500))
        #expect(400...500 ~= speaker.transport?.pendingByteCount ?? 0)
        peer.peerResets()
        #expect(reactor.statistics.queuedBytes == 0)
    }

    // P5
    @Test func `a producer that writes whenever it is resumed does not deepen the stack`() {
        let speaker = Speaker()
        var options = StreamOptions()
        options.watermarks = Watermarks(low: 0, high: 1, limit: 10_000)
        let rate = ThrottleRate(bytesPerSecond: 1_000, burstBytes: 1_000)
        let peer = MemoryTransport(
            speaker, options: options, layers: .filter { Throttle(writing: rate) })
        // So that the burst is there again while something waits.
        speaker.transport?.write([UInt8](repeating: 1, count: 1_002))
        let producer = Eager(speaker.transport!, byteCount: 3_000)
        speaker.transport?.registerProducer(producer)
        peer.clock.advance(by: .seconds(10))
        #expect(producer.left == 0 && producer.deepest == 1)
        #expect(peer.takeBytes().count == 4_002)
        #expect(producer.calls.last == "resume")
        peer.peerResets()
    }

    @Test func `what is written while a producer is resumed uses up the rate`() {
        let speaker = Speaker()
        var options = StreamOptions()
        options.watermarks = Watermarks(low: 50, high: 100, limit: 10_000)
        let peer = MemoryTransport(
            speaker, options: options, layers: .filter { Throttle(writing: Self.rate) })
        speaker.transport?.write([UInt8](repeating: 1, count: 250))
        speaker.transport?.registerProducer(Eager(speaker.transport!, byteCount: 5_000))
        peer.clock.advance(by: .seconds(1))
        // The burst, and what a second allows.
        #expect(peer.takeBytes().count <= 100 + 1_000)
        peer.clock.advance(by: .seconds(1))
        #expect(peer.takeBytes().count <= 1_100)
        peer.peerResets()
    }

    @Test func `aborting drops what waits`() {
        let speaker = Speaker()
        let peer = writing(speaker)
        speaker.transport?.write([UInt8](repeating: 1, count: 500))
        speaker.transport?.abortConnection()
        peer.clock.advance(by: .seconds(5))
        #expect(peer.wasReset && speaker.events == ["aborted here"])
        #expect(peer.takeBytes().count == 100)
        #expect(peer.clock.reactor.statistics.delayedCalls == 0)
    }
}
