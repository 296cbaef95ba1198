// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Prints each line and sends it back; a line `error` is one.
final class Answers: LineProtocol {
    struct Refusal: Error {}

    let lines = LineDecoder()

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        let text = String(decoding: line)
        guard text != "error" else { throw Refusal() }
        print(text)
        transport.write("\(text)\n")
    }
}

/// Reads standard input, whatever it is.
final class Swallows: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

// As the README has it.
Reactor.main { reactor in
    let port = try ServerEndpoint(parsing: CommandLine.arguments[1]).listen(on: reactor) {
        Answers()
    }
    if CommandLine.arguments.contains("stdio:") {
        try ServerEndpoint(parsing: "stdio:").listen(on: reactor) { Swallows() }
    }
    print("listening on \(port.localAddress)")
}
