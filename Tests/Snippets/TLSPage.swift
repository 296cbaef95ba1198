// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

import Testing
import Torsion
import TorsionTLS
import TorsionTesting

// snippet: Server
/// Sends back what arrives, encrypted.
final class SecureEcho: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }
}

func serveSecurely(on reactor: Reactor) throws {
    let identity = try TLSIdentity.files(certificate: "cert.pem", key: "key.pem")
    try ServerEndpoint.tcp(port: 8443).tls(TLSServer(identity)).listen(on: reactor) {
        SecureEcho()
    }
}
// snippet end

final class Request: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

func fetch(on reactor: Reactor) throws {
    // snippet: Client
    try ClientEndpoint.tcp(host: "example.org", port: 443).tls(serverName: "example.org")
        .connect(on: reactor) { Request() }
        .whenFailed { error in print("no connection: \(error)") }
    // snippet end
}

func trust(_ path: String) throws -> TLSClient {
    // snippet: Roots
    var client = TLSClient()
    client.roots = try .file("our-authority.pem")
    client.applicationProtocols = ["h2", "http/1.1"]
    // snippet end
    return client
}

// snippet: Security
final class SecureGreeter: StreamProtocol {
    func connectionMade(_ transport: any StreamTransport) {
        guard let security = transport.security else { return }
        print(security.version, security.cipher, security.applicationProtocol ?? "none")
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}
// snippet end

func names(_ identity: TLSIdentity, _ other: TLSIdentity) throws -> TLSServer {
    // snippet: Names
    var server = TLSServer(identity)
    server.identitiesByName = ["www.example.org": other, "*.example.net": other]
    server.clientCertificates = .required(try .file("clients.pem"))
    // snippet end
    return server
}

func reload(on reactor: Reactor) throws {
    // snippet: Reload
    let certificates = try CertificateSource(certificate: "cert.pem", key: "key.pem")
    let server = TLSServer(certificates)
    // Whenever the files change; or by `certificates.reload()`, when you know that they have.
    try certificates.reloadWhenChanged(on: reactor)
    // snippet end
    _ = server
}

func readTexts() throws {
    // snippet: Texts
    let sources = CertificateSources()
    let endpoints = EndpointParser.standard.addingTLS(loading: sources)
    let port = try endpoints.server(parsing: "tls:8443:certificate=cert.pem:key=key.pem")
    let shop = try endpoints.client(parsing: "tls:example.org:443:alpn=h2,http/1.1")
    // snippet end
    _ = (port, shop)
}

actor Accounts {
    func admit(_ certificate: Bytes?) throws {}
}

func decide(
    _ server: inout TLSServer, _ accounts: Accounts, _ tenants: [String: TLSServerContext]
) {
    // snippet: Decide
    server.checkPeer = { peer, reactor in
        reactor.spawn { try await accounts.admit(peer.peerCertificate) }
    }
    server.choose = { hello, reactor in
        .succeeded(tenants[hello.serverName ?? ""], on: reactor)
    }
    // snippet end
}

// snippet: StartTLS
/// A server that goes on with TLS when it is asked to, as SMTP does.
final class Mail: LineProtocol {
    let lines = LineDecoder()
    private let tls: TLSServerContext

    init(_ tls: TLSServerContext) { self.tls = tls }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        guard String(decoding: line) == "STARTTLS" else { return }
        transport.write("220 go ahead\r\n")
        transport.startTLS(tls)
    }
}
// snippet end

@Suite struct TLSPageTests {
    @Test func `what cannot be read says so`() {
        #expect(throws: TLSError.self) { try trust("nowhere") }
        #expect(throws: EndpointError.self) { try readTexts() }
        let reactor = Reactor(backend: .simulated, services: nil)
        #expect(throws: TLSError.self) { try reload(on: reactor) }
        #expect(throws: TLSError.self) { try serveSecurely(on: reactor) }
        reactor.shutDown()
    }
}

#endif
