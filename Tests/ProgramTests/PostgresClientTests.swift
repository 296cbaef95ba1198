// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing
import Torsion

/// Where Debian puts PostgreSQL's programs.
private let folder = "/usr/lib/postgresql/15/bin"

@Suite struct PostgresClientTests {
    @Test func `a server that speaks another protocol is an error`() throws {
        try runProgram { reactor in
            let place = Deferred<SocketAddress>(on: reactor)
            let server = reactor.spawn {
                try await ServerEndpoint.tcp(port: 0, interface: .loopback).serve(
                    on: reactor, whenListening: { place.succeed($0.localAddress) }
                ) { client in
                    let head = try await client.read(exactly: 4)
                    let length = head.span.integer(at: 0, as: UInt32.self) ?? 4
                    _ = try await client.read(exactly: Int(length) - 4)
                    // An error, then nothing.
                    try await client.write(Bytes("E\0\0\0\u{a}Mno\0\0\0"))
                }
            }
            let connection = try await ClientEndpoint.address(try await place.value)
                .connect(on: reactor).value
            await #expect(throws: PostgresClient.Failure(message: "no")) {
                _ = try await PostgresClient(user: "a", database: "b", over: connection)
            }
            server.cancel()
        }
    }

    // A cluster of its own, in a folder of its own: a few seconds.
    @Test(.enabled(if: access(folder + "/initdb", X_OK) == 0 && getuid() == 0))
    func `PostgreSQL answers simple queries`() throws {
        let place = "/tmp/torsion-postgres-\(getpid())"
        func shell(_ command: String) throws -> (String, Int32) {
            let words = ["-u", "postgres", "--", "sh", "-c", command]
            let program = try Program(path: "runuser", words)
            program.endInput()
            let text = program.readOutput()
            return (text, program.wait())
        }
        let made = try shell("\(folder)/initdb -D \(place) -A trust -N -U me --no-instructions")
        try #require(made.1 == 0, "\(made.0)")
        defer { _ = try? shell("rm -rf \(place)") }
        let started = try shell(
            "\(folder)/pg_ctl -D \(place) -w -l \(place)/log start"
                + " -o \"-c listen_addresses='' -k \(place) -F\"")
        try #require(started.1 == 0, "\(started.0)")
        defer { _ = try? shell("\(folder)/pg_ctl -D \(place) -m immediate stop") }
        try runProgram { reactor in
            let endpoint = ClientEndpoint.unix(path: place + "/.s.PGSQL.5432")
            let client = try await PostgresClient(
                user: "me", database: "postgres",
                over: try await endpoint.connect(on: reactor).value)
            #expect(
                try await client.query("SELECT 1, NULL, 'é'; SELECT 2")
                    == [["1", nil, "é"], ["2"]])
            await #expect(throws: PostgresClient.Failure.self) {
                try await client.query("SELECT nothing")
            }
            let rows = try await client.query("SELECT n FROM generate_series(1, 20000) AS n")
            #expect(rows == (1...20_000).map { ["\($0)"] })
            try await client.close()
        }
    }
}
