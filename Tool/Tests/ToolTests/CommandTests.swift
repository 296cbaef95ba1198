// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
import TorsionCore
import TorsionURing
import TorsionUV

/// What other tools rely on.
@Suite(.serialized) struct CommandTests {
    private func startEcho(_ arguments: [String]) throws -> (program: Program, endpoint: String) {
        try start("echo", arguments)
    }

    /// Starts a command that listens on a port of its own.
    private func start(
        _ command: String, _ arguments: [String], listening: String = "tcp"
    ) throws -> (program: Program, endpoint: String) {
        let program = try Program(
            "torsion", [command, "--listen", "\(listening):0:interface=127.0.0.1"] + arguments)
        let line = program.readLine()
        let words = line.split(separator: " ").map(String.init)
        try #require(words.count == 5 && line.hasPrefix("listening on 127.0.0.1:"), "\(line)")
        return (program, listening + ":" + words[2])
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `echo says where it listens, echoes, and ends on SIGTERM with status 0`(
        backend: String
    ) throws {
        let (echo, endpoint) = try startEcho(["--backend", backend])
        let client = try Program("torsion", ["connect", endpoint, "--backend", backend])
        let text = (0..<2_000).map { "line \($0)\n" }.joined()
        client.write(text)
        client.endInput()
        #expect(client.readOutput() == text)
        #expect(client.wait() == 0)
        // A connection that stays open does not keep it from ending.
        let idle = try Program("torsion", ["connect", endpoint])
        idle.write("x")
        #expect(idle.readByte() == "x")
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
        idle.endInput()
        _ = idle.wait()
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `several threads serve one UNIX address`(backend: String) throws {
        let place = "unix:@torsion-threads-\(backend)-\(getpid())"
        let echo = try Program(
            "torsion", ["echo", "--listen", place, "--threads", "3", "--backend", backend])
        #expect(echo.readLine() == "listening on \(place) backend=\(backend) threads=3")
        for number in 0..<8 {
            let client = try Program("torsion", ["connect", place])
            client.write("client \(number)\n")
            client.endInput()
            #expect(client.readOutput() == "client \(number)\n")
            #expect(client.wait() == 0)
        }
        echo.signal(SIGTERM)
        #expect(echo.readErrors() == "")
        #expect(echo.wait() == 0)
    }

    @Test func `lines are answered line by line, on several threads`() throws {
        let (echo, endpoint) = try startEcho(["--framing", "lines", "--threads", "3"])
        let client = try Program("torsion", ["connect", endpoint])
        client.write("a\r\nb\nno end")
        client.endInput()
        #expect(client.readOutput() == "a\r\nb\r\n")
        #expect(client.wait() == 0)
        echo.signal(SIGINT)
        #expect(echo.wait() == 0)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `echo sends datagrams back whole, each to where it came from`(backend: String) throws {
        let (echo, endpoint) = try start("echo", ["--backend", backend], listening: "udp")
        let port = try #require(UInt16(endpoint.split(separator: ":").last!))
        let clients = try (0..<3).map { _ in try Socket(udpPort: port) }
        let long = String(repeating: "long ", count: 4_000)
        for (index, client) in clients.enumerated() {
            for text in ["client \(index)", "", "more", long] { client.write(text) }
        }
        for (index, client) in clients.enumerated() {
            let answers = (0..<4).map { _ in client.receive() }
            #expect(answers == ["client \(index)", "", "more", long])
        }
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
        clients[0].write("nobody")
        #expect(clients[0].receive() == nil)
    }

    @Test func `a port in use ends with status 1 and names the address`() throws {
        let (echo, endpoint) = try startEcho([])
        let address = endpoint.dropFirst("tcp:".count)
        let port = address.split(separator: ":").last!
        let second = try Program("torsion", ["echo", "--port", "\(port)"])
        let sentence =
            "cannot listen on \(address): address already in use (EADDRINUSE)\n"
            + "take another port, or port 0 for one that is free\n"
        #expect(second.readErrors() == sentence)
        #expect(second.wait() == 1)
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
    }

    @Test(arguments: [
        (["echo", "--backend", "kqueue"], "libuv, epoll, io_uring"),
        (
            ["echo", "--listen", "tpc:80"],
            "allowed are tcp, tcp6, unix, stdio, fd, pipe, systemd, tls, udp, udp6, unix-datagram"
        ),
        (["echo", "--listen", "udp:70000"], "0 to 65535"),
        (["echo", "--listen", "udp:0", "--framing", "lines"], "are for streams"),
        (["echo", "--listen", "tcp:70000"], "0 to 65535"),
        (["connect", "tcp:example.org"], "needs a port"),
        (["proxy", "--listen", "tcp:0", "--to", "tcp:example.org"], "needs a port"),
        (["echo", "--threads", "0"], "1 to 1024"),
    ])
    func `a wrong argument ends with status 64 and what is allowed`(
        arguments: [String], allowed: String
    ) throws {
        let program = try Program("torsion", arguments)
        #expect(program.readErrors().contains(allowed))
        #expect(program.wait() == 64)
    }

    @Test func `a wrong command line is an object with --json, and never obeyed by a terminal`()
        throws
    {
        let lines: [([String], String)] = [
            (["probe", "--json"], "Missing expected argument '<probe>'"),
            (["echo", "--json", "--nowhere"], "Unknown option '--nowhere'"),
            (["conect", "--json"], "there is no command 'conect'. Did you mean 'connect'?"),
        ]
        for (words, sentence) in lines {
            let program = try Program("torsion", words)
            let text = program.readErrors()
            #expect(text == "{\"error\":\"\(sentence)\"}\n")
            #expect(program.wait() == 64)
        }
        let obeyed = try Program(
            "torsion", ["connect", "--json", "--backend", "\u{9b}31m\u{2028}", ":1"])
        let text = obeyed.readErrors()
        #expect(text.contains(#"\u009b31m\u2028"#) && obeyed.wait() == 64, "\(text)")
        // Behind the end of the options it is none.
        let plain = try Program("torsion", ["connect", "--", "--json"])
        #expect(plain.readErrors().hasPrefix("Error: ") && plain.wait() == 64)
        for words in [["con\u{1b}nect"], ["echo", "--\u{1b}[2J"]] {
            let program = try Program("torsion", words)
            let text = program.readErrors()
            #expect(text.contains(#"\u{1B}"#) && !text.contains("\u{1b}"), "\(text)")
            #expect(program.wait() == 64)
        }
    }

    @Test func `backends lists each one, whether it can run, and its library`() throws {
        let program = try Program("torsion", ["backends"])
        let lines = program.readOutput().split(separator: "\n").map(String.init)
        #expect(program.wait() == 0)
        let libuv = try #require(BackendChoice.libuv.library())
        #expect(lines.count == 3 && lines[0] == "libuv: available (default); \(libuv)")
        #expect(lines[1] == "epoll: available")
        let liburing = try #require(BackendChoice.ioURing.library())
        let isOffered = BackendChoice.ioURing.unavailableReason() == nil
        let expected = isOffered ? "io_uring: available" : "io_uring: not available: "
        #expect(lines[2].hasPrefix(expected) && lines[2].hasSuffix("; \(liburing)"), "\(lines)")
    }

    @Test(arguments: ["async", "async-read"])
    func `an echo of tasks does the same`(style: String) throws {
        let (echo, endpoint) = try startEcho(["--style", style])
        let client = try Program("torsion", ["connect", endpoint])
        let text = (0..<2_000).map { "line \($0)\n" }.joined()
        client.write(text)
        client.endInput()
        #expect(client.readOutput() == text)
        #expect(client.wait() == 0)
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `a proxy carries both ways, and each end by itself`(backend: String) throws {
        let (echo, target) = try startEcho(["--backend", backend])
        let (proxy, endpoint) = try start("proxy", ["--to", target, "--backend", backend])
        let client = try Socket(port: try #require(UInt16(endpoint.split(separator: ":").last!)))
        let text = (0..<20_000).map { "line \($0)\n" }.joined()
        client.write("first\n")
        #expect(client.readLine() == "first")
        client.write(text)
        // The answers still come, to the last of them.
        client.endOutput()
        #expect(client.readToEnd() == text)
        client.close()
        proxy.signal(SIGTERM)
        #expect(proxy.wait() == 0)
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
    }

    @Test func `a proxy aborts a client whose target is away, and says why`() throws {
        let nobody = try Socket.bound()
        let (proxy, endpoint) = try start("proxy", ["--to", "tcp:127.0.0.1:\(nobody.port)"])
        let client = try Socket(port: try #require(UInt16(endpoint.split(separator: ":").last!)))
        #expect(client.readToEnd() == "")
        proxy.signal(SIGTERM)
        #expect(
            proxy.readErrors().contains(
                "cannot connect to 127.0.0.1:\(nobody.port): connection refused"))
        #expect(proxy.wait() == 0)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `a file is sent and received, and both say how much`(backend: String) throws {
        let source = Program.folder + "/torsion"
        let target = "/tmp/torsion-received.\(getpid()).\(backend)"
        defer { unlink(target) }
        let (receiver, endpoint) = try start("receive", [target, "--backend", backend])
        let sender = try Program(
            "torsion", ["send", source, endpoint, "--backend", backend])
        let sent = sender.readLine()
        #expect(sent.hasPrefix("sent ") && receiver.readLine() == "received" + sent.dropFirst(4))
        // No line of progress where nobody looks.
        #expect(sender.readErrors() == "" && receiver.readErrors() == "")
        #expect(sender.wait() == 0 && receiver.wait() == 0)
        let comparison = try Program(path: "cmp", [source, target])
        #expect(comparison.wait() == 0)
    }

    @Test func `a full disk ends both commands with status 1, and says so`() throws {
        let (receiver, endpoint) = try start("receive", ["/dev/full"])
        let sender = try Program("torsion", ["send", Program.folder + "/torsion", endpoint])
        #expect(
            receiver.readErrors()
                == "cannot write to /dev/full: no space left on device (ENOSPC)\n")
        #expect(receiver.wait() == 1)
        // The sender must not take its end for one in peace: what it sent was not kept.
        let complaint = sender.readErrors()
        #expect(complaint.hasSuffix("connection reset by peer (ECONNRESET)\n"), "\(complaint)")
        #expect(sender.wait() == 1)
    }

    @Test func `a part of a file is sent, and a missing file is named`() throws {
        let (receiver, endpoint) = try start("receive", ["/dev/null"])
        let part = try Program(
            "torsion",
            ["send", Program.folder + "/torsion", endpoint, "--offset", "1000", "--count", "77"])
        #expect(part.readLine() == "sent 77 bytes" && receiver.readLine() == "received 77 bytes")
        #expect(part.wait() == 0 && receiver.wait() == 0)
        let (second, other) = try start("receive", ["/dev/null"])
        let missing = try Program("torsion", ["send", "/nowhere", other])
        #expect(
            missing.readErrors() == "cannot open /nowhere: no such file or directory (ENOENT)\n")
        #expect(missing.wait() == 1)
        // Nobody has called it.
        second.signal(SIGTERM)
        #expect(second.readErrors() == "interrupted\n" && second.wait() == 1)
    }

    @Test(arguments: ["tls:0", "udp:0"])
    func `what cannot be handed over is told so`(place: String) throws {
        let program = try Program(
            "torsion", ["echo", "--hand-over", "/tmp/handover", "--listen", place])
        #expect(
            program.readErrorLine() == "Error: '\(place)' cannot be handed over: allowed with"
                + " --hand-over is tcp, tcp6, unix, fd or systemd")
        #expect(program.wait() == 64)
    }

    @Test func `a folder is refused before anybody is called`() throws {
        let listener = try Socket.bound()
        try listener.listen()
        let program = try Program("torsion", ["send", "/tmp", ":\(listener.port)"])
        #expect(program.readErrors() == "cannot open /tmp: is a directory (EISDIR)\n")
        #expect(program.wait() == 1)
        #expect(!listener.hasClient)
    }

    @Test func `what cannot be written or served is said before anybody is asked`() throws {
        let receiver = try Program("torsion", ["receive", "/nowhere/a", "--listen", "127.0.0.1:0"])
        #expect(
            receiver.readErrors()
                == "cannot open /nowhere/a.part: no such file or directory (ENOENT)\n")
        #expect(receiver.readOutput() == "" && receiver.wait() == 1)
        let server = try Program("torsion", ["serve", "/nowhere", "--listen", "127.0.0.1:0"])
        #expect(
            server.readErrors() == "cannot open /nowhere: no such file or directory (ENOENT)\n")
        #expect(server.readOutput() == "" && server.wait() == 1)
    }

    @Test func `standard output that cannot be written is named`() throws {
        let listener = try Socket.bound()
        try listener.listen()
        let torsion = Program.folder + "/torsion"
        let program = try Program(
            path: "bash", ["-c", "exec '\(torsion)' connect :\(listener.port) >/dev/full"])
        let client = try listener.accept()
        client.write("something")
        let errors = program.readErrors()
        #expect(
            errors.hasPrefix("cannot write to standard output: no space left on device"),
            "\(errors)")
        #expect(program.wait() == 1)
    }

    @Test(arguments: [
        ("ehco", "echo"), ("probes", "probe"), ("conect", "connect"), ("lsiten", "listen"),
    ])
    func `a misspelt command is told what may have been meant`(word: String, name: String) throws {
        let program = try Program("torsion", [word, "--listen", ":0"])
        let errors = program.readErrors()
        #expect(
            errors.hasPrefix("Error: there is no command '\(word)'. Did you mean '\(name)'?\n"),
            "\(errors)")
        #expect(program.wait() == 64)
        let strange = try Program("torsion", ["xyzzy"])
        #expect(strange.readErrors().hasPrefix("Error: Unexpected argument 'xyzzy'"))
        #expect(strange.wait() == 64)
    }

    @Test func `colour is for terminals, and not if NO_COLOR is set`() throws {
        let mark = "\u{1b}[3"
        let terminal = try Program(
            "torsion", ["doctor"], environment: ["NO_COLOR=", "TERM=xterm"], hasTerminal: true)
        #expect(terminal.readOutput().contains(mark))
        _ = terminal.wait()
        for (environment, hasTerminal) in [
            (["NO_COLOR=1", "TERM=xterm"], true), (["NO_COLOR=", "TERM=dumb"], true),
            (["NO_COLOR=", "TERM=xterm"], false),
        ] {
            let plain = try Program(
                "torsion", ["doctor"], environment: environment, hasTerminal: hasTerminal)
            let output = plain.readOutput()
            #expect(output.contains("descriptors") && !output.contains(mark))
            _ = plain.wait()
        }
    }

    @Test func `with --json a command prints objects`() throws {
        let target = "/tmp/torsion-json.\(getpid())"
        let source = target + ".source"
        defer { for name in [source, target] { unlink(name) } }
        try write("hello\n", to: source)
        let receiver = try Program(
            "torsion", ["receive", target, "--listen", "127.0.0.1:0", "--sha256", "--json"])
        let line = receiver.readLine()
        #expect(
            line.hasPrefix(#"{"backend":""#) && line.hasSuffix(#","threads":1}"#), "\(line)")
        let port = line.split(separator: ":")[3].prefix { $0 != "\"" }
        let sender = try Program("torsion", ["send", source, ":\(port)", "--sha256", "--json"])
        let digest = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        #expect(sender.readLine() == #"{"sent":6,"sha256":"\#(digest)"}"#)
        #expect(receiver.readLine() == #"{"received":6,"sha256":"\#(digest)"}"#)
        #expect(sender.wait() == 0 && receiver.wait() == 0)
        let failed = try Program("torsion", ["send", "/nowhere", ":1", "--json"])
        #expect(
            failed.readErrors()
                == #"{"error":"cannot open /nowhere: no such file or directory (ENOENT)"}"# + "\n")
        #expect(failed.wait() == 1)
        let backends = try Program("torsion", ["backends", "--json"])
        #expect(backends.readOutput().hasPrefix(#"[{"isDefault":"#) && backends.wait() == 0)
    }

    // Case P11
    @Test func `a file stays as it is until all of the next one has arrived`() throws {
        let target = "/tmp/torsion-kept.\(getpid())"
        let source = target + ".source"
        defer { for name in [target, target + ".part", source] { unlink(name) } }
        try write("the old one\n", to: target)
        try write(String(repeating: "the new one\n", count: 100_000), to: source)
        // Broken off: by a reset, since a FIN is the end of a file.
        let (broken, endpoint) = try start("receive", [target])
        let port = try #require(UInt16(endpoint.split(separator: ":").last ?? ""))
        let client = try Socket(port: port)
        client.write("half of it")
        client.reset()
        #expect(broken.wait() == 1)
        #expect(try read(target) == "the old one\n")
        let (receiver, place) = try start("receive", [target])
        let sender = try Program("torsion", ["send", source, place])
        #expect(sender.wait() == 0 && receiver.wait() == 0)
        #expect(try read(target) == read(source))
        #expect(access(target + ".part", F_OK) != 0)
        // And one that must stay.
        let kept = try Program(
            "torsion", ["receive", target, "--keep", "--listen", "tcp:0:interface=127.0.0.1"])
        #expect(kept.readErrors().hasPrefix("cannot open \(target): ") && kept.wait() == 1)
    }

    // Case P11
    @Test func `a file without a size is not sent as an empty one`() throws {
        let sender = try Program("torsion", ["send", "/proc/self/status", "127.0.0.1:9"])
        #expect(sender.readErrors().hasPrefix("/proc/self/status has bytes, but no size; "))
        #expect(sender.wait() == 1)
    }

    private func write(_ text: String, to path: String) throws {
        let file = try #require(fopen(path, "w"))
        fputs(text, file)
        fclose(file)
    }

    private func read(_ path: String) throws -> String {
        let file = try #require(fopen(path, "r"))
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 4 << 20)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    @Test func `echo takes its socket from systemd by name, and says when it has none`() throws {
        let listener = try Socket.bound()
        try listener.listen()
        let number = listener.duplicateForChildren()
        defer { close(number) }
        // What systemd does before it starts a program: sd_listen_fds(3).
        let script =
            "exec 3<&\(number) && LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web"
            + " exec \(Program.folder)/torsion echo --listen systemd:web"
        let echo = try Program(path: "bash", ["-c", script])
        #expect(echo.readLine().hasPrefix("listening on 127.0.0.1:\(listener.port) "))
        let client = try Socket(port: listener.port)
        client.write("hello\n")
        #expect(client.readLine() == "hello")
        client.close()
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)

        let alone = try Program("torsion", ["echo", "--listen", "systemd:web"])
        #expect(
            alone.readErrors()
                == "cannot open the systemd socket named web: bad file descriptor (EBADF)\n")
        #expect(alone.wait() == 1)
    }
}
