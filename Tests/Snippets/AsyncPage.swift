// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

// snippet: server
/// Asks each client for its name, and repeats its lines.
func serveNames(at place: String, on reactor: Reactor) async throws {
    try await ServerEndpoint(parsing: place).serve(on: reactor) { connection in
        try await connection.write("name?\r\n")
        guard let name = try await connection.readLine(limitBytes: 100) else { return }
        for try await line in connection.lines() {
            try await connection.write("\(name): \(line)\r\n")
        }
    }
}
// snippet end

// snippet: client
/// Sends one line, and returns the answer; gives up after a second.
func ask(_ endpoint: ClientEndpoint, _ line: String, on reactor: Reactor) async throws -> Bytes? {
    try await reactor.withTimeout(.seconds(1)) {
        let connection = try await endpoint.connect(on: reactor).value
        defer { connection.close() }
        try await connection.write("\(line)\r\n")
        return try await connection.readLine()
    }
}
// snippet end

// snippet: together
/// Asks two servers at once, and waits for both answers.
func askBoth(
    _ first: ClientEndpoint, _ second: ClientEndpoint, on reactor: Reactor
) async throws -> [Bytes?] {
    let (one, other) = try await reactor.concurrently(
        { try await ask(first, "hello", on: reactor) },
        { try await ask(second, "hello", on: reactor) })
    return [one, other]
}
// snippet end

// snippet: spawn
/// Starts a task from a callback.
final class Curious: StreamProtocol {
    private let oracle: ClientEndpoint
    private var question: Deferred<Void>?

    init(_ oracle: ClientEndpoint) { self.oracle = oracle }

    func connectionMade(_ transport: any StreamTransport) {
        let reactor = transport.reactor
        let question = reactor.spawn { [oracle] in
            let answer = try await ask(oracle, "hello", on: reactor)
            transport.write("\(answer ?? "silence")\r\n")
            transport.loseConnection()
        }
        question.whenFailed { error in print("\(error)") }
        self.question = question
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    // Without it the task would go on, and its result would reach nobody.
    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        question?.cancel()
    }
}
// snippet end

// snippet: farewell
/// Says goodbye when the server stops.
func serveUntilStopped(_ connection: AsyncConnection) async throws {
    do {
        for try await line in connection.lines() { try await connection.write(line) }
    } catch is ShutdownRequested {
        try await connection.write("the server is going down\r\n")
    }
}
// snippet end

@Suite struct AsyncPage {
    @Test func `the guide's server and clients talk`() async throws {
        try await withReactor { reactor in
            let place = "unix:@torsion-async-page"
            let port = try ClientEndpoint(parsing: place)
            let server = reactor.spawn { try await serveNames(at: place, on: reactor) }
            // The task begins in a later turn.
            try await reactor.sleep(for: .zero)
            let answers = try await askBoth(port, port, on: reactor)
            #expect(answers == ["name?", "name?"])
            let curious = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
                .listen(on: reactor) { Curious(port) }
            let answer = try await ask(
                ClientEndpoint.address(curious.localAddress), "", on: reactor)
            #expect(answer == "name?")
            server.cancel()
            _ = try? await server.value
        }
    }

    @Test func `a task says goodbye at a stop`() throws {
        var text = ""
        try Reactor.run(signals: .ignore) { reactor in
            let place = "unix:@torsion-async-farewell"
            reactor.spawn {
                try await ServerEndpoint(parsing: place).serve(on: reactor) {
                    try await serveUntilStopped($0)
                }
            }.whenFailed { _ in }
            let sender = Collecting { text += $0 }
            reactor.callLater(.zero) {
                try ClientEndpoint(parsing: place).connect(on: reactor) { sender }
                    .addCallback { _ in _ = reactor.stop(within: .seconds(5)) }
                    .whenFailed { Issue.record("\($0)") }
            }
        }
        #expect(text == "the server is going down\r\n")
    }
}

private final class Collecting: StreamProtocol {
    private let add: (String) -> Void
    init(_ add: @escaping (String) -> Void) { self.add = add }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        add(String(decoding: bytes))
    }
    func shutdownRequested(_ transport: any StreamTransport) {}
}
