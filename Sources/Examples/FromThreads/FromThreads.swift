// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Has four tasks add the numbers from 1 to 4,000, and writes the total to its client.
///
/// It belongs to the reactor: it has no lock, and no other thread can touch it by mistake.
final class Board: StreamProtocol {
    private var client: (any StreamTransport)?
    private var pieces = [1...1_000, 1_001...2_000, 2_001...3_000, 3_001...4_000]
    private var total = 0, sums = 0

    func connectionMade(_ transport: any StreamTransport) {
        client = transport
        // Tasks run on other threads. The handle is Sendable, and takes their calls to this one.
        let handle = transport.reactor.remote(to: self)
        for _ in 1...4 {
            Task.detached {
                let piece = try await handle.run { board in board.pieces.removeFirst() }
                let sum = piece.reduce(0, +)
                handle.callFromThread { board in board.add(sum) }
            }
        }
    }

    private func add(_ sum: Int) {
        (total, sums) = (total + sum, sums + 1)
        if sums == 4 { client?.write("total \(total)\r\n") }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
    func connectionLost(_ why: ConnectionLoss, from t: any StreamTransport) { client = nil }
}

Reactor.main { reactor in
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8014"
    let port = try ServerEndpoint(parsing: place).listen(on: reactor) { Board() }
    print("listening on \(port.localAddress)")
}
