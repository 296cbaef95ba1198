// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

import TestedBackends
import Testing
import Torsion
import TorsionTLS
import TorsionTesting

private let versions: [TLSVersion] = [.v12, .v13]

private struct Unwelcome: Error, CustomStringConvertible {
    var description: String { "we do not know you" }
}

/// What a decision waits for, outside of the closure that is to be `Sendable`.
private final class Desk<Answer> {
    var waiting: Deferred<Answer>?
    var asked = 0
    var wasCancelled = false

    func ask(on reactor: Reactor) -> Deferred<Answer> {
        asked += 1
        let made = Deferred<Answer>(on: reactor) { [unowned self] _ in wasCancelled = true }
        waiting = made
        return made
    }
}

/// The alert that a connection was refused by.
private func refusal(in loss: ConnectionLoss) -> UInt8? {
    guard case .protocolFailed(let error) = loss,
        case .refusedByPeer(let alert)? = (error as? TLSError)?.cause
    else { return nil }
    return alert
}

@Suite struct PeerCheckTests {
    @Test(arguments: backends, versions)
    func `TLS-1: a check that decides later comes before the connection is made`(
        backend: BackendChoice, version: TLSVersion
    ) throws {
        nonisolated(unsafe) let desk = Desk<Void>(), far = Desk<Void>()
        var server = try serverConfiguration(version)
        server.clientCertificates = .required(try TestIdentity.authority.roots)
        server.checkPeer = { peer, reactor in
            #expect(peer.isPeerVerified && peer.peerCertificate == TestIdentity.client.der)
            return desk.ask(on: reactor)
        }
        var client = try clientConfiguration(version)
        client.identity = try TestIdentity.client.tls
        client.checkPeer = { peer, reactor in
            #expect(peer.isPeerVerified && peer.serverName == "a.test")
            #expect(peer.peerCertificate == TestIdentity.server.der)
            return far.ask(on: reactor)
        }
        let pair = try Pair(backend, server)
        pair.client.whenMade = { $0.write("early") }
        pair.server.whenMade = { $0.write("hello") }
        try pair.connect(client)
        pair.run { far.waiting != nil }
        for _ in 0..<5 { pair.reactor.turn(until: pair.reactor.now) }
        #expect(pair.client.events == [] && pair.server.events == [])
        far.waiting?.succeed(())
        pair.run { pair.client.transport != nil && desk.waiting != nil }
        for _ in 0..<5 { pair.reactor.turn(until: pair.reactor.now) }
        #expect(pair.server.events == [])
        desk.waiting?.succeed(())
        pair.run { pair.server.text == "early" && pair.client.text == "hello" }
        #expect(pair.server.events == ["made", "<early"])
        #expect(desk.asked == 1 && far.asked == 1)
        pair.finish()
    }

    @Test(arguments: backends)
    func `a check by a task is waited for`(backend: BackendChoice) throws {
        var server = try serverConfiguration()
        server.checkPeer = { _, reactor in reactor.spawn { await reactor.yield() } }
        var client = try clientConfiguration()
        client.checkPeer = { _, reactor in reactor.spawn { await reactor.yield() } }
        let pair = try Pair(backend, server)
        pair.client.whenMade = { $0.write("early") }
        try pair.connect(client)
        pair.run { pair.server.text == "early" }
        pair.finish()
    }

    @Test(arguments: versions, [false, true])
    func `TLS-21: a server that its client refuses is never connected`(
        version: TLSVersion, isLater: Bool
    ) throws {
        nonisolated(unsafe) let desk = Desk<Void>()
        var client = try clientConfiguration(version)
        client.checkPeer = { _, reactor in
            guard isLater else { throw Unwelcome() }
            return desk.ask(on: reactor)
        }
        let pair = try Pair(.simulated, try serverConfiguration(version))
        try pair.connect(client)
        if isLater {
            pair.run { desk.waiting != nil }
            desk.waiting?.fail(Unwelcome())
        }
        pair.run {
            pair.failure != nil && (pair.server.loss != nil || !pair.failures.errors.isEmpty)
        }
        let error = try #require(pair.failure as? TLSError)
        #expect(error.cause == .refusedHere)
        #expect(error.sentence == "refused here: we do not know you")
        #expect(pair.client.events == [])
        // In TLS 1.3 OpenSSL has no way for a client's alert: it is no clean end either.
        if let loss = pair.server.loss {
            #expect(version == .v12 ? refusal(in: loss) == 49 : loss == .truncated)
        }
        pair.finish()
    }

    @Test(arguments: versions, [false, true])
    func `TLS-21: a client that the server refuses is never served`(
        version: TLSVersion, isLater: Bool
    ) throws {
        nonisolated(unsafe) let desk = Desk<Void>()
        var server = try serverConfiguration(version)
        server.checkPeer = { _, reactor in
            isLater ? desk.ask(on: reactor) : .failed(Unwelcome(), on: reactor)
        }
        let pair = try Pair(.simulated, server)
        pair.client.whenMade = { $0.write("let me in") }
        try pair.connect(clientConfiguration(version))
        if isLater {
            pair.run { desk.waiting != nil }
            desk.waiting?.fail(Unwelcome())
        }
        pair.run { !pair.failures.errors.isEmpty && pair.client.loss != nil }
        let error = try #require(pair.failures.errors.first as? TLSError)
        #expect(error.cause == .refusedHere && pair.failures.errors.count == 1)
        #expect(pair.made == 0)
        // In TLS 1.2 OpenSSL has no way for a server's alert: it is no clean end either.
        let loss = try #require(pair.client.loss)
        #expect(version == .v13 ? refusal(in: loss) == 49 : loss == .truncated)
        pair.finish()
    }

    @Test(arguments: backends)
    func `TLS-4: a check that never decides is cancelled at the handshake's deadline`(
        backend: BackendChoice
    ) throws {
        nonisolated(unsafe) let desk = Desk<Void>()
        var server = try serverConfiguration()
        server.checkPeer = { _, reactor in desk.ask(on: reactor) }
        var options = StreamOptions()
        options.handshakeTimeout = .seconds(3)
        let pair = try Pair(backend, options: options, context: TLSServerContext(server))
        try pair.connect(TLSClientContext(clientConfiguration()))
        pair.run { !pair.failures.errors.isEmpty }
        #expect(pair.failures.errors.first as? ConnectionLoss == .deadlinePassed(.handshaking))
        #expect(desk.wasCancelled)
        pair.finish()
    }

    @Test func `a connect that is cancelled cancels the check`() throws {
        nonisolated(unsafe) let desk = Desk<Void>()
        var client = try clientConfiguration()
        client.checkPeer = { _, reactor in desk.ask(on: reactor) }
        let pair = try Pair(.simulated)
        let attempt = try pair.connect(TLSClientContext(client))
        pair.run { desk.waiting != nil }
        attempt.cancel()
        pair.run { pair.failure != nil }
        #expect(pair.failure is CancellationError && desk.wasCancelled)
        pair.finish()
    }

    @Test func `a resumed session is checked again`() throws {
        nonisolated(unsafe) var seen: [Bool] = []
        var client = try clientConfiguration()
        client.checkPeer = { peer, reactor in
            seen.append(peer.isResumed && peer.peerCertificate == TestIdentity.server.der)
            return .succeeded((), on: reactor)
        }
        let pair = try Pair(.simulated)
        let context = try TLSClientContext(client)
        for _ in 0..<2 {
            let note = Note()
            pair.server.whenMade = { $0.write("hello") }
            note.whenRead = { _, transport in transport.loseConnection() }
            try pair.connect(context, as: note)
            pair.run { note.loss != nil }
        }
        #expect(seen == [false, true])
        pair.finish()
    }
}

@Suite struct ChoiceTests {
    /// A server of two configurations, by the name that a client asks for.
    private func server(
        _ version: TLSVersion?, _ desk: Desk<TLSServerContext?>
    ) throws -> TLSServer {
        var server = try serverConfiguration(version)
        nonisolated(unsafe) let desk = desk
        server.choose = { hello, reactor in
            switch hello.serverName {
            case "a.test": return .succeeded(nil, on: reactor)
            case "b.test": return desk.ask(on: reactor)
            default: throw Unwelcome()
            }
        }
        return server
    }

    private func other(_ version: TLSVersion?) throws -> TLSServer {
        let identity = TestIdentity("b", names: "DNS:b.test", by: .authority)
        var other = TLSServer(try identity.tls)
        if let version { (other.minimumVersion, other.maximumVersion) = (version, version) }
        other.applicationProtocols = ["chosen"]
        return other
    }

    @Test(arguments: backends, versions)
    func `SNI: a configuration that is chosen later is used whole`(
        backend: BackendChoice, version: TLSVersion
    ) throws {
        let desk = Desk<TLSServerContext?>()
        // The version is that of the configuration that is chosen.
        let pair = try Pair(backend, server(nil, desk))
        let chosen = try TLSServerContext(other(version))
        pair.client.whenMade = { $0.write("early") }
        var client = try clientConfiguration()
        client.applicationProtocols = ["other", "chosen"]
        let context = try TLSClientContext(client)
        for round in 0..<2 {
            let note = Note()
            note.whenMade = { $0.write("early") }
            pair.server.whenRead = { _, transport in
                transport.write("answer")
                transport.loseConnection()
            }
            try pair.connect(context, name: "b.test", as: note)
            pair.run { desk.waiting != nil }
            desk.waiting.take()?.succeed(chosen)
            pair.run { note.loss != nil || pair.failure != nil }
            #expect(note.text == "answer" && note.loss == .closedByPeer)
            #expect(note.security?.applicationProtocol == "chosen")
            #expect(note.security?.version == (version == .v13 ? "TLSv1.3" : "TLSv1.2"))
            // Also its sessions.
            #expect(note.security?.isResumed == (round == 1))
            #expect(pair.server.security?.serverName == "b.test")
        }
        #expect(desk.asked == 2)
        pair.finish()
    }

    @Test(arguments: versions)
    func `SNI: without a choice the configuration itself goes on`(version: TLSVersion) throws {
        let pair = try Pair(.simulated, server(version, Desk()))
        pair.client.whenMade = { $0.write("early") }
        try pair.connect(clientConfiguration(version))
        pair.run { pair.server.text == "early" }
        #expect(pair.client.security?.peerCertificate == TestIdentity.server.der)
        pair.finish()
    }

    @Test(arguments: versions)
    func `SNI: a name that nothing is chosen for gets an alert`(version: TLSVersion) throws {
        let pair = try Pair(.simulated, server(version, Desk()))
        try pair.connect(clientConfiguration(version), name: "c.test")
        pair.run { pair.failure != nil && !pair.failures.errors.isEmpty }
        #expect((pair.failure as? TLSError)?.cause == .refusedByPeer(alert: 112))
        #expect((pair.failures.errors.first as? TLSError)?.cause == .refusedHere)
        pair.finish()
    }

    @Test(arguments: versions, [1, 2, 7, 100])
    func `SNI: the hello may come in any pieces`(version: TLSVersion, size: Int) throws {
        let chosen = try TLSServerContext(other(version))
        nonisolated(unsafe) var hellos: [TLSClientHello] = []
        var server = try serverConfiguration(version)
        server.choose = { hello, reactor in
            hellos.append(hello)
            return .succeeded(chosen, on: reactor)
        }
        let context = try TLSServerContext(server)
        var client = try clientConfiguration(version)
        client.applicationProtocols = ["chosen", "h2"]
        let clientContext = try TLSClientContext(client)
        let wire = Wire(
            serverFilter: { TLSFilter(context) },
            // It is a valid name.
            clientFilter: { try! TLSFilter(clientContext, serverName: "b.test") })
        wire.toServer = { bytes in
            stride(from: 0, to: bytes.count, by: size).map {
                Bytes(Array(bytes[$0..<min($0 + size, bytes.count)]))
            }
        }
        wire.client.whenMade = { $0.write("early") }
        wire.carry()
        #expect(wire.server.text == "early")
        #expect(
            hellos == [
                TLSClientHello(serverName: "b.test", applicationProtocols: ["chosen", "h2"])
            ])
    }

    @Test func `TLS-4: a choice that never comes is cancelled at the deadline`() throws {
        let desk = Desk<TLSServerContext?>()
        var options = StreamOptions()
        options.handshakeTimeout = .milliseconds(300)
        let pair = try Pair(
            .simulated, options: options, context: TLSServerContext(server(nil, desk)))
        try pair.connect(TLSClientContext(clientConfiguration()), name: "b.test")
        pair.run { !pair.failures.errors.isEmpty && pair.failure != nil }
        #expect(pair.failures.errors.first as? ConnectionLoss == .deadlinePassed(.handshaking))
        #expect(desk.wasCancelled)
        pair.finish()
    }
}

#endif
