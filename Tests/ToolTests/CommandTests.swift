// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing

/// What other tools rely on.
@Suite(.serialized) struct CommandTests {
    private func startEcho(_ arguments: [String]) throws -> (program: Program, endpoint: String) {
        let program = try Program(
            "torsion", ["echo", "--listen", "tcp:0:interface=127.0.0.1"] + arguments)
        let line = program.readLine()
        let words = line.split(separator: " ").map(String.init)
        try #require(words.count == 5 && line.hasPrefix("listening on 127.0.0.1:"), "\(line)")
        return (program, "tcp:" + words[2])
    }

    @Test(arguments: ["libuv", "epoll"])
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

    @Test func `a port in use ends with status 1 and names the address`() throws {
        let (echo, endpoint) = try startEcho([])
        let address = endpoint.dropFirst("tcp:".count)
        let port = address.split(separator: ":").last!
        let second = try Program("torsion", ["echo", "--port", "\(port)"])
        let sentence =
            "cannot listen on \(address): address already in use (EADDRINUSE);"
            + " take another port, or port 0 for one that is free\n"
        #expect(second.readErrors() == sentence)
        #expect(second.wait() == 1)
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
    }

    @Test(arguments: [
        (["echo", "--backend", "kqueue"], "libuv, epoll"),
        (["echo", "--listen", "tpc:80"], "allowed are tcp, tcp6, unix, stdio"),
        (["echo", "--listen", "tcp:70000"], "0 to 65535"),
        (["connect", "tcp:example.org"], "needs a port"),
        (["echo", "--threads", "0"], "1 to 1024"),
    ])
    func `a wrong argument ends with status 64 and what is allowed`(
        arguments: [String], allowed: String
    ) throws {
        let program = try Program("torsion", arguments)
        #expect(program.readErrors().contains(allowed))
        #expect(program.wait() == 64)
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
}
