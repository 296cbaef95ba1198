// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

/// Stands where a pipe does not: below the destination, and above the source until the pipe begins.
private final class Idle: HalfCloseableProtocol {
    var text = ""
    var events: [String] = []

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        text += String(decoding: bytes)
    }

    func readConnectionLost(from transport: any StreamTransport) { events.append("read lost") }
    func writeConnectionLost(from transport: any StreamTransport) { events.append("write lost") }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        events.append("\(why)")
    }
}

/// Two connections in memory; what the left one receives is carried to the right one.
private final class Pair {
    let left: MemoryTransport
    let right: MemoryTransport
    let atLeft = Idle()
    let atRight = Idle()
    /// How pipes ended, in words.
    var results: [String] = []

    /// `roomBytes`: What the right peer takes before it is full.
    init(roomBytes: Int = .max, leftRoomBytes: Int = .max, watermarks: Watermarks = Watermarks()) {
        let clock = ManualClock()
        clock.reactor.unhandledError = { Issue.record("unhandled: \($0)") }
        var options = StreamOptions()
        options.watermarks = watermarks
        left = MemoryTransport(atLeft, clock: clock, roomBytes: leftRoomBytes, options: options)
        right = MemoryTransport(atRight, clock: clock, roomBytes: roomBytes, options: options)
    }

    func carry(from source: MemoryTransport, to destination: MemoryTransport) {
        // Weak, for what the test does not end: the pair has the connections, which have the pipe.
        source.transport.pipe(to: destination.transport).addBoth { [weak self] result in
            switch result {
            case .success(let count): self?.results.append("\(count) bytes")
            case .failure(let error): self?.results.append("\(error)")
            }
        }
        left.clock.turn()
    }

    func proxy() {
        carry(from: left, to: right)
        carry(from: right, to: left)
    }

    /// Nothing is left of either connection, and no pipe is undecided.
    func expectFinished(_ results: [String], line: Int = #line) {
        left.clock.turn()
        let place = SourceLocation(
            fileID: #fileID, filePath: #filePath, line: line, column: 1)
        #expect(self.results == results, sourceLocation: place)
        #expect(!left.isOpen && !right.isOpen, sourceLocation: place)
        let figures = left.clock.reactor.statistics
        #expect(figures.openConnections == 0, sourceLocation: place)
        #expect(figures.delayedCalls == 0, sourceLocation: place)
    }
}

@Suite struct PipeTests {
    private static let small = Watermarks(low: 100, high: 200, limit: 10_000)

    @Test func `bytes and the end are carried, and the destination may still answer`() {
        let pair = Pair()
        pair.carry(from: pair.left, to: pair.right)
        for pieces in chunkings(of: "question") {
            pair.left.receive(pieces: pieces)
            #expect(pair.right.takeText() == "question")
        }
        #expect(!pair.right.hasEnded && pair.results.isEmpty)
        pair.left.peerCloses()
        #expect(pair.results == ["72 bytes"])
        #expect(pair.right.hasEnded && pair.right.isOpen && pair.left.isOpen)
        pair.right.receive("answer")
        #expect(pair.atRight.text == "answer" && pair.atRight.events == ["write lost"])
    }

    @Test func `a pipe of nothing carries the end`() {
        let pair = Pair()
        pair.carry(from: pair.left, to: pair.right)
        pair.left.peerCloses()
        #expect(pair.results == ["0 bytes"])
        #expect(pair.right.hasEnded && pair.right.isOpen)
    }

    @Test(arguments: [true, false])
    func `a proxy ends when both directions have, whichever is first`(isLeftFirst: Bool) {
        let pair = Pair()
        pair.proxy()
        let (first, second) = isLeftFirst ? (pair.left, pair.right) : (pair.right, pair.left)
        first.receive("last words")
        first.peerCloses()
        #expect(second.takeText() == "last words")
        #expect(second.hasEnded && second.isOpen && !first.hasEnded)
        second.receive("answer")
        #expect(first.takeText() == "answer")
        second.peerCloses()
        #expect(first.hasEnded)
        pair.expectFinished(["10 bytes", "6 bytes"])
        #expect(!first.wasReset && !second.wasReset)
    }

    // Case W1
    @Test(arguments: [true, false])
    func `a proxy ends in peace when this side closes either connection`(isLeftFirst: Bool) {
        let pair = Pair()
        pair.proxy()
        let (first, second) = isLeftFirst ? (pair.left, pair.right) : (pair.right, pair.left)
        first.receive("question")
        first.transport.loseConnection()
        first.clock.turn()
        // What came before still has its answer.
        #expect(second.hasEnded && second.takeText() == "question" && !first.hasEnded)
        first.receive("too late")
        second.receive("answer")
        second.peerCloses()
        #expect(first.takeText() == "answer" && first.hasEnded && second.takeText() == "")
        first.peerCloses()
        pair.expectFinished(["8 bytes", "6 bytes"])
        #expect(!first.wasReset && !second.wasReset)
    }

    // Case W1
    @Test func `a source that never ends is stopped when a close waits for nothing else`() {
        let pair = Pair()
        pair.proxy()
        pair.left.transport.loseConnection()
        pair.left.clock.advance(by: StreamOptions().closeTimeout)
        #expect(pair.left.hasEnded && pair.right.hasEnded)
        pair.left.peerCloses()
        pair.right.peerCloses()
        pair.left.clock.turn()
        #expect(!pair.left.wasReset && !pair.right.wasReset)
        #expect(pair.atLeft.events.isEmpty && !pair.left.isOpen && !pair.right.isOpen)
    }

    @Test func `the end waits for what the destination has no room for`() {
        let pair = Pair(roomBytes: 4)
        pair.proxy()
        pair.left.receive("question")
        pair.left.peerCloses()
        #expect(pair.right.takeText() == "ques" && !pair.right.hasEnded)
        pair.right.receive("answer")
        pair.right.peerCloses()
        #expect(pair.left.takeText() == "answer")
        pair.right.drain()
        #expect(pair.right.takeText() == "tion")
        pair.expectFinished(["8 bytes", "6 bytes"])
        #expect(!pair.left.wasReset && !pair.right.wasReset)
    }

    @Test func `a full destination pauses the source once, and resumes it at the low mark`() {
        let pair = Pair(roomBytes: 0, watermarks: Self.small)
        pair.carry(from: pair.left, to: pair.right)
        pair.left.receive(Bytes([UInt8](repeating: 1, count: 200)))
        #expect(pair.left.isReading)
        pair.left.receive("!")
        #expect(!pair.left.isReading)
        pair.left.receive("held by the kernel")
        #expect(pair.right.transport.pendingByteCount == 201)
        pair.right.drain(100)
        #expect(!pair.left.isReading)
        pair.right.drain(1)
        pair.left.clock.turn()
        #expect(pair.left.isReading && pair.right.transport.pendingByteCount == 118)
        pair.right.drain()
        pair.left.clock.turn()
        #expect(pair.right.takeBytes().count == 219)
    }

    @Test func `a slow reader bounds what a proxy holds`() {
        let pair = Pair(roomBytes: 0, watermarks: Self.small)
        pair.proxy()
        var sent = 0, arrived = 0
        for _ in 0..<1_000 {
            pair.left.receive(Bytes([UInt8](repeating: 7, count: 50)))
            sent += 50
            #expect(pair.right.transport.pendingByteCount <= Self.small.high + 50)
            pair.right.drain(40)
            // The other direction flows on meanwhile.
            pair.right.receive("x")
            #expect(pair.left.takeText() == "x")
            arrived += pair.right.takeBytes().count
        }
        pair.left.peerCloses()
        pair.right.drain()
        while !pair.right.hasEnded { pair.left.clock.turn() }
        arrived += pair.right.takeBytes().count
        #expect(arrived == sent)
    }

    @Test func `a pipe to a destination that is full already begins paused`() {
        let pair = Pair(roomBytes: 0, watermarks: Self.small)
        pair.right.transport.write([UInt8](repeating: 1, count: 300))
        pair.carry(from: pair.left, to: pair.right)
        pair.left.receive("held")
        #expect(!pair.left.isReading && pair.right.transport.pendingByteCount == 300)
        pair.right.drain()
        pair.left.clock.turn()
        #expect(pair.right.takeBytes().suffix(4).elementsEqual("held".utf8))
    }

    @Test func `a pipe resumes a source that was paused until then`() {
        let pair = Pair()
        pair.left.transport.pauseProducing()
        pair.left.receive("early")
        #expect(pair.atLeft.text.isEmpty)
        pair.carry(from: pair.left, to: pair.right)
        #expect(pair.right.takeText() == "early" && pair.atLeft.text.isEmpty)
    }

    @Test func `a source that breaks resets the destination behind what was carried`() {
        let pair = Pair(roomBytes: 0)
        pair.carry(from: pair.left, to: pair.right)
        pair.left.receive("last")
        pair.left.peerResets()
        #expect(!pair.right.wasReset && pair.atRight.events.isEmpty)
        #expect(pair.results.count == 1 && pair.results[0].contains("ECONNRESET"))
        pair.right.drain()
        #expect(pair.right.takeText() == "last")
        #expect(pair.right.wasReset && pair.atRight.events == ["aborted here"])
    }

    @Test func `a source that is closed here closes the destination behind what was carried`() {
        let pair = Pair(roomBytes: 2)
        pair.carry(from: pair.left, to: pair.right)
        pair.left.receive("text")
        pair.left.transport.loseConnection()
        pair.left.peerCloses()
        #expect(pair.results == ["4 bytes"] && pair.right.isOpen)
        pair.right.drain()
        #expect(pair.right.takeText() == "text" && pair.right.hasEnded)
        pair.right.peerCloses()
        #expect(pair.atRight.events.last == "closed here" && !pair.right.wasReset)
    }

    @Test func `a destination that breaks closes the source, also one that is paused`() {
        for count in [1, 300] {
            let pair = Pair(roomBytes: 0, watermarks: Self.small)
            pair.carry(from: pair.left, to: pair.right)
            pair.left.receive(Bytes([UInt8](repeating: 1, count: count)))
            #expect(pair.left.isReading == (count == 1))
            pair.right.peerResets()
            #expect(pair.left.hasEnded)
            pair.left.peerCloses()
            let sentence = "the destination of a pipe, 127.0.0.1:40000, was lost after"
            let cause = "cannot read from 127.0.0.1:40000: connection reset by peer (ECONNRESET)"
            pair.expectFinished(["\(sentence) \(count) bytes: \(cause)"])
        }
    }

    @Test(arguments: [true, false])
    func `a proxy whose one end breaks lets go of the other`(isLeft: Bool) {
        for bytes in ["", "bytes that nobody takes"] {
            let pair = Pair(roomBytes: 0, leftRoomBytes: 0)
            pair.proxy()
            pair.left.receive(bytes)
            pair.right.receive(bytes)
            let (broken, other) = isLeft ? (pair.left, pair.right) : (pair.right, pair.left)
            broken.peerResets()
            pair.left.clock.turn()
            other.drain()
            #expect(other.takeText() == bytes && other.wasReset && pair.results.count == 2)
            #expect(pair.results.contains { $0.contains("ECONNRESET") })
            #expect(pair.results.contains { $0.hasPrefix("the destination of a pipe") })
            pair.expectFinished(pair.results)
        }
    }

    @Test func `an end that broke behind its direction breaks the other one`() {
        let pair = Pair()
        pair.proxy()
        pair.left.receive("question")
        pair.left.peerCloses()
        pair.left.peerResets()
        #expect(
            pair.results.last
                == "the destination of a pipe, 127.0.0.1:40000, was lost after 0 bytes: "
                + "cannot read from 127.0.0.1:40000: connection reset by peer (ECONNRESET)")
        pair.right.peerCloses()
        pair.expectFinished(pair.results)
    }

    @Test func `a pipe to a destination that is gone fails and closes the source`() {
        let pair = Pair()
        pair.right.transport.abortConnection()
        pair.left.clock.turn()
        pair.carry(from: pair.left, to: pair.right)
        pair.left.peerCloses()
        pair.expectFinished([
            "the destination of a pipe, 127.0.0.1:40000, was lost after 0 bytes: aborted here"
        ])
    }

    @Test func `a pipe from a source that is gone fails and aborts the destination`() {
        let pair = Pair()
        pair.left.peerResets()
        pair.carry(from: pair.left, to: pair.right)
        #expect(pair.right.wasReset)
        #expect(
            pair.results == [
                "cannot read from 127.0.0.1:40000: connection reset by peer (ECONNRESET)"
            ])
    }

    @Test func `a source that is aborted in the event that began its pipe fails the pipe`() {
        let pair = Pair()
        pair.left.clock.reactor.callLater(.zero) {
            pair.left.transport.pipe(to: pair.right.transport)
                .whenFailed { pair.results.append("\($0)") }
            pair.left.transport.abortConnection()
        }
        pair.left.clock.advance(by: .zero)
        #expect(pair.right.wasReset)
        #expect(pair.results == ["aborted here"])
    }

    @Test(arguments: [false, true])
    func `a pipe from a source that has ended already carries the end`(isFull: Bool) {
        let pair = Pair(roomBytes: isFull ? 0 : .max, watermarks: Self.small)
        if isFull { pair.right.transport.write([UInt8](repeating: 1, count: 300)) }
        pair.left.receive("early")
        pair.left.peerCloses()
        #expect(pair.atLeft.events == ["read lost"])
        pair.carry(from: pair.left, to: pair.right)
        // What is full pauses the source, and with it the end.
        #expect(pair.results == (isFull ? [] : ["0 bytes"]))
        pair.right.drain()
        pair.left.clock.turn()
        #expect(pair.results == ["0 bytes"] && pair.right.hasEnded && pair.right.isOpen)
        pair.carry(from: pair.right, to: pair.left)
        pair.right.peerCloses()
        pair.expectFinished(["0 bytes", "0 bytes"])
    }

    @Test func `a connection that is piped to itself is an echo`() {
        let pair = Pair(leftRoomBytes: 0, watermarks: Self.small)
        pair.carry(from: pair.left, to: pair.left)
        pair.left.receive(Bytes([UInt8](repeating: 1, count: 300)))
        pair.left.receive("end")
        #expect(!pair.left.isReading)
        pair.left.drain()
        #expect(pair.left.takeBytes().count == 303)
        pair.left.peerCloses()
        #expect(pair.results == ["303 bytes"] && !pair.left.isOpen)
    }

    @Test func `nothing outlives a pipe`() {
        let clock = ManualClock()
        do {
            let left = MemoryTransport(Idle(), clock: clock)
            let right = MemoryTransport(Idle(), clock: clock)
            left.transport.pipe(to: right.transport)
            right.transport.pipe(to: left.transport)
            left.receive("x")
            left.peerCloses()
            right.peerCloses()
        }
        clock.turn()
        #expect(clock.reactor.statistics.liveTransports == 0)
    }
}
