// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion
import TorsionTesting

// snippet: farewell
/// Says goodbye before its connection closes.
final class Polite: LineProtocol {
    let lines = LineDecoder()

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        transport.write("you said: \(String(decoding: line))\r\n")
    }

    func shutdownRequested(_ transport: any StreamTransport) {
        transport.write("going down for maintenance\r\n")
        transport.loseConnection()
    }
}
// snippet end

// snippet: triggers
/// Signs a server off before its ports close, and closes its log when everything is over.
func announceEnd(of reactor: Reactor, signOff: @escaping () -> Deferred<Void>, log: Log) {
    // The stop waits for the Deferred, no longer than its grace period.
    reactor.addTrigger(.before, .shutdown) { signOff() }
    reactor.addTrigger(.after, .shutdown) { log.close() }
}
// snippet end

// snippet: tree
/// Connects to the database before anybody is served, and leaves it when everybody is.
func start(_ web: ServerEndpoint, with database: ClientEndpoint, on reactor: Reactor) {
    let tree = ServiceTree(on: reactor)
    tree.add("database", whenEnded: .restart(RetryPolicy())) {
        ClientService(to: database, on: reactor) { Polite() }
    }
    tree.add("web") { try web.listen(on: reactor) { Polite() } }
    tree.start().whenFailed { error in
        print("\(error)")
        reactor.stop()
    }
}
// snippet end

final class Log {
    private(set) var isClosed = false
    func close() { isClosed = true }
}

@Test func `a stop says goodbye, in order`() throws {
    let log = Log()
    var order: [String] = []
    let client = Listener()
    try Reactor.run(signals: .ignore) { reactor in
        let port = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
            .listen(on: reactor) { Polite() }
        announceEnd(
            of: reactor,
            signOff: {
                order.append("sign off")
                #expect(port.isListening && !log.isClosed)
                return reactor.deferLater(.milliseconds(1)) { order.append("signed off") }
            }, log: log)
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
            .addCallback { client in client.transport?.write("hello\r\n") }
            .whenFailed { Issue.record("\($0)") }
        client.onText = { if $0 == "you said: hello\r\n" { reactor.stop() } }
    }
    #expect(client.text == "you said: hello\r\ngoing down for maintenance\r\n")
    #expect(order == ["sign off", "signed off"] && log.isClosed)
}

private final class Listener: StreamProtocol {
    var transport: (any StreamTransport)?
    var text = ""
    var onText: (String) -> Void = { _ in }

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        text += String(decoding: bytes)
        onText(text)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        onText = { _ in }
    }
}
