// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing
import Torsion

/// Policies, adapters and relays over sockets: what rests on what a kernel notices, which a transport
/// in memory notices sooner, or more of.
@Suite struct PolicyTests {
    /// A port whose clients are plain sockets, and owe Torsion nothing.
    private final class Place {
        let reactor: Reactor
        let port: ListeningPort

        init(
            _ name: String, options: StreamOptions = StreamOptions(),
            under policy: (ServerEndpoint) -> any StreamServerEndpoint = { $0 },
            _ makeProtocol: @escaping (Reactor) -> any StreamProtocol
        ) throws {
            let reactor = try Reactor.turned(by: name)
            self.reactor = reactor
            let place = ServerEndpoint.tcp(port: 0, interface: .loopback, options: options)
            port = try policy(place).listen(on: reactor) { _ in makeProtocol(reactor) }
        }

        func client() throws -> Socket { try Socket(port: port.localAddress.port!) }

        /// Nothing is left but the port, and then nothing at all.
        func finish(line: Int = #line) {
            let place = SourceLocation(fileID: #fileID, filePath: #filePath, line: line, column: 1)
            #expect(reactor.turn { reactor.statistics.openConnections == 0 }, sourceLocation: place)
            #expect(
                reactor.turn { reactor.statistics.lingeringStreams == 0 }, sourceLocation: place)
            #expect(reactor.statistics.delayedCalls == 0, sourceLocation: place)
            port.stopListening()
            reactor.turn(until: reactor.now)
            #expect(reactor.statistics.liveTransports == 0, sourceLocation: place)
            reactor.checkInvariants()
            reactor.shutDown()
        }
    }

    private static func code(_ loss: ConnectionLoss?) -> ErrorCode? {
        if case .failed(let error) = loss { error.code } else { nil }
    }

    /// Notes its loss, and does what it is told when it is made, when something comes, and at its end.
    private class Talker: StreamProtocol {
        var text = ""
        var loss: ConnectionLoss?
        private(set) var transport: (any StreamTransport)?
        var whenMade: (any StreamTransport) -> Void = { _ in }
        var whenHeard: (any StreamTransport) -> Void = { _ in }

        func connectionMade(_ transport: any StreamTransport) {
            self.transport = transport
            whenMade(transport)
        }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            text += String(decoding: bytes)
            whenHeard(transport)
        }

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            loss = why
            forget()
        }

        /// Also when a pipe has taken its place.
        func forget() {
            transport = nil
            whenMade = { _ in }
            whenHeard = { _ in }
        }
    }

    private final class HalfTalker: Talker, HalfCloseableProtocol {
        var hasReadEnded = false
        func readConnectionLost(from transport: any StreamTransport) { hasReadEnded = true }
        func writeConnectionLost(from transport: any StreamTransport) {}
    }

    // MARK: Throttles

    private static let slow = ThrottleRate(bytesPerSecond: 100, burstBytes: 100)
    private static let quick = ThrottleRate(bytesPerSecond: 1_000_000, burstBytes: 1_000)

    /// A read cannot be cut, so that it is a debt: of 100 seconds here, while nothing is read.
    @Test(arguments: backendNames)
    func `a reset is noticed while the throttle does not read`(name: String) throws {
        let server = Talker()
        let throttled: (ServerEndpoint) -> any StreamServerEndpoint = {
            $0.filtered { Throttle(reading: Self.slow) }
        }
        let place = try Place(name, under: throttled) { _ in server }
        let client = try place.client()
        client.write(String(repeating: "x", count: 10_000))
        #expect(place.reactor.turn { server.text.utf8.count == 10_000 })
        client.reset()
        #expect(place.reactor.turn { server.loss != nil })
        #expect(Self.code(server.loss) == .connectionReset)
        place.finish()
    }

    @Test(arguments: backendNames)
    func `a throttle sends what waits behind its client's end, and behind its own`(
        name: String
    ) throws {
        for isClients in [true, false] {
            let server = Talker()
            let throttled: (ServerEndpoint) -> any StreamServerEndpoint = {
                $0.filtered { Throttle(writing: Self.quick) }
            }
            let place = try Place(name, under: throttled) { _ in server }
            let client = try place.client()
            let text = String(repeating: "answer ", count: 10_000)
            server.whenHeard = { transport in
                transport.write(text)
                if !isClients { transport.loseConnection() }
            }
            client.write("question")
            if isClients { client.endOutput() }
            #expect(place.reactor.turn { !server.text.isEmpty })
            // Comes while the rest still waits, and must not cost it.
            if !isClients { client.write("more") }
            #expect(place.reactor.turn { server.transport?.pendingByteCount ?? 0 == 0 })
            if !isClients { client.endOutput() }
            #expect(place.reactor.turn { server.loss != nil })
            #expect(server.loss == (isClients ? .closedByPeer : .closedLocally))
            #expect(client.readToEnd() == text)
            place.finish()
        }
    }

    @Test(arguments: backendNames)
    func `each direction of a throttle ends by itself`(name: String) throws {
        let server = HalfTalker()
        let throttled: (ServerEndpoint) -> any StreamServerEndpoint = {
            $0.filtered { Throttle(reading: Self.quick, writing: Self.quick) }
        }
        let place = try Place(name, under: throttled) { _ in server }
        let client = try place.client()
        client.write("question")
        client.endOutput()
        #expect(place.reactor.turn { server.hasReadEnded })
        #expect(server.text == "question" && server.loss == nil)
        server.transport?.write(String(repeating: "x", count: 5_000))
        server.transport?.loseWriteConnection()
        #expect(place.reactor.turn { server.loss != nil })
        #expect(server.loss == .closedByPeer)
        #expect(client.readToEnd() == String(repeating: "x", count: 5_000))
        place.finish()
    }

    // MARK: Limits

    enum Leaving: CaseIterable { case reset, closed, resetWhilePaused, resetWhileUnread }

    @Test(arguments: backendNames, Leaving.allCases)
    func `a client that leaves gives its place back`(name: String, leaving: Leaving) throws {
        var made: [Talker] = []
        let reactor = try Reactor.turned(by: name)
        let factory = Talkers { talker in
            made.append(talker)
            guard leaving == .resetWhilePaused || leaving == .resetWhileUnread else { return }
            talker.whenHeard = { $0.pauseProducing() }
        }
        let limiter = ConnectionLimiter(ConnectionLimits(total: 1))
        let port = try reactor.listen(
            on: .ipv4(.loopback, port: 0), options: StreamOptions(), factory: factory)
        port.observe(by: limiter)
        func client() throws -> Socket { try Socket(port: port.localAddress.port!) }
        let first = try client()
        first.write("hello")
        #expect(reactor.turn { made.first?.text == "hello" })
        let refused = try client()
        #expect(reactor.turn { limiter.refusedCount == 1 })
        refused.close()
        switch leaving {
        case .closed: first.close()
        case .reset, .resetWhilePaused: first.reset()
        case .resetWhileUnread:
            first.write("unread")
            first.reset()
        }
        #expect(reactor.turn { limiter.connectionCount == 0 })
        #expect(made.first?.loss != nil)
        let second = try client()
        #expect(reactor.turn { limiter.connectionCount == 1 })
        second.close()
        #expect(reactor.turn { reactor.statistics.openConnections == 0 })
        limiter.checkInvariants()
        port.stopListening()
        reactor.shutDown()
    }

    private final class Talkers: StreamProtocolFactory {
        private let whenMade: (Talker) -> Void
        init(_ whenMade: @escaping (Talker) -> Void) { self.whenMade = whenMade }

        func makeProtocol(for peer: SocketAddress) -> (any StreamProtocol)? {
            let talker = Talker()
            whenMade(talker)
            return talker
        }
    }

    // MARK: Timeouts

    /// The buffers of both kernels are small, so that the queue here shows what the client takes.
    private static func smallBuffers() -> StreamOptions {
        var options = StreamOptions()
        options.sendBufferBytes = 4_096
        return options
    }

    @Test(arguments: backendNames)
    func `a client that takes nothing is idle, and one that takes a little is not`(
        name: String
    ) throws {
        let server = Talker()
        let timeouts = Timeouts(idle: .milliseconds(200))
        let place = try Place(
            name, options: Self.smallBuffers(), under: { $0.timeouts(timeouts) }
        ) { _ in server }
        let client = try place.client()
        let whole = 8_000_000
        server.whenMade = { $0.write([UInt8](repeating: 1, count: whole)) }
        #expect(place.reactor.turn { server.transport != nil })
        // For three times as long as it may be idle it takes some, each time more than the kernel
        // needs to tell of room.
        let start = place.reactor.now
        while start.duration(to: place.reactor.now) < .milliseconds(600), server.loss == nil {
            let end = place.reactor.now.advanced(by: .milliseconds(50))
            _ = place.reactor.turn(within: .milliseconds(50)) { place.reactor.now >= end }
            _ = client.receive()
        }
        #expect(server.loss == nil)
        #expect(server.transport?.pendingByteCount ?? 0 > 0)
        #expect(place.reactor.turn { server.loss != nil })
        #expect(server.loss == .deadlinePassed(.idle))
        client.close()
        place.finish()
    }

    @Test(arguments: backendNames, [false, true])
    func `a reset ends the timer, also of a protocol that has paused`(
        name: String, isPaused: Bool
    ) throws {
        let server = Talker()
        let long = Duration.seconds(100)
        let timeouts = Timeouts(handshake: long, request: long, idle: long)
        let place = try Place(name, under: { $0.timeouts(timeouts) }) { _ in server }
        if isPaused { server.whenHeard = { $0.pauseProducing() } }
        let client = try place.client()
        client.write("hello")
        #expect(place.reactor.turn { server.text == "hello" })
        #expect(place.reactor.statistics.delayedCalls == 1)
        client.reset()
        #expect(place.reactor.turn { server.loss != nil })
        #expect(Self.code(server.loss) == .connectionReset)
        place.finish()
    }

    // MARK: Pipes

    /// Keeps what comes.
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
            Issue.record("a pipe pushes")
        }
        func unregisterProducer() { producer = nil }
        func finishConsuming() { events.append("finished") }
        func abandonConsuming(because error: any Error) { events.append("abandoned") }
    }

    @Test(arguments: backendNames, [false, true])
    func `a source that breaks abandons its consumer, also one that is full`(
        name: String, isFull: Bool
    ) throws {
        let server = Talker()
        let place = try Place(name) { _ in server }
        let sink = Sink(place.reactor)
        var failure: ConnectionLoss?
        server.whenMade = { transport in
            transport.pipe(to: sink).whenFailed { failure = $0 as? ConnectionLoss }
        }
        let client = try place.client()
        client.write("hello")
        #expect(place.reactor.turn { sink.text == "hello" })
        if isFull { sink.producer?.pauseProducing() }
        client.reset()
        #expect(place.reactor.turn { failure != nil })
        #expect(Self.code(failure) == .connectionReset)
        #expect(sink.events == ["abandoned"] && sink.producer == nil)
        server.forget()
        place.finish()
    }

    @Test(arguments: backendNames)
    func `a source that ends finishes its consumer, behind what it held back`(name: String) throws {
        let server = Talker()
        let place = try Place(name) { _ in server }
        let sink = Sink(place.reactor)
        var carried: Int?
        server.whenMade = { transport in
            transport.pipe(to: sink).addCallback { carried = $0 }
                .whenFailed { Issue.record("\($0)") }
        }
        let client = try place.client()
        client.write("hello")
        #expect(place.reactor.turn { sink.text == "hello" })
        sink.producer?.pauseProducing()
        client.write(" world")
        client.endOutput()
        #expect(!place.reactor.turn(within: .milliseconds(20)) { sink.text != "hello" })
        sink.producer?.resumeProducing()
        #expect(place.reactor.turn { carried != nil })
        #expect(carried == 11 && sink.text == "hello world" && sink.events == ["finished"])
        client.close()
        place.reactor.turn(until: place.reactor.now)
        place.reactor.shutDown()
    }

    /// Two clients, joined by two pipes.
    @Test(arguments: backendNames, [false, true])
    func `a proxy whose one end breaks lets go of the other, also while both are full`(
        name: String, isFull: Bool
    ) throws {
        var made: [Talker] = []
        var results: [String] = []
        let place = try Place(name, options: Self.smallBuffers()) { _ in
            let talker = Talker()
            made.append(talker)
            return talker
        }
        let left = try place.client(), right = try place.client()
        #expect(place.reactor.turn { made.count == 2 && made.allSatisfy { $0.transport != nil } })
        let ends = made.compactMap(\.transport)
        for (from, to) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            if isFull { to.write([UInt8](repeating: 1, count: 1_000_000)) }
            from.pipe(to: to)
                .addCallback { results.append("\($0)") }
                .whenFailed { results.append("\($0)") }
        }
        #expect(!place.reactor.turn(within: .milliseconds(20)) { !results.isEmpty })
        left.reset()
        #expect(place.reactor.turn { results.count == 2 })
        #expect(results.contains { $0.contains("ECONNRESET") })
        #expect(results.contains { $0.hasPrefix("the destination of a pipe") })
        made = []
        right.reset()
        #expect(place.reactor.turn { place.reactor.statistics.openConnections == 0 })
        place.reactor.shutDown()
    }
}
