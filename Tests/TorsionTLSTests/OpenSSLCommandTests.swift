// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

import Glibc
import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionTLS
import TorsionTesting

private let sockets = BackendChoice.tested
private let versions: [TLSVersion] = [.v12, .v13]

extension TLSVersion {
    fileprivate var flag: String { self == .v13 ? "-tls1_3" : "-tls1_2" }
    fileprivate var name: String { self == .v13 ? "TLSv1.3" : "TLSv1.2" }
}

@Suite(.serialized, .enabled(if: isInstalled("openssl")))
struct OpenSSLCommandTests {
    private func client(_ pair: Pair, _ folder: Folder, _ more: [String]) throws
        -> TestPrograms.Program
    {
        try TestPrograms.Program(
            path: "openssl",
            [
                "s_client", "-connect", "127.0.0.1:\(pair.port.localAddress.port ?? 0)", "-quiet",
                "-servername", "a.test", "-verify_hostname", "a.test", "-verify_return_error",
                "-CAfile", folder.file("roots.pem", TestIdentity.authority.certificate),
            ] + more)
    }

    @Test(arguments: sockets, versions)
    func `s_client verifies a server of ours, and sees a clean end`(
        backend: BackendChoice, version: TLSVersion
    ) throws {
        let folder = Folder()
        var server = TLSServer(
            try .files(
                certificate: folder.file("cert.pem", TestIdentity.server.certificate),
                key: folder.file("key.pem", TestIdentity.server.key)))
        server.applicationProtocols = ["echo"]
        let pair = try Pair(backend, server)
        pair.server.whenRead = { text, transport in
            transport.write("answer to " + text)
            transport.loseConnection()
        }
        let program = try client(pair, folder, [version.flag, "-alpn", "echo"])
        program.write("question\n")
        // io_uring hands over what is sent last in the turn that follows.
        pair.run { pair.server.loss != nil && pair.reactor.statistics.lingeringStreams == 0 }
        #expect(program.readOutput() == "answer to question\n")
        #expect(program.wait() == 0)
        #expect(pair.server.loss == .closedLocally)
        #expect(pair.server.security?.version == version.name)
        #expect(pair.server.security?.applicationProtocol == "echo")
        #expect(pair.server.security?.serverName == "a.test")
        pair.finish()
    }

    @Test(arguments: sockets, versions)
    func `s_client resumes a session`(backend: BackendChoice, version: TLSVersion) throws {
        let folder = Folder()
        let session = folder.file("session.pem")
        let pair = try Pair(backend, try serverConfiguration(version))
        var text = ""
        for option in ["-sess_out", "-sess_in"] {
            let note = pair.server
            text += "question\n"
            note.whenRead = { _, transport in
                transport.write("answer\n")
                transport.loseConnection()
            }
            let program = try client(pair, folder, [option, session])
            program.write("question\n")
            pair.run {
                note.transport == nil && note.text == text
                    && pair.reactor.statistics.lingeringStreams == 0
            }
            #expect(program.readOutput() == "answer\n")
            #expect(program.wait() == 0)
            if option == "-sess_out" { pair.run { pair.reactor.statistics.openConnections == 0 } }
        }
        #expect(pair.server.security?.isResumed == true)
        pair.finish()
    }

    @Test(arguments: sockets)
    func `TLS-9: a client that is killed is no clean end`(backend: BackendChoice) throws {
        let folder = Folder()
        let pair = try Pair(backend)
        let program = try client(pair, folder, [])
        program.write("question\n")
        pair.run { pair.server.text == "question\n" }
        program.signal(SIGKILL)
        #expect(program.wait() == -SIGKILL)
        pair.run { pair.server.loss != nil }
        #expect(pair.server.loss == .truncated)
        pair.finish()
    }

    @Test(arguments: sockets)
    func `TLS-8: s_client's end ends the connection cleanly`(backend: BackendChoice) throws {
        let folder = Folder()
        let pair = try Pair(backend)
        let program = try client(pair, folder, ["-no_ign_eof"])
        program.write("question\n")
        pair.run { pair.server.text == "question\n" }
        program.endInput()
        pair.run { pair.server.loss != nil }
        #expect(pair.server.loss == .closedByPeer)
        #expect(program.wait() == 0)
        pair.finish()
    }

    @Test(arguments: sockets)
    func `TLS-17: CBC, static RSA and TLS 1.1 are refused`(backend: BackendChoice) throws {
        let folder = Folder()
        let pair = try Pair(backend)
        var count = 0
        for options in [
            ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"],
            ["-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"],
            ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        ] {
            let program = try client(pair, folder, options)
            count += 1
            pair.run {
                pair.failures.errors.count == count
                    && pair.reactor.statistics.lingeringStreams == 0
            }
            #expect(program.wait() == 1)
        }
        #expect(pair.made == 0)
        pair.finish()
    }

    @Test(arguments: sockets)
    func `TLS-12: s_client hears that a check refuses it`(backend: BackendChoice) throws {
        struct Unwelcome: Error {}
        let folder = Folder()
        var server = try serverConfiguration(.v13)
        server.checkPeer = { _, _ in throw Unwelcome() }
        let pair = try Pair(backend, server)
        let program = try client(pair, folder, [])
        pair.run {
            pair.failures.errors.count == 1 && pair.reactor.statistics.lingeringStreams == 0
        }
        let errors = program.readErrors()
        #expect(errors.contains("SSL alert number 49"), "\(errors)")
        #expect(program.wait() == 1)
        pair.finish()
    }

    @Test func `an encrypted key is read by its passphrase, and the error says what is missing`()
        throws
    {
        let folder = Folder()
        let certificate = folder.file("cert.pem", TestIdentity.server.certificate)
        let key = folder.file("encrypted.pem")
        let program = try TestPrograms.Program(
            path: "openssl",
            [
                "pkcs8", "-topk8", "-in", folder.file("key.pem", TestIdentity.server.key), "-out",
                key, "-passout", "pass:secret",
            ])
        program.endInput()
        #expect(program.wait() == 0)
        _ = try TLSIdentity.files(certificate: certificate, key: key, passphrase: "secret")
        for (passphrase, sentence) in [
            (nil, "the private key is encrypted, and no passphrase was given"),
            ("wrong", "there is no private key in PEM format, or its passphrase is wrong"),
        ] {
            let error = #expect(throws: TLSError.self) {
                try TLSIdentity.files(certificate: certificate, key: key, passphrase: passphrase)
            }
            #expect(error?.sentence.hasSuffix(sentence) == true, "\(error as Any)")
        }
    }

    /// `s_server -rev` answers lines backwards.
    @Test(arguments: sockets, versions)
    func `a client of ours verifies s_server`(
        backend: BackendChoice, version: TLSVersion
    ) throws {
        let folder = Folder()
        let program = try TestPrograms.Program(
            path: "openssl",
            [
                "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-rev", version.flag,
                "-cert", folder.file("cert.pem", TestIdentity.server.certificate),
                "-key", folder.file("key.pem", TestIdentity.server.key), "-alpn", "echo",
            ])
        var line = program.readLine()
        while !line.hasPrefix("ACCEPT"), !line.isEmpty { line = program.readLine() }
        let port = try #require(UInt16(line.split(separator: ":").last ?? ""))
        let reactor = Reactor(backend: backend, services: nil)
        var client = try clientConfiguration()
        client.applicationProtocols = ["echo"]
        let note = Note()
        note.whenMade = { $0.write("stressed\n") }
        note.whenRead = { _, transport in transport.loseConnection() }
        var failure: (any Error)?
        try ClientEndpoint.address(.ipv4(.loopback, port: port))
            .tls(client, serverName: "a.test").connect(on: reactor) { note }
            .whenFailed { failure = $0 }
        let end = reactor.now.advanced(by: .seconds(20))
        while note.loss == nil, failure == nil, reactor.now < end { reactor.turn(until: end) }
        #expect(failure == nil && note.text == "desserts\n" && note.loss == .closedLocally)
        #expect(note.security?.version == version.name)
        #expect(note.security?.applicationProtocol == "echo")
        while reactor.statistics.lingeringStreams > 0, reactor.now < end {
            reactor.turn(until: end)
        }
        reactor.shutDown()
        program.endInput()
        #expect(program.wait() == 0)
    }
}

#endif
