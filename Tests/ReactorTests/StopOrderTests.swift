// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion
import TorsionTesting

/// In which order a stop ends what there is, so that no client loses an answer by it.
@Suite struct StopOrderTests {
    /// How the server is written.
    enum Face: CaseIterable { case callbacks, tasks }

    /// Answers what it reads.
    private final class Echo: StreamProtocol {
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            transport.write(bytes)
        }
    }

    /// Runs an echo server until it has stopped by itself.
    private func serve(
        on name: String, by face: Face = .callbacks,
        _ body: @escaping (Reactor, _ port: UInt16) throws -> Void
    ) throws {
        let reactor = Reactor(backend: try namedBackend(name))
        var reports: [String] = []
        try reactor.run(signals: .ignore) { reactor in
            reactor.unhandledError = { reports.append("\($0)") }
            let endpoint = ServerEndpoint.tcp(port: 0, interface: .loopback)
            func begin(_ port: ListeningPort) {
                do {
                    try body(reactor, try #require(port.localAddress.port))
                } catch {
                    Issue.record("\(error)")
                    reactor.stop(within: .zero)
                }
            }
            switch face {
            case .callbacks: begin(try endpoint.listen(on: reactor) { Echo() })
            case .tasks:
                reactor.spawn {
                    try await endpoint.serve(on: reactor, whenListening: begin) { connection in
                        for try await bytes in connection.inbound {
                            try await connection.write(bytes)
                        }
                    }
                }
            }
        }
        #expect(reports == [])
        #expect(reactor.statistics.openHandles == 0)
    }

    // Case E11
    @Test(arguments: backendNames, Face.allCases)
    func `clients that wait at the port when a stop begins are served`(
        name: String, face: Face
    ) throws {
        var clients: [Socket] = []
        try serve(on: name, by: face) { reactor, port in
            // Nobody is accepted before the first turn.
            for number in 0..<150 {
                let client = try Socket(port: port)
                client.write("hello \(number)")
                client.endOutput()
                clients.append(client)
            }
            reactor.stop()
        }
        let answers = clients.map { $0.readToEnd() }
        #expect(answers == (0..<150).map { "hello \($0)" })
    }

    /// Whoever comes meanwhile would be reset when the port closes: to be refused is to be told in time.
    @Test(arguments: backendNames, [false, true])
    func `the port is closed before those who waited are served`(
        name: String, drains: Bool
    ) throws {
        var clients: [Socket] = []
        var refusals: [Bool] = []
        try Reactor.run(backend: try namedBackend(name), signals: .ignore) { reactor in
            var number: UInt16 = 0
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback).listen(on: reactor) {
                refusals.append((try? Socket(port: number)) == nil)
                return Echo()
            }
            number = try #require(port.localAddress.port)
            for _ in 0..<3 {
                clients.append(try Socket(port: number))
                clients.last?.endOutput()
            }
            guard drains else { return _ = reactor.stop() }
            port.drain(within: .seconds(5)).addCallback { () -> Void in _ = reactor.stop() }
                .ignore()
        }
        #expect(refusals == [true, true, true])
        #expect(clients.map { $0.readToEnd() } == ["", "", ""])
    }

    /// Says which of two ports it belongs to, and ends.
    private final class Sign: StreamProtocol {
        let text: String
        init(_ text: String) { self.text = text }
        func connectionMade(_ transport: any StreamTransport) {
            transport.write(text)
            transport.loseConnection()
        }
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
    }

    /// Reads to the end.
    private final class Reading: StreamProtocol {
        private var text = ""
        private let whenOver: (String) -> Void
        init(_ whenOver: @escaping (String) -> Void) { self.whenOver = whenOver }
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            text += String(decoding: bytes)
        }
        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            whenOver(text)
        }
    }

    /// The kernel sends their first packets again after a second.
    @Test(.tags(.slow), arguments: backendNames)
    func `who comes to a shared port while one of its sockets closes finds another`(
        name: String
    ) throws {
        var early: [Socket] = []
        var late: [String] = []
        try Reactor.run(backend: try namedBackend(name), signals: .ignore) { reactor in
            var options = StreamOptions()
            options.reusePort = true
            let first = try ServerEndpoint.tcp(port: 0, interface: .loopback, options: options)
                .listen(on: reactor) { Sign("first") }
            let number = try #require(first.localAddress.port)
            try ServerEndpoint.tcp(port: number, interface: .loopback, options: options)
                .listen(on: reactor) { Sign("second") }
            for _ in 0..<20 { early.append(try Socket(port: number)) }
            first.drain(within: .seconds(10))
            for _ in 0..<20 {
                ClientEndpoint.tcp(host: "127.0.0.1", port: number).connect(on: reactor) {
                    Reading { text in
                        late.append(text)
                        if late.count == 20 { reactor.stop() }
                    }
                }.whenFailed { error in
                    Issue.record("\(error)")
                    reactor.stop()
                }
            }
        }
        #expect(late == Array(repeating: "second", count: 20))
        let signs = Set(early.map { $0.readToEnd() })
        #expect(signs == ["first", "second"])
    }

    // Case E11
    @Test(arguments: backendNames)
    func `a client that agrees on terms when a stop begins is served`(name: String) throws {
        var client: Socket?
        try Reactor.run(backend: try namedBackend(name), signals: .ignore) { reactor in
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .filtered { ProxyHeaderReader(trusting: AddressBlock.local) }
                .listen(on: reactor) { Echo() }
            client = try Socket(port: try #require(port.localAddress.port))
            // Its header comes when the port has closed, and no connection is there to be waited for.
            reactor.addTrigger(.during, .shutdown) {
                reactor.callLater(.milliseconds(100)) {
                    client?.write("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello")
                    client?.endOutput()
                }
                return
            }
            reactor.callLater(.milliseconds(20)) { reactor.stop() }
        }
        #expect(client?.readToEnd() == "hello")
    }

    @Test(.tags(.slow), arguments: backendNames)
    func `a client that never agrees holds a stop for a second`(name: String) throws {
        var client: Socket?
        let reactor = Reactor(backend: try namedBackend(name))
        let start = ContinuousClock.now
        try reactor.run(signals: .ignore) { reactor in
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .filtered { ProxyHeaderReader(trusting: AddressBlock.local) }
                .listen(on: reactor) { Echo() }
            client = try Socket(port: try #require(port.localAddress.port))
            reactor.callLater(.milliseconds(20)) { reactor.stop(within: .seconds(60)) }
        }
        #expect(ContinuousClock.now - start < .seconds(30))
        #expect(reactor.statistics.openHandles == 0)
        withExtendedLifetime(client) {}
    }

    // Case E11
    @Test(arguments: backendNames, Face.allCases)
    func `what has arrived when a stop begins is answered`(
        name: String, face: Face
    ) throws {
        var clients: [Socket] = []
        try serve(on: name, by: face) { reactor, port in
            for _ in 0..<20 {
                let client = try Socket(port: port)
                client.write("one\n")
                clients.append(client)
            }
            // All are connected, and have been idle.
            reactor.callLater(.milliseconds(50)) {
                #expect(reactor.statistics.openConnections == 20)
                for client in clients {
                    #expect(client.readLine() == "one")
                    client.write("two\n")
                    client.endOutput()
                }
                reactor.stop()
            }
        }
        #expect(clients.allSatisfy { $0.readToEnd() == "two\n" })
    }

    // Case E11
    @Test(arguments: backendNames, Face.allCases)
    func `a client that connects just before a stop may still send its first request`(
        name: String, face: Face
    ) throws {
        var client: Socket?
        let begin = ContinuousClock.now
        try serve(on: name, by: face) { reactor, port in
            client = try Socket(port: port)
            reactor.stop()
            reactor.callLater(.milliseconds(100)) {
                client?.write("hello\n")
                client?.endOutput()
            }
        }
        #expect(client?.readToEnd() == "hello\n")
        // It was asked to end as soon as it was served.
        #expect(ContinuousClock.now - begin < .seconds(5))
    }

    @Test(arguments: backendNames)
    func `a client that says nothing is asked to end within a second`(name: String) throws {
        var thread: NativeThreadOfTest?
        let clock = ContinuousClock()
        var stop = clock.now
        try serve(on: name) { reactor, port in
            let client = try Socket(port: port)
            thread = try NativeThreadOfTest {
                #expect(client.readToEnd() == "")
                client.close()
            }
            stop = clock.now
            reactor.stop(within: .seconds(20))
        }
        #expect(clock.now - stop < .seconds(10))
        thread?.join()
    }

    @Test(arguments: backendNames)
    func `without gracePeriod nobody is accepted, and the end comes at once`(name: String) throws {
        var client: Socket?
        try serve(on: name) { reactor, port in
            client = try Socket(port: port)
            client?.write("hello\n")
            reactor.stop(within: .zero)
        }
        #expect(client?.readToEnd() == "")
    }

    @Test(arguments: backendNames)
    func `connections that wait for a task when a stop begins are taken by it`(name: String) throws
    {
        var clients: [Socket] = []
        var served = 0
        let reactor = Reactor(backend: try namedBackend(name))
        try reactor.run(signals: .ignore) { reactor in
            let listener = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor)
            let port = try #require(listener.localAddress.port)
            for _ in 0..<40 {
                let client = try Socket(port: port)
                client.write("hello")
                client.endOutput()
                clients.append(client)
            }
            reactor.callLater(.milliseconds(20)) { reactor.stop() }
            reactor.spawn {
                // Busy until the stop has begun.
                try await reactor.sleep(for: .milliseconds(40))
                for try await connection in listener {
                    do {
                        for try await bytes in connection.inbound {
                            try await connection.write(bytes)
                        }
                    } catch is ShutdownRequested {
                        // What had arrived was read before.
                    }
                    connection.close()
                    served += 1
                }
            }
            .whenFailed { Issue.record("\($0)") }
        }
        #expect(served == 40)
        #expect(clients.allSatisfy { $0.readToEnd() == "hello" })
    }

    // Case E12
    @Test(arguments: backendNames)
    func `connections that the program made end when its clients are done`(name: String) throws {
        var order: [String] = []
        /// Answers each question later, by way of the database, also while the reactor stops.
        final class Desk: StreamProtocol {
            let database: ClientService<Line>
            let note: (String) -> Void
            var isAsking = false

            init(_ database: ClientService<Line>, note: @escaping (String) -> Void) {
                self.database = database
                self.note = note
            }

            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
                isAsking = true
                note("asked")
                transport.reactor.callLater(.milliseconds(20)) { [self] in
                    database.whenConnected().addCallback { line in
                        line.transport?.write("query")
                        transport.write("answer")
                    }.whenFailed { [self] in
                        note("refused: \($0)")
                        transport.loseConnection()
                    }
                    isAsking = false
                    transport.loseConnection()
                }
            }

            func shutdownRequested(_ transport: any StreamTransport) {
                if !isAsking { transport.loseConnection() }
            }

        }
        final class Line: StreamProtocol {
            var transport: (any StreamTransport)?
            let note: (String) -> Void
            init(note: @escaping (String) -> Void) { self.note = note }

            func connectionMade(_ transport: any StreamTransport) { self.transport = transport }
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
            func shutdownRequested(_ transport: any StreamTransport) {
                note("line asked to end")
                transport.loseConnection()
            }
            func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
                note("line lost")
                self.transport = nil
            }
        }
        let host = try Socket.bound()
        try host.listen()
        var client: Socket?
        var database: Socket?
        let reactor = Reactor(backend: try namedBackend(name))
        try reactor.run(signals: .ignore) { reactor in
            let note: (String) -> Void = { order.append($0) }
            let service = ClientService(
                to: .tcp(host: "127.0.0.1", port: host.port), on: reactor
            ) { Line(note: note) }
            service.start()
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor) { Desk(service, note: note) }
            service.whenConnected().addCallback { _ in
                database = try host.accept()
                client = try Socket(port: try #require(port.localAddress.port))
                client?.write("question")
                reactor.stop()
                // As peers do that have been hung up on.
                reactor.addTrigger(.drained, .shutdown) {
                    note("drained")
                    #expect(client?.readToEnd() == "answer")
                    client?.close()
                    database?.endOutput()
                }
            }.whenFailed { Issue.record("\($0)") }
            reactor.addTrigger(.after, .shutdown) { note("after") }
        }
        #expect(order == ["asked", "drained", "line asked to end", "line lost", "after"])
        #expect(database?.readToEnd() == "query")
    }

    // Case W1
    @Test(arguments: backendNames)
    func `a stop of a proxy ends idle clients in peace, and soon`(name: String) throws {
        let host = try Socket.bound()
        try host.listen()
        var client: Socket?
        var server: Socket?
        let reactor = Reactor(backend: try namedBackend(name))
        let clock = ContinuousClock()
        var stop = clock.now
        var relayed: ProxiedBytes?
        var threads: [NativeThreadOfTest] = []
        let ends = Lock<[String]>([])
        try reactor.run(signals: .ignore) { reactor in
            let target = ClientEndpoint.tcp(host: "127.0.0.1", port: host.port)
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor) {
                    StreamProxy(to: target) { result in relayed = try? result.get() }
                }
            client = try Socket(port: try #require(port.localAddress.port))
            client?.write("hello\n")
            reactor.callLater(.milliseconds(50)) {
                server = try host.accept()
                #expect(server?.readLine() == "hello")
                server?.write("welcome\n")
                reactor.callLater(.milliseconds(50)) {
                    #expect(client?.readLine() == "welcome")
                    // Both end when the other does, as programs do.
                    for socket in [client, server].compactMap({ $0 }) {
                        let thread = try NativeThreadOfTest {
                            let rest = socket.readToEnd()
                            ends.withLock { $0.append(rest) }
                            socket.close()
                        }
                        threads.append(thread)
                    }
                    stop = clock.now
                    reactor.stop(within: .seconds(20))
                }
            }
        }
        #expect(clock.now - stop < .seconds(10))
        for thread in threads { thread.join() }
        // The library says how each direction ended: a reset is an error.
        #expect(relayed?.toTarget == 6 && relayed?.toClient == 8)
        #expect(ends.withLock { $0 } == ["", ""])
    }
}
