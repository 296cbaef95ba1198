// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

/// Clients of a chat, who talk all the time, come back when they lose their connection, and count what
/// they get.
final class Crowd {
    let address: SocketAddress
    let reactor: Reactor
    private(set) var clients: [ChatClient] = []
    /// The keys of all that was said.
    private(set) var said: [String] = []
    /// Connections that failed, or ended before the welcome.
    var refused = 0
    /// Messages that somebody got a second time, or behind a later one.
    var doubled = 0
    private var isTalking = true
    private var waiting: [Wait] = []

    /// Called for each message that somebody gets, so what a condition looks at is counted, not searched.
    private struct Wait {
        let condition: (Crowd) -> Bool
        let end: CheckedContinuation<Void, any Error>
        let limit: DelayedCall
    }

    init(count: Int, at port: UInt16, on reactor: Reactor) {
        self.reactor = reactor
        address = .ipv4(.loopback, port: port)
        clients = (0..<count).map { ChatClient($0, in: self) }
        for client in clients { client.connect() }
    }

    /// Messages that somebody has not got.
    var missed: Int { said.count * clients.count - seen }
    /// Messages that somebody got, for each who did.
    private var seen = 0
    /// How many clients have got each message of `said`.
    private var seenCounts: [Int] = []
    private var numbers: [String: Int] = [:]
    /// So many of `said`, from the first, have reached everybody.
    private(set) var settledCount = 0

    func note(_ key: String) {
        numbers[key] = said.count
        said.append(key)
        seenCounts.append(0)
        check()
    }

    /// Somebody got a message for the first time.
    fileprivate func noteSeen(_ key: String) {
        guard let number = numbers[key] else { return }
        seen += 1
        seenCounts[number] += 1
        while settledCount < said.count, seenCounts[settledCount] == clients.count {
            settledCount += 1
        }
    }

    /// Each says something every 200 ms, one after the other.
    func talk() {
        isTalking = true
        for (number, client) in clients.enumerated() {
            reactor.callLater(.milliseconds(200 * number / clients.count)) { self.goOn(client) }
        }
    }

    private func goOn(_ client: ChatClient) {
        guard isTalking else { return }
        client.say()
        reactor.callLater(.milliseconds(200)) { self.goOn(client) }
    }

    func beQuiet() { isTalking = false }

    // MARK: Waiting

    struct TookTooLong: Error { let state: String }

    /// For ten seconds at most.
    func wait(
        until condition: @escaping (Crowd) -> Bool, _ end: CheckedContinuation<Void, any Error>
    ) {
        let limit = reactor.callLater(.seconds(10)) { self.giveUp() }
        waiting.append(Wait(condition: condition, end: end, limit: limit))
        check()
    }

    /// Something has happened.
    func check() {
        waiting.removeAll { wait in
            guard wait.condition(self) else { return false }
            wait.limit.cancel()
            wait.end.resume()
            return true
        }
    }

    private func giveUp() {
        let names = Set(clients.map { $0.node ?? "none" }).sorted()
        let state = "nodes \(names), said \(said.count), missed \(missed), refused \(refused)"
        for wait in waiting { wait.end.resume(throwing: TookTooLong(state: state)) }
        waiting = []
    }

    func leave() {
        isTalking = false
        for client in clients { client.leave() }
    }
}

extension Remote where Object == Crowd {
    /// Waits, ten seconds at most, until something is so.
    func until(_ condition: @escaping @Sendable (Crowd) -> Bool) async throws {
        try await withCheckedThrowingContinuation { continuation in
            callFromThread { $0.wait(until: condition, continuation) }
        }
    }
}

/// One of them.
final class ChatClient {
    private let number: Int
    private unowned let crowd: Crowd
    private var transport: (any StreamTransport)?
    private var messageCount = 0
    private var lastNumber = 0
    /// Said, and not seen yet.
    private var unsent: [String] = []
    private var hasLeft = false
    /// Which node serves it; nil while it has no connection.
    private(set) var node: String?
    private var seen: Set<String> = []
    /// What the node says of where this client is.
    private(set) var knownAs = ""
    /// Where it is.
    private(set) var address = ""

    init(_ number: Int, in crowd: Crowd) {
        self.number = number
        self.crowd = crowd
    }

    func connect() {
        guard !hasLeft else { return }
        ClientEndpoint.address(crowd.address).connect(on: crowd.reactor) { Line(of: self) }
            .whenFailed { _ in self.refused() }
    }

    private func refused() {
        crowd.refused += 1
        crowd.reactor.callLater(.milliseconds(10)) { self.connect() }
    }

    func say() {
        messageCount += 1
        let key = "\(number)-\(messageCount)"
        crowd.note(key)
        unsent.append(key)
        if node != nil { transport?.write("SAY \(key) hello all\n") }
    }

    func leave() {
        hasLeft = true
        transport?.loseConnection()
    }

    private func welcome(_ node: String, _ address: String) {
        self.node = node
        knownAs = address
        for key in unsent { transport?.write("SAY \(key) hello all\n") }
    }

    private func got(_ number: Int, _ key: String) {
        if number <= lastNumber || !seen.insert(key).inserted {
            crowd.doubled += 1
        } else {
            crowd.noteSeen(key)
        }
        lastNumber = number
        unsent.removeAll { $0 == key }
    }

    /// One connection of its.
    private final class Line: LineProtocol {
        let lines = LineDecoder()
        private let client: ChatClient

        init(of client: ChatClient) { self.client = client }

        func connectionMade(_ transport: any StreamTransport) {
            client.transport = transport
            client.address = "\(transport.localAddress)"
            transport.write("HELLO \(client.lastNumber)\n")
        }

        func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
            let words = String(decoding: line).split(separator: " ").map(String.init)
            if words[0] == "WELCOME" {
                client.welcome(words[1], words[2])
            } else {
                client.got(Int(words[0])!, words[1])
            }
            client.crowd.check()
        }

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            let wasServed = client.node != nil
            client.transport = nil
            client.node = nil
            if wasServed { client.connect() } else { client.refused() }
        }
    }
}
