// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionTesting

@testable import TorsionOperations

/// What a list of open resources says of each: who made it, and who holds it up.
@Suite struct InspectionTests {
    private static let backends = BackendChoice.tested
    private static let file = "TorsionOperationsTests/InspectionTests.swift"

    @Test func `each delayed call is listed with the place that made it`() throws {
        var seen: [ReactorSnapshot.DelayedCall] = []
        var lines: [UInt] = []
        try run(on: .epoll) { reactor in
            lines = [#line + 1, #line + 2, #line + 3, #line + 4, #line + 5, #line + 6]
            reactor.callLater(.seconds(101)) {}
            reactor.callAt(reactor.now.advanced(by: .seconds(102))) {}
            reactor.deferLater(.seconds(103)).ignore()
            let beat = LoopingCall(on: reactor) {}; beat.start(every: .seconds(104)).ignore()
            Deferred<Int>(on: reactor).addTimeout(.seconds(105)).ignore()
            reactor.spawn { try await reactor.sleep(for: .seconds(106)) }.ignore()
            reactor.callLater(.milliseconds(1)) {
                seen = reactor.inspect().delayedCalls.filter { $0.dueSeconds > 90 }
                reactor.stop()
            }
        }
        #expect(seen.map(\.place) == lines.map { "\(Self.file):\($0)" })
        #expect(seen.map { Int($0.dueSeconds.rounded()) } == [101, 102, 103, 104, 105, 106])
    }

    @Test func `the place of a delayed call stays with it when it is moved`() throws {
        let clock = ManualClock()
        let reactor = clock.reactor
        let line = #line + 1
        let calls = (0..<600).map { _ in reactor.callLater(.seconds(5)) {} }
        for (index, call) in calls.enumerated() where index % 3 == 0 { call.cancel() }
        for (index, call) in calls.enumerated() where index % 3 == 1 {
            call.reset(after: .milliseconds(index))
        }
        let places = reactor.inspect().delayedCalls.map(\.place)
        #expect(places == [String](repeating: "\(Self.file):\(line)", count: 400))
    }

    @Test(arguments: backends)
    func `tasks are listed by the place of their spawn, the most first`(
        backend: BackendChoice
    ) throws {
        var seen: [ReactorSnapshot.Tasks] = []
        var after: [ReactorSnapshot.Tasks] = []
        var lines: [String: UInt] = [:]
        try run(on: backend) { reactor in
            let gate = DeferredEvent(on: reactor)
            lines["three"] = #line + 1
            for _ in 0..<3 { reactor.spawn { try await gate.wait().value }.ignore() }
            lines["one"] = #line + 2
            lines["two"] = #line + 2
            reactor.spawn {
                try await reactor.concurrently(
                    { try await gate.wait().value }, { try await gate.wait().value })
            }.ignore()
            reactor.callLater(.milliseconds(1)) {
                seen = reactor.inspect().tasks
                gate.set()
                reactor.callLater(.milliseconds(1)) {
                    after = reactor.inspect().tasks
                    reactor.stop()
                }
            }
        }
        let expected = ["three": 3, "two": 2, "one": 1].sorted { $0.value > $1.value }
        #expect(seen.map(\.count) == [3, 2, 1] && after == [])
        #expect(seen.map(\.place) == expected.map { "\(Self.file):\(lines[$0.key] ?? 0)" })
    }

    @Test(arguments: backends)
    func `a task that serves a connection is listed by the line that called serve`(
        backend: BackendChoice
    ) throws {
        var seen: ReactorSnapshot?
        var line: UInt = 0
        let client = Client()
        try run(on: backend) { reactor in
            reactor.spawn {
                line = #line + 1
                try await ServerEndpoint.anywhere.serve(
                    on: reactor,
                    whenListening: { port in
                        ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                            .addCallback { $0.transport?.write("unread") }.orIssue()
                    },
                    { connection in
                        reactor.callLater(.milliseconds(30)) {
                            seen = reactor.inspect()
                            reactor.stop()
                        }
                        try await reactor.sleep(for: .seconds(60))
                    })
            }.ignore()
        }
        let snapshot = try #require(seen)
        #expect(snapshot.tasks.contains { $0.place == "\(Self.file):\(line)" && $0.count == 1 })
        let served = try #require(snapshot.connections.first { $0.isServed })
        #expect(served.pauses.map(\.cause) == [.task] && served.isPaused)
    }

    @Test(arguments: backends)
    func `who holds a connection up is named along a pipe, and since when`(
        backend: BackendChoice
    ) throws {
        var seen: ReactorSnapshot?
        var ids: [String] = []
        let source = Client(), reader = Client(), from = Client(), to = Client()
        var endpoint = ServerEndpoint.anywhere
        endpoint.options.watermarks = Watermarks(low: 1_000, high: 100_000, limit: 1 << 30)
        try run(on: backend) { reactor in
            // source → from, which is piped to → reader, which does not read.
            let first = try endpoint.listen(on: reactor) { from }
            let second = try endpoint.listen(on: reactor) { to }
            var options = StreamOptions()
            options.watermarks = endpoint.options.watermarks
            func connect(_ client: Client, to port: ListeningPort) -> Deferred<Client> {
                ClientEndpoint.address(port.localAddress, options: options)
                    .connect(on: reactor) { client }
            }
            gatherResults(connect(source, to: first), connect(reader, to: second))
                .addCallback { _ in
                    reader.transport?.pauseProducing()
                    reactor.callLater(.milliseconds(20)) {
                        from.transport?.pipe(to: to.transport!).ignore()
                        let piece = Bytes([UInt8](repeating: 7, count: 1 << 20))
                        for _ in 0..<40 { source.transport?.write(piece) }
                    }
                    reactor.callLater(.milliseconds(400)) {
                        seen = reactor.inspect()
                        for end in [source, from, to, reader] {
                            ids.append(end.transport.map { "\($0.id)" } ?? "")
                            end.transport.take()?.abortConnection()
                        }
                        reactor.stop()
                    }
                }.orIssue()
        }
        let snapshot = try #require(seen)
        let ends = try ids.map { id in
            try #require(snapshot.connections.first { $0.id == id })
        }
        let range = 0.05...10
        #expect(ends[0].pauses.map(\.cause) == [.peer] && ends[0].producer == nil)
        #expect(range.contains(ends[0].pauses.first?.seconds ?? 0))
        #expect(range.contains(ends[0].fullSeconds ?? 0))
        #expect(ends[1].pauses.map(\.cause) == [.consumer] && ends[1].fullSeconds == nil)
        #expect(ends[1].pauses.first?.by == "connection \(ends[2].id)")
        #expect(range.contains(ends[1].pauses.first?.seconds ?? 0))
        #expect(ends[2].pauses == [] && !ends[2].isPaused)
        #expect(range.contains(ends[2].fullSeconds ?? 0))
        #expect(ends[2].producer == "TorsionCore.PipeProtocol")
        #expect(ends[3].pauses.map(\.cause) == [.program] && ends[3].pauses[0].by == nil)
        #expect((0.2...10).contains(ends[3].pauses.first?.seconds ?? 0))
        #expect(ends.allSatisfy { $0.stream.hasSuffix("Stream") }, "\(ends.map(\.stream))")
    }

    @Test func `a filter that holds its rate is named`() throws {
        var seen: ReactorSnapshot?
        try run(on: .epoll) { reactor in
            let rate = ThrottleRate(bytesPerSecond: 1_000, burstBytes: 100)
            let port = try ServerEndpoint.anywhere.filtered { Throttle(reading: rate) }
                .listen(on: reactor) { Client() }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { Client() }
                .addCallback { client in
                    client.transport?.write(String(repeating: "x", count: 5_000))
                    reactor.callLater(.milliseconds(100)) {
                        seen = reactor.inspect()
                        reactor.stop(within: .zero)
                    }
                }.orIssue()
        }
        let served = try #require(seen?.connections.first { $0.isServed })
        let pause = try #require(served.pauses.first)
        #expect(pause.cause == .filter && pause.by == "TorsionProtocols.Throttle")
        #expect((0.01...10).contains(pause.seconds) && served.isPaused)
    }

    @Test
    func `a connection that is paused twice keeps the first time, and forgets it when it reads`()
        throws
    {
        let clock = ManualClock()
        let proto = Client()
        let wire = MemoryTransport(proto, clock: clock)
        func pauses() -> [ReactorSnapshot.Pause] {
            clock.reactor.inspect().connections.flatMap(\.pauses)
        }
        #expect(pauses() == [])
        proto.transport?.pauseProducing()
        clock.advance(by: .seconds(2))
        proto.transport?.pauseProducing()
        clock.advance(by: .seconds(3))
        #expect(pauses().map(\.cause) == [.program] && pauses().map(\.seconds) == [5])
        proto.transport?.resumeProducing()
        #expect(pauses() == [])
        wire.transport.pauseProducing()
        clock.advance(by: .seconds(1))
        #expect(pauses().map(\.seconds) == [1])
    }

    @Test(arguments: backends)
    func `losses are listed by deadline and by code, and failed handshakes as well`(
        backend: BackendChoice
    ) throws {
        /// Never agrees.
        final class Mute: StreamFilter {
            override func begin() {}
        }
        let reactor = Reactor(backend: backend)
        var figures = ReactorStatistics?.none
        var snapshot: ReactorSnapshot?
        try reactor.run(signals: .ignore) { reactor in
            let quiet = ServerEndpoint.anywhere.timeouts(Timeouts(idle: .milliseconds(30)))
            let ports = [
                try quiet.listen(on: reactor) { Echo() },
                try ServerEndpoint.anywhere.listen(on: reactor) { Echo() },
                try {
                    var endpoint = ServerEndpoint.anywhere
                    endpoint.options.handshakeTimeout = .milliseconds(30)
                    return try endpoint.filtered { Mute() }.listen(on: reactor) { Echo() }
                }(),
            ]
            func connect(_ port: ListeningPort, _ done: @escaping (Client) -> Void) {
                let client = Client()
                client.onText = { _ in done(client) }
                ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                    .addCallback { $0.transport?.write("hello") }.orIssue()
            }
            connect(ports[0]) { _ in }
            for _ in 0..<2 { connect(ports[1]) { $0.transport?.abortConnection() } }
            connect(ports[2]) { _ in }
            let look = LoopingCall(on: reactor) {
                figures = reactor.statistics
                snapshot = reactor.inspect()
                let isDone = reactor.statistics.openConnections == 0
                guard isDone, reactor.statistics.connectionsMade == 7 else { return }
                reactor.stop()
            }
            look.start(every: .milliseconds(5)).ignore()
        }
        let losses = try #require(figures?.losses)
        #expect(losses.deadlines.idle == 1 && losses.deadlinePassed == 1)
        #expect(losses.failures[.connectionReset] >= 2, "\(losses)")
        #expect(losses.total == 7)
        #expect(figures?.handshakesFailed == 1)
        #expect(figures?.handshakeLosses.deadlines.handshaking == 1)
        let counts = try #require(snapshot?.counts)
        #expect(counts.losses.deadlines == ["idle": 1] && counts.losses.deadlinePassed == 1)
        #expect(counts.losses.failures["ECONNRESET"] == losses.failures[.connectionReset])
        #expect(counts.losses.failed == losses.failed)
        #expect(counts.handshakeLosses.deadlines == ["handshaking": 1])
        let text = try JSONValue(encoding: try #require(snapshot)).text
        #expect(text.contains(#""deadlines":{"idle":1}"#) && text.contains(#""ECONNRESET":"#))
    }
}
