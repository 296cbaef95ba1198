// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion
import TorsionTesting

/// Notes what happens to it.
class Witness: StreamProtocol {
    private(set) var transport: (any StreamTransport)?
    private(set) var text = ""
    private(set) var readCount = 0
    var loss: ConnectionLoss?

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        text += String(decoding: bytes)
        readCount += 1
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        self.transport = nil
    }
}

/// Keeps what datagrams brought.
final class Box: DatagramProtocol {
    private(set) var texts: [String] = []

    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) { texts.append(String(decoding: bytes)) }
}

/// A host that listens and one that connects to it, in a world of theirs.
final class Pair {
    let world: SimulatedWorld
    let server = Witness(), client: Witness
    var failure: IOError?

    init(
        _ world: SimulatedWorld = SimulatedWorld(seed: 1), client: Witness = Witness()
    ) throws {
        self.world = world
        self.client = client
        try world.host("server").run { [server] reactor in
            try reactor.listen(on: .ipv4(.any, port: 7)) { _ in server }
        }
        try world.host("client").run { _ in }
    }

    /// Begins to connect.
    func begin(timeout: Duration = StreamOptions().connectTimeout) {
        var endpoint = ClientEndpoint.tcp(host: "server", port: 7)
        endpoint.options.connectTimeout = timeout
        endpoint.connect(on: world.host("client").reactor) { [client] in client }
            .whenFailed { [self] in failure = $0 as? IOError }
    }

    /// Connects, unless the network says otherwise.
    func connect() throws {
        begin()
        try world.run { client.transport != nil && server.transport != nil }
    }
}
