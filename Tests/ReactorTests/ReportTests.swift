// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion

/// What reaches `unhandledError` of errors that a program's own code throws.
@Suite struct ReportTests {
    private struct Mishap: Error {}

    /// Throws when it is connected, or when it reads.
    private final class Throwing: StreamProtocol {
        let atOnce: Bool
        init(atOnce: Bool) { self.atOnce = atOnce }

        func connectionMade(_ transport: any StreamTransport) throws {
            if atOnce { throw Mishap() }
        }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
            throw Mishap()
        }
    }

    /// Switches to a protocol that throws, so that the throw comes at the end of the event.
    private final class Switching: StreamProtocol {
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            transport.switchProtocol(to: Throwing(atOnce: true))
        }
    }

    /// Serves one client that says a word, until both have lost the connection.
    private func reports(
        on name: String, at endpoint: any StreamServerEndpoint = Self.place,
        _ makeProtocol: @escaping () -> any StreamProtocol
    ) throws -> (contexts: [String], statistics: ReactorStatistics, peer: String) {
        let reactor = try Reactor.turned(by: name)
        var contexts: [String] = []
        reactor.unhandledError = { contexts.append($0.context) }
        let client = Witness()
        var peer = ""
        let port = try endpoint.listen(on: reactor) { address in
            peer = "\(address)"
            return makeProtocol()
        }
        // A server that throws at once may reset the connection before the client knows of it.
        var hasFailed = false
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
            .addCallback { client in client.transport?.write("word") }
            .whenFailed { _ in hasFailed = true }
        #expect(reactor.turn { client.loss != nil || hasFailed })
        let statistics = reactor.statistics
        reactor.shutDown()
        return (contexts, statistics, peer)
    }

    private static let place = ServerEndpoint.tcp(port: 0, interface: .loopback)

    @Test(arguments: backendNames, [false, true])
    func `what a callback throws is reported once, with the peer's address, and counted`(
        name: String, atOnce: Bool
    ) throws {
        let outcome = try reports(on: name) { Throwing(atOnce: atOnce) }
        #expect(outcome.contexts == ["the protocol of \(outcome.peer)"])
        #expect(outcome.statistics.protocolFailures == 1)
        #expect(outcome.statistics.unhandledErrors == 1)
    }

    @Test(arguments: backendNames)
    func `so is what is thrown at the end of an event, with a filter, an observer and neither`(
        name: String
    ) throws {
        let endpoints: [any StreamServerEndpoint] = [
            Self.place, Self.place.filtered { StreamFilter() }, Self.place.logged { _ in },
        ]
        for endpoint in endpoints {
            let outcome = try reports(on: name, at: endpoint) { Switching() }
            #expect(outcome.contexts == ["the protocol of \(outcome.peer)"])
            #expect(outcome.statistics.protocolFailures == 1)
        }
    }

    @Test(arguments: backendNames)
    func `a peer that a policy refuses is no failure of the protocol`(name: String) throws {
        let endpoint = Self.place.filtered { ProxyHeaderReader(trusting: []) }
        let outcome = try reports(on: name, at: endpoint) { Throwing(atOnce: true) }
        #expect(outcome.contexts == [] && outcome.statistics.protocolFailures == 0)
        #expect(outcome.statistics.handshakesFailed == 1)
    }

    /// Finds that its own program is wrong.
    private final class Broken: StreamFilter {
        override func begin() throws { throw Mishap() }
    }

    @Test(arguments: backendNames)
    func `what a filter throws while it agrees is reported once, with the peer's address`(
        name: String
    ) throws {
        let endpoint = Self.place.filtered { Broken() }
        let outcome = try reports(on: name, at: endpoint) { Throwing(atOnce: true) }
        // The factory was not called, so that the address is not known here.
        #expect(outcome.peer.isEmpty && outcome.contexts.count == 1)
        #expect(outcome.contexts.first?.hasPrefix("the handshake with 127.0.0.1:") == true)
        #expect(outcome.statistics.unhandledErrors == 1 && outcome.statistics.handshakesFailed == 1)
        #expect(outcome.statistics.protocolFailures == 0)
    }

    @Test(arguments: backendNames)
    func `what a client's connectionMade throws is told by its Deferred alone`(
        name: String
    ) throws {
        let reactor = try Reactor.turned(by: name)
        var contexts: [String] = []
        reactor.unhandledError = { contexts.append($0.context) }
        let server = Witness()
        let port = try Self.place.listen(on: reactor) { server }
        var failure: (any Error)?
        ClientEndpoint.address(port.localAddress)
            .connect(on: reactor) { Throwing(atOnce: true) }
            .whenFailed { failure = $0 }
        #expect(reactor.turn { failure != nil && server.loss != nil })
        #expect(failure is Mishap && contexts == [])
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a peer that does not read and is written to beyond the limit is reported and counted`(
        name: String
    ) throws {
        let reactor = try Reactor.turned(by: name)
        var reports: [String] = []
        reactor.unhandledError = { reports.append("\($0)") }
        let server = Witness(), client = Witness()
        var endpoint = Self.place
        endpoint.options.watermarks = Watermarks(low: 10, high: 20, limit: 1_000_000)
        let port = try endpoint.listen(on: reactor) { server }
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { client.transport != nil && server.transport != nil })
        let peer = client.transport.map { "\($0.localAddress)" } ?? ""
        let id = server.transport.map { "\($0.id)" } ?? ""
        client.transport?.pauseProducing()
        let piece = Bytes([UInt8](repeating: 7, count: 500_000))
        for _ in 0..<40 { server.transport?.write(piece) }
        #expect(reactor.turn { server.loss != nil && !reports.isEmpty })
        let limit = ConnectionLoss.writeLimitExceeded
        #expect(
            reports == [
                "torsion: unhandled error in writing to \(peer), connection \(id): \(limit)"
            ])
        #expect(reactor.statistics.writeLimitsExceeded == 1)
        reactor.shutDown()
    }

    @Test func `an error in a delayed call names the line that made it`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        var places: [String?] = []
        reactor.unhandledError = { places.append($0.place) }
        let line = #line + 1
        reactor.callLater(.zero) { throw Mishap() }
        reactor.callAt(reactor.now) { throw Mishap() }
        #expect(reactor.turn { places.count == 2 })
        #expect(
            places == [
                "ReactorTests/ReportTests.swift:\(line)",
                "ReactorTests/ReportTests.swift:\(line + 1)",
            ])
        reactor.shutDown()
    }
}
