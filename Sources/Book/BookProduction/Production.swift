// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Answers each line after a moment, as if it had asked a database.
final class Worker: LineProtocol {
    let lines = LineDecoder(limitBytes: 1_024)
    private var unanswered = 0, isEnding = false

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        let text = String(decoding: line)
        // A bad line ends this connection alone; the error is reported, and the server runs on.
        guard let number = Int(text) else { throw NotANumber(text: text) }
        unanswered += 1
        transport.reactor.callLater(.milliseconds(100)) { [self] in
            unanswered -= 1
            transport.write("\(number.multipliedReportingOverflow(by: 2).partialValue)\r\n")
            if isEnding, unanswered == 0 { transport.loseConnection() }
        }
    }

    /// The server stops: finish what has begun, then close.
    func shutdownRequested(_ transport: any StreamTransport) {
        isEnding = true
        if unanswered == 0 { transport.loseConnection() }
    }

    func timedOut(_ deadline: ConnectionLoss.Deadline, from transport: any StreamTransport) {
        transport.write("closed: \(deadline)\r\n")
    }
}

struct NotANumber: Error { let text: String }

/// One line of figures, for a log that somebody reads.
func report(_ reactor: Reactor) {
    let figures = reactor.statistics
    print(
        "open \(figures.openConnections), made \(figures.connectionsMade),",
        "failed \(figures.protocolFailures), queued \(figures.queuedBytes) bytes")
}

Reactor.main(signals: .stop(within: .seconds(5))) { reactor in
    let words = Array(CommandLine.arguments.dropFirst())
    let idleMilliseconds = words.count > 1 ? Int(words[1]) ?? 60_000 : 60_000
    reactor.unhandledError = { print("error: \($0.context): \($0.error)") }
    // `kill -HUP` asks for the figures; a service would send them somewhere every ten seconds.
    let hangUps = try reactor.signals.catchSignal(.hangUp) { _ in report(reactor) }
    reactor.addTrigger(.after, .shutdown) {
        hangUps.cancel()
        report(reactor)
    }
    let port = try ServerEndpoint(parsing: words.first ?? "tcp:8007")
        .observed(byPort: {
            ConnectionLimiter(ConnectionLimits(total: 2)) { print("refused \($1): \($0)") }
        })
        .timeouts(Timeouts(request: .seconds(5), idle: .milliseconds(idleMilliseconds)))
        .listen(on: reactor) { Worker() }
    print("listening on \(port.localAddress)")
}
