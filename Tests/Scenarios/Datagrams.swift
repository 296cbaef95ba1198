// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionTesting

extension Scenario {
    /// Questions and answers that may be lost, come twice and out of order: each is whole, and
    /// asking again gets every answer in the end.
    static let datagrams = Scenario("datagrams") { world in
        let ledger = Ledger(world)
        world.vary()
        let server = Answering(ledger)
        try world.host("server").run { reactor in
            try reactor.listenForDatagrams(on: .ipv4(.any, port: 53), server)
        }
        let address = SocketAddress.ipv4(world.host("server").address, port: 53)
        let clients = (1...(1 + world.dice.below(3))).map { number in
            Asking("client\(number)", ledger, server: address, &world.dice)
        }
        for client in clients {
            try world.host(client.name).run { reactor in
                var options = DatagramOptions()
                options.peerAddress = client.isConnected ? address : nil
                try reactor.listenForDatagrams(
                    on: .ipv4(.any, port: 0), options: options, client)
            }
        }
        // What waited for the kernel's room has long left when a client asks again; only a host that
        // stalled may be told of both at once.
        for client in clients {
            client.whenAsking = { [network = world.network] pending in
                let hasStalled = network.faults.contains { $0.kind == .stall }
                ledger.expect(pending == 0 || hasStalled, "\(pending) datagrams wait for nothing")
            }
        }
        world.at(.seconds(60)) { [network = world.network] in network.endFaults() }
        try world.run { clients.allSatisfy(\.isDone) }
        for client in clients { world.host(client.name).reactor.stop() }
        try world.run { clients.allSatisfy { !world.host($0.name).isRunning } }
        for client in clients where client.stopCount != 1 {
            throw Violation(description: "\(client.name) was stopped \(client.stopCount) times")
        }
    }

    /// What a question is answered with.
    fileprivate static func answer(to number: Int) -> [UInt8] {
        [UInt8].pattern(count: number * 41 % 900, seed: UInt64(number))
    }
}

/// Answers a number with the number and the bytes that belong to it.
final class Answering: DatagramProtocol {
    private let ledger: Ledger
    /// Whether calls of its port may fail.
    private let mayFail: Bool

    init(_ ledger: Ledger, mayFail: Bool = false) {
        self.ledger = ledger
        self.mayFail = mayFail
    }

    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) throws {
        guard let number = Int(String(decoding: bytes)) else {
            return ledger.expect(false, "a question that nobody asked")
        }
        let answer = Bytes(Array("\(number) ".utf8) + Scenario.answer(to: number))
        // With its queue full a port throws; the question comes again.
        do throws(IOError) { try transport.write(answer.span, to: address) } catch {
            ledger.expect(error.code == .noBufferSpace || mayFail, "server: \(error)")
        }
    }

    func datagramFailed(_ error: IOError, on transport: any DatagramTransport) {
        ledger.expect(mayFail, "server: \(error)")
    }
}

/// Asks each number until it is answered, all that are open once a second.
final class Asking: DatagramProtocol {
    let name: String
    let isConnected: Bool
    private let ledger: Ledger
    private let server: SocketAddress
    private let pause: Duration
    private var open: [Int]
    private(set) var stopCount = 0
    /// Whether calls of its port may fail.
    var mayFail = false
    var whenAsking: (Int) -> Void = { _ in }

    init(_ name: String, _ ledger: Ledger, server: SocketAddress, _ dice: inout SeededDice) {
        self.name = name
        self.ledger = ledger
        self.server = server
        isConnected = dice.percent(50)
        pause = .milliseconds(200 + dice.below(2_000))
        open = Array(1...(1 + dice.below(60)))
    }

    var isDone: Bool { open.isEmpty }

    func transportStarted(_ transport: any DatagramTransport) { ask(transport) }

    private func ask(_ transport: any DatagramTransport) {
        guard !isDone, stopCount == 0 else { return }
        whenAsking(transport.statistics.pending)
        for number in open {
            do throws(IOError) {
                let question = Bytes("\(number)")
                if isConnected {
                    try transport.write(question.span)
                } else {
                    try transport.write(question.span, to: server)
                }
            } catch {
                ledger.expect(error.code == .noBufferSpace || mayFail, "\(name): \(error)")
            }
        }
        transport.reactor.callLater(pause) { [self] in ask(transport) }
    }

    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) throws {
        ledger.expect(stopCount == 0, "\(name): a datagram after the end")
        ledger.expect(address == server, "\(name): a datagram from \(address)")
        guard let space = bytes.firstIndex(of: UInt8(ascii: " ")),
            let number = Int(String(decoding: bytes.extracting(0..<space)))
        else { return ledger.expect(false, "\(name): an answer without its number") }
        let rest = bytes.extracting((space + 1)..<bytes.byteCount)
        ledger.expect(rest == Scenario.answer(to: number), "\(name): not the answer to \(number)")
        open.removeAll { $0 == number }
    }

    func transportStopped(_ transport: any DatagramTransport) { stopCount += 1 }
}
