// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing

/// `torsion ws`, and the WebSocket of `torsion echo --framing http`.
@Suite struct WSCommandTests {
    /// An echo server, and its address.
    private func startEcho(
        _ options: [String] = []
    ) throws -> (program: Program, url: String) {
        let program = try Program(
            "torsion", ["echo", "--framing", "http", "--port", "0"] + options)
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

    @Test func `a WebSocket is asked for among other protocols too`() throws {
        let (echo, url) = try startEcho()
        let port = url.dropFirst("ws://127.0.0.1:".count).prefix { $0.isNumber }
        let client = try Socket(port: UInt16(port) ?? 0)
        client.write(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: foo, WebSocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        #expect(client.readLine() == "HTTP/1.1 101 Switching Protocols")
        client.close()
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
    }

    @Test func `both sides compress where both are told to`() throws {
        let echo = try Program(
            "torsion", ["echo", "--framing", "http", "--compress", "--port", "0"])
        let words = echo.readLine().split(separator: " ")
        try #require(words.count == 5)
        let client = try Program("torsion", ["ws", "--compress", "ws://\(words[2])/"])
        let lines = (0..<500).map { "line \($0) \(String(repeating: "x", count: $0))\n" }.joined()
        client.write(lines)
        client.endInput()
        #expect(client.readOutput() == lines)
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
        #expect(refused.wait() == 69)
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

    // The terminal was asked first, and waited for the socket until the grace period ended it.
    @Test(arguments: [SIGINT, SIGTERM])
    func `a signal closes the socket, while standard input is open`(signal: Int32) throws {
        let (echo, url) = try startEcho()
        let client = try Program("torsion", ["ws", url])
        client.write("hello\n")
        #expect(client.readLine() == "hello")
        let start = ContinuousClock.now
        client.signal(signal)
        #expect(client.readErrors() == "")
        #expect(client.wait() == 0)
        #expect(ContinuousClock.now - start < .seconds(5))
        client.endInput()
        echo.signal(SIGTERM)
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

    private static let hasAIOHTTP: Bool = {
        guard let python = try? Program(path: "/usr/bin/python3", ["-c", "import aiohttp"])
        else { return false }
        python.endInput()
        return python.wait() == 0
    }()

    @Test(
        .enabled(if: hasPeer && hasAIOHTTP, "python3-websockets and -aiohttp are not installed"),
        arguments: [[], ["--compress"]])
    func `clients of other makes talk to torsion echo`(options: [String]) throws {
        let (echo, url) = try startEcho(options)
        let client = try Program(
            path: "/usr/bin/python3",
            [
                "-c",
                """
                import asyncio, aiohttp, sys, websockets
                messages = ["text", b"binary", "grüße", "", "x" * 100000, bytes(70000)]
                async def main(url, compresses):
                    async with websockets.connect(url) as socket:
                        assert bool(socket.extensions) == compresses, socket.extensions
                        for message in messages:
                            await socket.send(message)
                            assert await socket.recv() == message
                        await socket.send(["a", "b", "c"])
                        assert await socket.recv() == "abc"
                        await (await socket.ping(b"ping"))
                    assert socket.close_code == 1000
                    async with aiohttp.ClientSession() as session:
                        async with session.ws_connect(url, compress=15) as socket:
                            assert bool(socket.compress) == compresses, socket.compress
                            for message in messages:
                                if isinstance(message, str):
                                    await socket.send_str(message)
                                else:
                                    await socket.send_bytes(message)
                                assert (await socket.receive()).data == message
                            await socket.close(code=4000, message=b"enough")
                            assert socket.close_code == 4000
                    print("all is well")
                asyncio.run(main(sys.argv[1], len(sys.argv) > 2))
                """, url,
            ] + options)
        client.endInput()
        #expect(client.readOutput() == "all is well\n")
        #expect(client.readErrors() == "")
        #expect(client.wait() == 0)
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
    }

    @Test(.enabled(if: hasAIOHTTP, "python3-aiohttp is not installed"))
    func `aiohttp's client is answered, on one connection, with bodies both ways`() throws {
        let (echo, url) = try startEcho()
        let http = "http" + url.dropFirst(2)
        let client = try Program(
            path: "/usr/bin/python3",
            [
                "-c",
                """
                import asyncio, aiohttp, sys
                async def pieces():
                    for number in range(50): yield b"x" * 1000
                async def main(url):
                    async with aiohttp.ClientSession() as session:
                        async with session.get(url) as answer:
                            assert (await answer.text()) == "GET /any/target?x\\n"
                        for data in (b"y" * 100000, pieces()):
                            async with session.post(url, data=data) as answer:
                                body = await answer.read()
                                assert answer.status == 200 and len(body) > 50000
                        async with session.head(url) as answer:
                            assert answer.status == 200 and await answer.read() == b""
                        assert len(session.connector._conns) == 1
                    print("all is well")
                asyncio.run(main(sys.argv[1]))
                """, http,
            ])
        client.endInput()
        #expect(client.readOutput() == "all is well\n")
        #expect(client.readErrors() == "")
        #expect(client.wait() == 0)
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
    }

    @Test(.enabled(if: hasAIOHTTP, "python3-aiohttp is not installed"))
    func `torsion ws talks to aiohttp's server`() throws {
        let server = try Program(
            path: "/usr/bin/python3",
            [
                "-c",
                """
                import asyncio
                from aiohttp import web
                async def serve(request):
                    socket = web.WebSocketResponse(protocols=["b", "a"])
                    await socket.prepare(request)
                    async for message in socket:
                        await socket.send_str(f"{socket.ws_protocol} {message.data}")
                    return socket
                async def main():
                    app = web.Application()
                    app.router.add_get("/chat", serve)
                    runner = web.AppRunner(app)
                    await runner.setup()
                    await web.TCPSite(runner, "127.0.0.1", 0).start()
                    print(runner.addresses[0][1], flush=True)
                    await asyncio.Future()
                asyncio.run(main())
                """,
            ])
        let url = "ws://127.0.0.1:\(server.readLine())/chat"
        for options in [[], ["--compress"]] {
            let client = try Program(
                "torsion", ["ws", "--subprotocols", "a,c", url] + options)
            client.write("one\ntwo\n")
            client.endInput()
            #expect(client.readOutput() == "a one\na two\n")
            #expect(client.wait() == 0)
        }
        server.signal(SIGKILL)
        _ = server.wait()
    }
}
