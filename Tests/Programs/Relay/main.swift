// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

// A relay: takes the first of several servers that answers, and lends it to the client, at a rate.
//
//     Relay LISTEN BYTES-PER-SECOND SERVER…        (0: no limit)
//
// Written by a reader of README and the book alone; a test runs it.

/// Passes bytes on to a connection, no faster than a rate, and counts them.
///
/// To its source it is a consumer, to the connection behind it a producer.
final class Throttle: Consumer, PushProducer {
    private(set) var byteCount = 0
    private let target: any StreamTransport, bytesPerSecond: Int
    private var source: (any PushProducer)?, asking: PushingProducer?
    private var rest: DelayedCall?
    private var isFull = false

    init(_ target: any StreamTransport, bytesPerSecond: Int) {
        (self.target, self.bytesPerSecond) = (target, bytesPerSecond)
    }

    func write(_ bytes: RawSpan) {
        target.write(bytes)
        passed(bytes.byteCount)
    }

    func write(_ bytes: Bytes) {
        target.write(bytes)
        passed(bytes.count)
    }

    private func passed(_ count: Int) {
        byteCount += count
        guard bytesPerSecond > 0, rest == nil else { return }
        // What has passed is paid for with a rest.
        if !isFull { source?.pauseProducing() }
        let pause = Duration.microseconds(count * 1_000_000 / bytesPerSecond)
        rest = target.reactor.callLater(pause) { [self] in
            rest = nil
            if !isFull { source?.resumeProducing() }
        }
    }

    // Consumer: the source of the bytes.

    func registerProducer(_ producer: any PushProducer) {
        source = producer
        target.registerProducer(self)
    }

    func registerProducer(_ producer: any PullProducer) {
        asking = PushingProducer(producer, on: target.reactor)
        source = asking
        target.registerProducer(self)
        asking?.start()
    }

    func unregisterProducer() {
        asking?.end()
        (source, asking) = (nil, nil)
        rest?.cancel()
        target.unregisterProducer()
    }

    // Producer: the connection behind has no room, or has room again.

    func pauseProducing() {
        isFull = true
        if rest == nil { source?.pauseProducing() }
    }

    func resumeProducing() {
        isFull = false
        if rest == nil { source?.resumeProducing() }
    }

    func stopProducing() { source?.stopProducing() }
}

/// The end of a connection to a server: only keeps the transport, unread, until a relay takes it.
final class ServerEnd: StreamProtocol {
    let place: String
    private(set) var transport: (any StreamTransport)?
    init(_ place: String) { self.place = place }

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        transport.pauseProducing()
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        print("\(place) lost: \(why)")
    }

    func shutdownRequested(_ transport: any StreamTransport) { print("\(place) is asked to end") }
}

/// The first server that takes a connection; each has a second for each of three attempts.
func firstServer(of places: [String], on reactor: Reactor) -> Deferred<ServerEnd> {
    reactor.race(
        places.map { place in
            reactor.retry(RetryPolicy(attemptLimit: 3)) {
                try ClientEndpoint(parsing: place).connect(on: reactor) { ServerEnd(place) }
                    .addTimeout(.seconds(1))
            }
        }
    )
    .addCallback { $0.value }
}

/// A client and, as soon as there is one, its server.
final class Relay: StreamProtocol {
    private let places: [String], bytesPerSecond: Int
    private var search: Deferred<ServerEnd>?
    private var server: (any StreamTransport)?
    private let start = ContinuousClock.now

    init(to places: [String], bytesPerSecond: Int) {
        (self.places, self.bytesPerSecond) = (places, bytesPerSecond)
    }

    func connectionMade(_ client: any StreamTransport) {
        client.pauseProducing()  // What it sends waits until there is somebody to take it.
        let search = firstServer(of: places, on: client.reactor)
        self.search = search
        search
            .addCallback { [self] end in relay(client, end) }
            .whenFailed { error in
                print("\(client.peerAddress): \(error)")
                client.write("no server answers\r\n")
                client.loseConnection()
            }
    }

    private func relay(_ client: any StreamTransport, _ end: ServerEnd) {
        let server = end.transport!
        self.server = server
        let up = Throttle(server, bytesPerSecond: bytesPerSecond)
        let down = Throttle(client, bytesPerSecond: bytesPerSecond)
        gatherResults(
            [
                client.pipe(to: up).addCallback { _ in server.loseWriteConnection() },
                server.pipe(to: down).addCallback { _ in client.loseWriteConnection() },
            ], on: client.reactor
        )
        .addErrback { error in
            print("\(client.peerAddress): \(error)")
            client.abortConnection()
            server.abortConnection()
            return []
        }
        .addCallback { [start] _ in
            print(
                "\(client.peerAddress) via \(end.place): \(up.byteCount) up,",
                "\(down.byteCount) down, \(ContinuousClock.now - start)")
        }
        .whenFailed { print("\($0)") }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        print("\(transport.peerAddress) lost: \(why)")
        search?.cancel()
    }

    /// Ctrl-C: what is under way may end by itself, for as long as `within` allows.
    func shutdownRequested(_ transport: any StreamTransport) {
        print("\(transport.peerAddress) is asked to end")
        if server == nil { transport.loseConnection() }
    }
}

Reactor.main(signals: .stop(within: .seconds(5))) { reactor in
    let words = Array(CommandLine.arguments.dropFirst())
    guard words.count >= 3, let rate = Int(words[1]) else {
        print("usage: Relay LISTEN BYTES-PER-SECOND SERVER…")
        _ = reactor.stop()
        return
    }
    let places = Array(words[2...])
    let port = try ServerEndpoint(parsing: words[0]).listen(on: reactor) {
        Relay(to: places, bytesPerSecond: rate)
    }
    print("listening on \(port.localAddress)")
}
