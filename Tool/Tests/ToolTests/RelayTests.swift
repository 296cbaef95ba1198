// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
import TorsionTLS

/// What joins two endpoints: what it shows, how many it takes and for how long.
@Suite(.serialized) struct RelayTests {
    /// A relay to a server of the test's own.
    private func start(
        _ arguments: [String], to prefix: String = "tcp:127.0.0.1:", suffix: String = ""
    ) throws -> (relay: Program, port: UInt16, server: Socket) {
        let server = try Socket.bound()
        try server.listen()
        let relay = try Program(
            "torsion",
            ["relay", "127.0.0.1:0", "\(prefix)\(server.port)\(suffix)"] + arguments)
        return (relay, try port(in: relay.readLine()), server)
    }

    private func port(in line: String) throws -> UInt16 {
        let words = line.split(separator: " ").map(String.init)
        try #require(words.count >= 3 && line.hasPrefix("listening on "), "\(line)")
        return try #require(UInt16(words[2].split(separator: ":").last ?? ""))
    }

    private func end(_ program: Program) {
        program.signal(SIGTERM)
        #expect(program.wait() == 0)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `with --log text each line that passes has its connection and direction`(
        backend: String
    ) throws {
        let (relay, port, server) = try start(["--log", "text", "--backend", backend])
        let client = try Socket(port: port)
        let peer = try server.accept()
        client.write("GET / HTTP/1.0\r\nHost: ä\u{1b}[2J\\\r\n")
        #expect(peer.readLine() == "GET / HTTP/1.0")
        peer.write("200\n")
        #expect(client.readLine() == "200")
        #expect(
            relay.readErrorLine() == "1 connected: 127.0.0.1:\(client.port) at 127.0.0.1:\(port)")
        #expect(relay.readErrorLine() == #"1 > GET / HTTP/1.0\r\n"#)
        // Nothing that a terminal would obey.
        #expect(relay.readErrorLine() == #"1 > Host: ä\u{1B}[2J\\\r\n"#)
        #expect(relay.readErrorLine() == #"1 < 200\n"#)
        client.close()
        #expect(peer.readToEnd() == "Host: ä\u{1b}[2J\\\r\n")
        #expect(relay.readErrorLine() == "1 > EOF")
        peer.close()
        #expect(relay.readErrorLine().hasPrefix("1 closed after 31 bytes > and 4 bytes <: "))
        let next = try Socket(port: port)
        #expect(relay.readErrorLine().hasPrefix("2 connected: "))
        next.close()
        end(relay)
    }

    @Test func `with --log hex there are rows of sixteen bytes, and a piece is cut`() throws {
        let (relay, port, server) = try start(["--log", "hex"])
        let client = try Socket(port: port)
        let peer = try server.accept()
        client.write("0123456789abcdef\0\u{1}")
        #expect(peer.readBytes(18).count == 18)
        _ = relay.readErrorLine()
        #expect(relay.readErrorLine() == "1 > 18 bytes")
        #expect(
            relay.readErrorLine()
                == "1 > 00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66"
                + "  |0123456789abcdef|")
        #expect(
            relay.readErrorLine()
                == "1 > 00000010  00 01" + String(repeating: " ", count: 42) + "  |..|")
        client.write(String(repeating: "long", count: 2_000))
        #expect(peer.readBytes(8_000).count == 8_000)
        #expect(relay.readErrorLine() == "1 > 8000 bytes")
        for _ in 0..<256 { _ = relay.readErrorLine() }
        #expect(relay.readErrorLine() == "1 > (3904 bytes more)")
        client.close()
        end(relay)
    }

    @Test(arguments: ["relay", "proxy", "proxy --http"])
    func `beyond --limit clients are refused, until others have gone`(command: String) throws {
        let server = try Socket.bound()
        try server.listen()
        let words = command.split(separator: " ").map(String.init)
        let places =
            words[0] == "relay"
            ? ["127.0.0.1:0", ":\(server.port)"]
            : ["--listen", "127.0.0.1:0", "--to", ":\(server.port)"]
        let relay = try Program(
            "torsion", words + places + ["--limit", "1", "--threads", "2"])
        let port = try port(in: relay.readLine())
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        let first = try Socket(port: port)
        first.write(request)
        let peer = try server.accept()
        #expect(peer.readLine().hasPrefix("GET / HTTP/1.1"))
        for _ in 0..<4 { #expect(try Socket(port: port).readToEnd() == "") }
        #expect(relay.readErrorLine() == "a client was refused: the limit is 1")
        first.reset()
        peer.close()
        // The place is free as soon as the relay has heard of it.
        var served = false
        for _ in 0..<1_000 where !served {
            let next = try Socket(port: port)
            next.write(request)
            if words.count == 1 { next.endOutput() }
            served = server.hasClient(within: 50)
        }
        #expect(served)
        relay.signal(SIGTERM)
        #expect(relay.wait() == 0)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `with --idle a pair by which nothing passes is closed`(backend: String) throws {
        let (relay, port, server) = try start(
            ["--idle", "0.3", "--log", "text", "--backend", backend])
        let client = try Socket(port: port)
        let peer = try server.accept()
        peer.write("hello\n")
        #expect(client.readLine() == "hello")
        #expect(client.readToEnd() == "")
        #expect(peer.readToEnd() == "")
        for socket in [client, peer] { socket.close() }
        _ = relay.readErrorLine()
        _ = relay.readErrorLine()
        #expect(relay.readErrorLine().hasPrefix("1 closed after 0 bytes > and 6 bytes <: "))
        end(relay)
    }

    @Test func `a conversation that is idle for too long ends with status 1`() throws {
        let server = try Socket.bound()
        try server.listen()
        let client = try Program(
            "torsion", ["connect", ":\(server.port)", "--idle", "0.2", "--log", "text"])
        let peer = try server.accept()
        peer.write("hello\n")
        #expect(client.readLine() == "hello")
        #expect(peer.readToEnd() == "")
        #expect(client.readErrorLine().hasPrefix("1 connected: "))
        #expect(client.readErrorLine() == #"1 < hello\n"#)
        #expect(client.readErrorLine().hasPrefix("1 closed after 0 bytes > and 6 bytes <: "))
        #expect(client.readErrors() == ":\(server.port): nothing passed for 0.2 seconds\n")
        #expect(client.wait() == 1)
        let listening = try Program("torsion", ["listen", "127.0.0.1:0", "--idle", "0.2"])
        let port = try port(in: listening.readErrorLine())
        let late = try Socket(port: port)
        #expect(late.readToEnd() == "")
        #expect(listening.readErrors() == "127.0.0.1:\(port): nothing passed for 0.2 seconds\n")
        #expect(listening.wait() == 1)
        let relay = try Program("torsion", ["relay", "stdio:", ":\(server.port)", "--idle", "0.2"])
        #expect(try server.accept().readToEnd() == "")
        #expect(relay.readErrors() == "nothing passed for 0.2 seconds\n" && relay.wait() == 1)
    }

    private static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]

    /// The ports of a PROXY header of version 2 about TCP over IPv4.
    private func ports(_ header: [UInt8]) throws -> (source: UInt16, destination: UInt16) {
        try #require(header.count == 28 && header.starts(with: Self.signature), "\(header)")
        #expect(header[12...15].elementsEqual([0x21, 0x11, 0, 12]))
        #expect(header[16..<24].elementsEqual([127, 0, 0, 1, 127, 0, 0, 1]))
        return (
            UInt16(header[24]) << 8 | UInt16(header[25]),
            UInt16(header[26]) << 8 | UInt16(header[27])
        )
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `a PROXY header names the client to the target`(backend: String) throws {
        let (relay, port, server) = try start(["--proxy-header", "--backend", backend])
        let client = try Socket(port: port)
        let peer = try server.accept()
        let found = try ports(peer.readBytes(28))
        #expect(found == (client.port, port))
        client.write("behind it\n")
        #expect(peer.readLine() == "behind it")
        peer.write("back\n")
        #expect(client.readLine() == "back")
        for socket in [client, peer] { socket.close() }
        end(relay)
    }

    @Test func `a PROXY header precedes TLS, and connect sends one of its own`() throws {
        let (relay, port, server) = try start(["--proxy-header"], to: "tls:localhost:")
        let client = try Socket(port: port)
        let peer = try server.accept()
        let found = try ports(peer.readBytes(28))
        #expect(found == (client.port, port))
        // A handshake record.
        #expect(peer.readBytes(1) == [0x16])
        for socket in [client, peer] { socket.close() }
        relay.signal(SIGTERM)
        #expect(relay.wait() == 0)
        let program = try Program("torsion", ["connect", ":\(server.port)", "--proxy-header"])
        let other = try server.accept()
        #expect(try ports(other.readBytes(28)).destination == server.port)
        program.endInput()
        #expect(other.readToEnd() == "")
        other.close()
        #expect(program.wait() == 0)
    }

    @Test func `a full disk for what is shown holds up nothing`() throws {
        let (echo, server) = (try Socket.bound(), Program.folder + "/torsion")
        try echo.listen()
        let client = try Program(
            path: "sh", ["-c", "exec \(server) connect :\(echo.port) --log text 2> /dev/full"])
        let peer = try echo.accept()
        peer.write("hello\n")
        peer.close()
        client.endInput()
        #expect(client.readOutput() == "hello\n" && client.wait() == 0)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `a relay of one client fails with what breaks it`(backend: String) throws {
        let server = try Socket.bound()
        try server.listen()
        let relay =
            "exec '\(Program.folder)/torsion' relay stdio: :\(server.port)"
            + " --backend \(backend)"
        let full = try Program(path: "sh", ["-c", relay + " > /dev/full"])
        try server.accept().write("something")
        let errors = full.readErrors()
        #expect(
            errors == "cannot write to standard output: no space left on device (ENOSPC)\n")
        #expect(full.wait() == 1)
        let reset = try Program(path: "sh", ["-c", relay])
        let peer = try server.accept()
        peer.write("a")
        #expect(reset.readByte() == "a")
        peer.reset()
        let complaint = reset.readErrors()
        #expect(complaint.hasSuffix("connection reset by peer (ECONNRESET)\n"), "\(complaint)")
        #expect(reset.wait() == 1)
        let pipeline = try Program(
            path: "bash",
            ["-c", "yes | (\(relay)) | head -1 > /dev/null; echo ${PIPESTATUS[1]}"])
        let endless = try server.accept()
        for _ in 0..<100 { endless.write(String(repeating: "line\n", count: 20_000)) }
        #expect(pipeline.readOutput() == "\(128 + SIGPIPE)\n")
        #expect(pipeline.readErrors() == "" && pipeline.wait() == 0)
    }

    @Test(arguments: [
        (["connect", "80"], "Did you mean ':80'?"),
        (["listen", "8080"], "Did you mean ':8080'?"),
        (["connect", "localhost"], "Did you mean 'localhost:PORT'?"),
        (["connect", "example:80"], "Did you mean 'tcp:example:80'?"),
        (["relay", "udp:127.0.0.1:53", "udp:a:53"], "'udp:53:interface=127.0.0.1'?"),
        (["listen", "tcp:localhost:80"], "Did you mean 'tcp:80:interface=127.0.0.1'?"),
        (["probe", "example"], "Did you mean 'tcp:example:PORT'?"),
        (["get", "example.org/a"], "Did you mean 'http://example.org/a'?"),
        (["ws", "example.org"], "Did you mean 'ws://example.org'?"),
    ])
    func `a place without its type is told what may have been meant`(
        arguments: [String], hint: String
    ) throws {
        let program = try Program("torsion", arguments)
        let errors = program.readErrors()
        #expect(errors.contains(hint), "\(errors)")
        #expect(program.wait() == 64)
    }

    @Test(arguments: [
        (["relay", ":0", ":1", "--idle", "0"], "0.001 to 86400"),
        (["relay", ":0", ":1", "--limit", "0"], "1 or more"),
        (["relay", ":0", ":1", "--log", "xml"], "'hex' and 'text'"),
        (["connect", ":1", "--idle", "-1"], "Missing value"),
        (["listen", ":0", "--idle", "nan"], "0.001 to 86400"),
        (["proxy", "--http", "--listen", ":0", "--to", ":1", "--idle", "1"], "are for bytes"),
        (["proxy", "--http", "--listen", ":0", "--to", ":1", "--proxy-header"], "are for bytes"),
    ])
    func `a wrong option is refused with what is allowed`(
        arguments: [String], allowed: String
    ) throws {
        let program = try Program("torsion", arguments)
        let errors = program.readErrors()
        #expect(errors.contains(allowed), "\(errors)")
        #expect(program.wait() == 64)
    }
}

/// Datagrams from one place to another.
@Suite(.serialized) struct DatagramRelayTests {
    private func start(
        _ arguments: [String], to host: String = "127.0.0.1"
    ) throws -> (relay: Program, port: UInt16, server: Socket) {
        let server = try Socket.boundToUDP()
        let relay = try Program(
            "torsion",
            ["relay", "udp:0:interface=127.0.0.1", "udp:\(host):\(server.port)"] + arguments)
        let words = relay.readLine().split(separator: " ").map(String.init)
        try #require(words.count >= 3, "\(words)")
        return (relay, try #require(UInt16(words[2].split(separator: ":").last ?? "")), server)
    }

    private func end(_ program: Program) {
        program.signal(SIGTERM)
        #expect(program.wait() == 0)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"], ["1", "3"])
    func `each client has a session, and gets its own answers`(
        backend: String, threads: String
    ) throws {
        let (relay, port, server) = try start(
            ["--backend", backend, "--threads", threads], to: "localhost")
        let clients = try (0..<20).map { _ in try Socket(udpPort: port) }
        for round in 0..<3 {
            for (index, client) in clients.enumerated() { client.write("\(round) of \(index)") }
            for _ in clients { try server.answer { "answer to \($0)" } }
            for (index, client) in clients.enumerated() {
                #expect(client.receive() == "answer to \(round) of \(index)")
            }
        }
        // Bounds are kept, also those of one without bytes.
        clients[0].write("")
        try server.answer { $0.isEmpty ? String(repeating: "x", count: 20_000) : "" }
        #expect(clients[0].receive()?.count == 20_000)
        end(relay)
    }

    @Test func `sessions are shown, limited, and end when they are idle`() throws {
        let (relay, port, server) = try start(
            ["--log", "text", "--limit", "1", "--idle", "0.4"])
        let (client, other) = (try Socket(udpPort: port), try Socket(udpPort: port))
        client.write("one\ntwo")
        try server.answer { _ in "three" }
        #expect(client.receive() == "three")
        let place = "127.0.0.1:\(client.port) at 127.0.0.1:\(port)"
        #expect(relay.readErrorLine() == "1 connected: \(place)")
        #expect(relay.readErrorLine() == "1 > 7 bytes")
        #expect(relay.readErrorLine() == #"1 > one\n"#)
        #expect(relay.readErrorLine() == "1 > two")
        #expect(relay.readErrorLine() == "1 < 5 bytes")
        #expect(relay.readErrorLine() == "1 < three")
        other.write("too many")
        #expect(relay.readErrorLine() == "a client was refused: the limit is 1")
        #expect(
            relay.readErrorLine()
                == "1 closed after 7 bytes > and 5 bytes <: nothing passed for 0.4 seconds")
        other.write("now")
        try server.answer { $0 + " it is" }
        #expect(other.receive() == "now it is")
        relay.signal(SIGTERM)
        let rows = relay.readErrors()
        #expect(
            rows.hasSuffix("\n2 closed after 3 bytes > and 9 bytes <: aborted here\n"), "\(rows)")
        #expect(relay.wait() == 0)
    }

    @Test func `a target that is away is named, and the session goes on`() throws {
        let (relay, port, server) = try start([])
        let place = server.port
        server.close()
        let client = try Socket(udpPort: port)
        client.write("nobody")
        #expect(
            relay.readErrorLine()
                == "cannot connect to 127.0.0.1:\(place): connection refused (ECONNREFUSED)")
        end(relay)
        let lost = try Program(
            "torsion", ["relay", "udp:0:interface=127.0.0.1", "udp:nowhere.invalid:9"])
        let words = lost.readLine().split(separator: " ")
        let sender = try Socket(
            udpPort: try #require(UInt16(words[2].split(separator: ":").last ?? "")))
        sender.write("nobody")
        #expect(lost.readErrorLine().contains("nowhere.invalid"))
        end(lost)
    }

    @Test(arguments: [
        (["udp:0", ":1"], "both have to be udp, or neither"),
        ([":0", "udp:localhost:1"], "both have to be udp, or neither"),
        (["stdio:", "udp:localhost:1"], "both have to be udp, or neither"),
        (["unix-datagram:/tmp/a", "udp:localhost:1"], "over UDP alone"),
        (["udp:0", "udp:localhost:1", "--proxy-header"], "is for streams"),
        (["udp:0", "udp:localhost"], "needs a port"),
        (["udp:0", "udp:localhost:0"], "1 to 65535"),
        (["upd:0", "udp:localhost:1"], "allowed are"),
    ])
    func `a pair of endpoints without a meaning is refused`(
        places: [String], sentence: String
    ) throws {
        let program = try Program("torsion", ["relay"] + places)
        let errors = program.readErrors()
        #expect(errors.contains(sentence), "\(errors)")
        #expect(program.wait() == 64)
    }
}
