// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

private final class Idle: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

/// Keeps what comes, and knows push producers only.
private final class Sink: Consumer {
    let reactor: Reactor
    var text = ""
    var events: [String] = []
    var producer: (any PushProducer)?

    init(_ reactor: Reactor) { self.reactor = reactor }

    func write(_ bytes: RawSpan) { text += String(decoding: bytes) }
    func write(_ bytes: Bytes) { write(bytes.span) }
    func registerProducer(_ producer: any PushProducer) { self.producer = producer }
    func registerProducer(_ producer: any PullProducer) {
        let pushing = PushingProducer(producer, on: reactor)
        registerProducer(pushing)
        pushing.start()
    }
    func unregisterProducer() {
        (producer as? PushingProducer)?.end()
        producer = nil
    }
    func finishConsuming() { events.append("finished") }
    func abandonConsuming(because error: any Error) { events.append("\(error)") }
}

/// Writes its number of the question.
private final class Counter: PullProducer {
    /// Which keeps its producer.
    unowned let consumer: any Consumer
    var asked = 0
    var stopped = 0
    let last: Int

    init(_ consumer: any Consumer, last: Int) { (self.consumer, self.last) = (consumer, last) }

    func produceMore() {
        asked += 1
        consumer.write("\(asked) ")
        if asked == last { consumer.unregisterProducer() }
    }

    func stopProducing() { stopped += 1 }
}

/// Writes letters until it is paused.
private final class Letters: PushProducer {
    /// Which keeps its producer.
    unowned let consumer: any Consumer
    var rest: Substring
    var calls: [String] = []
    private var isPaused = false

    init(_ text: String, to consumer: any Consumer) {
        rest = text[...]
        self.consumer = consumer
    }

    func begin() {
        consumer.registerProducer(self)
        go()
    }

    private func go() {
        while !isPaused, let letter = rest.popFirst() {
            consumer.write("\(letter)")
            guard rest.isEmpty else { continue }
            consumer.unregisterProducer()
            consumer.finishConsuming()
        }
    }

    func pauseProducing() {
        calls.append("pause")
        isPaused = true
    }

    func resumeProducing() {
        calls.append("resume")
        isPaused = false
        go()
    }

    func stopProducing() { calls.append("stop") }
}

@Suite struct AdapterTests {
    @Test func `a pull producer is asked once a turn until the consumer pauses it`() {
        let clock = ManualClock()
        let sink = Sink(clock.reactor)
        let counter = Counter(sink, last: 6)
        sink.registerProducer(counter)
        #expect(counter.asked == 1)
        clock.turn()
        clock.turn()
        #expect(counter.asked == 3)
        sink.producer?.pauseProducing()
        for _ in 0..<5 { clock.turn() }
        #expect(counter.asked == 3)
        sink.producer?.resumeProducing()
        for _ in 0..<9 { clock.turn() }
        #expect(sink.text == "1 2 3 4 5 6 ")
        #expect(clock.reactor.statistics.delayedCalls == 0 && counter.stopped == 0)
    }

    @Test func `a pull producer whose consumer goes is stopped once, and asked no more`() {
        let clock = ManualClock()
        let sink = Sink(clock.reactor)
        let counter = Counter(sink, last: 6)
        sink.registerProducer(counter)
        sink.producer?.stopProducing()
        sink.producer?.stopProducing()
        for _ in 0..<5 { clock.turn() }
        #expect(counter.asked == 1 && counter.stopped == 1)
        #expect(clock.reactor.statistics.delayedCalls == 0)
    }

    // P4
    @Test func `a push producer is asked piece by piece`() {
        let peer = MemoryTransport(Idle(), roomBytes: 2)
        let pulling = PullingProducer(into: peer.transport)
        let letters = Letters("abcd", to: pulling)
        letters.begin()
        for _ in 0..<9 { peer.clock.turn() }
        // Two have left; the third waits in the transport, and nobody asks.
        #expect(peer.takeText() == "ab" && letters.rest == "d")
        peer.drain(1)
        for _ in 0..<9 { peer.clock.turn() }
        #expect(peer.takeText() == "c" && letters.rest == "")
        #expect(!peer.hasEnded)
        peer.drain()
        for _ in 0..<9 { peer.clock.turn() }
        #expect(peer.takeText() == "d" && peer.hasEnded)
        #expect(letters.calls.filter { $0 == "stop" }.isEmpty)
        peer.peerCloses()
    }

    @Test func `a push producer that ignores being paused loses nothing`() {
        let peer = MemoryTransport(Idle(), roomBytes: 1)
        let pulling = PullingProducer(into: peer.transport)
        final class Deaf: PushProducer {
            func pauseProducing() {}
            func resumeProducing() {}
            func stopProducing() {}
        }
        pulling.registerProducer(Deaf())
        for letter in "abc" { pulling.write("\(letter)") }
        pulling.unregisterProducer()
        pulling.finishConsuming()
        peer.drain()
        for _ in 0..<5 { peer.clock.turn() }
        #expect(peer.takeText() == "abc" && peer.hasEnded)
        peer.peerCloses()
    }

    @Test func `a push producer whose pulling consumer goes is stopped once`() {
        let peer = MemoryTransport(Idle())
        let pulling = PullingProducer(into: peer.transport)
        let letters = Letters("abcdef", to: pulling)
        letters.begin()
        peer.peerResets()
        #expect(letters.calls.filter { $0 == "stop" } == ["stop"])
    }

    @Test func `what arrives at a connection goes to any consumer, with its end`() {
        let peer = MemoryTransport(Idle())
        let sink = Sink(peer.clock.reactor)
        var carried = 0
        peer.transport.pipe(to: sink).addCallback { carried = $0 }
            .whenFailed { Issue.record("\($0)") }
        peer.clock.turn()
        peer.receive("hello")
        sink.producer?.pauseProducing()
        #expect(!peer.isReading)
        sink.producer?.resumeProducing()
        peer.receive(" world")
        peer.peerCloses()
        #expect(sink.text == "hello world" && sink.events == ["finished"] && carried == 11)
        #expect(sink.producer == nil)
        peer.transport.loseConnection()
        peer.clock.turn()
    }

    @Test func `a connection that breaks abandons its consumer`() {
        let peer = MemoryTransport(Idle())
        let sink = Sink(peer.clock.reactor)
        var failure = ""
        peer.transport.pipe(to: sink).whenFailed { failure = "\($0)" }
        peer.clock.turn()
        peer.peerResets()
        #expect(sink.events == [failure] && failure.contains("ECONNRESET"))
    }
}
