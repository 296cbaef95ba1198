// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionHTTP
import TorsionTesting
import TorsionWebSocket

extension Scenario {
    /// A station sends numbered messages to WebSockets that read slowly, and pause.
    ///
    /// Each reader gets a run of numbers without a gap: all of them, where slow ones pause the station,
    /// which holds no more for each than its mark and one message.
    static let broadcast = Scenario("broadcast") { world in
        world.vary()
        // Else the handshake would take longer than it may.
        world.network.conditions.sendBufferBytes = max(
            700, world.network.conditions.sendBufferBytes)
        let isPausing = world.dice.percent(50)
        let station = Station(isPausing: isPausing, world)
        try world.host("server").run { reactor in
            station.reactor = reactor
            try reactor.listen(on: .ipv4(.any, port: 80)) { _ in serveHTTP(station) }
        }
        let count = 2 + world.dice.below(3)
        let readers = (1...count).map { _ in Reader(seed: world.dice.next()) }
        station.expectedCount = count
        for (number, reader) in readers.enumerated() {
            try world.host("reader\(number)").run { reactor in
                WebSocket.connect("ws://server/", on: reactor, to: reader)
                    .whenFailed { _ in reader.isOver = true }
            }
        }
        // Those that did not come are not waited for.
        world.at(.seconds(60)) { station.start() }
        try world.run { readers.allSatisfy(\.isOver) && station.isOver }
        for reader in readers {
            try reader.check(isComplete: isPausing && world.isCalm)
        }
        if isPausing, station.mostPending > 64 * 1024 + 2 * Station.messageByteCount {
            throw Violation(description: "\(station.mostPending) bytes were queued for one reader")
        }
    }
}

/// Sends, and answers each request with a WebSocket that gets what it sends.
private final class Station: HTTPResponder, PushProducer {
    static let messageByteCount = 1_200
    private static let messageCount = 100

    let room: WebSocketBroadcast
    var reactor: Reactor!
    var expectedCount = 0
    private(set) var mostPending = 0
    private(set) var isOver = false
    private var members: [Member] = []
    private var number = 0
    private var isPaused = false
    private var hasStarted = false
    private let interval: Duration

    init(isPausing: Bool, _ world: SimulatedWorld) {
        room = WebSocketBroadcast(
            slowReaders: isPausing ? .pauseProducer : .drop(aboveBytes: 20_000))
        interval = .microseconds([0, 1_000, 100_000][world.dice.below(3)])
    }

    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        // Readers pause for longer than the usual five seconds, with their last messages on the way.
        var options = WebSocketOptions()
        options.closeTimeout = .seconds(120)
        exchange.upgrade(toWebSocket: Member(self), for: head, options: options)
    }

    func joined(_ member: Member, _ socket: WebSocket) {
        members.append(member)
        room.add(socket)
        if members.count == expectedCount { start() }
    }

    func start() {
        guard !hasStarted else { return }
        hasStarted = true
        room.registerProducer(self)
        plan()
    }

    private func plan() {
        reactor.callLater(interval) { [self] in send() }
    }

    private func send() {
        guard !isPaused else { return }
        guard number < Self.messageCount else {
            room.unregisterProducer()
            for member in members { member.socket?.close() }
            return isOver = true
        }
        let filler = String(repeating: "x", count: Self.messageByteCount - 10)
        room.send("\(number) \(filler)")
        number += 1
        for member in members {
            mostPending = max(mostPending, member.socket?.pendingByteCount ?? 0)
        }
        room.checkInvariants()
        plan()
    }

    func pauseProducing() { isPaused = true }

    func resumeProducing() {
        isPaused = false
        plan()
    }

    func stopProducing() {}
}

/// The server's end of one reader.
private final class Member: WebSocketProtocol {
    private let station: Station
    private(set) var socket: WebSocket?

    init(_ station: Station) { self.station = station }

    func connectionMade(_ socket: WebSocket) {
        self.socket = socket
        station.joined(self, socket)
    }

    func messageReceived(
        _ message: RawSpan, _ kind: WebSocketMessage.Kind, from socket: WebSocket
    ) {}

    func connectionLost(_ why: WebSocketLoss, from socket: WebSocket) { self.socket = nil }
}

/// Notes the numbers that it gets, and pauses now and then.
private final class Reader: WebSocketProtocol {
    var isOver = false
    private var dice: SeededGenerator
    private var numbers: [Int] = []
    private var loss: WebSocketLoss?

    init(seed: UInt64) { dice = SeededGenerator(seed: seed) }

    func messageReceived(
        _ message: RawSpan, _ kind: WebSocketMessage.Kind, from socket: WebSocket
    ) {
        let word = String(decoding: message).split(separator: " ").first ?? ""
        numbers.append(Int(word) ?? -1)
        guard Int.random(in: 0..<10, using: &dice) == 0 else { return }
        socket.pauseReceiving()
        let pause = Duration.milliseconds(Int.random(in: 0..<2_000, using: &dice))
        socket.reactor.callLater(pause) { socket.resumeReceiving() }
    }

    func connectionLost(_ why: WebSocketLoss, from socket: WebSocket) {
        loss = why
        isOver = true
    }

    func check(isComplete: Bool) throws {
        let first = numbers.first ?? 0
        guard numbers == Array(first..<(first + numbers.count)) else {
            throw Violation(description: "a reader got \(numbers)")
        }
        guard isComplete else { return }
        guard first == 0, numbers.count == 100, loss?.isClean ?? false else {
            throw Violation(
                description: "a reader got \(numbers.count) messages, and \(loss as Any)")
        }
    }
}
