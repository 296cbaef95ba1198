// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
import TorsionCore
import TorsionTLS

/// What other tools rely on, of endpoints by TLS.
@Suite(.serialized) struct TLSCommandTests {
    private static let trial = Result { try SelfSignedIdentity() }
    private static let other = Result { try SelfSignedIdentity() }

    /// PEM files, which go with the test.
    private final class Folder {
        let path: String
        private var files: Set<String> = []

        init() {
            var template = Array("/tmp/torsion-tool-XXXXXX".utf8CString)
            precondition(mkdtemp(&template) != nil, "mkdtemp")
            path = String(
                decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }

        deinit {
            for file in files { unlink(file) }
            rmdir(path)
        }

        @discardableResult
        func write(_ name: String, _ text: String) -> String {
            let file = "\(path)/\(name)"
            files.insert(file)
            let stream = fopen(file, "w")!
            fputs(text, stream)
            fclose(stream)
            return file
        }

        /// The options of an endpoint for a certificate and its key.
        func put(_ identity: SelfSignedIdentity, _ name: String = "own") -> String {
            let certificate = write("\(name)-cert.pem", identity.certificate)
            return "certificate=\(certificate):key=\(write("\(name)-key.pem", identity.key))"
        }
    }

    /// Starts a command that listens by TLS; the endpoint is that for clients, without options.
    private func start(
        _ command: String, _ options: String, _ arguments: [String] = []
    ) throws -> (program: Program, endpoint: String) {
        let program = try Program(
            "torsion",
            [command, "--listen", "tls:0:interface=127.0.0.1:\(options)"] + arguments)
        let words = program.readLine().split(separator: " ").map(String.init)
        try #require(words.count == 5, "\(words)")
        return (program, "tls:" + words[2])
    }

    private func end(_ program: Program, _ place: SourceLocation = #_sourceLocation) {
        program.signal(SIGTERM)
        #expect(program.wait() == 0, sourceLocation: place)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `an echo answers behind all bytes, and its clean end is status 0`(backend: String) throws {
        let folder = Folder()
        let options = folder.put(try Self.trial.get())
        let (echo, endpoint) = try start(
            "echo", options + ":alpn=h2,http/1.1", ["--backend", backend, "--threads", "2"])
        let roots = folder.write("roots.pem", try Self.trial.get().certificate)
        let client = try Program(
            "torsion",
            [
                "connect", "\(endpoint):roots=\(roots):alpn=http/1.1", "--verbose", "--backend",
                backend,
            ])
        let text = (0..<2_000).map { "line \($0)\n" }.joined()
        client.write(text)
        client.endInput()
        #expect(client.readOutput() == text)
        let lines = client.readErrors().split(separator: "\n").map(String.init)
        #expect(lines.first?.hasPrefix("TLSv1.3 TLS_") == true)
        #expect(lines.dropFirst().first == "application protocol: http/1.1")
        let named = "certificate: CN=self-signed for trying out, for localhost, 127.0.0.1, ::1"
        #expect(lines.contains(named), "\(lines)")
        #expect(client.wait() == 0)
        end(echo)
    }

    @Test func `a server that is not the right one ends with status 1 and the cause`() throws {
        let folder = Folder()
        let (echo, endpoint) = try start("echo", folder.put(try Self.trial.get()))
        let roots = folder.write("roots.pem", try Self.trial.get().certificate)
        let strangers = folder.write("strangers.pem", try Self.other.get().certificate)
        for (option, part) in [
            ("", "was refused: self-signed certificate"),
            (":roots=\(strangers)", "was refused: self-signed certificate"),
            (":roots=\(roots):name=b.test", "is for localhost, 127.0.0.1, ::1, and not for b.test"),
        ] {
            let client = try Program("torsion", ["connect", endpoint + option])
            client.endInput()
            #expect(client.readOutput() == "")
            let errors = client.readErrors()
            #expect(errors.contains(part) && errors.hasSuffix("\n"), "\(errors)")
            #expect(client.wait() == 1)
        }
        end(echo)
    }

    @Test func `a server that ends without close_notify is status 1`() throws {
        let folder = Folder()
        let (echo, endpoint) = try start("echo", folder.put(try Self.trial.get()))
        let roots = folder.write("roots.pem", try Self.trial.get().certificate)
        let client = try Program("torsion", ["connect", "\(endpoint):roots=\(roots)"])
        client.write("x")
        #expect(client.readByte() == "x")
        echo.signal(SIGKILL)
        _ = echo.wait()
        let place = "\(endpoint):roots=\(roots)"
        #expect(
            client.readErrors() == "\(place): the peer ended without its protocol's farewell\n")
        #expect(client.wait() == 1)
    }

    @Test func `SIGHUP reads the certificate and the key again`() throws {
        let folder = Folder()
        let (first, second) = (try Self.trial.get(), try Self.other.get())
        let (echo, endpoint) = try start(
            "echo", folder.put(first), ["--threads", "2", "--backend", "epoll"])
        let roots = folder.write("roots.pem", first.certificate + second.certificate)
        /// The digest that a client is shown.
        func shown() throws -> Substring? {
            let client = try Program(
                "torsion", ["connect", "\(endpoint):roots=\(roots)", "--verbose"])
            client.endInput()
            let errors = client.readErrors()
            #expect(client.wait() == 0, "\(errors)")
            return errors.split(separator: "\n").last?.split(separator: " ").last
        }
        let old = try shown()
        let open = try Program("torsion", ["connect", "\(endpoint):roots=\(roots)"])
        open.write("x")
        #expect(open.readByte() == "x")
        // A certificate without its key is not taken.
        folder.write("own-cert.pem", second.certificate)
        echo.signal(SIGHUP)
        #expect(echo.readErrorLine().hasPrefix("the certificates stay what they were: "))
        #expect(try shown() == old)
        folder.write("own-key.pem", second.key)
        echo.signal(SIGHUP)
        #expect(echo.readErrorLine() == "the certificates have been read again")
        let new = try shown()
        #expect(new != old && new != nil)
        // Who was there stays.
        open.write("y")
        #expect(open.readByte() == "y")
        open.endInput()
        #expect(open.wait() == 0)
        end(echo)
    }

    /// Which commands serve by TLS, with `tls` for the endpoint and `file` for a path.
    private static let servers: [[String]] = [
        ["echo", "--listen", "tls"], ["serve", "/tmp", "--listen", "tls"],
        ["proxy", "--listen", "tls", "--to", "exec:cat"],
        ["proxy", "--http", "--listen", "tls", "--to", "exec:cat"],
        ["relay", "tls", "exec:cat"], ["listen", "tls"], ["receive", "file", "--listen", "tls"],
        ["listen", "tls", "--json"], ["receive", "file", "--listen", "tls", "--json"],
    ]

    @Test(arguments: servers)
    func `every server reads its certificate again at SIGHUP, and keeps it if it cannot`(
        arguments: [String]
    ) throws {
        let folder = Folder()
        let (first, second) = (try Self.trial.get(), try Self.other.get())
        let options = folder.put(first)
        let file = folder.write("received", "")
        let server = try Program(
            "torsion",
            arguments.map { word in
                switch word {
                case "tls": "tls:0:interface=127.0.0.1:\(options)"
                case "file": file
                default: word
                }
            })
        let line = arguments[0] == "listen" ? server.readErrorLine() : server.readLine()
        let place = try #require(line.split(separator: "127.0.0.1:").last).prefix(while: \.isNumber)
        // A certificate without its key is not taken.
        folder.write("own-cert.pem", second.certificate)
        server.signal(SIGHUP)
        let refusal = server.readErrorLine()
        #expect(refusal.hasPrefix("the certificates stay what they were: "), "\(refusal)")
        let roots = folder.write("first.pem", first.certificate)
        let isOfMany = !["listen", "receive"].contains(arguments[0])
        let open = try Program(
            "torsion", ["connect", "tls:127.0.0.1:\(place):roots=\(roots)", "--verbose"])
        #expect(open.readErrorLine().hasPrefix("TLSv1.3 "))
        folder.write("own-key.pem", second.key)
        server.signal(SIGHUP)
        #expect(server.readErrorLine() == "the certificates have been read again")
        if isOfMany {
            let others = folder.write("second.pem", second.certificate)
            let next = try Program(
                "torsion", ["connect", "tls:127.0.0.1:\(place):roots=\(others)", "--verbose"])
            #expect(next.readErrorLine().hasPrefix("TLSv1.3 "))
            next.endInput()
            _ = next.wait()
        }
        // The one that was there before goes on.
        if arguments[0] == "listen" {
            server.write("hello\n")
            #expect(open.readLine() == "hello")
            server.endInput()
        } else if ["echo", "relay"].contains(arguments[0]) || arguments[1] == "--listen" && isOfMany
        {
            open.write("hello\n")
            #expect(open.readLine() == "hello")
        }
        open.endInput()
        #expect(open.readErrors().contains("certificate: ") && open.wait() == 0)
        server.signal(SIGTERM)
        _ = server.wait()
    }

    @Test func `clients show certificates where the server wants them`() throws {
        let folder = Folder()
        let (own, client) = (try Self.trial.get(), try Self.other.get())
        let authorities = folder.write("clients.pem", client.certificate)
        let (echo, endpoint) = try start("echo", "\(folder.put(own)):clientca=\(authorities)")
        let roots = folder.write("roots.pem", own.certificate)
        let known = try Program(
            "torsion", ["connect", "\(endpoint):roots=\(roots):\(folder.put(client, "client"))"])
        known.write("x")
        known.endInput()
        #expect(known.readOutput() == "x")
        #expect(known.wait() == 0)
        let stranger = try Program("torsion", ["connect", "\(endpoint):roots=\(roots)"])
        #expect(stranger.readErrors().contains("certificate required (alert 116)"))
        #expect(stranger.wait() == 1)
        end(echo)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `a proxy has TLS on either side`(backend: String) throws {
        let folder = Folder()
        let roots = folder.write("roots.pem", try Self.trial.get().certificate)
        let options = folder.put(try Self.trial.get())
        let (echo, inner) = try start("echo", options, ["--backend", backend])
        let middle = try Program(
            "torsion",
            [
                "proxy", "--listen", "tcp:0:interface=127.0.0.1", "--to",
                "\(inner):roots=\(roots)", "--backend", backend,
            ])
        let plain = try #require(middle.readLine().split(separator: " ").dropFirst(2).first)
        let (outer, endpoint) = try start(
            "proxy", options, ["--to", "tcp:\(plain)", "--backend", backend])
        let client = try Program("torsion", ["connect", "\(endpoint):roots=\(roots)"])
        let text = (0..<2_000).map { "line \($0)\n" }.joined()
        client.write(text)
        client.endInput()
        #expect(client.readOutput() == text)
        #expect(client.wait() == 0)
        for program in [outer, middle, echo] { end(program) }
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `a file is sent and received`(backend: String) throws {
        let folder = Folder()
        let text = (0..<50_000).map { "line \($0)\n" }.joined()
        let source = folder.write("source", text)
        let target = folder.write("target", "")
        let roots = folder.write("roots.pem", try Self.trial.get().certificate)
        let receiver = try Program(
            "torsion",
            [
                "receive", target, "--listen",
                "tls:0:interface=127.0.0.1:\(folder.put(try Self.trial.get()))", "--backend",
                backend,
            ])
        let place = try #require(receiver.readLine().split(separator: " ").dropFirst(2).first)
        let sender = try Program(
            "torsion", ["send", source, "tls:\(place):roots=\(roots)", "--backend", backend])
        #expect(sender.readOutput() == "sent \(text.utf8.count) bytes\n")
        #expect(sender.wait() == 0)
        #expect(receiver.readOutput() == "received \(text.utf8.count) bytes\n")
        #expect(receiver.wait() == 0)
        let file = fopen(target, "r")!
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: text.utf8.count + 1)
        #expect(fread(&bytes, 1, bytes.count, file) == text.utf8.count)
        #expect(bytes.dropLast().elementsEqual(text.utf8))
    }

    @Test func `a self-signed certificate is made only if asked for, and told`() throws {
        let without = try Program("torsion", ["echo", "--listen", "tls:0"])
        #expect(without.readErrors().contains("needs a certificate"))
        #expect(without.wait() == 64)
        let (echo, endpoint) = try start("echo", "backlog=9", ["--self-signed"])
        var certificate = ""
        repeat {
            certificate += echo.readErrorLine() + "\n"
        } while !certificate.hasSuffix(
            "END CERTIFICATE-----\n")
        let folder = Folder()
        let roots = folder.write("roots.pem", certificate)
        let client = try Program("torsion", ["connect", "\(endpoint):roots=\(roots)"])
        client.write("x")
        client.endInput()
        #expect(client.readOutput() == "x")
        #expect(client.wait() == 0)
        end(echo)
    }

    @Test(arguments: [
        (["echo", "--listen", "tls:0:certificate=/nowhere"], "cannot read /nowhere: No such file"),
        (["echo", "--listen", "tls:0:certificates=x", "--self-signed"], "has no option"),
        (["connect", "tls:example.org"], "needs a port"),
        (["connect", "tls:example.org:1:key=x"], "a key without its certificate"),
        (["connect", "tls:example.org:1:name=.x"], "a server's name has"),
        (["connect", "tls:example.org:1:alpn=\(String(repeating: "a", count: 256))"], "1 to 255"),
    ])
    func `what cannot be is said`(arguments: [String], sentence: String) throws {
        let program = try Program("torsion", arguments)
        let errors = program.readErrors()
        #expect(errors.contains(sentence), "\(errors)")
        #expect(program.wait() == 64)
    }
}
