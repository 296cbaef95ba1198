// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

// snippet: server
/// Answers each datagram with its length.
final class Lengths: DatagramProtocol {
    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) throws {
        try transport.write("\(bytes.byteCount)", to: address)
    }
}

func serveLengths(on reactor: Reactor) throws -> DatagramPort {
    try DatagramEndpoint(parsing: "udp:0:interface=127.0.0.1").listen(on: reactor) { Lengths() }
}
// snippet end

// snippet: client
/// Asks once, and again every 200 ms until an answer comes, three times at most.
final class Question: DatagramProtocol {
    let answer: Deferred<String>
    private var asked = 0
    private var again: DelayedCall?

    init(on reactor: Reactor) { answer = Deferred(on: reactor) }

    func transportStarted(_ transport: any DatagramTransport) throws { try ask(on: transport) }

    private func ask(on transport: any DatagramTransport) throws {
        guard asked < 3 else { return answer.fail(TimeoutError(limit: .milliseconds(600))) }
        asked += 1
        try transport.write("how long is this?")
        again = transport.reactor.callLater(.milliseconds(200)) { try self.ask(on: transport) }
    }

    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) {
        // A second answer, to a question that was repeated, comes too late.
        guard again?.cancel() == true else { return }
        answer.succeed(String(decoding: bytes))
        transport.stopListening()
    }
}

func askLength(of server: SocketAddress, on reactor: Reactor) throws -> Deferred<String> {
    var endpoint = DatagramEndpoint.udp(port: 0, interface: .loopback)
    endpoint.options.peerAddress = server
    let question = Question(on: reactor)
    try endpoint.listen(on: reactor) { question }
    return question.answer
}
// snippet end

// snippet: group
/// Hears what is sent to a group of machines.
final class GroupListener: DatagramProtocol {
    func transportStarted(_ transport: any DatagramTransport) throws {
        try transport.join(.ipv4(IPv4Address(239, 1, 2, 3)))
    }

    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) { print("\(address): \(String(decoding: bytes))") }
}
// snippet end

// snippet: async
/// Sends datagrams back until the port closes.
func echo(_ endpoint: DatagramEndpoint, on reactor: Reactor) async throws {
    let port = try endpoint.listen(on: reactor)
    for try await datagram in port {
        try port.write(datagram.bytes, to: datagram.address)
    }
}
// snippet end

// snippet: test
@Test func `a length is answered`() {
    let port = MemoryDatagramTransport(Lengths())
    port.receive("hello", from: .ipv4(.loopback, port: 9))
    #expect(port.takeDatagrams().map { String(decoding: $0.bytes.span) } == ["5"])
}
// snippet end

@Test
func `a question is answered over sockets`() throws {
    var answers: [String] = []
    try Reactor.run(signals: .ignore) { reactor in
        let port = try serveLengths(on: reactor)
        try askLength(of: port.localAddress, on: reactor)
            .addCallback { answers.append($0) }
            .addErrback { Issue.record("\($0)") }
            .addBoth { _ in _ = reactor.stop() }
    }
    #expect(answers == ["17"])
}

@Test
func `a question that nobody answers is asked three times`() throws {
    var failure: (any Error)?
    try Reactor.run(signals: .ignore) { reactor in
        let port = try DatagramEndpoint(parsing: "udp:0:interface=127.0.0.1")
            .listen(on: reactor) { Silence() }
        try askLength(of: port.localAddress, on: reactor)
            .addCallback { Issue.record("\($0)") }
            .addErrback { failure = $0 }
            .addBoth { _ in _ = reactor.stop() }
    }
    #expect(failure is TimeoutError)
}

private final class Silence: DatagramProtocol {
    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) {}
}
