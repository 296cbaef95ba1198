// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing
import Torsion

/// The example for datagrams, over real sockets.
@Suite(.serialized) struct UDPPingTests {
    private func ping(_ port: UInt16, at host: String = "127.0.0.1") throws -> String {
        let client = try Program("UDPPing", [#"udp:0:peer=\#(host)\:\#(port)"#])
        defer { #expect(client.wait() == 0) }
        return client.readOutput()
    }

    @Test func `pings are answered`() throws {
        let port = try Socket.freePort()
        let server = try Program("UDPPing", ["udp:\(port):interface=127.0.0.1"])
        // It prints nothing; whether it listens is seen by asking.
        var answer = ""
        for _ in 0..<50 where answer != "3 of 3 answered\n" { answer = try ping(port) }
        #expect(answer == "3 of 3 answered\n")
        server.signal(SIGTERM)
        #expect(server.wait() == 0)
    }

    @Test func `pings that nobody answers are given up`() throws {
        // No test binds to this address.
        #expect(try ping(9, at: "127.0.0.78") == "0 of 3 answered\n")
    }
}
