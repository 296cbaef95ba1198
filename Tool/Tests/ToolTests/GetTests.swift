// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
import TorsionCore
import TorsionTLS

/// What other tools rely on, of `torsion get` and `torsion proxy --http`.
@Suite(.serialized) struct GetTests {
    /// Starts a command that listens; the last word of its place is the port.
    private func start(_ arguments: [String]) throws -> (program: Program, port: Substring) {
        let program = try Program("torsion", arguments)
        let line = program.readLine()
        let words = line.split(separator: " ")
        try #require(words.count == 5, "\(line)")
        return (program, words[2].split(separator: ":").last!)
    }

    private func startEcho(_ backend: String = "epoll") throws -> (
        program: Program, port: Substring
    ) {
        try start([
            "echo", "--framing", "http", "--listen", "tcp:0:interface=127.0.0.1", "--backend",
            backend,
        ])
    }

    private func end(_ programs: Program..., place: SourceLocation = #_sourceLocation) {
        for program in programs {
            program.signal(SIGTERM)
            #expect(program.wait() == 0, sourceLocation: place)
        }
    }

    /// What the command says and ends with when the server answers with this, and closes.
    private func get(
        answer: String, _ options: [String] = []
    ) throws -> (output: String, errors: String, status: Int32) {
        let listener = try Socket.bound()
        try listener.listen()
        let command = try Program(
            "torsion", ["get", "http://127.0.0.1:\(listener.port)/a"] + options)
        let peer = try listener.accept()
        while !peer.readLine().isEmpty {}
        peer.write(answer)
        peer.close()
        let output = command.readOutput()
        let errors = command.readErrors()
        return (output, errors, command.wait())
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `a whole answer of 2xx is printed, and status 0`(backend: String) throws {
        let (echo, port) = try startEcho(backend)
        let command = try Program(
            "torsion", ["get", "http://127.0.0.1:\(port)/a?b", "--backend", backend])
        #expect(command.readOutput() == "GET /a?b\n")
        #expect(command.readErrors() == "")
        #expect(command.wait() == 0)
        end(echo)
    }

    @Test func `a long body is printed to its last byte, however slowly it is read`() throws {
        let folder = "/tmp/torsion-get-long.\(getpid())"
        mkdir(folder, 0o700)
        defer {
            unlink(folder + "/long")
            rmdir(folder)
        }
        let file = try #require(fopen(folder + "/long", "w"))
        for _ in 0..<200_000 { fputs("0123456789\n", file) }
        fclose(file)
        let (server, port) = try start(["serve", folder, "--listen", "tcp:0:interface=127.0.0.1"])
        let url = "http://127.0.0.1:\(port)/long"
        let slow = try Program("torsion", ["get", url])
        // Pipe and sockets are full before the rest is read.
        for _ in 0..<20 { _ = slow.readByte() }
        #expect(slow.readOutput().utf8.count == 200_000 * 11 - 20)
        #expect(slow.wait() == 0)
        // A reader that goes ends it in silence, by SIGPIPE, as it ends other tools.
        let torsion = Program.folder + "/torsion"
        let gone = try Program(
            path: "bash", ["-c", "'\(torsion)' get \(url) | head -c 3; echo \" ${PIPESTATUS[0]}\""])
        #expect(gone.readOutput() == "012 141\n")
        #expect(gone.readErrors() == "")
        #expect(gone.wait() == 0)
        end(server)
    }

    @Test func `whatever is not a whole answer of 2xx is a sentence and a status`() throws {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: "
        for (answer, output, part, status) in [
            ("\(head)2\r\n\r\nok", "ok", "", 0),
            ("\(head)9\r\n\r\nshort", "short", "it broke off", 1),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", "short",
                "it broke off", 1
            ),
            ("HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\ngone", "", "404 Not Found", 22),
            ("HTTP/1.1 302 No\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", "", "302 Found", 22),
            ("HTTP/2.0 200\r\nContent-Length: 2\r\n\r\nok", "", "its version is not HTTP/1", 2),
            ("\(head)+5\r\n\r\nhello", "", "Content-Length is no number", 2),
            ("", "", "it broke off", 1),
        ] {
            let result = try get(answer: answer)
            let place = "\(answer): \(result)"
            #expect(result.output == output && result.status == Int32(status), "\(place)")
            #expect(
                result.errors.contains(part) && result.errors.isEmpty == (status == 0), "\(place)")
            #expect(result.errors.split(separator: "\n").count <= 1, "\(place)")
        }
        let nobody = try Socket.bound()
        let refused = try Program("torsion", ["get", "http://127.0.0.1:\(nobody.port)/"])
        #expect(refused.readErrors().contains("connection refused"))
        #expect(refused.wait() == 69)
    }

    @Test func `a signal is what it says when one ends it`() throws {
        for signal in [SIGINT, SIGTERM] {
            let listener = try Socket.bound()
            try listener.listen()
            let command = try Program("torsion", ["get", "http://127.0.0.1:\(listener.port)/a"])
            let peer = try listener.accept()
            while !peer.readLine().isEmpty {}
            peer.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
            #expect(command.readByte() == "a")
            command.signal(signal)
            let errors = command.readErrors()
            #expect(errors.hasSuffix("/a: interrupted before all of it had come\n"), "\(errors)")
            #expect(command.wait() == 1)
            peer.close()
        }
    }

    @Test func `without a standard output the body is not lost in silence`() throws {
        let torsion = Program.folder + "/torsion"
        let command = try Program(
            path: "bash", ["-c", "'\(torsion)' get http://127.0.0.1:1/ >&-; echo $? >&2"])
        let errors = command.readErrors()
        #expect(errors.hasPrefix("standard output is closed") && errors.hasSuffix("\n1\n"))
        #expect(command.wait() == 0)
    }

    @Test func `a file has its name only when it is whole`() throws {
        let path = "/tmp/torsion-get.\(getpid())"
        defer { for name in [path, path + ".part"] { unlink(name) } }
        let head = "HTTP/1.1 200 OK\r\nContent-Length: "
        let cut = try get(answer: "\(head)9\r\n\r\nshort", ["--output", path])
        #expect(cut.status == 1 && cut.output.isEmpty && access(path, F_OK) != 0)
        // What had arrived stays, under the name that says so.
        #expect(access(path + ".part", F_OK) == 0)
        let refused = try get(answer: "HTTP/1.1 500 No\r\n\r\nno", ["-o", path])
        #expect(refused.status == 22 && access(path, F_OK) != 0)
        let whole = try get(answer: "\(head)5\r\n\r\nwhole", ["-o", path])
        #expect(whole.status == 0 && whole.output.isEmpty)
        let shown = try Program(path: "cat", [path])
        #expect(shown.readOutput() == "whole")
        #expect(shown.wait() == 0 && access(path + ".part", F_OK) != 0)
    }

    @Test func `the head is printed where it is asked for`() throws {
        let answer = "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\n\r\n"
        let head = try get(answer: answer, ["--head"])
        #expect(head.output == "HTTP/1.1 200 OK\nX: y\nContent-Length: 2\n\n" && head.status == 0)
        let verbose = try get(answer: answer + "ok", ["-v"])
        #expect(verbose.errors == head.output && verbose.output == "ok" && verbose.status == 0)
    }

    @Test func `https: verifies the server, by the roots that are named`() throws {
        let folder = "/tmp/torsion-get-tls.\(getpid())"
        mkdir(folder, 0o700)
        let identity = try SelfSignedIdentity()
        let files = ["cert.pem": identity.certificate, "key.pem": identity.key]
        for (name, text) in files {
            let file = try #require(fopen("\(folder)/\(name)", "w"))
            fputs(text, file)
            fclose(file)
        }
        defer {
            for name in files.keys { unlink("\(folder)/\(name)") }
            rmdir(folder)
        }
        let options = "certificate=\(folder)/cert.pem:key=\(folder)/key.pem"
        let (echo, port) = try start([
            "echo", "--framing", "http", "--listen", "tls:0:interface=127.0.0.1:\(options)",
        ])
        let trusted = try Program(
            "torsion", ["get", "https://127.0.0.1:\(port)/a", "--roots", "\(folder)/cert.pem"])
        #expect(trusted.readOutput() == "GET /a\n")
        #expect(trusted.wait() == 0)
        let strange = try Program("torsion", ["get", "https://127.0.0.1:\(port)/a"])
        #expect(strange.readErrors().contains("was refused"))
        #expect(strange.wait() == 1)
        end(echo)
    }

    @Test(arguments: [
        ["get", "nothing"], ["get", "ws://a/"], ["get", "http://a b/"],
        ["get", "http://a/", "--follow", "101"], ["get", "http://a/", "--head", "-o", "x"],
        ["proxy", "--http", "--listen", "tcp:0", "--to", "http://a/path"],
        ["proxy", "--http", "--listen", "tcp:0", "--to", "ws://a"],
    ])
    func `a wrong argument is status 64`(arguments: [String]) throws {
        let command = try Program("torsion", arguments)
        #expect(command.readErrors().hasPrefix("Error: "))
        #expect(command.wait() == 64)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `a reverse proxy passes requests on, to a URL or an endpoint`(backend: String) throws {
        let (echo, port) = try startEcho(backend)
        for target in ["http://127.0.0.1:\(port)", "tcp:127.0.0.1:\(port)"] {
            let (proxy, place) = try start([
                "proxy", "--http", "--listen", "tcp:0:interface=127.0.0.1", "--to", target,
                "--backend", backend, "--threads", "2",
            ])
            let command = try Program(
                "torsion", ["get", "-v", "http://127.0.0.1:\(place)/a", "--backend", backend])
            #expect(command.readOutput() == "GET /a\n")
            #expect(command.readErrors().contains("\nVia: 1.1 torsion\n"))
            #expect(command.wait() == 0)
            end(proxy)
        }
        end(echo)
    }

    @Test func `a reverse proxy answers 502 for an origin that is away, and says why`() throws {
        let nobody = try Socket.bound()
        let (proxy, port) = try start([
            "proxy", "--http", "--listen", "tcp:0:interface=127.0.0.1", "--to",
            "http://127.0.0.1:\(nobody.port)",
        ])
        let command = try Program("torsion", ["get", "http://127.0.0.1:\(port)/"])
        #expect(command.readErrors().hasSuffix(": 502 Bad Gateway\n"))
        #expect(command.wait() == 22)
        proxy.signal(SIGTERM)
        #expect(proxy.readErrors().contains("connection refused"))
        #expect(proxy.wait() == 0)
    }
}
