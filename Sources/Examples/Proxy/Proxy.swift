// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Connects to the server for each client; `pipe` then carries bytes, no faster than they are read.
final class Proxy: StreamProtocol {
    private let server: ClientEndpoint
    init(to server: ClientEndpoint) { self.server = server }

    func connectionMade(_ client: any StreamTransport) {
        client.pauseProducing()  // until there is somewhere to send what it says
        server.connect(on: client.reactor) { Joint(with: client) }
            .whenFailed { error in
                print("\(error)")
                client.abortConnection()
            }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

/// Joins the server's connection to the client's.
final class Joint: StreamProtocol {
    private let client: any StreamTransport
    init(with client: any StreamTransport) { self.client = client }

    func connectionMade(_ server: any StreamTransport) {
        client.pipe(to: server).whenFailed { error in print("to the server: \(error)") }
        server.pipe(to: client).whenFailed { error in print("to the client: \(error)") }
    }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

Reactor.main { reactor in
    let places = Array(CommandLine.arguments.dropFirst()) + ["tcp:8009", "tcp:127.0.0.1:8007"]
    let server = try ClientEndpoint(parsing: places[1])
    let place = try ServerEndpoint(parsing: places[0]).limited(to: .descriptors(each: 2))
    let port = try place.listen(on: reactor) { Proxy(to: server) }
    print("listening on \(port.localAddress)")
}
