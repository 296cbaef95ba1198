// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Answers each line after a while; asked to end, it first answers what it has begun.
final class SlowAnswer: LineProtocol {
    let lines = LineDecoder()
    private var unanswered = 0
    private var isEnding = false

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        let text = String(decoding: line)
        unanswered += 1
        transport.write("working on \(text)\r\n")
        transport.reactor.callLater(.milliseconds(50)) { [self] in
            unanswered -= 1
            transport.write("done with \(text)\r\n")
            endIfDone(transport)
        }
    }

    // By default this loses the connection at once; what was written still arrives.
    func shutdownRequested(_ transport: any StreamTransport) {
        isEnding = true
        endIfDone(transport)
    }

    private func endIfDone(_ transport: any StreamTransport) {
        if isEnding && unanswered == 0 { transport.loseConnection() }
    }
}

// Whoever has not ended five seconds after the signal is aborted.
Reactor.main(signals: .stop(within: .seconds(5))) { reactor in
    reactor.addTrigger(.after, .shutdown) { print("every client was answered") }
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8013"
    let port = try ServerEndpoint(parsing: place).listen(on: reactor) { SlowAnswer() }
    print("listening on \(port.localAddress)")
}
