// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing

/// What stands in the way of a program at its start is one line on standard error, and status 1.
@Suite struct StartTests {
    /// Those whose first argument is a place to listen at.
    static let servers = [
        "AnyBackend", "Chat", "ChatAsync", "ChatCallbacks", "ChatDeferreds", "Echo", "FourThreads",
        "FromThreads", "GracefulEnd", "Proxy", "Ticker",
    ]

    @Test(arguments: servers)
    func `a port that is taken is one line and status 1`(server: String) throws {
        let taken = try Socket.bound()
        try taken.listen()
        let place = "127.0.0.1:\(taken.port)"
        let program = try start(server, "tcp:\(taken.port):interface=127.0.0.1")
        #expect(
            program.readErrors()
                == "cannot listen on \(place): address already in use (EADDRINUSE);"
                + " take another port, or port 0 for one that is free\n")
        #expect(!program.readOutput().contains("listening"))
        #expect(program.wait() == 1)
    }

    /// A proxy wants to know its target as well.
    private func start(_ name: String, _ place: String) throws -> Program {
        try Program(name, [place] + (name == "Proxy" ? ["tcp:127.0.0.1:1"] : []))
    }

    @Test func `so is a port for datagrams`() throws {
        let taken = try Socket.boundToUDP()
        let program = try Program("UDPPing", ["udp:\(taken.port):interface=127.0.0.1"])
        let errors = program.readErrors()
        #expect(
            errors.hasPrefix("cannot listen on 127.0.0.1:\(taken.port): address already in use"))
        #expect(errors.filter { $0 == "\n" }.count == 1)
        #expect(program.wait() == 1)
    }

    @Test(arguments: servers + ["HTTPRequest", "RetryingClient", "UDPPing"])
    func `a place that is none is one line and status 1`(name: String) throws {
        let program = try start(name, "nowhere:1")
        let errors = program.readErrors()
        #expect(errors.contains("'nowhere'"), "\(errors)")
        #expect(errors.filter { $0 == "\n" }.count == 1, "\(errors)")
        #expect(program.wait() == 1)
    }

    @Test(arguments: ["Echo", "FourThreads", "ChatAsync", "AnyBackend"])
    func `a backend that is none is one line and status 1`(name: String) throws {
        let program = try Program(
            name, ["tcp:0:interface=127.0.0.1"], environment: ["TORSION_BACKEND=abacus"])
        let errors = program.readErrors()
        #expect(errors.contains("abacus"), "\(errors)")
        #expect(errors.filter { $0 == "\n" }.count == 1, "\(errors)")
        #expect(program.wait() == 1)
    }
}
