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

/// Other people's programs, where they are installed.
@Suite(.serialized) struct InteropTests {
    private func roots(_ folder: Folder) -> String {
        folder.file("roots.pem", TestIdentity.authority.certificate)
    }

    private func number(_ pair: Pair) -> String { "\(pair.port.localAddress.port ?? 0)" }

    /// Turns until the program's connection is over and all of it has left.
    private func serve(_ pair: Pair, _ program: TestPrograms.Program) {
        pair.run {
            pair.server.loss != nil && pair.reactor.statistics.lingeringStreams == 0
                || !pair.failures.errors.isEmpty
        }
        #expect(pair.failures.errors.isEmpty)
    }

    @Test(.enabled(if: isInstalled("python3")), arguments: sockets)
    func `Python's ssl reads to close_notify, which ends what it was sent`(
        backend: BackendChoice
    ) throws {
        let folder = Folder()
        let pair = try Pair(backend)
        pair.server.whenRead = { text, transport in
            transport.write(text + String(repeating: "x", count: 200_000))
            transport.loseConnection()
        }
        let script = """
            import socket, ssl, sys
            context = ssl.create_default_context(cafile=sys.argv[2])
            plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
            # An end without close_notify would be an error.
            with context.wrap_socket(plain, server_hostname="a.test",
                                     suppress_ragged_eofs=False) as s:
                s.sendall(b"question")
                count = 0
                while piece := s.recv(65536): count += len(piece)
                print(s.version(), count)
            """
        let program = try TestPrograms.Program(
            path: "python3", ["-c", script, number(pair), roots(folder)])
        serve(pair, program)
        #expect(program.readOutput() == "TLSv1.3 200008\n")
        #expect(program.wait() == 0)
        pair.finish()
    }

    @Test(.enabled(if: isInstalled("python3")), arguments: sockets)
    func `a client of ours talks to Python's ssl`(backend: BackendChoice) throws {
        let folder = Folder()
        let script = """
            import socket, ssl, sys
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(sys.argv[1], sys.argv[2])
            port = socket.create_server(("127.0.0.1", 0))
            print(port.getsockname()[1], flush=True)
            with context.wrap_socket(port.accept()[0], server_side=True) as s:
                s.sendall(s.recv(100).upper())
                s.unwrap()
            """
        let program = try TestPrograms.Program(
            path: "python3",
            [
                "-c", script, folder.file("cert.pem", TestIdentity.server.certificate),
                folder.file("key.pem", TestIdentity.server.key),
            ])
        let port = try #require(UInt16(program.readLine()))
        let reactor = Reactor(backend: backend, services: nil)
        let note = Note()
        note.whenMade = { $0.write("shout") }
        try ClientEndpoint.address(.ipv4(.loopback, port: port))
            .tls(clientConfiguration(), serverName: "a.test").connect(on: reactor) { note }
            .whenFailed { Issue.record("\($0)") }
        let end = reactor.now.advanced(by: .seconds(20))
        while note.loss == nil, reactor.now < end { reactor.turn(until: end) }
        #expect(note.text == "SHOUT" && note.loss == .closedByPeer)
        while reactor.statistics.lingeringStreams > 0, reactor.now < end {
            reactor.turn(until: end)
        }
        reactor.shutDown()
        #expect(program.wait() == 0)
    }

    @Test(.enabled(if: isInstalled("curl")), arguments: sockets)
    func `curl fetches a page, and verifies us`(backend: BackendChoice) throws {
        let folder = Folder()
        var server = try serverConfiguration()
        server.applicationProtocols = ["http/1.1"]
        let pair = try Pair(backend, server)
        pair.server.whenRead = { text, transport in
            guard text.hasSuffix("\r\n\r\n") else { return }
            transport.write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello from here\n")
            transport.loseConnection()
        }
        let program = try TestPrograms.Program(
            path: "curl",
            [
                "--silent", "--show-error", "--cacert", roots(folder), "--resolve",
                "a.test:\(number(pair)):127.0.0.1", "https://a.test:\(number(pair))/",
            ], environment: ["no_proxy=*"])
        serve(pair, program)
        #expect(program.readOutput() == "hello from here\n")
        #expect(program.readErrors() == "")
        #expect(program.wait() == 0)
        #expect(pair.server.security?.applicationProtocol == "http/1.1")
        pair.finish()
    }

    @Test(.enabled(if: isInstalled("gnutls-cli")), arguments: sockets, [TLSVersion.v12, .v13])
    func `GnuTLS verifies us, and sees a clean end`(
        backend: BackendChoice, version: TLSVersion
    ) throws {
        let folder = Folder()
        let pair = try Pair(backend, try serverConfiguration(version))
        pair.server.whenRead = { text, transport in
            transport.write("answer to " + text)
            transport.loseConnection()
        }
        let program = try TestPrograms.Program(
            path: "gnutls-cli",
            [
                "--x509cafile", roots(folder), "--sni-hostname", "a.test", "--verify-hostname",
                "a.test", "--port", number(pair), "127.0.0.1",
            ])
        program.write("question\n")
        serve(pair, program)
        let output = program.readOutput()
        #expect(output.contains("answer to question\n"))
        #expect(output.contains("Peer has closed the GnuTLS connection"), "\(output)")
        program.endInput()
        #expect(program.wait() == 0)
        pair.finish()
    }

    /// What SMTP's client of Python's library needs to hear.
    private static func speak(_ line: String, _ context: TLSServerContext) -> String {
        switch line.prefix(4).uppercased() {
        case "EHLO": "250-a.test\r\n250 STARTTLS\r\n"
        case "STAR": "220 go ahead\r\n"
        case "DATA": "354 go on\r\n"
        case "QUIT": "221 bye\r\n"
        default: "250 fine\r\n"
        }
    }

    @Test(.enabled(if: isInstalled("python3")), arguments: sockets)
    func `smtplib sends a mail behind STARTTLS`(backend: BackendChoice) throws {
        let folder = Folder()
        let reactor = Reactor(backend: backend, services: nil)
        let context = try TLSServerContext(serverConfiguration())
        let note = Note()
        var (rest, mail, isMail) = ("", "", false)
        note.whenMade = { $0.write("220 a.test\r\n") }
        note.whenRead = { text, transport in
            rest += text
            while let end = rest.range(of: "\r\n") {
                let line = String(rest[..<end.lowerBound])
                rest = String(rest[end.upperBound...])
                if isMail, line != "." {
                    mail += line + "\n"
                    continue
                }
                isMail = line.uppercased() == "DATA"
                transport.write(Self.speak(line, context))
                if line.uppercased() == "STARTTLS" {
                    transport.startTLS(context).whenFailed { Issue.record("\($0)") }
                }
                if line.uppercased() == "QUIT" { transport.loseConnection() }
            }
        }
        let port = try ServerEndpoint.address(.ipv4(.loopback, port: 0))
            .listen(on: reactor) { note }
        let script = """
            import smtplib, ssl, sys
            with smtplib.SMTP("127.0.0.1", int(sys.argv[1])) as s:
                s._host = "a.test"
                s.starttls(context=ssl.create_default_context(cafile=sys.argv[2]))
                s.sendmail("from@a.test", ["to@b.test"], "Subject: hello\\n\\nfrom smtplib")
                print(s.sock.version())
            """
        let program = try TestPrograms.Program(
            path: "python3",
            ["-c", script, "\(port.localAddress.port ?? 0)", roots(folder)])
        let end = reactor.now.advanced(by: .seconds(20))
        while note.loss == nil || reactor.statistics.lingeringStreams > 0, reactor.now < end {
            reactor.turn(until: end)
        }
        #expect(program.readOutput() == "TLSv1.3\n", "\(program.readErrors())")
        #expect(program.wait() == 0)
        #expect(mail == "Subject: hello\n\nfrom smtplib\n" && note.security == nil)
        port.stopListening()
        reactor.shutDown()
    }
}

extension String {
    fileprivate func range(of text: String) -> Range<String.Index>? {
        let (bytes, sought) = (Array(utf8), Array(text.utf8))
        for start in bytes.indices where bytes[start...].starts(with: sought) {
            let first = utf8.index(startIndex, offsetBy: start)
            return first..<utf8.index(first, offsetBy: sought.count)
        }
        return nil
    }
}

#endif
