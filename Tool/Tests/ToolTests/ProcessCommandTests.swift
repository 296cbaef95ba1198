// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing

/// Children as peers of the command's connections.
@Suite(.serialized) struct ProcessCommandTests {
    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `connect talks to a child process`(backend: String) throws {
        let client = try Program(
            "torsion", ["connect", "exec:tr:a-z:A-Z", "--backend", backend])
        client.write("small words\n")
        client.endInput()
        #expect(client.readOutput() == "SMALL WORDS\n")
        #expect(client.wait() == 0)
    }

    @Test func `a child that fails, or is not there, is an error`() throws {
        let failing = try Program("torsion", ["connect", "exec:sh:-c:echo some; exit 3"])
        #expect(failing.readOutput() == "some\n")
        #expect(failing.readErrors().contains("sh exited with 3"))
        #expect(failing.wait() != 0)
        let missing = try Program("torsion", ["connect", "exec:no-such-program"])
        let sentence = "cannot spawn no-such-program: no such file or directory (ENOENT)"
        #expect(missing.readErrors().contains(sentence))
        #expect(missing.wait() != 0)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `a pipe that was inherited is called by its number and kind`(backend: String) throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        let server = try Program(
            "torsion", ["echo", "--listen", "fd:\(ends[0])", "--backend", backend])
        #expect(server.readLine().hasPrefix("listening on fd:\(ends[0]) (a pipe) "))
        server.signal(SIGTERM)
        #expect(server.wait() == 0)
        let client = try Program(
            "torsion", ["connect", "fd:\(ends[0])", "--backend", backend])
        client.write("nowhere\n")
        #expect(
            client.readErrors().hasPrefix("cannot write to fd:\(ends[0]) (a pipe): broken pipe"))
        #expect(client.wait() == 1)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `echo gives each client a child of its own`(backend: String) throws {
        let server = try Program(
            "torsion",
            [
                "echo", "--listen", "tcp:0:interface=127.0.0.1", "--exec", "sort -u", "--backend",
                backend,
            ])
        let words = server.readLine().split(separator: " ").map(String.init)
        try #require(words.count == 5, "\(words)")
        for text in ["b\na\nb\n", "y\nx\n"] {
            let client = try Program("torsion", ["connect", "tcp:" + words[2]])
            client.write(text)
            client.endInput()
            let sorted = Set(text.split(separator: "\n")).sorted().map { $0 + "\n" }.joined()
            #expect(client.readOutput() == sorted)
            #expect(client.wait() == 0)
        }
        server.signal(SIGTERM)
        #expect(server.wait() == 0)
    }

    @Test func `a child is of no use for datagrams`() throws {
        let echo = try Program("torsion", ["echo", "--listen", "udp:0", "--exec", "cat"])
        #expect(echo.readErrors().contains("--exec is for streams, not for datagrams"))
        #expect(echo.wait() != 0)
    }
}
