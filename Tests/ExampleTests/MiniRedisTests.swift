// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing

/// The example with plain sockets, and with Redis's own programs where they are installed.
@Suite(.serialized) struct MiniRedisTests {
    private struct Server {
        let program: Program
        let port: UInt16

        init() throws {
            program = try Program("MiniRedis", ["tcp:0:interface=127.0.0.1"])
            let line = program.readLine()
            port = try #require(UInt16(line.dropFirst("listening on 127.0.0.1:".count)), "\(line)")
        }

        func stop() {
            program.signal(SIGTERM)
            #expect(program.wait() == 0)
        }
    }

    @Test func `MiniRedis answers what is sent at once, in order`() throws {
        let server = try Server()
        let client = try Socket(port: server.port)
        client.write(
            "PING\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n41\r\n*2\r\n$4\r\nincr\r\n$1\r\na\r\n"
                + "GET a\r\nGET b\r\nEXPIRE a 0\r\nGET a\r\nINCR\r\nFLY\r\n\r\nSET t x\r\nINCR t\r\n"
                + "*1\r\n$-1\r\nmore")
        client.endOutput()
        #expect(
            client.readToEnd()
                == "+PONG\r\n+OK\r\n:42\r\n$2\r\n42\r\n$-1\r\n:1\r\n$-1\r\n"
                + "-ERR wrong number of arguments\r\n-ERR unknown command\r\n+OK\r\n"
                + "-ERR value is not an integer or out of range\r\n"
                + "-ERR Protocol error: the byte at position 5 is not the beginning of a number"
                + " within the range of its type\r\n")
        client.close()
        server.stop()
    }

    @Test func `a client that reads nothing is paused, and loses no answer`() throws {
        let server = try Server()
        let client = try Socket(port: server.port)
        let value = String(repeating: "x", count: 50_000)
        client.write("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$50000\r\n\(value)\r\n")
        #expect(client.readLine() == "+OK")
        // 50 MB of answers are more than the limit of a connection's queue, 16 MiB.
        client.write(String(repeating: "GET a\r\n", count: 1_000))
        client.endOutput()
        let whole = client.readToEnd()
        #expect(whole.utf8.count == 1_000 * (50_000 + 10))
        client.close()
        server.stop()
    }

    @Test func `a message reaches all who have subscribed`() throws {
        let server = try Server()
        let readers = try (0..<2).map { _ in try Socket(port: server.port) }
        for reader in readers {
            reader.write("SUBSCRIBE news\r\n")
            let lines = (0..<6).map { _ in reader.readLine() }
            #expect(lines == ["*3", "$9", "subscribe", "$4", "news", ":1"])
            reader.write("GET a\r\nPING\r\n")
            #expect(reader.readLine().hasPrefix("-ERR only"))
            #expect((0..<5).map { _ in reader.readLine() } == ["*2", "$4", "pong", "$0", ""])
        }
        let writer = try Socket(port: server.port)
        writer.write("PUBLISH news hello\r\nPUBLISH old hello\r\n")
        #expect(writer.readLine() == ":2" && writer.readLine() == ":0")
        for reader in readers {
            let lines = (0..<7).map { _ in reader.readLine() }
            #expect(lines == ["*3", "$7", "message", "$4", "news", "$5", "hello"])
        }
        (readers + [writer]).forEach { $0.close() }
        server.stop()
    }

    @Test(.enabled(if: isInstalled("redis-cli")))
    func `redis-cli speaks to it`() throws {
        let server = try Server()
        func ask(_ words: String...) throws -> String {
            let cli = try Program(path: "redis-cli", ["-p", "\(server.port)"] + words)
            let output = cli.readOutput()
            #expect(cli.wait() == 0)
            return output
        }
        #expect(try ask("ping") == "PONG\n")
        #expect(try ask("set", "name", "a b") == "OK\n")
        #expect(try ask("get", "name") == "a b\n")
        #expect(try ask("incr", "n") == "1\n")
        #expect(try ask("expire", "n", "100") == "1\n")
        #expect(try ask("publish", "news", "x") == "0\n")
        server.stop()
    }

    @Test(.enabled(if: isInstalled("redis-benchmark")))
    func `redis-benchmark is served, with sixteen commands at once`() throws {
        let server = try Server()
        let benchmark = try Program(
            path: "redis-benchmark",
            ["-p", "\(server.port)", "-t", "ping,get,set", "-P", "16", "-n", "2000", "-q"])
        let output = benchmark.readOutput()
        #expect(benchmark.wait() == 0)
        for name in ["PING_INLINE", "PING_MBULK", "SET", "GET"] {
            #expect(output.contains("\(name): "), "\(output)")
        }
        #expect(!output.contains("Error"))
        server.stop()
    }
}
