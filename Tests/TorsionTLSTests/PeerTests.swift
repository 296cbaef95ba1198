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

// What OpenSSL's own commands show, s_client and s_server, is in OpenSSLCommandTests.

private let python = "/usr/bin/python3"

/// Connects by TLS, sends bytes, and ends cleanly when they have come back.
private let twistedClient = """
    import sys
    from twisted.internet import reactor, ssl, endpoints, protocol
    roots = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(open(sys.argv[2]).read())])
    class Echo(protocol.Protocol):
        count = 0
        def connectionMade(self): self.transport.write(b"x" * 200000)
        def dataReceived(self, data):
            self.count += len(data)
            if self.count == 200000: self.transport.loseConnection()
        def connectionLost(self, reason):
            print(self.count, reason.value)
            reactor.stop()
    def failed(failure):
        print(failure)
        reactor.stop()
    plain = endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", int(sys.argv[1]))
    secure = endpoints.wrapClientTLS(ssl.optionsForClientTLS("a.test", trustRoot=roots), plain)
    endpoints.connectProtocol(secure, Echo()).addErrback(failed)
    reactor.callLater(20, reactor.stop)
    reactor.run()
    """

/// Sends back what comes, to one client.
private let twistedServer = """
    import sys
    from twisted.internet import reactor, ssl, endpoints, protocol
    class Echo(protocol.Protocol):
        def dataReceived(self, data): self.transport.write(data)
        def connectionLost(self, reason):
            print(reason.value, flush=True)
            reactor.stop()
    identity = ssl.PrivateCertificate.loadPEM(open(sys.argv[1]).read())
    endpoint = endpoints.SSL4ServerEndpoint(reactor, 0, identity.options(), interface="127.0.0.1")
    endpoint.listen(protocol.Factory.forProtocol(Echo)).addCallback(
        lambda port: print(port.getHost().port, flush=True))
    reactor.callLater(20, reactor.stop)
    reactor.run()
    """

@Suite(.serialized, .enabled(if: access("/usr/lib/python3/dist-packages/twisted", F_OK) == 0))
struct TwistedTests {
    @Test(arguments: BackendChoice.tested)
    func `a client of Twisted's talks to a server of ours, and both see a clean end`(
        backend: BackendChoice
    ) throws {
        let folder = Folder()
        let pair = try Pair(backend)
        pair.server.whenRead = { text, transport in transport.write(text) }
        let program = try TestPrograms.Program(
            path: python,
            [
                "-c", twistedClient, "\(pair.port.localAddress.port ?? 0)",
                folder.file("roots.pem", TestIdentity.authority.certificate),
            ])
        program.endInput()
        pair.run { pair.server.loss != nil && pair.reactor.statistics.lingeringStreams == 0 }
        #expect(program.readOutput() == "200000 Connection was closed cleanly.\n")
        #expect(program.wait() == 0)
        #expect(pair.server.loss == .closedByPeer)
        pair.finish()
    }

    @Test(arguments: BackendChoice.tested)
    func `a client of ours talks to a server of Twisted's, and both see a clean end`(
        backend: BackendChoice
    ) throws {
        let folder = Folder()
        let identity = TestIdentity.server.certificate + TestIdentity.server.key
        let program = try TestPrograms.Program(
            path: python, ["-c", twistedServer, folder.file("identity.pem", identity)])
        program.endInput()
        let port = try #require(UInt16(program.readLine()))
        let reactor = Reactor(backend: backend, services: nil)
        let note = Note()
        note.whenMade = { $0.write(Bytes([UInt8](repeating: 120, count: 200_000))) }
        note.whenRead = { [unowned note] _, transport in
            if note.text.utf8.count == 200_000 { transport.loseConnection() }
        }
        var failure: (any Error)?
        try ClientEndpoint.address(.ipv4(.loopback, port: port))
            .tls(clientConfiguration(), serverName: "a.test").connect(on: reactor) { note }
            .whenFailed { failure = $0 }
        let end = reactor.now.advanced(by: .seconds(20))
        while note.loss == nil, failure == nil, reactor.now < end { reactor.turn(until: end) }
        #expect(failure == nil && note.text.utf8.count == 200_000 && note.loss == .closedLocally)
        while reactor.statistics.lingeringStreams > 0, reactor.now < end {
            reactor.turn(until: end)
        }
        reactor.shutDown()
        #expect(program.readOutput() == "Connection was closed cleanly.\n")
        #expect(program.wait() == 0)
    }
}

/// Where Debian puts PostgreSQL's programs.
private let postgres = "/usr/lib/postgresql/15/bin"

/// As `sslmode=verify-full` has it: https://www.postgresql.org/docs/15/protocol-flow.html.
@Suite struct SecurePostgresTests {
    /// Asks for TLS, then runs one command.
    ///
    /// - Returns: The server's messages, with their types before them.
    private func query(
        _ text: String, at endpoint: ClientEndpoint, _ tls: TLSClientContext, on reactor: Reactor
    ) async throws -> [String] {
        let connection = try await endpoint.connect(on: reactor).value
        connection.transport.write { writer in
            writer.writeInteger(UInt32(8))
            writer.writeInteger(UInt32(80_877_103))
        }
        #expect(try await connection.read(exactly: 1) == "S")
        try await connection.startTLS(tls, serverName: "a.test")
        let start = "user\0me\0database\0postgres\0\0"
        connection.transport.write { writer in
            writer.writeInteger(UInt32(start.utf8.count + 8))
            writer.writeInteger(UInt32(3) << 16)
            writer.write(start)
        }
        _ = try await messages(of: connection)
        connection.transport.write { writer in
            writer.write("Q")
            writer.writeInteger(UInt32(text.utf8.count + 5))
            writer.write(text + "\0")
        }
        let answer = try await messages(of: connection)
        try await connection.write(Bytes("X\0\0\0\u{4}"))
        connection.close()
        return answer
    }

    /// Up to the one that says that the server waits for a command.
    private func messages(of connection: AsyncConnection) async throws -> [String] {
        let format = FrameFormat.header(
            byteCount: 5, length: .uint32, at: 1, counting: 4, limitBytes: 1 << 20)
        var texts: [String] = []
        for try await frame in connection.frames(format) {
            texts.append(String(decoding: frame.span))
            if texts.last?.hasPrefix("Z") ?? false { return texts }
        }
        return texts
    }

    // A cluster of its own, in a folder of its own: a few seconds.
    @Test(.enabled(if: access(postgres + "/initdb", X_OK) == 0 && getuid() == 0))
    func `PostgreSQL goes on with TLS, and is verified`() throws {
        let place = "/tmp/torsion-secure-postgres-\(getpid())"
        func shell(_ command: String, _ input: String = "") throws -> (String, Int32) {
            let words = ["-u", "postgres", "--", "sh", "-c", command]
            let program = try TestPrograms.Program(path: "runuser", words)
            program.write(input)
            program.endInput()
            let text = program.readOutput()
            return (text, program.wait())
        }
        let made = try shell("\(postgres)/initdb -D \(place) -A trust -N -U me --no-instructions")
        try #require(made.1 == 0, "\(made.0)")
        defer { _ = try? shell("rm -rf \(place)") }
        let (certificate, key) = (TestIdentity.server.certificate, TestIdentity.server.key)
        try #require(try shell("umask 77; cat > \(place)/server.crt", certificate).1 == 0)
        try #require(try shell("umask 77; cat > \(place)/server.key", key).1 == 0)
        let port = try Socket.freePort()
        let started = try shell(
            "\(postgres)/pg_ctl -D \(place) -w -l \(place)/log start"
                + " -o \"-c listen_addresses=127.0.0.1 -p \(port) -k \(place) -F -c ssl=on\"")
        try #require(started.1 == 0, "\(started.0)")
        defer { _ = try? shell("\(postgres)/pg_ctl -D \(place) -m immediate stop") }
        var answer: [String] = []
        let tls = try TLSClientContext(clientConfiguration())
        try Reactor.run(backend: .epoll, signals: .ignore) { (reactor: Reactor) in
            reactor.spawn {
                answer = try await query(
                    "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                    at: .address(.ipv4(.loopback, port: port)), tls, on: reactor)
            }.addBoth { outcome in
                if case .failure(let error) = outcome { Issue.record(error) }
                reactor.stop(within: .seconds(5))
            }
        }
        let rows = answer.filter { $0.hasPrefix("D") }
        #expect(rows.count == 1 && rows[0].hasSuffix("\0\0\0\u{1}t\0\0\0\u{7}TLSv1.3"), "\(answer)")
    }
}

#endif
