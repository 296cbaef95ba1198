// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing

/// The programs that readers of README and the book wrote: what they stand on stays as it is.
@Suite(.serialized) struct ReaderProgramTests {
    private static func port(of line: String) throws -> UInt16 {
        let prefix = "listening on 127.0.0.1:"
        try #require(line.hasPrefix(prefix), "\(line)")
        return try #require(UInt16(line.dropFirst(prefix.count)))
    }

    @Test func `a broker carries what is published, and takes its leave`() throws {
        let broker = try Program("Broker", ["serve", "tcp:0:interface=127.0.0.1"])
        let port = try Self.port(of: broker.readLine())
        let subscriber = try Socket(port: port)
        subscriber.write("SUB news\r\n")
        #expect(subscriber.readLine() == "OK 1")
        let publisher = try Program(
            "Broker", ["publish", "tcp:127.0.0.1:\(port)", "news", "rain"])
        #expect(publisher.readOutput() == "OK 1\n" && publisher.wait() == 0)
        #expect(subscriber.readLine() == "MSG news  rain")
        let load = try Program("Broker", ["load", "tcp:127.0.0.1:\(port)", "20", "50"])
        #expect(load.readOutput().hasPrefix("20 subscribers, 1000 messages, 40 other lines, "))
        #expect(load.wait() == 0)
        broker.signal(SIGTERM)
        // The producer of this connection does not hold it open.
        #expect(subscriber.readToEnd() == "BYE\r\n")
        subscriber.close()
        #expect(broker.readOutput().contains("open 0, queued 0 bytes, delivered 1001, dropped 0"))
        #expect(broker.wait() == 0)
    }

    @Test func `a watch tells who answers, who is silent and who is not there`() throws {
        let broker = try Program("Broker", ["serve", "tcp:0:interface=127.0.0.1"])
        let port = try Self.port(of: broker.readLine())
        let silent = try Socket.bound()
        try silent.listen()
        let watch = try Program(
            "Watch",
            [
                "tcp:0:interface=127.0.0.1", "tcp:127.0.0.1:\(port)",
                "tcp:127.0.0.1:\(silent.port)",
                "tcp:127.0.0.80:9",
            ])
        _ = try Self.port(of: watch.readLine())
        let rows = [watch.readLine(), watch.readLine(), watch.readLine(), watch.readLine()]
        #expect(rows[0].contains(" up ") && rows[0].contains("PONG"))
        #expect(rows[1].contains(" late "))
        #expect(rows[2].contains(" down ") && rows[2].contains("connection refused"))
        #expect(rows[3].hasPrefix("round 1: 1 of 3 up"))
        for program in [watch, broker] {
            program.signal(SIGTERM)
            #expect(program.wait() == 0)
        }
        silent.close()
    }

    @Test func `a relay takes the server that is there, and half-closes both ways`() throws {
        let echo = try Program("Echo", ["tcp:0:interface=127.0.0.1"])
        let server = try Self.port(of: echo.readLine())
        let relay = try Program(
            "Relay",
            ["tcp:0:interface=127.0.0.1", "0", "tcp:127.0.0.80:9", "tcp:127.0.0.1:\(server)"])
        let client = try Socket(port: try Self.port(of: relay.readLine()))
        client.write("through")
        client.endOutput()
        #expect(client.readToEnd() == "through")
        client.close()
        #expect(relay.readLine().contains("via tcp:127.0.0.1:\(server): 7 up, 7 down"))
        for program in [relay, echo] {
            program.signal(SIGTERM)
            #expect(program.wait() == 0)
        }
    }
}
