// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing
import Torsion

@Suite struct IRCBotTests {
    @Test func `a bot answers who names it, and a server that asks`() throws {
        try runProgram { reactor in
            let place = Deferred<SocketAddress>(on: reactor)
            var said: [String] = []
            let server = reactor.spawn {
                try await ServerEndpoint.tcp(port: 0, interface: .loopback).serve(
                    on: reactor, whenListening: { place.succeed($0.localAddress) }
                ) { client in
                    var lines = client.lines().makeAsyncIterator()
                    func hear() async throws {
                        if let line = try await lines.next() { said.append("\(line)") }
                    }
                    for _ in 0..<2 { try await hear() }
                    try await client.write(":srv 001 bot :welcome\r\nPING :42\r\n")
                    for _ in 0..<2 { try await hear() }
                    try await client.write(":ann!a@h PRIVMSG #room :hi bot\r\n")
                    try await hear()
                    try await client.write(":ann!a@h PRIVMSG #room :nothing\r\n")
                    // The bot asks by itself, since nothing else comes.
                    try await hear()
                    try await client.write(":ann!a@h PRIVMSG #room :goodbye bot\r\n")
                    while said.last != "QUIT :bye" { try await hear() }
                }
            }
            let bot = IRCBot(
                name: "bot", channel: "#room", reactor: reactor, pingInterval: .milliseconds(100))
            try await bot.run(at: .address(try await place.value))
            while said.last != "QUIT :bye" { await reactor.yield() }
            server.cancel()
            let pings = said.count { $0 == "PING :bot" }
            #expect(pings >= 1)
            #expect(
                said.filter { $0 != "PING :bot" } == [
                    "NICK bot", "USER bot 0 * :a bot", "JOIN #room", "PONG :42",
                    "PRIVMSG #room :hello, ann", "QUIT :bye",
                ])
        }
    }

    @Test(.enabled(if: access("/usr/sbin/ngircd", X_OK) == 0))
    func `the bot talks to a person on ngircd`() throws {
        let port = try Socket.freePort()
        let path = "/tmp/torsion-ngircd-\(port).conf"
        let file = try #require(fopen(path, "w"))
        fputs(
            "[Global]\nName = irc.example.org\nInfo = test\nListen = 127.0.0.1\nPorts = \(port)\n"
                + "[Options]\nDNS = no\nIdent = no\nPAM = no\n", file)
        fclose(file)
        defer { unlink(path) }
        let daemon = try Program(path: "/usr/sbin/ngircd", ["-n", "-f", path])
        defer {
            daemon.signal(SIGTERM)
            _ = daemon.readOutput()
            _ = daemon.wait()
        }
        try runProgram { reactor in
            let endpoint = ClientEndpoint.tcp(host: "127.0.0.1", port: port)
            let person = try await ProgramTests.connect(to: endpoint, on: reactor)
            let bot = IRCBot(name: "robbie", channel: "#room", reactor: reactor)
            let running = reactor.spawn { try await bot.run(at: endpoint) }
            try await person.write("NICK ann\r\nUSER ann 0 * :Ann\r\n")
            for try await line in person.lines() {
                let message = Message(line)
                if message.command == "001" { try await person.write("JOIN #room\r\n") }
                if message.command == "PING" { try await person.write("PONG :\(message.text)\r\n") }
                let isThere =
                    message.command == "JOIN" && message.sender == "robbie"
                    || message.command == "353" && message.text.contains("robbie")
                if isThere { try await person.write("PRIVMSG #room :hi robbie\r\n") }
                if message.text == "hello, ann" {
                    try await person.write("PRIVMSG #room :goodbye robbie\r\n")
                    break
                }
            }
            try await running.value
            person.close()
        }
    }
}
