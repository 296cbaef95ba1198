// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Counts the bytes and lines that it is given: a `Consumer`, so that any source can feed it.
final class Tally: Consumer {
    private(set) var byteCount = 0, lineCount = 0
    private let reactor: Reactor
    private var asking: PushingProducer?

    init(on reactor: Reactor) { self.reactor = reactor }

    func write(_ bytes: RawSpan) {
        byteCount += bytes.byteCount
        for position in 0..<bytes.byteCount where bytes[position] == UInt8(ascii: "\n") {
            lineCount += 1
        }
    }

    func write(_ bytes: Bytes) { write(bytes.span) }

    // It is never full, so that a producer need not be paused.
    func registerProducer(_ producer: any PushProducer) {}

    // A pull producer writes a piece each time it is asked; this adapter asks once a turn.
    func registerProducer(_ producer: any PullProducer) {
        asking = PushingProducer(producer, on: reactor)
        asking?.start()
    }

    func unregisterProducer() {
        asking?.end()
        asking = nil
    }
}

/// Counts what a client sends until it ends, and answers.
final class Counter: StreamProtocol {
    func connectionMade(_ transport: any StreamTransport) {
        let tally = Tally(on: transport.reactor)
        transport.pipe(to: tally)
            .addCallback { _ in
                transport.write("\(tally.lineCount) lines, \(tally.byteCount) bytes\n")
                transport.loseConnection()
            }
            .whenFailed { error in print("\(transport.peerAddress): \(error)") }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

Reactor.main { reactor in
    let words = Array(CommandLine.arguments.dropFirst())
    if words.first == "file" {
        // A file is a source as well. `pipe` and `Tally` do not know the difference.
        let tally = Tally(on: reactor)
        FileProducer(path: words[1], on: reactor).pipe(to: tally)
            .addCallback { _ in print("\(tally.lineCount) lines, \(tally.byteCount) bytes") }
            .addErrback { error in print("\(error)") }
            .addBoth { _ in _ = reactor.stop() }
        return
    }
    let port = try ServerEndpoint(parsing: words.first ?? "tcp:8007").listen(on: reactor) {
        Counter()
    }
    print("listening on \(port.localAddress)")
}
