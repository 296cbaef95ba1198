// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Sends the numbers from 1 on, as fast as its client reads them.
final class Polite: StreamProtocol, PushProducer {
    private var transport: (any StreamTransport)?
    private var isPaused = false, number = 1

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        transport.registerProducer(self)
        produce()
    }

    private func produce() {
        guard let transport, !isPaused else { return }
        for _ in 0..<1_000 {
            transport.write("\(number)\n")
            number += 1
        }
        // The rest in a later turn: meanwhile other clients are served.
        transport.reactor.callLater(.zero) { [self] in produce() }
    }

    func pauseProducing() {
        isPaused = true
        print("paused at \(number), \(transport?.pendingByteCount ?? 0) bytes are queued")
    }

    func resumeProducing() {
        isPaused = false
        print("resumed")
        produce()
    }

    func stopProducing() { transport = nil }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

/// Does the same, and writes on whatever the transport says.
final class Careless: StreamProtocol {
    private var isOver = false, number = 1

    func connectionMade(_ transport: any StreamTransport) { produce(transport) }

    private func produce(_ transport: any StreamTransport) {
        guard !isOver else { return }
        for _ in 0..<1_000 {
            transport.write("\(number)\n")
            number += 1
        }
        transport.reactor.callLater(.zero) { [self] in produce(transport) }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        isOver = true
        print("lost at \(number): \(why)")
    }
}

Reactor.main { reactor in
    let words = CommandLine.arguments.dropFirst()
    let isCareless = words.contains("careless")
    let port = try ServerEndpoint(parsing: words.first ?? "tcp:8007").listen(on: reactor) {
        isCareless ? Careless() as any StreamProtocol : Polite()
    }
    print("listening on \(port.localAddress)")
}
