// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionTesting

@_spi(Backend) @testable import TorsionCore

@Suite struct LingeringStreamsTests {
    /// A socket of which the test says what its peer has not acknowledged.
    private final class Stream: BackendStream {
        let peerAddress = SocketAddress.ipv4(.loopback, port: 1)
        let localAddress = SocketAddress.ipv4(.loopback, port: 2)
        let needsDraining = true
        var unsentByteCount: Int?
        var hasUnsentOutput = false
        private(set) var calls: [String] = []
        private(set) var receiver: (any StreamReceiver)?

        init(unsent: Int?) { unsentByteCount = unsent }

        func deliver(to receiver: any StreamReceiver) { self.receiver = receiver }
        func startReading() { calls.append("read") }
        func stopReading() { calls.append("stop") }
        func discardInput() { calls.append("discard") }
        func close() { end("close") }
        func reset() { end("reset") }
        func startWriting(from queue: WriteQueue) {}
        func shutdownWriting() -> ErrorCode? { nil }

        func tryWrite(
            _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
        ) -> WriteResult { .wrote(0) }

        func receive(_ byteCount: Int) {
            receiver?.streamDidRead(Bytes([UInt8](repeating: 0, count: byteCount)).span)
        }

        private func end(_ call: String) {
            calls.append(call)
            receiver = nil
        }
    }

    private let clock = ManualClock()

    private func linger(
        unsent: Int?, _ change: (inout LingeringStreams.State) -> Void = { _ in }
    ) -> Stream {
        let stream = Stream(unsent: unsent)
        var state = LingeringStreams.State()
        change(&state)
        clock.reactor.lingering.take(stream, state)
        return stream
    }

    private var count: Int {
        clock.reactor.checkInvariants()
        return clock.reactor.statistics.lingeringStreams
    }

    @Test func `the peer's end closes it at once`() {
        let stream = linger(unsent: 100)
        stream.receiver?.streamDidReadEnd()
        #expect(stream.calls == ["read", "close"] && count == 0)
        #expect(clock.reactor.statistics.delayedCalls == 0)
    }

    @Test func `a second after everything was acknowledged it is read empty and closed`() {
        let stream = linger(unsent: 0)
        clock.advance(by: .seconds(1))
        #expect(stream.calls == ["read"])
        clock.advance(by: .milliseconds(250))
        #expect(stream.calls == ["read", "discard", "close"] && count == 0)
    }

    @Test func `a peer that has everything and sends on is read for 256 KiB more`() {
        let stream = linger(unsent: 0)
        for _ in 0..<16 { stream.receive(16 * 1024) }
        #expect(stream.calls == ["read"], "here it is found to have everything")
        for _ in 0..<15 { stream.receive(16 * 1024) }
        #expect(stream.calls == ["read"])
        stream.receive(16 * 1024)
        #expect(stream.calls == ["read", "discard", "close"])
    }

    @Test func `while the peer acknowledges there is no limit, and what it sends is no progress`() {
        let stream = linger(unsent: 1_000)
        for _ in 0..<200 {
            clock.advance(by: .seconds(4))
            stream.unsentByteCount! -= 1
        }
        #expect(stream.calls == ["read"])
        for _ in 0..<5 {
            clock.advance(by: .seconds(1))
            stream.receive(1_000_000)
        }
        clock.advance(by: .milliseconds(500))
        #expect(stream.calls == ["read", "discard", "close"])
    }

    @Test func `where the kernel cannot tell, it is kept for five seconds`() {
        let stream = linger(unsent: nil)
        clock.advance(by: .milliseconds(4_750))
        stream.receive(1_000_000)
        #expect(stream.calls == ["read"])
        clock.advance(by: .milliseconds(250))
        #expect(stream.calls == ["read", "discard", "close"])
    }

    @Test func `one that owes output is kept behind the peer's end until that has left`() {
        let stream = linger(unsent: 10) { $0.hasInputEnded = true }
        stream.hasUnsentOutput = true
        clock.advance(by: .seconds(3))
        #expect(stream.calls == ["stop"])
        stream.hasUnsentOutput = false
        clock.advance(by: .milliseconds(250))
        #expect(stream.calls == ["stop", "close"])
    }

    @Test func `one that ends in a reset is reset when the peer has everything`() {
        #expect(linger(unsent: 0) { $0.endsInReset = true }.calls == ["read", "reset"])
        let stream = linger(unsent: 5) { $0.endsInReset = true }
        stream.receiver?.streamDidReadEnd()
        clock.advance(by: .seconds(4))
        #expect(stream.calls == ["read"])
        stream.unsentByteCount = 0
        clock.advance(by: .milliseconds(250))
        #expect(stream.calls == ["read", "reset"])
    }

    @Test func `there are never more than 1,024, and those whose peers have all go first`() {
        let waiting = (0..<1_000).map { _ in linger(unsent: 10) }
        let done = (0..<24).map { _ in linger(unsent: 0) }
        #expect(count == 1_024)
        let last = linger(unsent: 10)
        #expect(count == 1_001)
        #expect(done.allSatisfy { $0.calls.last == "close" })
        #expect((waiting + [last]).allSatisfy { $0.calls == ["read"] })
        clock.advance(by: .seconds(1))
        for stream in waiting.prefix(900) { stream.unsentByteCount = 9 }
        for _ in 0..<24 { _ = linger(unsent: 10) }
        #expect(count == 1_024 + 1 - 256)
        #expect(waiting.suffix(100).allSatisfy { $0.calls.last == "close" }, "the most quiet")
    }

    @Test func `the end of a run waits for those only that would lose something`() {
        let done = linger(unsent: 0), silent = linger(unsent: 10)
        let heard = linger(unsent: 10), owing = linger(unsent: 10)
        heard.receive(1)
        owing.hasUnsentOutput = true
        clock.reactor.lingering.beginEnd()
        #expect(done.calls.last == "close" && silent.calls.last == "close")
        #expect(count == 2)
        heard.unsentByteCount = 0
        clock.advance(by: .milliseconds(250))
        #expect(heard.calls.last == "close" && count == 1)
        clock.reactor.lingering.endAll()
        #expect(owing.calls.last == "close" && count == 0)
    }
}
