// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols
import TorsionTesting

extension Scenario {
    /// Lines and raw stretches, cut anywhere, by a server that pauses in the middle of a read.
    static let framing = Scenario("framing") { world in
        let ledger = Ledger(world)
        world.vary()
        let seed = world.dice.next()
        try world.host("server").run { reactor in
            try ServerEndpoint.address(.ipv4(.any, port: 7)).listen(on: reactor) {
                Framer(ledger, seed: seed)
            }
        }
        let client = FrameClient(ledger, count: 1 + world.dice.below(40), &world.dice)
        try world.host("client").run { reactor in
            ClientEndpoint.tcp(host: "server", port: 7).connect(on: reactor) { client }
                .whenFailed { _ in client.hasFailed = client.loss == nil }
        }
        try world.run { client.isOver && ledger.isQuiet }
        if world.isCalm, !client.isComplete {
            throw Violation(
                description: "\(client.answerCount) answers and \(client.loss as Any)")
        }
    }
}

/// Answers each line with its length, and each raw stretch with its hash.
///
/// A line "raw N" announces N bytes that are no lines.
final class Framer: Audited, LineProtocol {
    let lines = LineDecoder(limitBytes: 4_000)
    private var dice: SeededDice
    private var rawCount = 0
    private var raw = StreamHash()
    /// Whether it hands back what is behind the raw bytes, instead of saying how many they are.
    private var findsEnd = false

    init(_ ledger: Ledger, seed: UInt64) {
        dice = SeededDice(seed: seed)
        super.init("server", ledger)
    }

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try super.dataReceived(bytes, from: transport)
        try cutLines(in: bytes, from: transport)
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        if line.starts(with: "raw ") {
            rawCount = Int(String(decoding: line).dropFirst(4)) ?? 0
            raw = StreamHash()
            findsEnd = dice.percent(50)
            if findsEnd { lines.isRaw = true } else { lines.expect(rawBytes: rawCount) }
        } else {
            transport.write("line \(line.byteCount)\n")
        }
        if dice.percent(20) { pause(transport) }
    }

    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        let count = min(rawCount, bytes.byteCount)
        raw.add(bytes.extracting(0..<count))
        rawCount -= count
        if dice.percent(20) { pause(transport) }
        guard rawCount == 0 else { return }
        transport.write("raw \(raw.value)\n")
        guard findsEnd else { return }
        lines.isRaw = false
        try cutLines(in: bytes.extracting(count..<bytes.byteCount), from: transport)
    }

    private func pause(_ transport: any StreamTransport) {
        transport.pauseProducing()
        transport.reactor.callLater(.microseconds(dice.below(5_000))) {
            transport.resumeProducing()
        }
    }
}

/// Sends frames, and checks the answers in order.
final class FrameClient: Audited, LineProtocol {
    let lines = LineDecoder()
    private var whole: [UInt8] = []
    private var answers: [String] = []
    private let seed: UInt64
    private var source: Source?
    private(set) var answerCount = 0
    /// Told once, and whether every answer was there.
    var whenLost: ((_ isComplete: Bool) -> Void)?

    init(_ ledger: Ledger, count: Int, _ dice: inout SeededDice) {
        for number in 1...count {
            let size = dice.below([2, 100, 1_000][dice.below(3)])
            if dice.percent(30) {
                let bytes = [UInt8].pattern(count: size + 1, seed: dice.next())
                whole += Array("raw \(bytes.count)\n".utf8) + bytes
                answers.append("raw \(StreamHash(bytes).value)")
            } else {
                let letter = UInt8(97 + number % 26)
                let end: [UInt8] = dice.percent(50) ? [13, 10] : [10]
                whole += [UInt8](repeating: letter, count: size) + end
                answers.append("line \(size)")
            }
        }
        seed = dice.next()
        super.init("client", ledger)
    }

    var isComplete: Bool { answerCount == answers.count && loss == .closedLocally }

    override func connectionMade(_ transport: any StreamTransport) throws {
        try super.connectionMade(transport)
        source = Source(whole, to: transport, ledger, seed: seed) {}
        source?.start()
    }

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try super.dataReceived(bytes, from: transport)
        try cutLines(in: bytes, from: transport)
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        let text = String(decoding: line)
        ledger.expect(
            answerCount < answers.count && answers[answerCount] == text,
            "answer \(answerCount + 1) is \(text)")
        answerCount += 1
        if answerCount == answers.count { close() }
    }

    override func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        super.connectionLost(why, from: transport)
        source = nil
        whenLost.take()?(isComplete)
    }
}
