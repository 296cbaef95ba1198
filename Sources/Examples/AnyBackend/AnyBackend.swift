// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Answers each line with the name of the backend that carried it.
final class WhichBackend: LineProtocol {
    let lines = LineDecoder()

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        transport.write("\(String(decoding: line)) over \(transport.reactor.backendName)\r\n")
    }
}

// `TORSION_BACKEND=epoll swift run AnyBackend`: nothing else changes. `Reactor.main` does the same
// by itself; here the choice is a value, which a command line's option could have made as well.
Reactor.main(backend: try .fromEnvironment()) { reactor in
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8012"
    let port = try ServerEndpoint(parsing: place).listen(on: reactor) { WhichBackend() }
    print("listening on \(port.localAddress), backend \(reactor.backendName)")
}
