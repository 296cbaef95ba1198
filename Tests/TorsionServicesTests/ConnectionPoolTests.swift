// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import Torsion

/// Connections that are lent.
@Suite struct ConnectionPoolTests {
    /// Answers each line after a moment; "bye" ends the connection, and so does the server's end.
    private final class Server: LineProtocol {
        let lines = LineDecoder()
        private let count: Count
        init(_ count: Count) { self.count = count }

        func connectionMade(_ transport: any StreamTransport) {
            count.made += 1
            count.open += 1
            count.most = max(count.most, count.open)
        }

        func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
            let text = String(decoding: line)
            if text == "bye" { return transport.loseConnection() }
            transport.reactor.callLater(.milliseconds(1)) { transport.write("\(text)!\r\n") }
        }

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            count.open -= 1
        }
    }

    private final class Count {
        var made = 0, open = 0, most = 0
        var stop: (() -> Void)?

        /// Waits until so many were made and none is open.
        func closed(_ count: Int, of reactor: Reactor) async throws {
            while made < count || open > 0 { try await reactor.sleep(for: .milliseconds(1)) }
        }
    }

    private final class Asker: LineProtocol {
        let lines = LineDecoder()
        private(set) var transport: (any StreamTransport)?
        private var answer: Deferred<String>?

        func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

        func ask(_ text: String) -> Deferred<String> {
            let answer = Deferred<String>(on: transport!.reactor)
            self.answer = answer
            transport?.write("\(text)\r\n")
            return answer
        }

        func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
            answer.take()?.succeed(String(decoding: line))
        }

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            self.transport = nil
            answer.take()?.fail(why)
        }
    }

    private struct Unwanted: Error {}

    /// Runs a server and the tasks of a test, and expects that nothing is left.
    private func run(
        on backend: BackendChoice,
        _ body: @escaping (Reactor, ClientEndpoint, Count) async throws -> Void
    ) throws {
        let reactor = Reactor(backend: backend)
        try reactor.run(signals: .ignore) { reactor in
            reactor.unhandledError = { Issue.record("\($0)") }
            let count = Count()
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor) { Server(count) }
            reactor.spawn {
                do { try await body(reactor, .address(port.localAddress), count) } catch {
                    Issue.record("\(error)")
                }
                reactor.stop()
            }
        }
        #expect(reactor.statistics.openHandles == 0 && reactor.statistics.liveTransports == 0)
    }

    @Test(arguments: BackendChoice.tested)
    func `users share as many connections as allowed, and wait for the rest`(
        backend: BackendChoice
    ) throws {
        try run(on: backend) { reactor, endpoint, count in
            let pool = ConnectionPool(to: endpoint, on: reactor, limit: 2) { Asker() }
            let answers = (0..<10).map { number in
                pool.withConnection { $0.ask("\(number)") }
            }
            #expect(pool.connectionCount == 2 && pool.waitingCount == 8)
            for (number, answer) in answers.enumerated() {
                let answer1 = try await answer.value
                #expect(answer1 == "\(number)!")
            }
            #expect(count.made == 2 && count.most == 2)
            #expect(pool.idleCount == 2 && pool.waitingCount == 0)
            // The one that was used last.
            let answer2 = try await pool.withConnection { $0.ask("more") }.value
            #expect(answer2 == "more!")
            #expect(count.made == 2)
        }
    }

    @Test(arguments: BackendChoice.tested)
    func `a connection that is idle for long is closed, and one that is lost is replaced`(
        backend: BackendChoice
    ) throws {
        try run(on: backend) { reactor, endpoint, count in
            let pool = ConnectionPool(
                to: endpoint, on: reactor, limit: 1, idleLimit: .milliseconds(20)
            ) { Asker() }
            let answer3 = try await pool.withConnection { $0.ask("a") }.value
            #expect(answer3 == "a!")
            #expect(pool.idleCount == 1)
            while pool.connectionCount > 0 { try await reactor.sleep(for: .milliseconds(2)) }
            #expect(pool.idleCount == 0)
            // Its loss is the user's failure, and room for who waits.
            let lost = pool.withConnection { $0.ask("bye") }
            let next = pool.withConnection { $0.ask("b") }
            let error10 = await failure(of: lost)
            #expect(error10 is ConnectionLoss)
            let answer4 = try await next.value
            #expect(answer4 == "b!")
            #expect(count.made == 3 && count.most == 1)
            // What its user failed with is lent to nobody.
            let failed = pool.withConnection { asker -> Deferred<String> in
                asker.ask("unanswered").whenFailed { _ in }
                throw Unwanted()
            }
            let error11 = await failure(of: failed)
            #expect(error11 is Unwanted)
            let answer5 = try await pool.withConnection { $0.ask("c") }.value
            #expect(answer5 == "c!")
            #expect(count.made == 4)
        }
    }

    @Test(arguments: BackendChoice.tested)
    func `a free connection is checked before it is lent, and a new one prepared`(
        backend: BackendChoice
    ) throws {
        try run(on: backend) { reactor, endpoint, count in
            var prepared: [String] = []
            var isSound = true
            let pool = ConnectionPool(to: endpoint, on: reactor, limit: 1) {
                Asker()
            } prepare: { asker in
                asker.ask("login").addCallback { prepared.append($0) }
            } check: { asker in
                if !isSound { throw Unwanted() }
                return asker.ask("ping").addCallback { prepared.append($0) }
            }
            let answer6 = try await pool.withConnection { $0.ask("a") }.value
            #expect(answer6 == "a!")
            let answer7 = try await pool.withConnection { $0.ask("b") }.value
            #expect(answer7 == "b!")
            #expect(prepared == ["login!", "ping!"] && count.made == 1)
            isSound = false
            let answer8 = try await pool.withConnection { $0.ask("c") }.value
            #expect(answer8 == "c!")
            #expect(prepared == ["login!", "ping!", "login!"] && count.made == 2)
        }
    }

    @Test(arguments: BackendChoice.tested)
    func `a user that leaves while its connection is made leaves it to the next`(
        backend: BackendChoice
    ) throws {
        try run(on: backend) { reactor, endpoint, count in
            let gate = Deferred<Void>(on: reactor)
            var preparedCount = 0
            let pool = ConnectionPool(to: endpoint, on: reactor, limit: 1) {
                Asker()
            } prepare: { _ in
                preparedCount += 1
                return preparedCount == 2 ? gate : .succeeded((), on: reactor)
            }
            let first = pool.withConnection { $0.ask("bye") }
            let second = pool.withConnection { $0.ask("a") }
            let loss = await failure(of: first)
            #expect(loss is ConnectionLoss)
            while preparedCount < 2 { try await reactor.sleep(for: .milliseconds(1)) }
            second.cancel()
            let error = await failure(of: second)
            #expect(error is CancellationError)
            gate.succeed()
            #expect(pool.idleCount == 1 && pool.connectionCount == 1)
            let answer = try await pool.withConnection { $0.ask("b") }.value
            #expect(answer == "b!" && count.made == 2)
        }
    }

    @Test(arguments: BackendChoice.tested)
    func `who waits when the run ends is told so`(backend: BackendChoice) throws {
        var told: [String] = []
        try run(on: backend) { reactor, endpoint, _ in
            let pool = ConnectionPool(to: endpoint, on: reactor, limit: 1) { Asker() }
            let held = Deferred<Void>(on: reactor)
            pool.withConnection { _ in held }.whenFailed { _ in }
            for number in 0..<3 {
                pool.withConnection { $0.ask("a") }.whenFailed { _ in
                    told.append("\(number)")
                    pool.withConnection { $0.ask("b") }.whenFailed { _ in told.append("again") }
                }
            }
            while pool.connectionCount == 0 { try await reactor.sleep(for: .milliseconds(1)) }
        }
        #expect(told.filter { $0 != "again" }.sorted() == ["0", "1", "2"])
        #expect(told.count == 6)
    }

    @Test(arguments: BackendChoice.tested)
    func `one that does not answer in time is closed, and a stop ends what is being asked`(
        backend: BackendChoice
    ) throws {
        try run(on: backend) { reactor, endpoint, count in
            let silent = ConnectionPool(
                to: endpoint, on: reactor, limit: 1, answerLimit: .milliseconds(20)
            ) {
                Asker()
            } prepare: { _ in
                Deferred(on: reactor)
            }
            await #expect(throws: TimeoutError.self) {
                try await silent.withConnection { $0.ask("never") }.value
            }
            try await count.closed(1, of: reactor)
            #expect(silent.connectionCount == 0)

            let stopped = ConnectionPool(to: endpoint, on: reactor, limit: 1) {
                Asker()
            } prepare: { _ in
                reactor.callLater(.zero) { count.stop?() }
                return Deferred(on: reactor)
            }
            count.stop = { stopped.stop() }
            await #expect(throws: CancellationError.self) {
                try await stopped.withConnection { $0.ask("never") }.value
            }
            count.stop = nil
            try await count.closed(2, of: reactor)
            #expect(stopped.connectionCount == 0)
        }
    }

    @Test(arguments: BackendChoice.tested)
    func `a full line, a stop and a server that is not there are errors`(
        backend: BackendChoice
    ) throws {
        try run(on: backend) { reactor, endpoint, count in
            let pool = ConnectionPool(to: endpoint, on: reactor, limit: 1, waitingLimit: 1) {
                Asker()
            }
            let lent = Deferred<Void>(on: reactor), gate = Deferred<Void>(on: reactor)
            let first = pool.withConnection { asker in
                lent.succeed(())
                return gate.addCallback { _ in asker.ask("a") }
            }
            let second = pool.withConnection { $0.ask("b") }
            let third = pool.withConnection { $0.ask("c") }
            let error12 = await failure(of: third)
            #expect(error12 as? PoolExhausted == PoolExhausted(limit: 1, waitingLimit: 1))
            // Who leaves makes room in the line.
            second.cancel()
            let error13 = await failure(of: second)
            #expect(error13 is CancellationError)
            let fourth = pool.withConnection { $0.ask("d") }
            try await lent.value
            pool.stop()
            let error14 = await failure(of: fourth)
            #expect(error14 is CancellationError)
            // What was lent is used to its end.
            gate.succeed(())
            let answer9 = try await first.value
            #expect(answer9 == "a!")
            while pool.connectionCount > 0 { try await reactor.sleep(for: .milliseconds(2)) }
            let error15 = await failure(of: pool.withConnection { $0.ask("e") })
            #expect(error15 is CancellationError)
            let nowhere = ConnectionPool(
                to: ClientEndpoint.unix(path: "/nowhere/at/all"), on: reactor, limit: 1
            ) { Asker() }
            let failures = (0..<2).map { _ in nowhere.withConnection { $0.ask("f") } }
            for failed in failures {
                let error16 = await failure(of: failed)
                #expect(error16 is IOError)
            }
            #expect(nowhere.connectionCount == 0)
        }
    }
}

/// What a Deferred fails with.
private func failure<Value>(of deferred: Deferred<Value>) async -> (any Error)? {
    do {
        _ = try await deferred.value
        return nil
    } catch {
        return error
    }
}
