// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import CoreMetrics
import Logging
import MetricsTestKit
import ServiceLifecycle
import Synchronization
import Testing
import Torsion
import TorsionLifecycle
import TorsionLog
import TorsionMetrics

/// A server over the adapters, and a client in the same reactor.
@Suite struct AdapterTests {
    private final class Echo: StreamProtocol {
        struct Refusal: Error {}
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
            if bytes.byteCount == 3 { throw Refusal() }
            transport.write(bytes)
        }
    }

    private final class Client: StreamProtocol {
        private let words: String
        private var left: Int
        private let ended: () -> Void

        init(_ words: String, _ ended: @escaping () -> Void) {
            self.words = words
            left = words.utf8.count
            self.ended = ended
        }

        func connectionMade(_ transport: any StreamTransport) { transport.write(words) }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            left -= bytes.byteCount
            if left == 0 { transport.loseConnection() }
        }

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { ended() }
    }

    private final class Lines: LogHandler {
        let seen = Locked<[LogEvent]>([])
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) {
            var event = event
            event.metadata = metadata.merging(event.metadata ?? [:]) { _, new in new }
            seen.withLock { $0.append(event) }
        }
    }

    /// One after the other, then a stop.
    private func run(
        _ texts: [String], backend: BackendChoice, _ prepare: (Reactor) throws -> Void
    ) throws {
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            reactor.unhandledError = { _ in }
            try prepare(reactor)
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor) { Echo() }
            var left = texts[...]
            func next() {
                guard let text = left.popFirst() else { return _ = reactor.stop() }
                ClientEndpoint.address(port.localAddress).connect(on: reactor) {
                    Client(text) { reactor.callLater(.milliseconds(2)) { next() } }
                }.whenFailed { Issue.record("\($0)") }
            }
            next()
        }
    }

    @Test(arguments: BackendChoice.linked)
    func `a log has each connection with its peer, and an error with its reason`(
        backend: BackendChoice
    ) throws {
        let lines = Lines()
        nonisolated(unsafe) let handler = lines
        try run(["hello", "bad"], backend: backend) { reactor in
            let logger = Logger(label: "test") { _ in handler }
            reactor.log(to: logger)
        }
        let events = lines.seen.withLock { $0 }
        func count(_ text: String) -> Int { events.count { "\($0.message)" == text } }
        // Both ends of each.
        #expect(count("connection made") == 4 && count("connection lost") == 4)
        #expect(count("unhandled error") == 1)
        #expect(events.allSatisfy { $0.level <= .info && $0.metadata?["reactor"] != nil })
        let made = try #require(events.first { "\($0.message)" == "connection made" })
        #expect("\(made.metadata?["peer"] ?? "")".hasPrefix("127.0.0.1:"))
        let error = try #require(events.first { "\($0.message)" == "unhandled error" })
        #expect("\(error.metadata?["reason"] ?? "")" == "Refusal()")
    }

    @Test(arguments: BackendChoice.linked)
    func `counters add up to what was sent`(backend: BackendChoice) throws {
        let metrics = TestMetrics()
        try run(["hello", "worlds", "bad"], backend: backend) { reactor in
            reactor.isMeasuring = true
            reactor.reportMetrics(every: .milliseconds(5), factory: metrics)
        }
        func total(_ name: String) -> Int64 { metrics.counterTotal(label: "torsion." + name) }
        #expect(total("connections_made") == 6)
        #expect(total("connections_lost") == 6)
        // Both ends of the two that were answered, and the server's of the third.
        #expect(total("bytes_read") == 2 * 11 + 3 && total("bytes_written") == 2 * 11 + 3)
        let reasons = metrics.counters(label: "torsion.connections_lost").map { counter in
            counter.dimensions.first { $0.0 == "reason" }?.1 ?? ""
        }
        #expect(Set(reasons).isSuperset(of: ["protocol_failed", "closed_by_peer"]))
        // The client of the third was reset.
        let details = metrics.counters(label: "torsion.connections_lost").map { counter in
            counter.dimensions.map(\.1).dropFirst().joined(separator: " ")
        }
        #expect(
            Set(details).isSubset(of: [
                "protocol_failed ", "closed_by_peer ", "closed_locally ", "failed ECONNRESET",
            ]), "\(details)")
        #expect(details.contains("failed ECONNRESET"))
        #expect(
            try metrics.expectGauge("torsion.open_connections", [("reactor", number(metrics))])
                .values.last == 0)
    }

    private func number(_ metrics: TestMetrics) -> String {
        metrics.counters.first?.dimensions.first { $0.0 == "reactor" }?.1 ?? ""
    }

    /// Ends its group when it has been asked.
    private struct Prompt: Service {
        let body: @Sendable () async throws -> Void
        func run() async throws { try await body() }
    }

    @Test(arguments: BackendChoice.linked, [1, 3])
    func `a group that shuts down drains the server before what is below it ends`(
        backend: BackendChoice, count: Int
    ) async throws {
        let notes = Locked<[String]>([])
        let port = Locked<SocketAddress?>(nil)
        let ready = AsyncStream<Void>.makeStream()
        let below = Prompt {
            try await gracefulShutdown()
            notes.withLock { $0.append("below ends") }
        }
        let web = TorsionService(count: count, backend: backend, within: .seconds(5)) { reactor in
            let open = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor) { Echo() }
            port.withLock { if $0 == nil { $0 = open.localAddress } }
            reactor.addTrigger(.after, .shutdown) { notes.withLock { $0.append("stopped") } }
            reactor.addTrigger(.after, .startup) { ready.continuation.yield() }
        }
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: below), .init(service: web)],
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }))
        async let end: Void = group.run()
        var iterator = ready.stream.makeAsyncIterator()
        for _ in 0..<count { _ = await iterator.next() }
        #expect(port.withLock { $0 } != nil)
        await group.triggerGracefulShutdown()
        try await end
        let seen = notes.withLock { $0 }
        #expect(seen == [String](repeating: "stopped", count: count) + ["below ends"])
    }

    /// Answers each line after a moment; asked to end, it answers first.
    private final class Slow: LineProtocol {
        let lines = LineDecoder()
        private let lineReceived: () -> Void
        private var unanswered = 0
        private var isEnding = false

        init(_ lineReceived: @escaping () -> Void) { self.lineReceived = lineReceived }

        func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
            unanswered += 1
            lineReceived()
            transport.reactor.callLater(.milliseconds(20)) { [self] in
                unanswered -= 1
                transport.write("answer\n")
                if isEnding, unanswered == 0 { transport.loseConnection() }
            }
        }

        func shutdownRequested(_ transport: any StreamTransport) {
            isEnding = true
            if unanswered == 0 { transport.loseConnection() }
        }
    }

    @Test(arguments: BackendChoice.linked)
    func `one program logs its connections, counts what the load sent, and drains`(
        backend: BackendChoice
    ) async throws {
        let count = 20
        let lines = Lines()
        nonisolated(unsafe) let handler = lines
        let metrics = TestMetrics()
        let port = Locked<SocketAddress?>(nil)
        let asked = Locked(0)
        let ready = AsyncStream<Void>.makeStream()
        let whole = AsyncStream<Void>.makeStream()
        let web = TorsionService(backend: backend, within: .seconds(5)) { reactor in
            reactor.log(to: Logger(label: "web") { _ in handler })
            reactor.isMeasuring = true
            reactor.reportMetrics(every: .milliseconds(5), factory: metrics)
            let open = try ServerEndpoint.tcp(port: 0, interface: .loopback).listen(on: reactor) {
                Slow {
                    let all = asked.withLock { asked in
                        asked += 1
                        return asked
                    }
                    if all == count { whole.continuation.yield() }
                }
            }
            port.withLock { $0 = open.localAddress }
            reactor.addTrigger(.after, .startup) { ready.continuation.yield() }
        }
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: web)],
                logger: Logger(label: "group") { _ in SwiftLogNoOpLogHandler() }))
        async let end: Void = group.run()
        var start = ready.stream.makeAsyncIterator()
        _ = await start.next()
        let place = try #require(port.withLock { $0 })
        let answers = Locked<[String]>([])
        async let load: Void = withReactor(signals: .ignore) { reactor in
            let clients = (0..<count).map { _ in
                reactor.spawn {
                    let client = try await ClientEndpoint.address(place).connect(on: reactor).value
                    try await client.write("question\n")
                    let answer = try await client.readToEnd(limitBytes: 100)
                    let text = String(decoding: answer)
                    answers.withLock { $0.append(text) }
                }
            }
            for client in clients { try await client.value }
        }
        // All have asked, and nobody has been answered.
        var middle = whole.stream.makeAsyncIterator()
        _ = await middle.next()
        await group.triggerGracefulShutdown()
        try await end
        try await load
        #expect(answers.withLock { $0 } == [String](repeating: "answer\n", count: count))
        let events = lines.seen.withLock { $0 }
        for text in ["connection made", "connection lost"] {
            let told = events.filter { "\($0.message)" == text }
            #expect(told.count == count)
            #expect(told.allSatisfy { "\($0.metadata?["peer"] ?? "")".hasPrefix("127.0.0.1:") })
        }
        func total(_ name: String) -> Int64 { metrics.counterTotal(label: "torsion." + name) }
        #expect(total("connections_made") == count && total("connections_lost") == count)
        #expect(total("bytes_read") == Int64(count * "question\n".utf8.count))
        #expect(total("bytes_written") == Int64(count * "answer\n".utf8.count))
    }

    @Test(arguments: BackendChoice.linked)
    func `cancelling ends a shutdown that takes too long`(backend: BackendChoice) async throws {
        /// Never closes by itself.
        final class Stubborn: StreamProtocol {
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
            func shutdownRequested(_ transport: any StreamTransport) {}
        }
        let stopping = AsyncStream<Void>.makeStream()
        let ready = AsyncStream<Void>.makeStream()
        let web = TorsionService(backend: backend, within: .seconds(600)) { reactor in
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor) { Stubborn() }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { Stubborn() }
                .addCallback { _ in ready.continuation.yield() }
                .whenFailed { Issue.record("\($0)") }
            reactor.addTrigger(.during, .shutdown) { stopping.continuation.yield() }
        }
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: web)],
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }))
        let running = Task { try await group.run() }
        var iterator = ready.stream.makeAsyncIterator()
        _ = await iterator.next()
        await group.triggerGracefulShutdown()
        var other = stopping.stream.makeAsyncIterator()
        _ = await other.next()
        running.cancel()
        _ = await running.result
    }
}

/// What several threads may look at.
private final class Locked<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    init(_ value: Value) { self.value = Mutex(value) }

    func withLock<Result: Sendable>(_ body: (inout Value) -> Result) -> Result {
        value.withLock { value in
            // Through a copy, which belongs to no region of the mutex's.
            var copy = value
            let result = body(&copy)
            value = copy
            return result
        }
    }
}
