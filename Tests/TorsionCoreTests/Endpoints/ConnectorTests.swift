// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

private let six = SocketAddress("[2001:db8::1]:80")!
private let four = SocketAddress("192.0.2.1:80")!
private let last = SocketAddress("192.0.2.2:80")!

private final class Client: StreamProtocol {
    var events: [String] = []
    var transport: (any StreamTransport)?
    var onMade: () -> Void = {}

    func connectionMade(_ transport: any StreamTransport) {
        events.append("made")
        self.transport = transport
        onMade()
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        events.append("\(why)")
        self.transport = nil
    }
}

/// One connect to a host, over a network that the test plays.
private final class Attempt {
    let network: PlayedNetwork
    let client = Client()
    var peers: [SocketAddress] = []
    var outcomes: [String] = []
    var inFactory: () throws -> Void = {}
    private(set) var connecting: Deferred<Client>!

    init(_ network: PlayedNetwork = PlayedNetwork(), to text: String = "tcp:example.org:80") throws
    {
        self.network = network
        connecting = try ClientEndpoint(parsing: text).connect(on: network.reactor) {
            [unowned self] peer in
            peers.append(peer)
            try inFactory()
            return client
        }
        connecting.addCallback { [unowned self] _ in outcomes.append("connected") }
            .whenFailed { [unowned self] in outcomes.append("\($0)") }
    }

    /// Nothing is under way, nothing waits, and nothing was told twice.
    func expectEnded(_ outcome: String, line: Int = #line) {
        let place = SourceLocation(
            fileID: #fileID, filePath: #filePath, line: line, column: 1)
        network.clock.advance(by: .seconds(100))
        #expect(outcomes == [outcome], sourceLocation: place)
        #expect(network.underWay.isEmpty, sourceLocation: place)
        #expect(network.reactor.statistics.delayedCalls == 0, sourceLocation: place)
        #expect(network.reactor.statistics.openConnections == 0, sourceLocation: place)
    }

    func expectCancelled(line: Int = #line) {
        expectEnded("CancellationError()", line: line)
    }
}

/// RFC 8305 as the connector carries it out; SEMANTICS S12, S13.
@Suite struct ConnectorTests {
    /// `unix(7)`: a full backlog is answered by EAGAIN, and nothing tells when it has room.
    @Test func `a UNIX server whose backlog is full is tried again until the deadline`() throws {
        let place = SocketAddress("unix:/run/server")!
        let network = PlayedNetwork()
        network.unusable[place] = .wouldBlock
        let attempt = try Attempt(network, to: "unix:/run/server:timeout=2")
        network.clock.advance(by: .milliseconds(20))
        #expect(attempt.outcomes.isEmpty && network.log.count > 3)
        #expect(Array(network.log.prefix(3).map { $0.prefix(4) }) == ["0.0:", "1.0:", "3.0:"])
        network.clock.advance(by: .seconds(1.5))
        // Seldom enough, and often enough.
        #expect((10...40).contains(network.log.count), "\(network.log)")
        network.clock.reactor.checkInvariants()
        network.clock.advance(by: .seconds(1))
        attempt.expectEnded("cannot connect to unix:/run/server: connection timed out (ETIMEDOUT)")
    }

    @Test func `a UNIX server that makes room is connected to, at the next attempt`() throws {
        let place = SocketAddress("unix:/run/server")!
        let network = PlayedNetwork()
        network.unusable[place] = .wouldBlock
        let attempt = try Attempt(network, to: "unix:/run/server")
        network.clock.advance(by: .milliseconds(500))
        network.unusable[place] = nil
        network.clock.advance(by: .milliseconds(200))
        #expect(network.underWay == [place])
        network.accept(place)
        network.clock.turn()
        #expect(attempt.outcomes == ["connected"])
        attempt.client.transport?.abortConnection()
        attempt.expectEnded("connected")
    }

    @Test func `another error while it waits is the outcome`() throws {
        let place = SocketAddress("unix:/run/server")!
        let network = PlayedNetwork()
        network.unusable[place] = .wouldBlock
        let attempt = try Attempt(network, to: "unix:/run/server")
        network.clock.advance(by: .milliseconds(5))
        network.unusable[place] = .connectionRefused
        attempt.expectEnded("cannot connect to unix:/run/server: connection refused (ECONNREFUSED)")
    }

    @Test func `addresses are tried 250 ms apart, the families in turn`() throws {
        let attempt = try Attempt()
        attempt.network.clock.advance(by: .milliseconds(7))
        let other = SocketAddress("[2001:db8::2]:80")!
        attempt.network.resolves(to: [six, other, four])
        attempt.network.clock.advance(by: .seconds(1))
        #expect(
            attempt.network.log == [
                "0.0: resolve example.org", "7.0: try \(six)", "257.0: try \(four)",
                "507.0: try \(other)",
            ])
        #expect(attempt.network.underWay == [six, four, other])
        attempt.connecting.cancel()
        attempt.expectCancelled()
    }

    @Test func `an early failure starts the next at once, and the delay anew`() throws {
        let attempt = try Attempt()
        attempt.network.resolves(to: [six, four, last])
        attempt.network.clock.advance(by: .milliseconds(100))
        attempt.network.fail(six, .connectionRefused)
        #expect(attempt.network.underWay == [four])
        attempt.network.clock.advance(by: .milliseconds(249))
        #expect(attempt.network.underWay == [four])
        attempt.network.clock.advance(by: .milliseconds(1))
        #expect(attempt.network.underWay == [four, last])
        attempt.network.accept(last)
        attempt.client.transport?.abortConnection()
        attempt.expectEnded("connected")
    }

    @Test func `an address that fails inside the call costs no time`() throws {
        let network = PlayedNetwork()
        network.unusable = [six: .networkUnreachable, four: .accessDenied]
        let attempt = try Attempt(network)
        network.resolves(to: [six, four, last])
        #expect(network.underWay == [last])
        network.accept(last)
        #expect(attempt.peers == [last])
        attempt.client.transport?.abortConnection()
        attempt.expectEnded("connected")
    }

    @Test(arguments: [six, four])
    func `the first that connects wins, and the others are given up`(winner: SocketAddress) throws {
        let attempt = try Attempt()
        let network = attempt.network
        network.resolves(to: [six, four, last])
        network.clock.advance(by: .milliseconds(300))
        network.accept(winner)
        #expect(attempt.outcomes == ["connected"] && attempt.peers == [winner])
        #expect(network.underWay == [winner])
        #expect(network.log.last == "300.0: close \(winner == six ? four : six)")
        // The third is never tried, and nobody waits to do so.
        network.clock.advance(by: .seconds(100))
        #expect(network.underWay == [winner])
        #expect(network.reactor.statistics.delayedCalls == 0)
        #expect(attempt.client.events == ["made"])
        attempt.client.transport?.abortConnection()
        attempt.expectEnded("connected")
    }

    @Test func `if all fail the error names each address, and the most telling code`() throws {
        let network = PlayedNetwork()
        network.unusable = [six: .networkUnreachable]
        let attempt = try Attempt(network)
        network.resolves(to: [six, four, last])
        network.fail(four, .connectionRefused)
        network.fail(last, .hostUnreachable)
        attempt.expectEnded(
            "cannot connect to example.org:80 (\(six) ENETUNREACH, \(four) ECONNREFUSED,"
                + " \(last) EHOSTUNREACH): connection refused (ECONNREFUSED)")
        #expect(attempt.peers.isEmpty)
    }

    @Test func `a host with one address fails with that`() throws {
        let attempt = try Attempt()
        attempt.network.resolves(to: [four])
        attempt.network.fail(four, .connectionRefused)
        attempt.expectEnded(
            "cannot connect to example.org:80 (\(four)): connection refused (ECONNREFUSED)")
    }

    @Test func `an address alone fails with its own name`() throws {
        let attempt = try Attempt(to: "tcp:192.0.2.1:80")
        #expect(attempt.network.log == ["0.0: try \(four)"])
        attempt.network.fail(four, .connectionRefused)
        attempt.expectEnded("cannot connect to \(four): connection refused (ECONNREFUSED)")
    }

    @Test func `addresses that nobody answers time out, each by itself`() throws {
        let attempt = try Attempt(to: "tcp:example.org:80:timeout=5")
        attempt.network.resolves(to: [six, four])
        attempt.network.clock.advance(by: .milliseconds(5_249))
        #expect(attempt.network.underWay == [four] && attempt.outcomes.isEmpty)
        attempt.network.clock.advance(by: .milliseconds(1))
        attempt.expectEnded(
            "cannot connect to example.org:80 (\(six) ETIMEDOUT, \(four) ETIMEDOUT):"
                + " connection timed out (ETIMEDOUT)")
    }

    @Test func `a name that nobody knows is the resolver's error`() throws {
        let attempt = try Attempt()
        attempt.network.doesNotResolve(
            IOError(.resolve, function: "getaddrinfo", code: .hostNotFound, subject: "example.org"))
        attempt.expectEnded(
            "cannot resolve example.org: name or service not known (EAI_NONAME)")
    }

    @Test func `a name without addresses is an error that names it`() throws {
        let attempt = try Attempt()
        attempt.network.resolves(to: [])
        attempt.expectEnded(
            "cannot resolve example.org:80: no address associated with hostname (EAI_NODATA)")
    }

    // MARK: Cancelling, S13

    @Test func `cancelled during resolution, the look-up is given up`() throws {
        let attempt = try Attempt()
        attempt.connecting.cancel()
        #expect(attempt.network.log == ["0.0: resolve example.org", "0.0: give up example.org"])
        attempt.expectCancelled()
        #expect(attempt.network.log.count == 2)
    }

    @Test func `cancelled during the first attempt, it is closed and none follows`() throws {
        let attempt = try Attempt()
        attempt.network.resolves(to: [six, four])
        attempt.connecting.cancel()
        #expect(attempt.network.log.last == "0.0: close \(six)")
        attempt.expectCancelled()
        #expect(attempt.network.log.count == 3)
    }

    @Test func `cancelled between two attempts, both are closed and none follows`() throws {
        let attempt = try Attempt()
        attempt.network.resolves(to: [six, four, last])
        attempt.network.clock.advance(by: .milliseconds(300))
        attempt.connecting.cancel()
        #expect(
            attempt.network.log.suffix(2) == ["300.0: close \(six)", "300.0: close \(four)"])
        attempt.expectCancelled()
        #expect(attempt.network.log.count == 5)
    }

    @Test func `cancelled behind a failure, what is still under way is closed`() throws {
        let attempt = try Attempt()
        attempt.network.resolves(to: [six, four])
        attempt.network.clock.advance(by: .milliseconds(300))
        attempt.network.fail(six, .connectionRefused)
        attempt.connecting.cancel()
        attempt.expectCancelled()
    }

    @Test(arguments: [false, true])
    func `cancelled inside the factory, the connection is closed unannounced`(
        alsoThrows: Bool
    ) throws {
        let attempt = try Attempt()
        attempt.inFactory = { [unowned attempt] in
            attempt.connecting.cancel()
            if alsoThrows { throw Failed() }
        }
        attempt.network.resolves(to: [six, four])
        attempt.network.clock.advance(by: .milliseconds(300))
        attempt.network.accept(four)
        #expect(attempt.network.underWay.isEmpty)
        attempt.expectCancelled()
        #expect(attempt.client.events.isEmpty && attempt.peers == [four])
    }

    @Test func `cancelled inside connectionMade, the connection is aborted and told so`() throws {
        let attempt = try Attempt()
        attempt.client.onMade = { [unowned attempt] in attempt.connecting.cancel() }
        attempt.network.resolves(to: [six])
        attempt.network.accept(six)
        attempt.expectCancelled()
        #expect(attempt.client.events == ["made", "aborted here"])
    }

    @Test func `a factory that throws fails the connect with that`() throws {
        let attempt = try Attempt()
        attempt.inFactory = { throw Failed(number: 3) }
        attempt.network.resolves(to: [six])
        attempt.network.accept(six)
        attempt.expectEnded("\(Failed(number: 3))")
        #expect(attempt.client.events.isEmpty)
    }

    @Test func `cancelled after the last failure or the success, nothing changes`() throws {
        let failed = try Attempt()
        failed.network.resolves(to: [six])
        failed.network.fail(six, .connectionRefused)
        failed.connecting.cancel()
        #expect(failed.outcomes.count == 1 && failed.outcomes[0].hasSuffix("(ECONNREFUSED)"))

        let connected = try Attempt()
        connected.network.resolves(to: [six])
        connected.network.accept(six)
        connected.connecting.cancel()
        #expect(connected.client.events == ["made"] && connected.network.underWay == [six])
        connected.client.transport?.abortConnection()
        connected.expectEnded("connected")
    }

    @Test func `a reactor that ends ends the race`() throws {
        let attempt = try Attempt()
        attempt.network.resolves(to: [six, four])
        attempt.network.clock.advance(by: .milliseconds(300))
        attempt.network.reactor.shutDown()
        #expect(attempt.network.underWay.isEmpty)
        #expect(attempt.outcomes.count == 1 && attempt.outcomes[0].hasSuffix("(ECANCELED)"))
    }

    // W4: each would be some frames deeper, and a program without descriptors would crash.
    @Test
    func `an errback that connects again at once does not recurse where connects fail at once`() {
        let network = PlayedNetwork()
        network.unusable[four] = .addressNotAvailable
        var count = 0, depth = 0, deepest = 0
        func attempt() {
            (count, depth) = (count + 1, depth + 1)
            deepest = max(deepest, depth)
            defer { depth -= 1 }
            guard count < 1_000 else { return }
            ClientEndpoint.address(four).connect(on: network.reactor) { Client() }
                .whenFailed { _ in attempt() }
        }
        attempt()
        #expect(count == 1)
        for _ in 0..<1_000 where count < 1_000 { network.clock.advance(by: .milliseconds(1)) }
        #expect(count == 1_000 && deepest == 1)
    }

    @Test func `an endpoint may be used twice at once`() throws {
        let network = PlayedNetwork()
        let first = try Attempt(network, to: "tcp:192.0.2.1:80")
        let second = try Attempt(network, to: "tcp:192.0.2.2:80")
        first.connecting.cancel()
        network.accept(last)
        #expect(first.outcomes == ["CancellationError()"] && second.outcomes == ["connected"])
        second.client.transport?.abortConnection()
        second.expectEnded("connected")
    }
}
