// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Answers each line with the number of the reactor that serves it.
final class WhichThread: LineProtocol {
    let lines = LineDecoder()

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        transport.write("\(String(decoding: line)) from reactor \(transport.reactor.number)\r\n")
    }
}

// The closure runs once on each of four threads. They share the port and nothing else: the kernel
// gives each client to one of them, and there it stays.
ReactorGroup.main(count: 4) { reactor in
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8011"
    let port = try ServerEndpoint(parsing: place).listen(on: reactor) { WhichThread() }
    print("listening on \(port.localAddress)")
}
