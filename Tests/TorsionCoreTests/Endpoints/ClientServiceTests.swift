// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionTesting

@testable import TorsionCore

/// A service over connections in memory.
struct ClientServiceTests {
    final class Peer: StreamProtocol {
        let number: Int
        init(_ number: Int) { self.number = number }
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
    }

    /// What the service connects to: answers each attempt as the script says.
    final class Line {
        enum Answer { case connect, fail(Int), wait }

        let clock = ManualClock()
        var script: [Answer] = []
        var attempts: [Int] = []
        var connections: [MemoryTransport] = []
        var cancelled = 0
        private var pending: [AnyDeferred] = []

        private var time: Int { Int((clock.now.nanoseconds - 1_000_000_000) / 1_000_000_000) }

        func service(
            _ script: [Answer],
            policy: RetryPolicy = RetryPolicy(firstDelay: .seconds(1), jitter: 0),
            prepare: ((Peer) throws -> Deferred<Void>)? = nil
        ) -> ClientService<Peer> {
            self.script = script
            return ClientService(
                on: clock.reactor, policy: policy, prepare: prepare
            ) { [unowned self] opened in
                attempts.append(time)
                switch self.script.isEmpty ? .connect : self.script.removeFirst() {
                case .connect: return connect(opened)
                case .fail(let number): return .failed(Failed(number: number), on: clock.reactor)
                case .wait:
                    let made = Deferred<Peer>(on: clock.reactor) { [unowned self] _ in
                        cancelled += 1
                    }
                    pending.append(made)
                    return made
                }
            }
        }

        private func connect(_ opened: (StreamConnection) -> Void) -> Deferred<Peer> {
            let peer = Peer(connections.count + 1)
            let memory = MemoryTransport(peer, clock: clock)
            connections.append(memory)
            if let connection = memory.transport as? StreamConnection { opened(connection) }
            return .succeeded(peer, on: clock.reactor)
        }
    }

    let line = Line()

    @Test func `it connects again when the connection is lost, after the first delay`() {
        var seen: [Int] = []
        let service = line.service([])
        service.whenConnected().addCallback { seen.append($0.number) }
        service.start()
        service.whenConnected().addCallback { seen.append($0.number) }
        #expect(seen == [1, 1])
        line.clock.advance(by: .seconds(10))
        line.connections[0].peerCloses()
        service.whenConnected().addCallback { seen.append($0.number) }
        line.clock.advance(by: .seconds(1))
        #expect(line.attempts == [0, 11])
        #expect(seen == [1, 1, 2])
        line.connections[1].peerResets()
        line.clock.advance(by: .seconds(1))
        #expect(line.attempts == [0, 11, 12])
    }

    @Test func `delays grow while it cannot connect, and begin anew behind a connection`() {
        let service = line.service([.fail(1), .fail(2), .fail(3)])
        service.start()
        line.clock.advance(by: .seconds(20))
        #expect(line.attempts == [0, 1, 3, 7])
        line.connections[0].peerCloses()
        line.clock.advance(by: .seconds(1))
        #expect(line.attempts == [0, 1, 3, 7, 21])
    }

    @Test func `who waits is patient, or gives up after so many failures, or leaves`() {
        var log: [String] = []
        let service = line.service([.fail(1), .fail(2)])
        func wait(_ name: String, _ limit: Int?) -> Deferred<Peer> {
            let deferred = service.whenConnected(failureLimit: limit)
            deferred.addCallbacks {
                log.append("\(name) \($0.number)")
            } onFailure: {
                log.append("\(name) \($0)")
            }
            return deferred
        }
        _ = wait("patient", nil)
        _ = wait("impatient", 2)
        let leaver = wait("leaver", nil)
        service.start()
        leaver.cancel()
        line.clock.advance(by: .seconds(10))
        #expect(log == ["leaver CancellationError()", "impatient Failed(number: 2)", "patient 1"])
    }

    // Case W7
    @Test
    func `whoever asks a stopped service is told so, and one that starts again is waited for`() {
        let service = line.service([])
        var log: [String] = []
        func ask(_ name: String) {
            service.whenConnected().addCallbacks {
                log.append("\(name) \($0.number)")
            } onFailure: {
                log.append("\(name) \($0)")
            }
        }
        service.stop()
        ask("stopped")
        #expect(log == ["stopped CancellationError()"])
        service.start()
        ask("started")
        service.stop()
        ask("stopping")
        #expect(log.suffix(2) == ["started 1", "stopping CancellationError()"])
        // Begins behind the former connection's end.
        service.start()
        ask("again")
        service.checkInvariants()
        #expect(log.count == 3)
        line.clock.advance(by: .zero)
        line.connections[0].peerCloses()
        line.clock.advance(by: .zero)
        #expect(log.last == "again 2")
        service.checkInvariants()
        service.stop()
        service.start()
        service.stop()
        line.clock.advance(by: .zero)
        line.connections[1].peerCloses()
        line.clock.advance(by: .seconds(10))
        #expect(line.attempts.count == 2)
        ask("at last")
        #expect(log.last == "at last CancellationError()")
    }

    @Test func `a permanent error ends it, now and for whoever asks later`() {
        var failures: [Int] = []
        let policy = RetryPolicy(firstDelay: .seconds(1), jitter: 0) {
            ($0 as? Failed)?.number == 2
        }
        let service = line.service([.fail(1), .fail(2)], policy: policy)
        service.start()
        service.whenConnected().whenFailed { failures.append(($0 as? Failed)?.number ?? 0) }
        line.clock.advance(by: .seconds(60))
        service.whenConnected().whenFailed { failures.append(($0 as? Failed)?.number ?? 0) }
        #expect(failures == [2, 2])
        #expect(line.attempts.count == 2)
        service.start()
        #expect(line.attempts.count == 3)
    }

    @Test func `it ends when the policy allows no further attempt`() {
        var failures: [Int] = []
        let policy = RetryPolicy(attemptLimit: 2, firstDelay: .seconds(1), jitter: 0)
        let service = line.service([.connect, .fail(1), .fail(2)], policy: policy)
        service.start()
        line.connections[0].peerResets()
        service.whenConnected().whenFailed { failures.append(($0 as? Failed)?.number ?? 0) }
        line.clock.advance(by: .seconds(60))
        #expect(failures == [2])
        // The delay behind a loss is a first one, and the next is longer.
        #expect(line.attempts == [0, 1, 3])
    }

    @Test func `a connection counts when it is prepared; one that fails is closed`() {
        var log: [String] = []
        let service = line.service([]) { [reactor = line.clock.reactor] peer in
            reactor.deferLater(.seconds(1)) { () throws -> Void in
                log.append("prepared \(peer.number)")
                if peer.number == 1 { throw Failed() }
            }
        }
        service.start()
        service.whenConnected().addCallback { log.append("connected \($0.number)") }
        #expect(log.isEmpty)
        line.clock.advance(by: .seconds(1))
        #expect(log == ["prepared 1"])
        #expect(line.connections[0].hasEnded)
        line.connections[0].peerCloses()
        line.clock.advance(by: .seconds(2))
        #expect(log == ["prepared 1", "prepared 2", "connected 2"])
        #expect(line.attempts == [0, 2])
    }

    @Test func `a connection lost while it is prepared is a failure, and the preparation ends`() {
        var cancelled = 0
        var failures: [any Error] = []
        var preparations: [Deferred<Void>] = []
        let service = line.service([]) { [reactor = line.clock.reactor] _ in
            preparations.append(Deferred<Void>(on: reactor) { _ in cancelled += 1 })
            return preparations[preparations.count - 1]
        }
        service.start()
        service.whenConnected(failureLimit: 1).whenFailed { failures.append($0) }
        line.connections[0].peerResets()
        #expect(cancelled == 1)
        #expect(failures.count == 1)
        #expect((failures.first as? ConnectionLoss)?.isClean == false)
        line.clock.advance(by: .seconds(1))
        #expect(line.attempts.count == 2)
    }

    @Test func `stopping closes the connection, and is done when it is lost`() {
        var log: [String] = []
        let service = line.service([])
        service.start()
        service.stop().addCallback { log.append("stopped") }
        service.whenConnected().whenFailed { log.append("\(type(of: $0))") }
        #expect(log == ["CancellationError"])
        line.clock.turn()
        #expect(line.connections[0].hasEnded)
        #expect(log == ["CancellationError", "stopped"], "the peer has not closed yet")
        line.clock.advance(by: .seconds(60))
        #expect(line.attempts.count == 1)
        service.start()
        #expect(line.attempts.count == 2)
    }

    @Test func `what must hold does in every state`() {
        let service = line.service([.fail(1), .wait]) { [reactor = line.clock.reactor] _ in
            reactor.deferLater(.seconds(1)) { () throws -> Void in }
        }
        var made = 0
        func check(attempts: Int) {
            service.checkInvariants()
            #expect(line.attempts.count == attempts)
        }
        check(attempts: 0)
        service.start()
        check(attempts: 1)
        line.clock.advance(by: .seconds(1))
        check(attempts: 2)
        service.stop()
        check(attempts: 2)
        service.start()
        service.whenConnected().addCallback { _ in made += 1 }
        check(attempts: 3)
        #expect(made == 0)
        line.clock.advance(by: .seconds(1))
        check(attempts: 3)
        #expect(made == 1)
        service.stop()
        line.clock.turn()
        check(attempts: 3)
        line.connections[0].peerCloses()
        line.clock.turn()
        check(attempts: 3)
    }

    @Test func `stopping drops an attempt, or a delay`() {
        for answer in [Line.Answer.wait, .fail(1)] {
            let line = Line()
            var stops = 0
            var failures = 0
            let service = line.service([answer])
            service.start()
            service.whenConnected().whenFailed { _ in failures += 1 }
            service.stop().addCallback { stops += 1 }
            service.stop().addCallback { stops += 1 }
            line.clock.advance(by: .seconds(60))
            #expect(stops == 2)
            #expect(failures == 1)
            #expect(line.attempts.count == 1)
            if case .wait = answer { #expect(line.cancelled == 1) }
        }
    }

    @Test func `nothing is left of a service that was stopped`() {
        weak var left: ClientService<Peer>?
        do {
            let service = line.service([])
            left = service
            service.start()
            service.stop()
            line.clock.turn()
            line.connections[0].peerCloses()
            line.clock.turn()
        }
        #expect(left == nil)
    }
}
