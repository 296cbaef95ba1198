// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionTesting

/// What a running reactor tells of itself.
@Suite struct ObservationTests {
    private static let backends = BackendChoice.tested

    /// Does nothing with what comes; blocks for so long.
    private final class Sleeper: StreamProtocol {
        let milliseconds: UInt32
        init(_ milliseconds: UInt32) { self.milliseconds = milliseconds }
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            usleep(milliseconds * 1_000)
            transport.write("done")
        }
    }

    @Test(arguments: backends)
    func `a callback that blocks is named, with its type, connection and duration, in its turn`(
        backend: BackendChoice
    ) throws {
        var told: [SlowEvent] = []
        var order: [String] = []
        let client = Client()
        try run(on: backend) { reactor in
            reactor.slowEventLimit = .milliseconds(60)
            reactor.slowEvent = {
                told.append($0)
                order.append("told")
            }
            let port = try ServerEndpoint.anywhere.listen(on: reactor) { Sleeper(300) }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                .addCallback { $0.transport?.write("go") }.orIssue()
            client.onText = { _ in
                order.append("answered")
                reactor.stop()
            }
        }
        // A machine that is busy may hold up others as well.
        let slow = try #require(told.first { $0.source.kind == .dataReceived })
        let source = slow.source
        #expect(source.connection != nil && source.peerAddress != nil)
        #expect(source.protocolType?.hasSuffix("Sleeper") == true)
        #expect(slow.duration >= .milliseconds(300) && slow.isOver)
        #expect(order.first == "told" && order.last == "answered")
        let line = "\(slow)"
        #expect(line.contains("was held for ") && line.contains("Sleeper"))
    }

    @Test func `a delayed call that blocks is named by its place`() throws {
        var told: [SlowEvent] = []
        try run(on: .epoll) { reactor in
            reactor.slowEventLimit = .milliseconds(20)
            reactor.slowEvent = { told.append($0) }
            reactor.callLater(.zero) { usleep(30_000) }
            reactor.callLater(.milliseconds(40)) { reactor.stop() }
        }
        let slow = try #require(told.first { $0.duration >= .milliseconds(30) })
        #expect(slow.source.kind == .delayedCall)
        #expect(slow.source.place?.contains("ObservationTests.swift:") == true)
    }

    @Test(arguments: backends)
    func `an event that hangs is told from another thread while it hangs`(
        backend: BackendChoice
    ) throws {
        let told = Lock<[SlowEvent]>([])
        let hang = Lock<Bool>(true)
        try run(on: backend) { reactor in
            try reactor.watchSlowEvents(longerThan: .milliseconds(40)) { event in
                told.withLock { $0.append(event) }
                if event.source.kind == .delayedCall { hang.withLock { $0 = false } }
            }
            reactor.callLater(.milliseconds(1)) {
                // It ends by being told of.
                for _ in 0..<2_000 where hang.withLock({ $0 }) { usleep(5_000) }
                reactor.stop()
            }
        }
        let events = told.withLock { $0 }
        let slow = try #require(events.first { $0.source.kind == .delayedCall })
        #expect(!slow.isOver && slow.duration >= .milliseconds(40))
        #expect(hang.withLock { $0 } == false)
    }

    /// Blocks until it is told to end.
    private final class Hanging: StreamProtocol {
        private let hangs: () -> Bool
        init(while hangs: @escaping () -> Bool) { self.hangs = hangs }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            for _ in 0..<2_000 where hangs() { usleep(5_000) }
            transport.reactor.stop()
        }
    }

    @Test(arguments: backends)
    func `a callback that hangs is named with its type and connection while it hangs`(
        backend: BackendChoice
    ) throws {
        let told = Lock<[SlowEvent]>([])
        let hang = Lock<Bool>(true)
        try run(on: backend) { reactor in
            try reactor.watchSlowEvents(longerThan: .milliseconds(300)) { event in
                told.withLock { $0.append(event) }
                if event.source.kind == .dataReceived { hang.withLock { $0 = false } }
            }
            let port = try ServerEndpoint.anywhere.listen(on: reactor) {
                Hanging { hang.withLock { $0 } }
            }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { Client() }
                .addCallback { $0.transport?.write("go") }.orIssue()
        }
        let events = told.withLock { $0 }
        let slow = try #require(events.first { $0.source.kind == .dataReceived })
        #expect(!slow.isOver && slow.duration >= .milliseconds(300))
        #expect(slow.source.protocolType?.hasSuffix("Hanging") == true)
        #expect(slow.source.connection != nil && slow.source.peerAddress != nil)
    }

    @Test(arguments: backends)
    func `bytes are counted by connection and reactor, and equal what was sent`(
        backend: BackendChoice
    ) throws {
        let client = Client()
        let text = String(repeating: "0123456789", count: 20_000)
        var load: ReactorLoad?
        var snapshot: ReactorSnapshot?
        try run(on: backend) { reactor in
            reactor.isMeasuring = true
            let port = try ServerEndpoint.anywhere.listen(on: reactor) { Echo() }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                .addCallback { $0.transport?.write(text) }.orIssue()
            client.onText = { received in
                guard received.utf8.count == text.utf8.count, snapshot == nil else { return }
                reactor.callLater(.milliseconds(1)) {
                    load = reactor.load
                    snapshot = reactor.inspect()
                    reactor.stop()
                }
            }
        }
        // Both ends are of this reactor.
        let count = UInt64(text.utf8.count)
        #expect(load?.bytesRead == 2 * count && load?.bytesWritten == 2 * count)
        let connections = try #require(snapshot?.connections)
        #expect(connections.count == 2)
        #expect(connections.allSatisfy { $0.bytesRead == count && $0.bytesWritten == count })
        let events = try #require(load?.events)
        #expect(events.count > 4 && events.total > .zero)
        #expect(snapshot?.load?.bytesRead == 2 * count)
    }

    @Test(arguments: backends)
    func `measuring may begin and end under traffic, and loses no byte`(
        backend: BackendChoice
    ) throws {
        let client = Client()
        var sent = 0
        try run(on: backend) { reactor in
            let port = try ServerEndpoint.anywhere.listen(on: reactor) { Echo() }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                .addCallback { _ in
                    client.transport?.write("x")
                    sent = 1
                }.orIssue()
            client.onText = { text in
                guard text.utf8.count == sent else { return }
                guard sent < 200 else {
                    reactor.stop()
                    return
                }
                reactor.isMeasuring.toggle()
                client.transport?.write("y")
                sent += 1
            }
        }
        #expect(client.text.utf8.count == 200)
        #expect(client.text == "x" + String(repeating: "y", count: 199))
    }

    @Test(arguments: backends)
    func `what is open is listed: connections, ports and delayed calls`(
        backend: BackendChoice
    ) throws {
        let client = Client()
        var snapshot: ReactorSnapshot?
        try run(on: backend) { reactor in
            reactor.isMeasuring = true
            let port = try ServerEndpoint.anywhere
                .filtered { Throttle(writing: ThrottleRate(bytesPerSecond: 1_000_000)) }
                .listen(on: reactor) { Echo() }
            let other = try ServerEndpoint.anywhere.listen(on: reactor) { Echo() }
            other.pauseAccepting()
            reactor.callLater(.seconds(60)) {}
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                .addCallback { client in
                    client.transport?.pauseProducing()
                    reactor.callLater(.milliseconds(30)) {
                        let seen = reactor.inspect()
                        snapshot = seen
                        #expect(
                            seen.ports.map(\.address) == [port, other].map { "\($0.localAddress)" })
                        reactor.stop()
                    }
                }.orIssue()
        }
        let seen = try #require(snapshot)
        #expect(seen.backend == backend.name && seen.isReady && !seen.isStopping)
        #expect(seen.ports.map(\.isAccepting) == [true, false])
        #expect(seen.ports.map(\.connections) == [1, 0])
        try #require(seen.connections.count == 2)
        let served = try #require(seen.connections.first { $0.isServed })
        #expect(served.protocolType?.hasSuffix(".Echo") == true && served.state == "open")
        #expect(served.filters.map { $0.hasSuffix("Throttle") } == [true])
        let own = try #require(seen.connections.first { !$0.isServed })
        #expect(own.peer == served.local && own.local == served.peer)
        #expect(own.isPaused && (0.02...5).contains(own.pauses.first?.seconds ?? 0))
        #expect((0.02...5).contains(own.ageSeconds))
        #expect(seen.delayedCalls.contains { (50...60).contains($0.dueSeconds) })
        #expect(seen.counts.connectionsMade == 2)
    }

    @Test(arguments: backends)
    func `losses are counted by reason, and hooks hear of every connection`(
        backend: BackendChoice
    ) throws {
        struct Refusal: Error {}
        final class Picky: StreamProtocol {
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
                switch String(decoding: bytes) {
                case "close": transport.loseConnection()
                case "abort": transport.abortConnection()
                default: throw Refusal()
                }
            }
        }
        var notes: [String] = []
        let reactor = Reactor(backend: backend)
        var seen: LossCounts?
        try reactor.run(signals: .ignore) { reactor in
            reactor.unhandledError = { _ in }
            reactor.connectionObserver.made = { _ in notes.append("made") }
            reactor.connectionObserver.lost = { why, _ in notes.append("lost") }
            reactor.connectionObserver.refused = { error, _ in notes.append("refused") }
            var accepts = 0
            let port = try ServerEndpoint.anywhere.listen(on: reactor) {
                (_: SocketAddress) -> Picky? in
                accepts += 1
                return accepts <= 3 ? Picky() : nil
            }
            var words = ["close", "abort", "throw", "refused"][...]
            func next() {
                guard let word = words.popFirst() else {
                    seen = reactor.statistics.losses
                    return _ = reactor.stop()
                }
                let client = Client()
                client.onLoss = { reactor.callLater(.milliseconds(5)) { next() } }
                ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                    .addCallback { $0.transport?.write(word) }.orIssue()
            }
            next()
        }
        let losses = try #require(seen)
        #expect(losses.closedLocally == 1 && losses.aborted == 1 && losses.protocolFailed == 1)
        // Of the four clients in this process one saw the end, the others a reset.
        #expect(losses.total == 7)
        #expect(notes.count { $0 == "made" } == 7 && notes.count { $0 == "lost" } == 7)
        #expect(notes.count { $0 == "refused" } == 1)
    }
}
