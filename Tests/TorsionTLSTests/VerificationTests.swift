// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

import TestedBackends
import Testing
import Torsion
import TorsionTLS
import TorsionTesting

/// What the client says of a server that shows this certificate, and the server of its refusal.
private func refusal(
    of identity: TestIdentity, name: String = "a.test", on backend: BackendChoice = .simulated,
    version: TLSVersion? = nil
) throws -> (client: TLSError?, server: TLSError?) {
    var server = TLSServer(try identity.tls)
    if let version { server.maximumVersion = version }
    let pair = try Pair(backend, server)
    try pair.connect(name: name)
    pair.run { pair.failure != nil && (!pair.failures.errors.isEmpty || pair.server.loss != nil) }
    #expect(pair.client.events == [])
    let far = pair.failures.errors.first as? TLSError
    pair.finish()
    return (pair.failure as? TLSError, far)
}

@Suite struct VerificationTests {
    @Test(arguments: backends)
    func `TLS-21, TLS-12: a wrong name is refused, and the server gets the alert`(
        backend: BackendChoice
    ) throws {
        let errors = try refusal(of: .server, name: "b.test", on: backend)
        #expect(errors.client?.cause == .wrongName)
        #expect(
            errors.client?.sentence
                == "the certificate \"CN=a.test\" is for a.test, 127.0.0.1, and not for b.test")
        #expect(errors.server?.cause == .refusedByPeer(alert: 42))
        #expect(errors.server?.sentence == "the peer refused: bad certificate (alert 42)")
    }

    @Test func `TLS-21: an address is verified as an address`() throws {
        let pair = try Pair(.simulated)
        try pair.connect(name: "127.0.0.1")
        pair.run { pair.client.transport != nil }
        #expect(pair.client.security?.isPeerVerified == true)
        pair.finish()
        let errors = try refusal(of: .server, name: "127.0.0.2")
        #expect(errors.client?.cause == .wrongName)
    }

    @Test func `TLS-21: the common name is no server's name`() throws {
        let errors = try refusal(of: TestIdentity("a.test", by: .authority))
        #expect(errors.client?.cause == .wrongName)
        #expect(
            errors.client?.sentence
                == "the certificate \"CN=a.test\" names no server, and not for a.test")
    }

    @Test func `TLS-21: another authority is refused`() throws {
        let errors = try refusal(of: TestIdentity("a.test", names: "DNS:a.test", by: .other))
        #expect(errors.client?.cause == .certificateNotTrusted)
        let sentence = errors.client?.sentence ?? ""
        #expect(sentence.contains("issued by \"CN=Other Authority\""), "\(sentence)")
        #expect(errors.server?.cause == .refusedByPeer(alert: 48))
    }

    @Test func `TLS-21: a certificate that signs itself is refused`() throws {
        let errors = try refusal(of: TestIdentity("a.test", names: "DNS:a.test"))
        #expect(errors.client?.cause == .certificateNotTrusted)
    }

    @Test(arguments: [TLSVersion.v12, .v13])
    func `TLS-21: dates are those of the reactor's time of day`(version: TLSVersion) throws {
        let old = TestIdentity(
            "a.test", names: "DNS:a.test", by: .authority, to: 1_577_836_800)
        let expired = try refusal(of: old, version: version)
        #expect(expired.client?.cause == .outsideValidity)
        #expect(
            expired.client?.sentence
                == "the certificate \"CN=a.test\" is valid from 1970-01-01T00:00:00Z"
                + " to 2020-01-01T00:00:00Z: certificate has expired")
        #expect(expired.server?.cause == .refusedByPeer(alert: 45))
        let young = TestIdentity(
            "a.test", names: "DNS:a.test", by: .authority, from: 4_000_000_000)
        #expect(try refusal(of: young).client?.cause == .outsideValidity)
    }

    @Test func `TLS-21: what is not verified is said so in the configuration`() throws {
        let stranger = TestIdentity("x", names: "DNS:x.test")
        for (verification, isMade) in [
            (TLSClient.Verification.insecurelyNothing, true), (.insecurelyChainOnly, false),
        ] {
            var client = try clientConfiguration()
            client.verification = verification
            let pair = try Pair(.simulated, TLSServer(try stranger.tls))
            try pair.connect(client)
            pair.run { pair.client.transport != nil || pair.failure != nil }
            #expect((pair.failure == nil) == isMade)
            #expect(pair.client.security?.isPeerVerified != true)
            pair.finish()
        }
        var client = try clientConfiguration()
        client.verification = .insecurelyChainOnly
        let pair = try Pair(.simulated)
        try pair.connect(client, name: "any.test")
        pair.run { pair.client.transport != nil }
        pair.finish()
    }

    @Test(arguments: ["", ".test", "a\0.test", "a b", "ä.test", String(repeating: "a", count: 254)])
    func `a name that would turn verification off is refused`(name: String) throws {
        let context = try TLSClientContext(clientConfiguration())
        #expect(throws: TLSError.self) { try TLSFilter(context, serverName: name) }
    }
}

@Suite struct ClientCertificateTests {
    private func connect(
        _ rule: TLSServer.ClientCertificates, showing identity: TestIdentity?,
        version: TLSVersion, on backend: BackendChoice = .simulated
    ) throws -> Pair {
        var server = try serverConfiguration(version)
        server.clientCertificates = rule
        var client = try clientConfiguration()
        client.identity = try identity?.tls
        let pair = try Pair(backend, server)
        pair.server.whenMade = { $0.write("hello") }
        try pair.connect(client)
        pair.run {
            pair.client.text == "hello"
                || !pair.failures.errors.isEmpty
                    && (pair.failure != nil || pair.client.loss != nil)
        }
        return pair
    }

    @Test(arguments: backends, [TLSVersion.v12, .v13])
    func `TLS-21: a client without a certificate is refused where one is required`(
        backend: BackendChoice, version: TLSVersion
    ) throws {
        let roots = try TestIdentity.authority.roots
        let pair = try connect(.required(roots), showing: nil, version: version, on: backend)
        #expect((pair.failures.errors.first as? TLSError)?.cause == .noCertificate)
        #expect(pair.made == 0)
        // TLS-12: in TLS 1.3 the client is connected by then, and gets the alert as its loss.
        let alert = version == .v13 ? UInt8(116) : 40
        if version == .v12 {
            #expect((pair.failure as? TLSError)?.cause == .refusedByPeer(alert: alert))
        } else {
            guard case .protocolFailed(let error)? = pair.client.loss else {
                Issue.record("\(pair.client.loss as Any)")
                return pair.finish()
            }
            #expect((error as? TLSError)?.cause == .refusedByPeer(alert: alert))
        }
        pair.finish()
    }

    @Test(arguments: backends, [TLSVersion.v12, .v13])
    func `a client's certificate is verified, and readable`(
        backend: BackendChoice, version: TLSVersion
    ) throws {
        let roots = try TestIdentity.authority.roots
        let pair = try connect(.required(roots), showing: .client, version: version, on: backend)
        #expect(pair.server.security?.isPeerVerified == true)
        #expect(pair.server.security?.peerCertificate?.isEmpty == false)
        pair.finish()
    }

    @Test(arguments: [TLSVersion.v12, .v13])
    func `a client's certificate of another authority is refused, also where none is required`(
        version: TLSVersion
    ) throws {
        let stranger = TestIdentity("stranger", by: .other)
        for rule in [
            TLSServer.ClientCertificates.required(try TestIdentity.authority.roots),
            .wanted(try TestIdentity.authority.roots),
        ] {
            let pair = try connect(rule, showing: stranger, version: version)
            #expect((pair.failures.errors.first as? TLSError)?.cause == .certificateNotTrusted)
            #expect(pair.made == 0)
            pair.finish()
        }
        let pair = try connect(
            .wanted(try TestIdentity.authority.roots), showing: nil, version: version)
        #expect(pair.server.security?.isPeerVerified == false)
        pair.finish()
    }

    @Test func `a session of a client with a certificate is resumed with it`() throws {
        var server = try serverConfiguration()
        server.clientCertificates = .required(try TestIdentity.authority.roots)
        var configuration = try clientConfiguration()
        configuration.identity = try TestIdentity.client.tls
        let client = try TLSClientContext(configuration)
        let pair = try Pair(.simulated, server)
        for round in 0..<3 {
            let proto = Note()
            pair.server.whenMade = { $0.write("hello") }
            proto.whenRead = { _, transport in transport.loseConnection() }
            try pair.connect(client, as: proto)
            pair.run { proto.loss != nil || pair.failure != nil }
            #expect(proto.security?.isResumed == (round > 0))
            #expect(pair.server.security?.isPeerVerified == true)
        }
        pair.finish()
    }

    @Test func `the system's roots vouch for no client`() throws {
        var server = try serverConfiguration()
        server.clientCertificates = .required(.system)
        #expect(throws: TLSError.self) { try TLSServerContext(server) }
    }
}

@Suite struct IdentityTests {
    @Test func `a file that is missing or no certificate says so with its name`() throws {
        do {
            _ = try TLSIdentity.files(certificate: "/nowhere/cert.pem", key: "/nowhere/key.pem")
            Issue.record("it was read")
        } catch {
            #expect(
                error.sentence == "cannot read /nowhere/cert.pem: No such file or directory")
        }
        do {
            _ = try TLSRoots.file("/etc/passwd")
            Issue.record("it was read")
        } catch {
            #expect(
                error.sentence
                    == "/etc/passwd: there is no certificate in PEM format, or a damaged one")
        }
    }

    @Test func `a key of another certificate is refused`() {
        do {
            _ = try TLSIdentity.pem(
                certificates: TestIdentity.server.certificate, key: TestIdentity.client.key)
            Issue.record("it was taken")
        } catch {
            #expect(error.sentence == "the private key is not that of the first certificate")
        }
    }

    @Test func `a text that breaks off is no certificate`() {
        let text = TestIdentity.server.certificate
        #expect(throws: TLSError.self) {
            _ = try TLSRoots.pem(text + String(text.prefix(text.count / 2)))
        }
        #expect(throws: TLSError.self) { _ = try TLSRoots.pem("") }
    }

    @Test func `protocols' names and versions are checked`() throws {
        var server = try serverConfiguration()
        server.applicationProtocols = [""]
        #expect(throws: TLSError.self) { try TLSServerContext(server) }
        server.applicationProtocols = []
        (server.minimumVersion, server.maximumVersion) = (.v13, .v12)
        #expect(throws: TLSError.self) { try TLSServerContext(server) }
    }
}

#endif
