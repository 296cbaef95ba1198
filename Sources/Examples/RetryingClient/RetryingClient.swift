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

/// Connects, and after each failure waits twice as long as before, up to five seconds.
///
/// The wait is shortened by chance, so that a thousand clients of a server that was restarted do
/// not all come back in the same instant.
func connect(to endpoint: ClientEndpoint, on reactor: Reactor, wait: Duration = .milliseconds(20)) {
    endpoint.connect(on: reactor) { Greeter() }
        .whenFailed { error in
            let delay = wait * Double.random(in: 0.5...1)
            print("\(error); trying again")
            reactor.callLater(delay) {
                connect(to: endpoint, on: reactor, wait: min(wait * 2, .seconds(5)))
            }
        }
}

try Reactor.run { reactor in
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:127.0.0.1:8007"
    connect(to: try ClientEndpoint(parsing: place), on: reactor)
}
