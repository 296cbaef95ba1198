// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
@_spi(Backend) import TorsionCore
import TorsionTesting

/// What the public verifiers let pass, and what they find.
@Suite struct VerifierTests {
    @Test func `the engine's transport passes, and a filter that changes bytes and back`() throws {
        try checkTransport()
        for kind in PassingFilter.allCases { try checkTransport { kind.make() } }
        try checkTransport { Mirrored() }
    }

    @Test func `a filter that loses or doubles bytes is found`() {
        #expect(throws: CheckFailure.self) { try checkTransport { Swallowing() } }
        #expect(throws: CheckFailure.self) { try checkTransport { Doubling() } }
    }

    @Test func `a filter that never agrees, stops sending or passes no read-closed is found`() {
        #expect(throws: CheckFailure.self) { try checkTransport { Silent() } }
        #expect(throws: CheckFailure.self) { try checkTransport { Stalling() } }
        #expect(throws: CheckFailure.self) { try checkTransport { Endless() } }
    }

    @Test func `a polite push producer passes`() throws {
        try checkProducer(push: { Ticks(to: $0, on: $1) })
    }

    @Test func `a push producer that heeds nothing, or never writes, is found`() {
        #expect(throws: CheckFailure.self) {
            try checkProducer(push: { Ticks(to: $0, on: $1, heedsPause: false) })
        }
        #expect(throws: CheckFailure.self) {
            try checkProducer(push: { Ticks(to: $0, on: $1, heedsStop: false) })
        }
        #expect(throws: CheckFailure.self) {
            try checkProducer(push: { Ticks(to: $0, on: $1, heedsResume: false) })
        }
    }

    @Test func `a pull producer must write or finish`() throws {
        try checkProducer(pull: { consumer, _ in Piece(consumer, finishes: true) })
        #expect(throws: CheckFailure.self) {
            try checkProducer(pull: { consumer, _ in Piece(consumer, finishes: false) })
        }
    }

    // That a right backend passes is what ConformanceTests shows, check by check.
    @Test func `a backend that fails is told of by each check's name`() {
        let choice = BackendChoice.faulty(
            .epoll, .failCalls(1...1_000, of: [.start], with: .tooManyOpenFiles))
        #expect { try checkBackend(choice) } throws: { error in
            let lines = "\(error)".split(separator: "\n")
            let names = ConformanceSuite.checks.map(\.name)
            return lines.count > names.count / 2 && lines[0].hasPrefix(names[0])
                && lines.allSatisfy { line in names.contains { line.hasPrefix($0) } }
        }
    }

    @Test func `a backend that cannot run says why`() {
        let choice = BackendChoice(name: "none", unavailableReason: { "no kernel for it" }) {
            BackendChoice.epoll.makeBackend()
        }
        #expect { try checkBackend(choice) } throws: {
            "\($0)" == "none cannot run here: no kernel for it"
        }
    }
}

/// Inverts each byte on its way out, and back on its way in.
private final class Mirrored: StreamFilter {
    private func inverted(_ bytes: RawSpan) -> Bytes { Bytes(Array(bytes).map { ~$0 }) }

    override func receive(_ bytes: RawSpan) { deliver(inverted(bytes).span) }

    override func transmit(_ bytes: RawSpan) -> Int {
        send(inverted(bytes))
        return bytes.byteCount
    }
}

private final class Swallowing: StreamFilter {
    override func receive(_ bytes: RawSpan) { deliver(bytes.extracting(1...)) }
}

private final class Doubling: StreamFilter {
    override func transmit(_ bytes: RawSpan) -> Int {
        send(bytes)
        send(bytes)
        return bytes.byteCount
    }
}

private final class Silent: StreamFilter {
    override func begin() {}
}

/// Sends a thousand bytes, and never asks for the rest.
private final class Stalling: StreamFilter {
    private var left = 1_000

    override func transmit(_ bytes: RawSpan) -> Int {
        let count = min(left, bytes.byteCount)
        left -= count
        send(bytes.extracting(0..<count))
        return count
    }
}

private final class Endless: StreamFilter {
    override func receiveEnd() {}
}

/// Writes every second.
private final class Ticks: PushProducer {
    private let consumer: any Consumer
    private let reactor: Reactor
    private let heedsPause: Bool, heedsStop: Bool, heedsResume: Bool
    private var call: DelayedCall?

    init(
        to consumer: any Consumer, on reactor: Reactor, heedsPause: Bool = true,
        heedsStop: Bool = true, heedsResume: Bool = true
    ) {
        (self.consumer, self.reactor) = (consumer, reactor)
        (self.heedsPause, self.heedsStop, self.heedsResume) = (heedsPause, heedsStop, heedsResume)
        consumer.registerProducer(self)
        tick()
    }

    private func tick() {
        call = reactor.callLater(.seconds(1)) { [unowned self] in
            consumer.write("tick")
            tick()
        }
    }

    func pauseProducing() { if heedsPause { call?.cancel() } }
    func resumeProducing() { if heedsResume, !(call?.isActive ?? false) { tick() } }
    func stopProducing() { if heedsStop { call?.cancel() } }
}

private final class Piece: PullProducer {
    private let consumer: any Consumer
    private let finishes: Bool
    private var hasWritten = false

    init(_ consumer: any Consumer, finishes: Bool) {
        (self.consumer, self.finishes) = (consumer, finishes)
    }

    func produceMore() {
        if !hasWritten {
            consumer.write("piece")
        } else if finishes {
            consumer.unregisterProducer()
        }
        hasWritten = true
    }

    func stopProducing() {}
}
