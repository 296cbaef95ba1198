// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing

/// `torsion ws`, and the WebSocket of `torsion echo --framing http`.
@Suite struct WSCommandTests {
    /// An echo server, and its address.
    private func startEcho() throws -> (program: Program, url: String) {
        let program = try Program(
            "torsion", ["echo", "--framing", "http", "--port", "0"])
        let words = program.readLine().split(separator: " ")
        try #require(words.count == 5)
        return (program, "ws://\(words[2])/any/target?x")
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `lines are messages, and messages lines; the end of input closes`(backend: String) throws {
        let (echo, url) = try startEcho()
        let client = try Program("torsion", ["ws", url, "--backend", backend])
        client.write("hello\n\ngrüße\r\n")
        #expect(client.readLine() == "hello" && client.readLine() == "")
        #expect(client.readLine() == "grüße")
        // What comes before the server's close frame is printed as well, a line without end is one.
        let many = (0..<2_000).map { "line \($0)\n" }.joined()
        client.write(many + "last")
        client.endInput()
        #expect(client.readOutput() == many + "last\n")
        #expect(client.readErrors() == "")
        #expect(client.wait() == 0)
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
    }

    @Test func `what cannot be is one sentence, and a status`() throws {
        let (echo, url) = try startEcho()
        let http = "http" + url.dropFirst(2)
        let wrong = try Program("torsion", ["ws", http])
        #expect(wrong.readErrors().contains("begins neither with ws: nor with wss:"))
        #expect(wrong.wait() == 64)
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
        let refused = try Program("torsion", ["ws", url])
        refused.endInput()
        let sentence = refused.readErrors()
        #expect(sentence.contains("refused") && sentence.contains("127.0.0.1"), "\(sentence)")
        #expect(refused.wait() == 1)
        let folder = try Program(
            "torsion", ["serve", "/", "--listen", "tcp:0:interface=127.0.0.1"])
        let words = folder.readLine().split(separator: " ")
        try #require(words.count == 5)
        let other = try Program("torsion", ["ws", "ws://\(words[2])/nothing-of-that-name"])
        other.endInput()
        #expect(other.readErrors().hasPrefix("the server answered 404"))
        #expect(other.wait() == 1)
        folder.signal(SIGTERM)
        #expect(folder.wait() == 0)
    }

    @Test func `a server that stops says so, and that is an end like another`() throws {
        let (echo, url) = try startEcho()
        let client = try Program("torsion", ["ws", url])
        client.write("hello\n")
        #expect(client.readLine() == "hello")
        echo.signal(SIGTERM)
        #expect(client.readOutput() == "")
        #expect(client.wait() == 0)
        client.endInput()
        #expect(echo.wait() == 0)
    }

    private static let hasPeer: Bool = {
        guard let python = try? Program(path: "/usr/bin/python3", ["-c", "import websockets"])
        else { return false }
        python.endInput()
        return python.wait() == 0
    }()

    @Test(.enabled(if: hasPeer, "python3-websockets is not installed"))
    func `--echo sends back what a server of another make sends, and prints it`() throws {
        let server = try Program(
            path: "/usr/bin/python3",
            [
                "-c",
                """
                import asyncio, websockets
                async def serve(socket):
                    answers = []
                    for message in ["text", b"binary", "grüße", "x" * 100000]:
                        await socket.send(message)
                        answers.append(await socket.recv() == message)
                    print(answers, flush=True)
                    await socket.close(1000)
                async def main():
                    async with websockets.serve(serve, "127.0.0.1", 0) as server:
                        print(server.sockets[0].getsockname()[1], flush=True)
                        await asyncio.Future()
                asyncio.run(main())
                """,
            ])
        let port = server.readLine()
        let client = try Program("torsion", ["ws", "--echo", "ws://127.0.0.1:\(port)/"])
        #expect(server.readLine() == "[True, True, True, True]")
        let printed = client.readOutput()
        #expect(printed == "text\nbinary\ngrüße\n" + String(repeating: "x", count: 100_000) + "\n")
        #expect(client.wait() == 0)
        server.signal(SIGKILL)
        _ = server.wait()
        client.endInput()
    }
}
