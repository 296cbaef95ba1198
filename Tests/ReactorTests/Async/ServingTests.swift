// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion

private struct Mishap: Error {}

/// Serving by tasks, and how it ends.
@Suite struct AsyncServingTests {
    @Test(arguments: backendNames)
    func `an error in the closure aborts its connection, is reported, and harms no other`(
        name: String
    ) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let (_, endpoint) = try await world.serve { connection in
                for try await bytes in connection.inbound {
                    if bytes == "bad" { throw Mishap() }
                    try await connection.write(bytes)
                }
            }
            let good = try await endpoint.connect(on: reactor).value
            let bad = try await endpoint.connect(on: reactor).value
            try await bad.write("bad")
            await #expect(throws: ConnectionLoss.self) { try await bad.read { _ in } }
            try await good.write("fine")
            let answer = try await good.read { String(decoding: $0) }
            #expect(answer == "fine")
            #expect(world.unhandled.map { $0.error is Mishap } == [true])
        }
    }

    @Test(arguments: backendNames)
    func `endpoints with policies are served and connected by tasks`(name: String) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let (_, endpoint) = try await world.serve(
                at: ServerEndpoint.tcp(port: 0, interface: .loopback)
                    .limited(to: ConnectionLimits(total: 1))
                    .timeouts(Timeouts(idle: .seconds(20)))
            ) { connection in
                for try await bytes in connection.inbound { try await connection.write(bytes) }
            }
            let layered: any StreamClientEndpoint = endpoint.timeouts(
                Timeouts(idle: .seconds(20)))
            let connection = try await layered.connect(on: reactor).value
            try await connection.write("fine")
            let answer = try await connection.read { String(decoding: $0) }
            #expect(answer == "fine")
            // So the limit is there.
            let second = try await endpoint.connect(on: reactor).value
            let nothing = try await second.readToEnd(limitBytes: 100)
            #expect(nothing.isEmpty)
        }
    }

    @Test(arguments: backendNames)
    func `the connections of an endpoint with a layer are taken one by one`(name: String) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let listener = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .timeouts(Timeouts(idle: .seconds(20))).listen(on: reactor)
            let client = try await ClientEndpoint.address(listener.localAddress)
                .connect(on: reactor).value
            try await client.write("hello")
            var connections = listener.makeAsyncIterator()
            let server = try await connections.next()
            let text = try await server?.read { String(decoding: $0) }
            #expect(text == "hello")
        }
    }

    @Test(arguments: backendNames)
    func `cancelling the server drains it`(name: String) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let begun = Deferred<Void>(on: reactor)
            let (server, endpoint) = try await world.serve { connection in
                _ = try await connection.read { _ in }
                begun.succeed()
                let isToStop = try await connection.readUntilShutdown()
                #expect(isToStop)
                try await reactor.sleep(for: .milliseconds(10))
                try await connection.write("goodbye")
            }
            let connection = try await endpoint.connect(on: reactor).value
            try await connection.write("x")
            try await begun.value
            server.cancel()
            let farewell = try await connection.readToEnd(limitBytes: 100)
            #expect(farewell == "goodbye")
            connection.close()
            try await server.value
            await #expect(throws: IOError.self) {
                _ = try await endpoint.connect(on: reactor).value
            }
        }
    }

    @Test(arguments: backendNames)
    func `a graceful stop of the reactor drains as well`(name: String) throws {
        let reactor = Reactor(backend: try .named(name, among: testedBackends))
        var farewell: Bytes?
        try reactor.run(signals: .ignore) { reactor in
            let world = AsyncWorld(reactor)
            let client = reactor.addClient(world) { farewell = $0 }
            client.whenFailed { Issue.record("\($0)") }
        }
        #expect(farewell == "goodbye")
        #expect(reactor.statistics.tasks == 0 && reactor.statistics.liveTransports == 0)
    }

    @Test(arguments: backendNames)
    func `a stop is an error for who reads, and not the peer's end`(name: String) throws {
        let reactor = Reactor(backend: try .named(name, among: testedBackends))
        var seen: [String] = []
        var unhandled = 0
        reactor.unhandledError = { _ in unhandled += 1 }
        try reactor.run(signals: .ignore) { reactor in
            let world = AsyncWorld(reactor)
            reactor.spawn {
                let (_, endpoint) = try await world.serve { connection in
                    try await connection.write("all of it")
                    do {
                        _ = try await connection.readToEnd(limitBytes: 100)
                        seen.append("server: the whole")
                    } catch is ShutdownRequested {
                        seen.append("server: cut off")
                    }
                    // It stays so, and what is held comes first.
                    await #expect(throws: ShutdownRequested.self) {
                        try await connection.read { _ in }
                    }
                }
                let client = try await endpoint.connect(on: reactor).value
                let text = try await client.read { String(decoding: $0) }
                seen.append("client: \(text ?? "end")")
                try await client.write("a part")
                reactor.callLater(.milliseconds(20)) { reactor.stop() }
                for try await _ in client.inbound {}
                seen.append("client: the peer's end")
            }
            .addErrback { error in seen.append("client: \(type(of: error))") }
        }
        // The client's connection, which the program made, ends behind those that it serves.
        #expect(
            seen.sorted() == [
                "client: all of it", "client: the peer's end", "server: cut off",
            ])
        #expect(unhandled == 0 && reactor.statistics.liveTransports == 0)
    }

    @Test(arguments: backendNames)
    func `what arrived before the stop is read first`(name: String) throws {
        let reactor = Reactor(backend: try .named(name, among: testedBackends))
        var seen: [String] = []
        try reactor.run(signals: .ignore) { reactor in
            let world = AsyncWorld(reactor)
            reactor.spawn {
                let (_, endpoint) = try await world.serve { connection in
                    // Busy elsewhere: what comes is held.
                    try await reactor.sleep(for: .milliseconds(20))
                    reactor.stop()
                    try await reactor.sleep(for: .milliseconds(5))
                    for try await bytes in connection.inbound { seen.append("\(bytes)") }
                }
                let client = try await endpoint.connect(on: reactor) { Witness() }.value
                client.transport?.write("in time")
            }
        }
        #expect(seen == ["in time"])
    }

    @Test(arguments: backendNames)
    func `at a stop the tasks of a group each finish their own work`(name: String) throws {
        let reactor = Reactor(backend: try .named(name, among: testedBackends))
        var seen: [String] = []
        try reactor.run(signals: .ignore) { reactor in
            let listener = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor)
            reactor.spawn {
                do {
                    try await reactor.withServingGroup { group in
                        for try await connection in listener {
                            group.spawn {
                                for try await bytes in connection.inbound {
                                    guard bytes == "work" else { continue }
                                    reactor.stop()
                                    try await reactor.sleep(for: .milliseconds(20))
                                    try await connection.write("done")
                                    seen.append("worked")
                                }
                            }
                        }
                    }
                } catch { seen.append("group: \(type(of: error))") }
            }
            reactor.spawn {
                let endpoint = ClientEndpoint.address(listener.localAddress)
                let idle = try await endpoint.connect(on: reactor) { Witness() }.value
                let busy = try await endpoint.connect(on: reactor) { Witness() }.value
                idle.transport?.write("idle")
                busy.transport?.write("work")
            }
        }
        #expect(seen == ["worked", "group: ShutdownRequested"])
    }

    @Test(arguments: backendNames)
    func `a stop does not pass a part for the whole to what a pipe fills`(name: String) throws {
        let reactor = Reactor(backend: try .named(name, among: testedBackends))
        var seen: [String] = []
        try reactor.run(signals: .ignore) { reactor in
            let body = ConsumedBytes(on: reactor)
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor) { Piping(to: body) { seen.append("pipe: \(type(of: $0))") } }
            reactor.spawn {
                for try await bytes in body {
                    seen.append("\(bytes)")
                    reactor.stop()
                }
            }.whenFailed { seen.append("loop: \(type(of: $0))") }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { Witness() }
                .addCallback { client in client.transport?.write("a part") }
        }
        #expect(seen.sorted() == ["a part", "loop: ShutdownRequested", "pipe: ShutdownRequested"])
    }

    @Test(arguments: backendNames)
    func `a stop with tasks suspended everywhere ends them all`(name: String) throws {
        let reactor = Reactor(backend: try .named(name, among: testedBackends))
        var begun = 0
        var ended = 0
        func start(
            _ body: nonisolated(nonsending) @escaping (AsyncConnection) async throws -> Void,
            _ endpoint: ClientEndpoint
        ) {
            reactor.spawn {
                let connection = try await endpoint.connect(on: reactor).value
                begun += 1
                defer { ended += 1 }
                try await body(connection)
            }
        }
        try reactor.run(signals: .ignore) { reactor in
            let world = AsyncWorld(reactor)
            reactor.spawn {
                let (_, endpoint) = try await world.serve { connection in
                    // Neither reads nor ends.
                    try await Deferred<Void>(on: reactor).value
                    _ = connection
                }
                let chunk = Bytes([UInt8](repeating: 7, count: 256 * 1024))
                start({ _ = try await $0.read { _ in } }, endpoint)
                start({ for try await _ in $0.inbound {} }, endpoint)
                start({ while true { try await $0.write(chunk) } }, endpoint)
                start({ _ in try await reactor.sleep(for: .seconds(3_600)) }, endpoint)
                start({ _ in try await Deferred<Void>(on: reactor).value }, endpoint)
                start(
                    { _ in
                        let endpoint = ServerEndpoint.tcp(port: 0, interface: .loopback)
                        for try await _ in try endpoint.listen(on: reactor) {}
                    }, endpoint)
                start(
                    { _ in
                        _ = try await reactor.concurrently(
                            { try await Deferred<Void>(on: reactor).value },
                            { try await reactor.sleep(for: .seconds(3_600)) })
                    }, endpoint)
                while begun < 7 { try await reactor.sleep(for: .milliseconds(1)) }
                try await reactor.sleep(for: .milliseconds(20))
                reactor.stop(within: .milliseconds(50))
            }
        }
        #expect(begun == 7 && ended == 7)
        let figures = reactor.statistics
        #expect(figures.tasks == 0 && figures.suspendedTasks == 0)
        #expect(figures.liveTransports == 0 && figures.openHandles == 0)
    }

    @Test(arguments: backendNames)
    func `accepted connections come as a sequence, and rest in the kernel when nobody takes them`(
        name: String
    ) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let listener = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor)
            let endpoint = ClientEndpoint.address(listener.localAddress)
            var clients: [AsyncConnection] = []
            for _ in 0..<40 { clients.append(try await endpoint.connect(on: reactor).value) }
            try await reactor.sleep(for: .milliseconds(20))
            // Both ends are in this reactor; a batch may have been accepted before the rest began.
            #expect(reactor.statistics.openConnections < 80)
            var taken = 0
            for try await connection in listener {
                taken += 1
                connection.close()
                if taken == 40 { listener.close() }
            }
            #expect(taken == 40)
        }
    }

    @Test(arguments: backendNames)
    func `no other thread runs any of it`(name: String) throws {
        var threads: Set<String> = []
        let home = threadName()
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let note = { _ = threads.insert(threadName()) }
            let (_, endpoint) = try await world.serve { connection in
                note()
                for try await bytes in connection.inbound {
                    note()
                    try await connection.write(bytes)
                    note()
                }
                note()
            }
            let tally = Tally(reactor.executor)
            for _ in 0..<20 {
                let connection = try await endpoint.connect(on: reactor).value
                note()
                try await reactor.concurrently(
                    {
                        try await connection.write(pattern(200_000))
                        note()
                        connection.finishWriting()
                    },
                    {
                        note()
                        while try await connection.read({ _ in note() }) != nil { note() }
                    })
                note()
                try await reactor.sleep(for: .microseconds(10))
                note()
                threads.insert(await tally.add())
                note()
                await reactor.yield()
                note()
                try? await reactor.withTimeout(.microseconds(100)) {
                    note()
                    defer { note() }
                    try await Deferred<Void>(on: reactor).value
                }
                note()
            }
        }
        #expect(threads == [home])
    }
}

/// An actor on a reactor.
private actor Tally {
    nonisolated let executor: ReactorExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private var count = 0

    init(_ executor: ReactorExecutor) { self.executor = executor }

    func add() -> String {
        count += 1
        return threadName()
    }
}

extension Reactor {
    /// Serves one client that waits for the server's last word, and stops the reactor meanwhile.
    fileprivate func addClient(
        _ world: AsyncWorld, _ finished: @escaping (Bytes) -> Void
    ) -> Deferred<Void> {
        spawn { [self] in
            let begun = Deferred<Void>(on: self)
            let (_, endpoint) = try await world.serve { connection in
                _ = try await connection.read { _ in }
                begun.succeed()
                let isToStop = try await connection.readUntilShutdown()
                #expect(isToStop)
                try await connection.write("goodbye")
            }
            // A protocol, since an asynchronous client would see the end as well.
            let client = try await endpoint.connect(on: self) { Listening(finished) }.value
            client.transport?.write("x")
            try await begun.value
            stop(within: .seconds(10))
        }
    }
}

/// Carries what its client sends to a consumer.
private final class Piping: StreamProtocol {
    private let consumer: any Consumer
    private let failed: (any Error) -> Void

    init(to consumer: any Consumer, _ failed: @escaping (any Error) -> Void) {
        self.consumer = consumer
        self.failed = failed
    }

    func connectionMade(_ transport: any StreamTransport) {
        transport.pipe(to: consumer).whenFailed(failed)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

/// Hears a server out, also when its own reactor stops.
private final class Listening: StreamProtocol {
    private let finished: (Bytes) -> Void
    private var heard: [UInt8] = []
    var transport: (any StreamTransport)?

    init(_ finished: @escaping (Bytes) -> Void) { self.finished = finished }

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) { heard += bytes }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        finished(Bytes(heard))
    }

    func shutdownRequested(_ transport: any StreamTransport) {}
}
