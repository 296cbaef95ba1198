// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Sends every byte back to whoever sent it.
final class Echo: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }
}

// Runs until SIGINT or SIGTERM. Each connection gets an `Echo` of its own.
Reactor.main { reactor in
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8007"
    let port = try ServerEndpoint(parsing: place).listen(on: reactor) { Echo() }
    print("listening on \(port.localAddress)")
}
