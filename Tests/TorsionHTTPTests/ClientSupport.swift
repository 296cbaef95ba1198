// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
@testable import TorsionHTTP
import TorsionTesting

/// A server's side of one connection, which a test plays.
final class Conversation: HalfCloseableProtocol {
    private let script: (Conversation) -> Void
    private(set) var transport: (any StreamTransport)?
    private(set) var text = ""
    private(set) var loss: ConnectionLoss?
    private(set) var hasPeerEnded = false
    let number: Int

    init(_ number: Int, _ script: @escaping (Conversation) -> Void) {
        self.number = number
        self.script = script
    }

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        text += String(decoding: bytes)
        script(self)
    }

    func readConnectionLost(from transport: any StreamTransport) {
        hasPeerEnded = true
        transport.loseConnection()
    }

    func writeConnectionLost(from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        self.transport = nil
    }

    /// How many heads have come.
    var requestCount: Int {
        text.split(separator: "\r\n\r\n", omittingEmptySubsequences: false).count - 1
    }

    /// The path of the last request, once that is whole.
    var wholePath: Substring? {
        guard let version = text.ranges(of: " HTTP/1.1\r\n").last else { return nil }
        let rest = text[version.upperBound...]
        guard let end = rest.firstRange(of: "\r\n\r\n") else { return nil }
        let head = rest[..<end.lowerBound]
        if let length = head.firstRange(of: "Content-Length: ") {
            let count = Int(head[length.upperBound...].prefix { $0.isNumber }) ?? 0
            guard rest[end.upperBound...].utf8.count >= count else { return nil }
        }
        return text[..<version.lowerBound].split(separator: " ").last
    }

    /// Answers with a text as the corpus writes it.
    func answer(_ text: String) { transport?.write(decoded(text)) }
}

/// A server that a test plays, and a client, in a simulated network.
final class ClientSite {
    let world: SimulatedWorld
    let client: HTTPClient
    private(set) var conversations: [Conversation] = []
    private(set) var outcomes: [Outcome] = []

    /// What became of one request.
    final class Outcome {
        fileprivate(set) var response: ClientResponse?
        fileprivate(set) var head: ResponseHead?
        fileprivate(set) var body: Bytes?
        fileprivate(set) var error: (any Error)?
        fileprivate(set) var deferred: AnyDeferred?
        var isOver: Bool { body != nil || error != nil }
        var text: String? { body.map { String(decoding: $0) } }
        func cancel() { deferred?.cancel() }
        func release() { response = nil }
    }

    init(
        seed: UInt64 = 1, _ options: HTTPClientOptions = HTTPClientOptions(),
        script: @escaping (Conversation) -> Void
    ) throws {
        world = SimulatedWorld(seed: seed, faults: .none)
        let reactor = world.host("client").reactor
        client = HTTPClient(on: reactor, options: options)
        try world.host("client").run { _ in }
        try world.host("server").run { [self] reactor in
            try ServerEndpoint.tcp(port: 80).listen(on: reactor) {
                let one = Conversation(self.conversations.count + 1, script)
                self.conversations.append(one)
                return one
            }
        }
        world.always { [client] in client.checkInvariants() }
    }

    var reactor: Reactor { world.host("client").reactor }
    var base: String { "http://server" }

    func url(_ path: String) throws -> HTTPURL { try HTTPURL(parsing: base + path) }

    /// Sends a request, and reads the body of its answer.
    @discardableResult
    func send(_ request: ClientRequest, collects: Bool = true) -> Outcome {
        let outcome = Outcome()
        outcomes.append(outcome)
        let answer = client.send(request).addCallback { response in
            outcome.response = response
            outcome.head = response.head
            return response
        }
        outcome.deferred = answer
        guard collects else {
            answer.whenFailed { outcome.error = $0 }
            return outcome
        }
        let body = answer.addCallback { $0.body.collect(limitBytes: 1 << 22) }
            .addCallback {
                outcome.body = $0
                outcome.response = nil
            }
        outcome.deferred = body
        body.whenFailed {
            outcome.error = $0
            outcome.response = nil
        }
        return outcome
    }

    @discardableResult
    func get(_ path: String, _ fields: FieldList = [:], collects: Bool = true) throws -> Outcome {
        send(ClientRequest(try url(path), fields: fields), collects: collects)
    }

    /// Asks, and waits for the end.
    func ask(_ path: String) throws -> Outcome {
        let outcome = try get(path)
        try world.run { outcome.isOver }
        return outcome
    }

    /// Nothing is left of any connection.
    func finish() throws {
        client.closeIdleConnections()
        for one in conversations { one.transport?.abortConnection() }
        try world.run(for: .seconds(20))
        #expect(client.connectionCount == 0)
        #expect(reactor.delayedCalls.isEmpty)
        try world.finish()
    }
}

/// Answers each request at once with its path, and keeps the connection.
func answering(_ fields: String = "") -> (Conversation) -> Void {
    { conversation in
        guard let path = conversation.wholePath else { return }
        conversation.answer("HTTP/1.1 200 OK|Content-Length: \(path.count)|\(fields)|\(path)")
    }
}
