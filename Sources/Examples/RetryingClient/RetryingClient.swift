// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Says hello and prints the answer.
final class Greeter: StreamProtocol {
    func connectionMade(_ transport: any StreamTransport) { transport.write("hello\r\n") }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        print("answer: \(String(decoding: bytes))", terminator: "")
        transport.loseConnection()
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        transport.reactor.stop()
    }
}

Reactor.main { reactor in
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:127.0.0.1:8007"
    let endpoint = try ClientEndpoint(parsing: place)
    // After each failure it waits twice as long as before, up to five seconds. Chance takes up to a
    // half of each wait, so that a thousand clients of a server that was restarted do not all come
    // back in the same instant.
    let policy = RetryPolicy(
        firstDelay: .milliseconds(20), factor: 2, longestDelay: .seconds(5), jitter: 0.5)
    reactor.retry(policy) {
        endpoint.connect(on: reactor) { Greeter() }
            .addErrback { error -> Greeter in
                print("\(error); trying again")
                throw error
            }
    }
    .whenFailed { error in print("given up: \(error)") }
}
