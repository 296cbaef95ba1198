// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

import TestedBackends
import Testing
import Torsion
import TorsionTLS
import TorsionTesting

private let versions: [TLSVersion] = [.v12, .v13]

@Suite struct HandshakeTests {
    @Test(arguments: backends, versions)
    func `TLS-1: both sides are made when the handshake is done, and know what was agreed on`(
        backend: BackendChoice, version: TLSVersion
    ) throws {
        var server = try serverConfiguration(version)
        server.applicationProtocols = ["h2", "http/1.1"]
        var client = try clientConfiguration()
        client.applicationProtocols = ["http/1.1"]
        let pair = try Pair(backend, server)
        pair.client.whenMade = { $0.write("first") }
        pair.server.whenRead = { _, transport in transport.write("answer") }
        try pair.connect(client)
        pair.run { pair.client.text == "answer" }
        #expect(pair.server.events == ["made", "<first"])
        let far = try #require(pair.client.security)
        #expect(far.version == (version == .v13 ? "TLSv1.3" : "TLSv1.2"))
        #expect(far.cipher.hasPrefix("TLS_"))
        #expect(far.applicationProtocol == "http/1.1" && far.serverName == "a.test")
        #expect(far.isPeerVerified && !far.isResumed && far.peerCertificate?.isEmpty == false)
        let near = try #require(pair.server.security)
        #expect(near.applicationProtocol == "http/1.1" && near.serverName == "a.test")
        #expect(!near.isPeerVerified && near.peerCertificate == nil)
        #expect(near.cipher == far.cipher && near.version == far.version)
        pair.finish()
    }

    @Test(arguments: versions)
    func `TLS-1: what comes in the read of the last handshake bytes is delivered behind it`(
        version: TLSVersion
    ) throws {
        let wire = try Wire(version)
        wire.client.whenMade = { $0.write("early") }
        var pieces: [Bytes] = []
        // Everything that the client sends in one turn is one read.
        wire.toServer = { bytes in
            pieces.append(bytes)
            return [bytes]
        }
        wire.server.whenMade = { _ in #expect(wire.server.text == "") }
        wire.carry()
        #expect(wire.server.events == ["made", "<early"])
        if version == .v13 { #expect(pieces.filter { !$0.isEmpty }.count == 2) }
    }

    @Test(arguments: backends)
    func `TLS-2: a connect that is cancelled in the handshake is aborted`(
        backend: BackendChoice
    ) throws {
        let pair = try Pair(backend)
        let attempt = try pair.connect(TLSClientContext(clientConfiguration()))
        attempt.cancel()
        pair.run { pair.failure != nil }
        #expect(pair.failure is CancellationError)
        #expect(pair.client.events == [])
        pair.finish()
    }

    @Test(arguments: backends)
    func `TLS-3: the protocol of a failing handshake is not made, the port's observer is called`(
        backend: BackendChoice
    ) throws {
        let pair = try Pair(backend)
        pair.client.whenMade = { $0.write("GET / HTTP/1.1\r\n\r\n") }
        pair.connectPlain()
        pair.run { !pair.failures.errors.isEmpty && pair.client.loss != nil }
        let error = try #require(pair.failures.errors.first as? TLSError)
        #expect(error.cause == .notTLS && error.sentence == "what arrived is no TLS: http request")
        #expect(pair.failures.errors.count == 1 && pair.made == 0)
        #expect(pair.reactor.statistics.handshakesFailed == 1)
        pair.finish()
    }

    @Test(arguments: backends)
    func `TLS-4, TLS-22: a peer that says nothing is given up, and others are served meanwhile`(
        backend: BackendChoice
    ) throws {
        var options = StreamOptions()
        // Time enough for the handshakes of the others, on a busy machine too.
        options.handshakeTimeout = .seconds(3)
        let pair = try Pair(
            backend, options: options, context: TLSServerContext(serverConfiguration()))
        let silent = Note()
        ClientEndpoint.address(pair.port.localAddress).connect(on: pair.reactor) { silent }
            .whenFailed { Issue.record("\($0)") }
        pair.run { silent.transport != nil }
        try pair.connect()
        pair.client.whenMade = { $0.write("hello") }
        pair.run { pair.server.text == "hello" }
        #expect(silent.loss == nil)
        pair.run { silent.loss != nil && !pair.failures.errors.isEmpty }
        let loss = pair.failures.errors.first as? ConnectionLoss
        #expect(loss == .deadlinePassed(.handshaking))
        pair.finish()
    }

    @Test(arguments: backends, versions)
    func `ALPN: without an overlap the client is refused by an alert`(
        backend: BackendChoice, version: TLSVersion
    ) throws {
        var server = try serverConfiguration(version)
        server.applicationProtocols = ["h2"]
        var client = try clientConfiguration()
        client.applicationProtocols = ["imap"]
        let pair = try Pair(backend, server)
        try pair.connect(client)
        pair.run { pair.failure != nil && !pair.failures.errors.isEmpty }
        #expect((pair.failure as? TLSError)?.cause == .refusedByPeer(alert: 120))
        let error = pair.failures.errors.first as? TLSError
        #expect(error?.cause == .noApplicationProtocol)
        pair.finish()
    }

    @Test func `ALPN: a client may require that the server chooses`() throws {
        var client = try clientConfiguration()
        client.applicationProtocols = ["h2"]
        client.requiresApplicationProtocol = true
        let pair = try Pair(.simulated)
        try pair.connect(client)
        pair.run { pair.failure != nil }
        #expect((pair.failure as? TLSError)?.cause == .noApplicationProtocol)
        #expect(pair.client.events == [])
        pair.finish()
    }

    @Test func `SNI: the name decides which certificate is shown`() throws {
        var server = try serverConfiguration()
        let second = TestIdentity("b.test", names: "DNS:b.test", by: .authority)
        let wild = TestIdentity("c", names: "DNS:*.c.test", by: .authority)
        server.identitiesByName = ["b.test": try second.tls, "*.c.test": try wild.tls]
        for (name, isRight) in [("b.test", true), ("x.c.test", true), ("a.test", true)] {
            let pair = try Pair(.simulated, server)
            try pair.connect(name: name)
            pair.run { pair.client.transport != nil || pair.failure != nil }
            #expect((pair.client.transport != nil) == isRight, "\(name): \(pair.failure as Any)")
            pair.finish()
        }
        let pair = try Pair(.simulated, server)
        try pair.connect(name: "y.x.c.test")
        pair.run { pair.failure != nil }
        #expect((pair.failure as? TLSError)?.cause == .wrongName)
        pair.finish()
    }

    @Test func `versions without an overlap fail on both sides`() throws {
        let pair = try Pair(.simulated, try serverConfiguration(.v12))
        try pair.connect(try clientConfiguration(.v13))
        pair.run { pair.failure != nil && !pair.failures.errors.isEmpty }
        #expect((pair.failure as? TLSError)?.cause == .refusedByPeer(alert: 70))
        #expect((pair.failures.errors.first as? TLSError)?.cause == .protocolViolation)
        pair.finish()
    }

    @Test(arguments: versions)
    func `keys are logged only if asked for`(version: TLSVersion) throws {
        nonisolated(unsafe) var lines = ""
        var server = try serverConfiguration(version)
        server.keyLog = { lines += $0 }
        let pair = try Pair(.simulated, server)
        try pair.connect()
        pair.run { pair.server.transport != nil }
        let word = version == .v13 ? "SERVER_TRAFFIC_SECRET_0 " : "CLIENT_RANDOM "
        #expect(lines.contains(word) && lines.hasSuffix("\n"))
        pair.finish()
    }
}

@Suite struct ResumptionTests {
    @Test(arguments: backends, versions)
    func `TLS-18: every returning client resumes, on each reactor`(
        backend: BackendChoice, version: TLSVersion
    ) throws {
        let context = try TLSServerContext(serverConfiguration(version))
        let client = try TLSClientContext(clientConfiguration())
        // One port for both, by which the client knows a server; at an address of its own, where no
        // other test's port can come between.
        var address = SocketAddress.ipv4(IPv4Address(127, 0, 0, 81), port: 0)
        for reactorNumber in 0..<2 {
            let pair = try Pair(backend, context: context, address: address)
            address = pair.port.localAddress
            for round in 0..<5 {
                let proto = Note()
                pair.server.whenMade = { $0.write("hello") }
                proto.whenRead = { _, transport in transport.loseConnection() }
                try pair.connect(client, as: proto)
                pair.run { proto.loss != nil || pair.failure != nil }
                let isFirst = reactorNumber == 0 && round == 0
                #expect(proto.security?.isResumed == !isFirst, "\(reactorNumber) \(round)")
                #expect(proto.security?.isPeerVerified == true)
                pair.run { pair.server.transport == nil }
            }
            pair.finish()
        }
    }

    @Test func `without tickets nothing is resumed`() throws {
        var server = try serverConfiguration()
        server.hasSessionTickets = false
        let pair = try Pair(.simulated, server)
        let client = try TLSClientContext(clientConfiguration())
        for _ in 0..<2 {
            let proto = Note()
            pair.server.whenMade = { $0.write("hello") }
            proto.whenRead = { _, transport in transport.loseConnection() }
            try pair.connect(client, as: proto)
            pair.run { proto.loss != nil }
            #expect(proto.security?.isResumed == false)
        }
        pair.finish()
    }
}

#endif
