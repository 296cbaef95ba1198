// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

final class Echo: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }
}

// Both kinds of body, on one thread and on four; the backend may be chosen by what can fail.
Reactor.main { reactor in
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8007"
    try ServerEndpoint(parsing: place).listen(on: reactor) { Echo() }
    reactor.spawn { try await reactor.sleep(for: .seconds(1)) }
}

Reactor.main(backend: try .named("epoll", among: BackendChoice.linked)) { reactor in
    try await ServerEndpoint(parsing: "tcp:8007").serve(on: reactor) { connection in
        for try await bytes in connection.inbound { try await connection.write(bytes) }
    }
}

ReactorGroup.main(count: 4) { reactor in
    try ServerEndpoint(parsing: "tcp:8007").listen(on: reactor) { Echo() }
}

ReactorGroup.main(count: 4, backend: .epoll) { reactor in
    try await ServerEndpoint(parsing: "tcp:8007").serve(on: reactor) { connection in
        for try await bytes in connection.inbound { try await connection.write(bytes) }
    }
}
