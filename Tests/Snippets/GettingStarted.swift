// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// snippet: greeter
/// Greets a client by the name that it sends on a line.
final class Greeter: LineProtocol {
    let lines = LineDecoder()

    func connectionMade(_ transport: any StreamTransport) {
        transport.write("who are you?\r\n")
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        transport.write("hello \(String(decoding: line))\r\n")
        transport.loseConnection()
    }
}
// snippet end

// snippet: client
/// Tells who we are, and gives the answer to whoever waits for it.
final class Visitor: LineProtocol {
    let lines = LineDecoder()
    let greeting: Deferred<String>

    init(on reactor: Reactor) { greeting = Deferred(on: reactor) }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        if line == "who are you?" {
            transport.write("Ann\r\n")
        } else {
            greeting.succeed(String(decoding: line))
        }
    }
}
// snippet end

func serveGreetings(on reactor: Reactor) throws {
    // snippet: listen
    let endpoint = try ServerEndpoint(parsing: "tcp:8007:interface=127.0.0.1")
    let port = try endpoint.listen(on: reactor) { Greeter() }
    print("listening on \(port.localAddress)")
    // snippet end
}

func askForGreeting(on reactor: Reactor) throws {
    // snippet: connect
    try ClientEndpoint(parsing: "tcp:127.0.0.1:8007")
        .connect(on: reactor) { Visitor(on: reactor) }
        .addCallback { visitor in visitor.greeting }
        .addTimeout(.seconds(5))
        .addCallback { greeting in print(greeting) }
        .whenFailed { error in print("no greeting: \(error)") }
    // snippet end
}

// snippet: async
/// The same client as a task: it reads top to bottom, and stays on the reactor's thread.
func visit(on reactor: Reactor) {
    reactor.spawn {
        let endpoint = try ClientEndpoint(parsing: "tcp:127.0.0.1:8007")
        let connection = try await endpoint.connect(on: reactor).value
        try await connection.write("Ann\r\n")
        for try await bytes in connection.inbound { print(bytes) }
    }.whenFailed { error in print("no greeting: \(error)") }
}
// snippet end
