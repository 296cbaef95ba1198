// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import TestedBackends
import Testing
import Torsion

// Standard error belongs to the process, so the lines are those of a process of its own.

/// The line that an unhandled error writes.
@Suite struct UnhandledLineTests {
    private struct Mishap: Error {}

    private final class Throwing: StreamProtocol {
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
            throw Mishap()
        }
    }

    /// Runs on the calling thread, which async code has no other word for.
    private static func runHere(_ body: (Reactor) throws -> Void) throws {
        try Reactor.run(backend: .epoll, signals: .ignore, body)
    }

    private static func runGroup(_ body: @escaping @Sendable (Reactor) throws -> Void) throws {
        try ReactorGroup.run(count: 2, backend: .epoll, signals: .ignore, body)
    }

    /// What a line says before its text: the time, the process and the reactor.
    private static let head =
        #"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z [^ \[]+\[\d+\] torsion: reactor \d+"#

    private func lines(_ result: ExitTest.Result?) -> [String] {
        String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
            .split(separator: "\n").map(String.init)
    }

    private func expect(
        _ lines: [String], toMatch patterns: [String],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        #expect(lines.count == patterns.count, "\(lines)", sourceLocation: sourceLocation)
        for pattern in patterns {
            let regex = try Regex("^" + Self.head + pattern + "$")
            #expect(
                lines.contains { $0.wholeMatch(of: regex) != nil }, "\(pattern) in \(lines)",
                sourceLocation: sourceLocation)
        }
    }

    @Test func `it names time, process, reactor and the place of a delayed call or a task`()
        async throws
    {
        let result = await #expect(
            processExitsWith: .success, observing: [\.standardErrorContent]
        ) {
            try Self.runHere { reactor in
                reactor.callLater(.zero, file: "Room.swift", line: 41) { throw Mishap() }
                reactor.spawn(file: "Task.swift", line: 42) { throw Mishap() }
                reactor.callLater(.milliseconds(1)) { reactor.stop() }
            }
        }
        try expect(
            lines(result),
            toMatch: [
                #": unhandled error in a delayed call, made at Room\.swift:41: Mishap\(\)"#,
                #": unhandled error in a Deferred, made at Task\.swift:42: Mishap\(\)"#,
            ])
    }

    @Test func `it names the connection`() async throws {
        let result = await #expect(
            processExitsWith: .success, observing: [\.standardErrorContent]
        ) {
            try Self.runHere { reactor in
                let server = try ServerEndpoint.anywhere.listen(on: reactor) { Throwing() }
                let client = Client()
                // Behind the line.
                client.onLoss = { reactor.callLater(.milliseconds(5)) { reactor.stop() } }
                ClientEndpoint.address(server.localAddress).connect(on: reactor) { client }
                    .addCallback { $0.transport?.write("word") }.orIssue()
            }
        }
        let place = #"the protocol of 127\.0\.0\.1:\d+, connection \d+\.\d+"#
        try expect(lines(result), toMatch: [": unhandled error in " + place + #": Mishap\(\)"#])
    }

    @Test func `it names the reactor's place in its group`() async throws {
        let result = await #expect(
            processExitsWith: .success, observing: [\.standardErrorContent]
        ) {
            let count = Lock(0)
            try Self.runGroup { reactor in
                reactor.callLater(.zero) { throw Mishap() }
                reactor.callLater(.milliseconds(1)) {
                    let isLast = count.withLock { count in
                        count += 1
                        return count == 2
                    }
                    if isLast { reactor.stop() }
                }
            }
        }
        let text = "unhandled error in a delayed call, made at .*"
        try expect(
            lines(result), toMatch: [#" \(1 of 2\): "# + text, #" \(2 of 2\): "# + text])
    }

    @Test func `more than ten in a second are counted, and a slow event has the same head`()
        async throws
    {
        let result = await #expect(
            processExitsWith: .success, observing: [\.standardErrorContent]
        ) {
            try Self.runHere { reactor in
                reactor.slowEventLimit = .milliseconds(20)
                reactor.callLater(.zero) {
                    let clock = ContinuousClock()
                    let end = clock.now + .milliseconds(30)
                    while clock.now < end {}
                }
                reactor.callLater(.milliseconds(50)) {
                    for number in 0..<40 {
                        reactor.callLater(.zero) { throw CallFailure(call: "x\(number)", code: 0) }
                    }
                    reactor.callLater(.milliseconds(1)) { reactor.stop() }
                }
            }
        }
        let seen = lines(result)
        let slow = try Regex("^" + Self.head + #" was held for \d+ ms by a delayed call, .*$"#)
        #expect(seen.filter { $0.wholeMatch(of: slow) != nil }.count >= 1, "\(seen)")
        // A machine that is busy may take more than a second.
        #expect((11..<40).contains(seen.count), "\(seen)")
        let more = try Regex(#"^torsion: \(\d+ more\)$"#)
        #expect(seen.last?.wholeMatch(of: more) != nil, "\(seen)")
    }
}
