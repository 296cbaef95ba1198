// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion
import TorsionTesting

@Suite struct MemcachedServerTests {
    /// A client's part of a conversation.
    private static let questions =
        "get a\r\nset a 5 0 3\r\nx\r\n\r\nget a b\r\nset b 0 0 0\r\n\r\nget a b\r\n"
        + "delete a\r\ndelete a\r\nget a b\r\nnonsense\r\nget b\r\n"

    @Test func `answers are the same however the questions are cut`() {
        for pieces in chunkings(of: Bytes(Self.questions)) {
            let peer = MemoryTransport(MemcachedServer(Cache()))
            peer.receive(pieces: pieces)
            #expect(
                peer.takeText()
                    == "END\r\nSTORED\r\nVALUE a 5 3\r\nx\r\n\r\nEND\r\nSTORED\r\n"
                    + "VALUE a 5 3\r\nx\r\n\r\nVALUE b 0 0\r\n\r\nEND\r\nDELETED\r\n"
                    + "NOT_FOUND\r\nVALUE b 0 0\r\n\r\nEND\r\nERROR\r\nVALUE b 0 0\r\n\r\nEND\r\n")
        }
    }

    @Test func `what is too much is refused, and the next command is read`() {
        let peer = MemoryTransport(MemcachedServer(Cache(limitBytes: 10)))
        peer.receive("set a 0 0 20\r\n12345678901234567890\r\nget a\r\n")
        peer.receive(
            "set b 0 0 2000000\r\n" + String(repeating: "x", count: 2_000_000) + "\r\nget b\r\n")
        #expect(
            peer.takeText()
                == "SERVER_ERROR out of memory storing object\r\nEND\r\n"
                + "SERVER_ERROR object too large for cache\r\nEND\r\n")
    }

    @Test(.enabled(if: isInstalled("memcached")))
    func `memcached says the same`() throws {
        let port = try Socket.freePort()
        let real = try Program(
            path: "memcached", ["-u", "nobody", "-l", "127.0.0.1", "-p", "\(port)", "-U", "0"])
        defer {
            real.signal(15)
            _ = real.readOutput()
            _ = real.wait()
        }
        let answers = try runProgram { reactor in
            let own = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor) { MemcachedServer(Cache()) }
            var answers: [Bytes] = []
            for endpoint in [
                ClientEndpoint.tcp(host: "127.0.0.1", port: port), .address(own.localAddress),
            ] {
                let connection = try await ProgramTests.connect(to: endpoint, on: reactor)
                try await connection.write(Self.questions + "quit\r\n")
                answers.append(try await connection.readToEnd(limitBytes: 10_000))
            }
            return answers
        }
        #expect(answers[0] == answers[1])
    }
}
