// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// The server ended before it had said a line.
struct SaidNothing: Error, CustomStringConvertible {
    var description: String { "it closed without a word" }
}

/// Waits for the first line of a server, and closes.
final class Listener: LineProtocol {
    let lines = LineDecoder()
    private let reactor: Reactor
    private var transport: (any StreamTransport)?
    /// Cancelling it ends the connection, since nobody waits for its line then.
    private(set) lazy var line = Deferred<String>(on: reactor) { [unowned self] _ in
        transport?.abortConnection()
    }

    init(on reactor: Reactor) { self.reactor = reactor }

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        self.line.succeed(String(decoding: line))
        transport.loseConnection()
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        if line.isPending { line.fail(why.isClean ? SaidNothing() : why) }
    }
}

/// What a server says first, or why it says nothing: it never fails.
func greeting(of place: String, on reactor: Reactor) -> Deferred<String> {
    reactor.maybeDeferred {
        try ClientEndpoint(parsing: place).connect(on: reactor) { Listener(on: reactor) }
    }
    .addCallback { listener in listener.line }
    .addTimeout(.milliseconds(500))
    .addCallback { line in "\(place) says \(line)" }
    .addErrback(of: TimeoutError.self) { _ in "\(place) says nothing for half a second" }
    .addErrback { error in "\(place): \(error)" }
}

Reactor.main { reactor in
    let places = CommandLine.arguments.dropFirst()
    // All at once: the slowest decides how long it takes.
    gatherResults(places.map { greeting(of: $0, on: reactor) }, on: reactor)
        .addCallback { lines in for line in lines { print(line) } }
        .addBoth { _ in _ = reactor.stop() }
}
