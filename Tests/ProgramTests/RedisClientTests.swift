// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion
import TorsionTesting

@Suite struct RedisClientTests {
    @Test func `replies are the same however they are cut`() throws {
        let bytes = Bytes("+OK\r\n$2\r\nhi\r\n*2\r\n:42\r\n*1\r\n$-1\r\n-ERR no\r\n$0\r\n\r\n")
        for pieces in chunkings(of: bytes) {
            let messages = MessageBuffer(limitBytes: 100)
            var replies: [RedisReply] = []
            for piece in pieces {
                _ = try messages.decode(piece.span) { reader in
                    replies.append(try RedisReplyDecoder().decode(&reader))
                    return true
                }
            }
            #expect(
                replies == [
                    .status("OK"), .text("hi"), .array([.number(42), .array([.text(nil)])]),
                    .error("ERR no"), .text(""),
                ])
        }
    }

    @Test(.enabled(if: isInstalled("redis-server")))
    func `a client speaks to redis-server, a thousand commands at once`() throws {
        let port = try Socket.freePort()
        let server = try Program(
            path: "redis-server",
            ["--port", "\(port)", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        defer {
            server.signal(15)
            _ = server.readOutput()
            _ = server.wait()
        }
        try runProgram { reactor in
            let endpoint = ClientEndpoint.tcp(host: "127.0.0.1", port: port)
            let probe = try await ProgramTests.connect(to: endpoint, on: reactor)
            probe.close()
            let client = try await endpoint.connect(on: reactor) { RedisClient() }.value
            #expect(try await client.send("SET", "a", "1").value == .status("OK"))
            let replies = (0..<1_000).map { _ in client.send("INCR", "a") }
            let numbers = try await gatherResults(replies, on: reactor).value
            #expect(numbers == (2...1_001).map { .number($0) })
            let (list, error) = try await gatherResults(
                client.send("MGET", "a", "b"), client.send("NOSUCH")
            ).value
            #expect(list == .array([.text("1001"), .text(nil)]))
            guard case .error = error else {
                Issue.record("\(error)")
                return
            }
            client.close()
        }
    }
}
