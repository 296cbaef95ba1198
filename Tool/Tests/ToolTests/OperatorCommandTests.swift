// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing

/// What a person does at a prompt: listen, relay, measure, ask a program.
@Suite(.serialized) struct OperatorCommandTests {
    /// Starts an echo server, and returns its port.
    private func startEcho(_ arguments: [String] = []) throws -> (Program, port: String) {
        let program = try Program("torsion", ["echo", "--port", "0"] + arguments)
        return (program, try port(in: program.readLine()))
    }

    /// The port of a line that says where a command listens.
    private func port(in line: String) throws -> String {
        let words = line.split(separator: " ").map(String.init)
        try #require(words.count >= 3 && line.hasPrefix("listening on "), "\(line)")
        return String(words[2].split(separator: ":").last ?? "")
    }

    private func end(_ program: Program) {
        program.signal(SIGTERM)
        #expect(program.wait() == 0)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `listen joins standard input and output to one client`(backend: String) throws {
        let server = try Program(
            "torsion", ["listen", "127.0.0.1:0", "--backend", backend], hasTerminal: false)
        let port = try port(in: server.readErrorLine())
        let client = try Program("torsion", ["connect", ":" + port])
        server.write("from the server\n")
        client.write("from the client\n")
        #expect(client.readLine() == "from the server")
        #expect(server.readLine() == "from the client")
        client.endInput()
        server.endInput()
        #expect(server.wait() == 0 && client.wait() == 0)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `a server that has said all is sent the input to its end`(backend: String) throws {
        let listener = try Socket.bound()
        try listener.listen(backlog: 1)
        let client = try Program(
            "torsion", ["connect", ":\(listener.port)", "--backend", backend])
        let server = try listener.accept()
        server.write("hello\n")
        server.endOutput()
        #expect(client.readLine() == "hello")
        #expect(client.readOutput() == "")
        client.write("what comes late\n")
        client.endInput()
        #expect(server.readToEnd() == "what comes late\n")
        server.close()
        #expect(client.readErrors() == "" && client.wait() == 0)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `input that nobody takes is an error with the place`(backend: String) throws {
        let listener = try Socket.bound()
        try listener.listen(backlog: 1)
        let line = "\(Program.folder)/torsion connect :\(listener.port) --backend \(backend)"
        let client = try Program(path: "sh", ["-c", "head -c 30000000 /dev/zero | \(line)"])
        let server = try listener.accept()
        server.write("hello\n")
        server.close()
        let errors = client.readErrors()
        #expect(errors.contains("127.0.0.1:\(listener.port)"), "\(errors)")
        #expect(client.wait() == 1)
    }

    @Test func `a port that is none is not taken for a type of endpoint`() throws {
        for (command, text) in [("connect", ":80x"), ("listen", ":80x"), ("probe", ":")] {
            let refused = try Program("torsion", [command, text])
            let complaint = refused.readErrors()
            #expect(complaint.contains("port"), "\(complaint)")
            #expect(refused.wait() == 64)
        }
    }

    @Test func `a probe that takes too long says of whom, and what for`() throws {
        let silent = try Socket.bound()
        try silent.listen(backlog: 1)
        let place = ":\(silent.port)"
        let probe = try Program("torsion", ["probe", place, "--first-byte", "--limit", "0.2"])
        let errors = probe.readErrors()
        #expect(errors.hasPrefix("\(place): ") && errors.contains("first byte"), "\(errors)")
        #expect(probe.wait() == 69)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `relay joins two endpoints, also standard input and output`(backend: String) throws {
        let (echo, port) = try startEcho()
        let relay = try Program(
            "torsion", ["relay", "127.0.0.1:0", ":" + port, "--backend", backend])
        let entrance = try self.port(in: relay.readLine())
        let direct = try Program(
            "torsion", ["relay", "stdio:", ":" + entrance, "--backend", backend])
        direct.write("through two relays\n")
        #expect(direct.readLine() == "through two relays")
        direct.endInput()
        #expect(direct.readOutput() == "" && direct.wait() == 0)
        end(relay)
        end(echo)
    }

    @Test func `shorthands name places, and texts of the library stay what they are`() throws {
        let path = "/tmp/torsion-short:hand.\(getpid())"
        let server = try Program("torsion", ["listen", path])
        // A colon is part of the path, which it is not in a text of the library.
        #expect(server.readErrorLine() == "listening on unix:" + path)
        let client = try Program("torsion", ["connect", path])
        client.write("hello\n")
        #expect(server.readLine() == "hello")
        client.endInput()
        server.endInput()
        #expect(server.wait() == 0 && client.wait() == 0)
        for (command, text, reason) in [
            ("connect", "example:80", "example"), ("connect", "tcp:80", "port"),
            ("listen", "nonsense", "nonsense"),
        ] {
            let refused = try Program("torsion", [command, text])
            let complaint = refused.readErrors()
            #expect(complaint.contains(reason), "\(complaint)")
            #expect(refused.wait() == 64)
        }
    }

    @Test(arguments: [
        ["serve", "/tmp"], ["echo"], ["proxy", "--to", ":1"], ["receive", "/tmp/torsion-unused"],
    ])
    func `each server takes the shorthands`(arguments: [String]) throws {
        let server = try Program("torsion", arguments + ["--listen", "127.0.0.1:0"])
        let line = server.readLine()
        #expect(line.hasPrefix("listening on 127.0.0.1:"), "\(line) \(arguments)")
        server.signal(SIGTERM)
        _ = server.readErrors()
        #expect(server.wait() == (arguments[0] == "receive" ? 1 : 0))
        unlink("/tmp/torsion-unused.part")
    }

    @Test(arguments: [
        ["receive", "", "--listen", ":0"], ["echo", "--port", "0", "--admin", ""],
    ])
    func `a path that is empty is refused`(arguments: [String]) throws {
        let refused = try Program("torsion", arguments)
        #expect(refused.readErrors().contains("Error: ") && refused.wait() == 64)
    }

    @Test func `receive takes what its file was said to be, and no less`() throws {
        let target = "/tmp/torsion-counted.\(getpid())"
        defer { for name in [target, target + ".part"] { unlink(name) } }
        for (count, status) in [("6", Int32(0)), ("7", 1), ("5", 1)] {
            unlink(target)
            let receiver = try Program(
                "torsion", ["receive", target, "--listen", "127.0.0.1:0", "--count", count])
            let port = try port(in: receiver.readLine())
            let client = try Program("torsion", ["connect", ":" + port])
            client.write("hello\n")
            client.endInput()
            _ = client.wait()
            #expect(receiver.readErrors() == (status == 0 ? "" : "received 6 bytes, of \(count)\n"))
            #expect(receiver.wait() == status)
            #expect((access(target, F_OK) == 0) == (status == 0))
        }
    }

    @Test func `receive writes to a pipe as it is`() throws {
        let path = "/tmp/torsion-pipe.\(getpid())"
        try #require(mkfifo(path, 0o600) == 0)
        defer { unlink(path) }
        let refused = try Program("torsion", ["receive", path, "--listen", ":0", "--sha256"])
        #expect(
            refused.readErrors().hasPrefix("--sha256 reads the file again") && refused.wait() == 1)
        let reader = try Program(path: "cat", [path])
        let receiver = try Program("torsion", ["receive", path, "--listen", "127.0.0.1:0"])
        let port = try port(in: receiver.readLine())
        let client = try Program("torsion", ["connect", ":" + port])
        client.write("hello\n")
        client.endInput()
        #expect(reader.readOutput() == "hello\n")
        #expect(receiver.wait() == 0 && client.wait() == 0 && reader.wait() == 0)
    }

    @Test func `the admin socket is handed to the next server as the port is`() throws {
        let path = "/tmp/torsion-handed-admin.\(getpid())", handOver = path + ".handover"
        let arguments = ["--hand-over", handOver, "--admin", path, "--grace", "20"]
        let (former, port) = try startEcho(arguments)
        let (next, taken) = try startEcho(arguments)
        #expect(former.wait() == 0 && taken == port)
        let doctor = try Program("torsion", ["doctor", "unix:" + path])
        let findings = doctor.readOutput()
        #expect(findings.contains("ok   port 127.0.0.1:\(port): "))
        #expect(findings.contains("ok   delayed calls, tasks: "), "\(findings)")
        #expect(doctor.wait() == 0)
        end(next)
        #expect(access(path, F_OK) != 0 && access(handOver, F_OK) != 0)
    }

    /// The numbers of a JSON object on one line, by name.
    private func numbers(_ text: String) -> [String: Double] {
        var found: [String: Double] = [:]
        for part in text.split(whereSeparator: { ",{}".contains($0) }) {
            let halves = part.split(separator: ":")
            guard halves.count == 2, let value = Double(halves[1]) else { continue }
            found[String(halves[0].filter { $0 != "\"" })] = value
        }
        return found
    }

    @Test(arguments: [["echo"], ["lines", "lines"], ["http", "http"], ["connect"]])
    func `bench asks at its rate, and has an answer to everything`(kinds: [String]) throws {
        let (echo, port) = try startEcho(kinds.count > 1 ? ["--framing", kinds[1]] : [])
        let bench = try Program(
            "torsion",
            [
                "bench", ":" + port, "--kind", kinds[0], "--rate", "400", "--duration", "0.5",
                "--connections", "4", "--json",
            ])
        let result = numbers(bench.readOutput())
        #expect(bench.readErrors() == "" && bench.wait() == 0)
        #expect(result["sent"] == 200 && result["answered"] == 200 && result["unanswered"] == 0)
        #expect(result["errors"] == 0)
        let median = try #require(result["p50"]), longest = try #require(result["max"])
        #expect(median > 0 && median <= longest)
        #expect(try #require(result["ownProcessorShare"]) > 0)
        end(echo)
    }

    @Test func `a server that stops for a while is late with everything that was due meanwhile`()
        throws
    {
        let (echo, port) = try startEcho()
        let bench = try Program(
            "torsion",
            ["bench", ":" + port, "--rate", "500", "--duration", "1", "--json"])
        // A third of the time it is stopped: not one answer is late by that, but a third of them.
        usleep(300_000)
        echo.signal(SIGSTOP)
        usleep(400_000)
        echo.signal(SIGCONT)
        let result = numbers(bench.readOutput())
        #expect(bench.wait() == 0 && result["answered"] == 500)
        #expect(try #require(result["p90"]) > 100, "\(result)")
        end(echo)
    }

    @Test(arguments: ["echo", "connect"])
    func `bench of nobody has no figures, and status 69`(kind: String) throws {
        let nobody = try Socket.bound()
        let bench = try Program(
            "torsion", ["bench", ":\(nobody.port)", "--kind", kind, "--duration", "0.1"])
        #expect(bench.readOutput() == "")
        let errors = bench.readErrors()
        #expect(errors.hasPrefix("cannot connect to localhost:\(nobody.port)"), "\(errors)")
        #expect(bench.wait() == 69)
    }

    @Test func `without an answer there is no latency, and no zero in its place`() throws {
        let silent = try Socket.bound()
        try silent.listen(backlog: 16)
        let options = ["--duration", "0.1", "--rate", "10", "--connections", "1"]
        let bench = try Program("torsion", ["bench", ":\(silent.port)"] + options)
        let text = bench.readOutput()
        #expect(text.contains("answered 0 (0.0/s") && text.contains("due: no answer"), "\(text)")
        #expect(bench.wait() == 1)
        let json = try Program("torsion", ["bench", ":\(silent.port)", "--json"] + options)
        #expect(!json.readOutput().contains("latencyMilliseconds"))
        #expect(json.wait() == 1)
    }

    @Test func `answers behind the end of the requests are no rate that was reached`() throws {
        let (echo, port) = try startEcho()
        let bench = try Program(
            "torsion", ["bench", ":" + port, "--rate", "500", "--duration", "0.5", "--json"])
        // The server stands still from the middle to long after the end of the requests.
        usleep(300_000)
        echo.signal(SIGSTOP)
        usleep(1_000_000)
        echo.signal(SIGCONT)
        let result = numbers(bench.readOutput())
        #expect(bench.wait() == 0 && result["answered"] == 250)
        // 250 in more than a second.
        #expect(try #require(result["answersPerSecond"]) < 250, "\(result)")
        end(echo)
    }

    @Test(arguments: [
        ["backends"], ["doctor"], ["doctor", "--json"], ["help"], ["probe", "--help"],
    ])
    func `output that is not taken is an error`(arguments: [String]) throws {
        let words = ([Program.folder + "/torsion"] + arguments).joined(separator: " ")
        let shell = try Program(path: "sh", ["-c", "exec \(words) > /dev/full"])
        let errors = shell.readErrors()
        #expect(
            errors == "cannot write to standard output: no space left on device (ENOSPC)\n")
        #expect(shell.wait() == 1)
    }

    @Test func `bench tells what is no answer on one line, and counts no signal as an error`()
        throws
    {
        let (echo, port) = try startEcho()
        let bench = try Program(
            "torsion", ["bench", ":" + port, "--kind", "http", "--duration", "0.1"])
        #expect(bench.readOutput().contains("first error: no response of HTTP/1.1"))
        #expect(bench.readErrors() == "" && bench.wait() == 1)
        let stopped = try Program("torsion", ["bench", ":" + port, "--rate", "10", "--json"])
        usleep(400_000)
        stopped.signal(SIGINT)
        let result = numbers(stopped.readOutput())
        #expect(result["errors"] == 0 && result["unanswered"] ?? 9 <= 1, "\(result)")
        _ = stopped.wait()
        end(echo)
    }

    @Test func `a relay of one client ends with status 1 if there is nobody to join it to`() throws
    {
        let nobody = try Socket.bound()
        for (target, complaint) in [
            (":\(nobody.port)", "cannot connect to"), ("exec:/nowhere", "cannot spawn /nowhere"),
            ("exec:sh:-c:exit 3", "sh exited with 3"),
        ] {
            let relay = try Program("torsion", ["relay", "stdio:", target])
            relay.endInput()
            let errors = relay.readErrors()
            #expect(errors.hasPrefix(complaint), "\(errors)")
            #expect(relay.wait() == 1, "\(target)")
        }
    }

    @Test func `doctor says that somebody else answers`() throws {
        let path = "/tmp/torsion-no-admin.\(getpid())"
        let echo = try Program("torsion", ["echo", "--listen", path])
        _ = echo.readLine()
        let doctor = try Program("torsion", ["doctor", path])
        #expect(
            doctor.readErrors() == "what answers there is no AdminEndpoint of this release\n")
        #expect(doctor.wait() == 1)
        end(echo)
    }

    @Test func `doctor asks a running program how it is`() throws {
        let path = "/tmp/torsion-admin.\(getpid())"
        let (echo, port) = try startEcho(["--admin", path])
        let client = try Program("torsion", ["connect", ":" + port])
        client.write("hello\n")
        #expect(client.readLine() == "hello")
        let doctor = try Program("torsion", ["doctor", "unix:" + path])
        let lines = doctor.readOutput()
        #expect(doctor.readErrors() == "" && doctor.wait() == 0)
        // The client, and the one that asks.
        #expect(lines.contains("ok   connections: 2 open, 0 paused ("), "\(lines)")
        #expect(lines.contains("ok   port 127.0.0.1:\(port): 1 connections, accepting ("))
        #expect(lines.contains("ok   load: not measured"))
        let json = try Program("torsion", ["doctor", path, "--json"])
        #expect(json.readOutput().hasPrefix(#"[{"name":"reactor 1""#) && json.wait() == 0)
        client.endInput()
        #expect(client.wait() == 0)
        end(echo)
        let missing = try Program("torsion", ["doctor", "unix:" + path])
        #expect(missing.readErrors().hasPrefix("cannot connect to unix:" + path))
        #expect(missing.wait() == 69)
    }

    @Test(arguments: [0, 1, 55, 56, 63, 64, 65, 100_000])
    func `a digest is the one that sha256sum prints`(count: Int) throws {
        let source = "/tmp/torsion-digest.\(getpid()).\(count)"
        let target = source + ".received"
        defer { for name in [source, target] { unlink(name) } }
        let file = try #require(fopen(source, "w"))
        for index in 0..<count { fputc(Int32(index % 251), file) }
        fclose(file)
        let receiver = try Program(
            "torsion", ["receive", target, "--listen", "127.0.0.1:0", "--sha256"])
        let port = try port(in: receiver.readLine())
        let sender = try Program("torsion", ["send", source, ":" + port, "--sha256"])
        _ = sender.readLine()
        let line = sender.readLine()
        _ = receiver.readLine()
        #expect(receiver.readLine() == line)
        #expect(sender.wait() == 0 && receiver.wait() == 0)
        let other = try Program(path: "sha256sum", [target])
        #expect(line == "sha256 " + other.readLine().prefix(64))
        #expect(other.wait() == 0)
    }
}
