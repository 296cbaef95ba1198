// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Asks for one page, collects the answer, and tells it when the server has closed.
final class HTTPRequest: StreamProtocol {
    let answer: Deferred<String>
    private let request: String
    private var received: [UInt8] = []

    init(_ path: String, host: String, on reactor: Reactor) {
        answer = Deferred(on: reactor)
        request = "GET \(path) HTTP/1.0\r\nHost: \(host)\r\n\r\n"
    }

    func connectionMade(_ transport: any StreamTransport) { transport.write(request) }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        received += bytes
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        if why.isClean {
            answer.succeed(String(decoding: received, as: UTF8.self))
        } else {
            answer.fail(why)
        }
    }
}

Reactor.main { reactor in
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:example.org:80"
    let endpoint = try ClientEndpoint(parsing: place)
    endpoint.connect(on: reactor) { HTTPRequest("/", host: endpoint.name, on: reactor) }
        .addCallback { request in request.answer }
        .addTimeout(.seconds(10))
        .addCallback { answer in print(answer) }
        .addErrback { error in print("no answer: \(error)") }
        .addBoth { _ in _ = reactor.stop() }
}
