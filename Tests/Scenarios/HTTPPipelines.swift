// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionHTTP
import TorsionTesting

extension Scenario {
    /// Clients that send several requests at once, some with bodies that come slowly, to a server that
    /// answers each after a while: the answers have the order of the requests, whatever a client that goes
    /// away leaves behind.
    static let http = Scenario("http") { world in
        let ledger = Ledger()
        world.vary()
        let site = HTTPSite(world, ledger)
        let server = world.host("server")
        try server.run { try site.listen(on: $0) }
        let count = 1 + world.dice.below(4)
        let clients = (1...count).map { PipeliningClient($0, world, ledger, of: site) }
        for client in clients { try client.start(in: world) }
        let stopTime = world.dice.percent(20) ? 1 + world.dice.below(10_000) : 0
        if stopTime > 0 {
            world.at(.milliseconds(stopTime)) { server.reactor.stop(within: .seconds(600)) }
        }
        world.always { try ledger.check() }
        try world.run(limit: .seconds(36_000)) { clients.allSatisfy(\.isOver) }
        for client in clients where stopTime == 0 && world.isCalm && world.isHonest {
            client.checkWhole()
        }
        try ledger.check()
    }
}

/// Asks for several things over one connection without waiting.
private final class PipeliningClient: StreamProtocol {
    private struct Request {
        let method: HTTPMethod
        let number: Int
    }

    private let name: String
    private let ledger: Ledger
    private let site: HTTPSite
    private let world: SimulatedWorld
    private let requests: [Request]
    /// What is still to be sent.
    private var unsent: [UInt8] = []
    private var dice: SeededDice
    private let leavesAfter: Duration?
    private var reader = AnswerReader()
    private var answeredCount = 0
    private var body: [UInt8] = []
    /// The server has said that this answer is the last.
    private var wasClosed = false
    /// The server was shown an end in the middle of a body, which nobody sent.
    private var wasRefused = false
    private(set) var isOver = false
    private var transport: (any StreamTransport)?

    init(_ index: Int, _ world: SimulatedWorld, _ ledger: Ledger, of site: HTTPSite) {
        name = "client\(index)"
        self.ledger = ledger
        self.site = site
        self.world = world
        dice = SeededDice(seed: world.dice.next())
        let count = 1 + dice.below(8)
        var requests: [Request] = []
        for number in 1...count {
            let method = dice.percent(30) ? HTTPMethod.post : .get
            requests.append(Request(method: method, number: 100 * index + number))
        }
        self.requests = requests
        leavesAfter = dice.percent(25) ? .milliseconds(dice.below(20_000)) : nil
        for request in requests {
            let content = request.method == .post ? site.content(request.number) : []
            unsent += "\(request.method) /\(request.number) HTTP/1.1\r\nHost: a\r\n".utf8
            unsent += "Content-Length: \(content.count)\r\n\r\n".utf8
            unsent += content
        }
    }

    func start(in world: SimulatedWorld) throws {
        let delay = Duration.milliseconds(dice.below(2_000))
        try world.host(name).run { reactor in
            reactor.callLater(delay) { [self] in
                ClientEndpoint.tcp(host: "server", port: 80).connect(on: reactor) { self }
                    .whenFailed { [self] _ in isOver = true }
            }
        }
    }

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        reader.begin(requests[0].method)
        send()
        guard let leavesAfter else { return }
        transport.reactor.callLater(leavesAfter) { [self] in self.transport?.abortConnection() }
    }

    private func send() {
        guard let transport, !unsent.isEmpty else { return }
        // Beyond its high watermark it would not read, and neither would a server whose answers it does not
        // read: see `Watermarks`.
        guard transport.pendingByteCount < 10_000 else {
            transport.reactor.callLater(.milliseconds(10)) { [self] in send() }
            return
        }
        let count = min(unsent.count, 1 + dice.below([30, 3_000, 20_000][dice.below(3)]))
        transport.write(Bytes(unsent[..<count]))
        unsent.removeFirst(count)
        let delay = Duration.microseconds(dice.percent(60) ? 0 : dice.below(2_000_000))
        transport.reactor.callLater(delay) { [self] in send() }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        var position = 0
        while let event = try reader.next(bytes, &position) {
            switch event {
            case .head(let head):
                wasRefused = head.status == .badRequest && !world.isHonest
                ledger.expect(head.status == .ok || wasRefused, "\(name): \(head.status)")
                if head.fields[.connection] == "close" { wasClosed = true }
            case .body(let range): body += [UInt8](bytes.extracting(range))
            case .end: answerEnded(transport)
            }
        }
        ledger.expect(position == bytes.byteCount || wasClosed, "\(name): an answer too many")
    }

    private func answerEnded(_ transport: any StreamTransport) {
        let request = requests[answeredCount]
        let content = site.content(request.number)
        ledger.expect(
            body == content || wasRefused,
            "\(name): \(body.count) bytes for request \(request.number)")
        body = []
        answeredCount += 1
        guard answeredCount < requests.count, !wasClosed else { return transport.loseConnection() }
        reader.begin(requests[answeredCount].method)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        unsent = []
        isOver = true
    }

    /// Nothing but the server's word or its own leaving keeps it from being answered.
    func checkWhole() {
        ledger.expect(
            answeredCount == requests.count || wasClosed || leavesAfter != nil,
            "\(name): \(answeredCount) of \(requests.count) answers")
    }
}
