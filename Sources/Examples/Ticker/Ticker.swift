// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// Tells everybody who is connected that time passes.
final class Ticker {
    private var listeners: [ConnectionID: any StreamTransport] = [:]
    private var ticks = 0

    func tick() {
        ticks += 1
        for listener in listeners.values { listener.write("tick \(ticks)\r\n") }
    }

    func add(_ transport: any StreamTransport) { listeners[transport.id] = transport }
    func remove(_ transport: any StreamTransport) { listeners[transport.id] = nil }
}

final class Listener: StreamProtocol {
    private let ticker: Ticker
    init(to ticker: Ticker) { self.ticker = ticker }

    func connectionMade(_ transport: any StreamTransport) { ticker.add(transport) }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
    func connectionLost(_ why: ConnectionLoss, from t: any StreamTransport) { ticker.remove(t) }
}

Reactor.main { reactor in
    let ticker = Ticker()
    // Counted from the start, not from the last call: what a tick takes does not add up.
    LoopingCall(on: reactor) { ticker.tick() }.start(every: .milliseconds(100))
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8010"
    let port = try ServerEndpoint(parsing: place).listen(on: reactor) { Listener(to: ticker) }
    print("listening on \(port.localAddress)")
}
