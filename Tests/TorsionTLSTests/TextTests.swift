// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

import TestedBackends
import Testing
import Torsion
import TorsionTLS
import TorsionTesting

@Suite struct TextTests {
    /// Connects by texts, and says what the client was shown and the server knows.
    private func connect(
        _ serverText: String, _ clientText: String, _ parser: EndpointParser
    ) throws -> (shown: TLSCertificate?, server: TransportSecurity?, failure: (any Error)?) {
        let reactor = Reactor(backend: .simulated, services: nil)
        let (server, client) = (Note(), Note())
        var failure: (any Error)?
        let port = try parser.server(parsing: serverText).listen(on: reactor) { server }
        let number = port.localAddress.port ?? 0
        try parser.client(parsing: clientText.replacing("PORT", with: "\(number)"))
            .connect(on: reactor) { client }.whenFailed { failure = $0 }
        let end = reactor.now.advanced(by: .seconds(20))
        while client.transport == nil || server.transport == nil, failure == nil,
            reactor.now < end
        {
            reactor.turn(until: end)
        }
        let shown = try client.security?.peerCertificate.map { try TLSCertificate(der: $0) }
        defer { reactor.shutDown() }
        return (shown, server.security, failure)
    }

    @Test func `both ends are written as texts, and read again together`() throws {
        let folder = Folder()
        let certificate = folder.file("cert.pem", TestIdentity.server.certificate)
        let key = folder.file("key.pem", TestIdentity.server.key)
        let roots = folder.file("roots.pem", TestIdentity.authority.certificate)
        let own = folder.file(
            "own.pem", TestIdentity.client.certificate + TestIdentity.client.key)
        let sources = CertificateSources()
        let parser = EndpointParser.standard.addingTLS(loading: sources)
        #expect(sources.isEmpty)
        let server = "tls:0:certificate=\(certificate):key=\(key):clientca=\(roots):alpn=h2,x"
        let client = "tls:127.0.0.1:PORT:roots=\(roots):alpn=x:certificate=\(own)"
        let first = try connect(server, client, parser)
        #expect(first.failure == nil)
        #expect(first.shown?.subject == "CN=a.test")
        #expect(first.shown?.serverNames == ["a.test", "127.0.0.1"])
        #expect(first.shown?.issuer == "CN=Test Authority" && first.shown?.digest.count == 32)
        #expect(first.server?.applicationProtocol == "x" && first.server?.isPeerVerified == true)
        // The endpoints have gone, and their certificates with them.
        #expect(sources.isEmpty)
        let kept = try parser.server(parsing: server)
        #expect(!sources.isEmpty)
        try sources.reload()
        folder.file("key.pem", "no key")
        #expect(throws: TLSError.self) { try sources.reload() }
        withExtendedLifetime(kept) {}
    }

    @Test func `a name that is not the host is verified in its place`() throws {
        let folder = Folder()
        let roots = folder.file("roots.pem", TestIdentity.authority.certificate)
        let parser = EndpointParser.standard.addingTLS(else: try TestIdentity.server.tls)
        let right = try connect("tls:0", "tls:127.0.0.1:PORT:roots=\(roots):name=a.test", parser)
        #expect(right.failure == nil && right.server?.serverName == "a.test")
        let wrong = try connect("tls:0", "tls:127.0.0.1:PORT:roots=\(roots):name=b.test", parser)
        #expect((wrong.failure as? TLSError)?.cause == .wrongName)
    }

    @Test(arguments: [
        ("tls:0", "an endpoint of type 'tls' needs a certificate, as in"),
        ("tls:0:certificate=/nowhere", "cannot be made: cannot read /nowhere: No such file"),
        ("tls:0:key=x", "there is a key without its certificate"),
        ("tls:70000", "0 to 65535"),
        ("tls:0:certs=x", "needs a certificate"),
    ])
    func `what a text lacks is said`(text: String, part: String) throws {
        let parser = EndpointParser.standard.addingTLS()
        do {
            _ = try parser.server(parsing: text)
            Issue.record("it was read")
        } catch { #expect("\(error)".contains(part), "\(error)") }
    }

    @Test func `a self-signed identity is for who has its certificate`() throws {
        let trial = try SelfSignedIdentity(names: ["a.test", "10.0.0.1"])
        let pair = try Pair(.simulated, TLSServer(trial.identity))
        var client = TLSClient()
        client.roots = try .pem(trial.certificate)
        try pair.connect(client, name: "10.0.0.1")
        pair.run { pair.client.transport != nil }
        pair.finish()
        #expect(throws: TLSError.self) { try SelfSignedIdentity(names: ["a,DNS:b"]) }
        #expect(throws: TLSError.self) { try SelfSignedIdentity(names: [""]) }
        // It has expired by then.
        let old = try SelfSignedIdentity(names: ["a.test"], now: 1_000_000_000)
        let late = try Pair(.simulated, TLSServer(old.identity))
        client.roots = try .pem(old.certificate)
        try late.connect(client)
        late.run { late.failure != nil }
        #expect((late.failure as? TLSError)?.cause == .outsideValidity)
        late.finish()
    }

    @Test func `what is no certificate says so`() throws {
        #expect(throws: TLSError.self) { try TLSCertificate(der: Bytes()) }
        let der = TestIdentity.server.der
        #expect(throws: TLSError.self) { try TLSCertificate(der: der[..<(der.count - 1)]) }
        #expect(throws: TLSError.self) { try TLSCertificate(der: der + Bytes([0])) }
        #expect(try TLSCertificate(der: der).notAfter == "2100-01-01T00:00:00Z")
    }
}

#endif
