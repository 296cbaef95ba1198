// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// A publish/subscribe broker over lines, and its clients.
//
//   Broker serve   [place] [messages a second]     Broker listen  place topic…
//   Broker publish place topic text                Broker load    place clients messages
//
// Written by a reader of README and the book alone; a test runs it.
import Torsion

/// What all connections share: one thread runs them all, so it needs no lock.
final class Broker {
    let rate: Int
    private var topics: [Bytes: [ConnectionID: Session]] = [:]
    private(set) var delivered = 0, dropped = 0

    init(rate: Int) { self.rate = rate }

    func subscribe(_ session: Session, _ id: ConnectionID, to topic: Bytes) {
        topics[topic, default: [:]][id] = session
    }

    func unsubscribe(_ id: ConnectionID, from topic: Bytes) {
        topics[topic]?[id] = nil
        if topics[topic]?.isEmpty == true { topics[topic] = nil }
    }

    func publish(_ text: RawSpan, to topic: RawSpan) -> Int {
        guard let sessions = topics[Bytes(topic)] else { return 0 }
        let message = Bytes { writer in
            writer.write("MSG ")
            writer.write(topic)
            writer.write(" ")
            writer.write(text)
            writer.write("\r\n")
        }
        for session in sessions.values {
            if session.deliver(message) { delivered += 1 } else { dropped += 1 }
        }
        return sessions.count
    }
}

/// The broker's end of a connection.
///
/// A subscriber that reads too slowly loses messages, and is told how many.
final class Session: LineProtocol, PushProducer {
    let lines = LineDecoder(limitBytes: 4_096)
    private let broker: Broker
    private var transport: (any StreamTransport)?
    private var topics: Set<Bytes> = []
    private var published = 0, missed = 0, isFull = false

    init(_ broker: Broker) { self.broker = broker }

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        transport.registerProducer(self)
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        var words = line.reader
        guard let command = try words.readWord() else { return }
        let topic = try words.readWord()
        if command.equalsIgnoringCase("PUB"), let topic {
            guard mayPublish(transport.reactor) else { return transport.write("ERR too fast\r\n") }
            transport.write("OK \(broker.publish(words.readRest(), to: topic))\r\n")
        } else if command.equalsIgnoringCase("SUB"), let topic {
            guard topics.count < 16 else { return transport.write("ERR too many topics\r\n") }
            topics.insert(Bytes(topic))
            broker.subscribe(self, transport.id, to: Bytes(topic))
            transport.write("OK \(topics.count)\r\n")
        } else if command.equalsIgnoringCase("UNSUB"), let topic {
            topics.remove(Bytes(topic))
            broker.unsubscribe(transport.id, from: Bytes(topic))
            transport.write("OK \(topics.count)\r\n")
        } else if command.equalsIgnoringCase("PING") {
            transport.write("PONG\r\n")
        } else {
            transport.write("ERR what?\r\n")
        }
    }

    private func mayPublish(_ reactor: Reactor) -> Bool {
        if published == 0 { reactor.callLater(.seconds(1)) { [weak self] in self?.published = 0 } }
        published += 1
        return published <= broker.rate
    }

    /// False if the message is dropped, because this client has not read the ones before.
    func deliver(_ message: Bytes) -> Bool {
        guard !isFull else {
            missed += 1
            return false
        }
        transport?.write(message)
        return true
    }

    func pauseProducing() {
        isFull = true
        transport?.pauseProducing()  // Nor are its commands read: their answers would be queued.
    }

    func resumeProducing() {
        isFull = false
        transport?.resumeProducing()
        if missed > 0 { transport?.write("LOST \(missed)\r\n") }
        missed = 0
    }

    func stopProducing() {}

    func shutdownRequested(_ transport: any StreamTransport) {
        transport.write("BYE\r\n")
        // A close waits for its producer.
        transport.unregisterProducer()
        transport.loseConnection()
    }

    func timedOut(_ deadline: ConnectionLoss.Deadline, from transport: any StreamTransport) {
        transport.write("ERR timeout: \(deadline)\r\n")
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        for topic in topics { broker.unsubscribe(transport.id, from: topic) }
        self.transport = nil
        if !why.isClean { print("\(transport.peerAddress): \(why)") }
    }
}

/// A client's end: subscribes, then hands each line on.
final class Subscriber: LineProtocol {
    let lines = LineDecoder()
    private let topics: [String], receive: (String) -> Void
    let lost: Deferred<ConnectionLoss>

    init(to topics: [String], on reactor: Reactor, _ receive: @escaping (String) -> Void) {
        (self.topics, self.receive, lost) = (topics, receive, Deferred(on: reactor))
    }

    func connectionMade(_ transport: any StreamTransport) {
        for topic in topics { transport.write("SUB \(topic)\r\n") }
        ping(transport)
    }

    private func ping(_ transport: any StreamTransport) {
        guard lost.isPending else { return }
        transport.write("PING\r\n")
        transport.reactor.callLater(.seconds(20)) { [weak self] in self?.ping(transport) }
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        receive(String(decoding: line))
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        lost.succeed(why)
    }
}

/// Prints what is published, and connects again when the connection is lost.
func listen(at place: ClientEndpoint, to topics: [String], on reactor: Reactor) {
    reactor.retry(RetryPolicy()) {
        place.connect(on: reactor) { Subscriber(to: topics, on: reactor) { print($0) } }
    }
    .addCallback { subscriber in subscriber.lost }
    .addCallback { why in
        print("lost: \(why)")
        listen(at: place, to: topics, on: reactor)
    }
    .addErrback { error in print("\(error)") }
}

let words = Array(CommandLine.arguments.dropFirst())
switch (words.first, words.count) {
case ("serve", _):
    Reactor.main(signals: .stop(within: .seconds(3))) { reactor in
        let broker = Broker(rate: words.count > 2 ? Int(words[2]) ?? 100 : 100)
        let report = {
            let figures = reactor.statistics
            print(
                "open \(figures.openConnections), queued \(figures.queuedBytes) bytes,",
                "delivered \(broker.delivered), dropped \(broker.dropped)")
        }
        let hangUps = try reactor.signals.catchSignal(.hangUp) { _ in report() }
        reactor.addTrigger(.after, .shutdown) {
            hangUps.cancel()
            report()
        }
        let port = try ServerEndpoint(parsing: words.count > 1 ? words[1] : "tcp:8007")
            .limited(to: ConnectionLimits(total: 2_000))
            .timeouts(Timeouts(request: .seconds(5), idle: .seconds(60)))
            .listen(on: reactor) { Session(broker) }
        print("listening on \(port.localAddress)")
    }
case ("listen", 3...):
    Reactor.main { reactor in
        listen(at: try ClientEndpoint(parsing: words[1]), to: Array(words[2...]), on: reactor)
    }
case ("publish", 4):
    Reactor.main { reactor in
        let connection = try await ClientEndpoint(parsing: words[1]).connect(on: reactor).value
        defer { connection.close() }
        try await connection.write("PUB \(words[2]) \(words[3])\r\n")
        if let line = try await connection.readLine(limitBytes: 1_000) {
            print(String(decoding: line))
        }
    }
case ("load", 4):
    Reactor.main { reactor in
        let clients = Int(words[2])!, messages = Int(words[3])!
        let place = try ClientEndpoint(parsing: words[1])
        var received = 0, others = 0
        let subscribers = try await gatherResults(
            (0..<clients).map { _ in
                place.connect(on: reactor) {
                    Subscriber(to: ["load"], on: reactor) {
                        if $0.hasPrefix("MSG") { received += 1 } else { others += 1 }
                    }
                }
            }, on: reactor
        ).value
        let connection = try await place.connect(on: reactor).value
        let took = try await ContinuousClock().measure {
            for number in 0..<messages {
                try await connection.write("PUB load \(number)\r\n")
                _ = try await connection.readLine(limitBytes: 1_000)
            }
            while received < clients * messages { try await reactor.sleep(for: .milliseconds(10)) }
        }
        print(
            "\(subscribers.count) subscribers, \(received) messages, \(others) other lines, \(took)"
        )
    }
default:
    print("usage: Broker serve|listen|publish|load …")
}
